"""The errors a user can cause. Each message says what is wrong, where, and the way out."""

import sys
import warnings
from types import FrameType


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


def warn(message: str) -> None:
    """Issue a :class:`DataWarning` at the line of the caller's that led here, not one of ours."""
    frame: FrameType | None = sys._getframe()
    level = ours = 1
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
            ours = level
        frame, level = frame.f_back, level + 1
    warnings.warn(message, DataWarning, stacklevel=ours + 1)
