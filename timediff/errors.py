"""The errors a user can cause. Each message says what is wrong, where, and the way out."""


class TimediffError(ValueError):
    """Base class of every error this package raises on purpose."""


class DataError(TimediffError):
    """The data cannot be used: names the series, the first bad timestamp and the way out."""


class DataWarning(UserWarning):
    """The data can be used, but are maybe not what they are taken for; says what to give."""


class OptionError(TimediffError):
    """An option is unknown or out of range: names it and what is allowed."""


class SavedModelError(TimediffError):
    """A saved predictor is missing, truncated, altered or from a newer version."""
