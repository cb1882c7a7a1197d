"""Quantiles and central intervals as a caller asks for them, and the columns they go to."""

from collections.abc import Iterable, Sequence

from timediff._arguments import listed, number
from timediff.errors import OptionError
from timediff.types import Number


def quantile_columns(
    quantiles: Number | Sequence[Number] | None = None,
    level: Number | Sequence[Number] | None = None,
) -> dict[str, float]:
    """Names of columns of a table, and the quantile in each.

    Args:
        quantiles: one or several, each named by its level, ``"0.05"``.
        level: central intervals in per cent, named ``lo-90`` and ``hi-90``. Without both, the
            quantiles .05, .5 and .95.

    Raises:
        OptionError: a quantile is not in [0, 1], or a level not in [1, 100).
    """
    if quantiles is None and level is None:
        quantiles = (0.05, 0.5, 0.95)
    wanted = [quantile_level(q) for q in ([] if quantiles is None else listed(quantiles))]
    columns = {f"{q:g}": q for q in wanted}
    for percent in [] if level is None else listed(level):
        low, high = interval_ends(percent)
        columns |= {f"lo-{percent:g}": low, f"hi-{percent:g}": high}
    return columns


def quantile_level(q: Number) -> float:
    """The quantile, if it is one; an OptionError if it is not in [0, 1]."""
    value = number("quantiles", q)
    if not 0 <= value <= 1:
        raise OptionError(f"quantiles: {q} is not in [0, 1]")
    return value


def interval_ends(level: Number) -> tuple[float, float]:
    """The quantiles at the ends of the central interval of a level in per cent.

    Raises:
        OptionError: it is not in [1, 100).
    """
    share = percentage("level", level) / 100
    return (1 - share) / 2, (1 + share) / 2


def percentages(levels: Number | Iterable[Number]) -> list[Number]:
    """Levels in per cent, as they were given; an OptionError if one is not in [1, 100)."""
    wanted = listed(levels)
    for level in wanted:
        percentage("levels", level)
    return wanted


def percentage(name: str, level: Number) -> float:
    """A level in per cent.

    Raises:
        OptionError: it is not in [1, 100): what is below is taken for a share.
    """
    value = number(name, level)
    if 0 < value < 1:
        raise OptionError(f"{name}: {level} is below one per cent: did you mean {100 * value:g}?")
    if not 0 < value < 100:
        raise OptionError(f"{name}: {level} is not between 0 and 100 per cent")
    return value
