"""Quantiles and central intervals as a caller asks for them, and the columns they go to."""

from collections.abc import Sequence

import numpy as np

from timediff.errors import OptionError
from timediff.types import Number


def quantile_columns(
    quantiles: Sequence[Number] | None = None, level: Number | Sequence[Number] | None = None
) -> dict[str, float]:
    """Names of columns of a table, and the quantile in each.

    Args:
        quantiles: each named by its level, ``"0.05"``.
        level: central intervals in per cent, named ``lo-90`` and ``hi-90``. Without both, the
            quantiles .05, .5 and .95.

    Raises:
        OptionError: a quantile is not in [0, 1], or a level not in (0, 100).
    """
    if quantiles is None and level is None:
        quantiles = (0.05, 0.5, 0.95)
    columns = {f"{q:g}": quantile_level(q) for q in quantiles or ()}
    for percent in np.atleast_1d([] if level is None else level):
        low, high = interval_ends(float(percent))
        columns |= {f"lo-{percent:g}": low, f"hi-{percent:g}": high}
    return columns


def quantile_level(q: Number) -> float:
    """The quantile, if it is one; an OptionError if it is not in [0, 1]."""
    if not 0 <= q <= 1:
        raise OptionError(f"quantiles: {q} is not in [0, 1]")
    return float(q)


def interval_ends(level: Number) -> tuple[float, float]:
    """The quantiles at the ends of the central interval of a level in per cent.

    Raises:
        OptionError: it is not in (0, 100).
    """
    if not 0 < level < 100:
        raise OptionError(f"level: {level} is not between 0 and 100 per cent")
    return (1 - level / 100) / 2, (1 + level / 100) / 2
