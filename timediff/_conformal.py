"""The arithmetic of :class:`timediff.Recalibration`: scores, and quantiles of them.

A level c of a forecast has a median m and half widths above and below it, up to the quantiles
(1 ± c) / 2. An observation y has the ratio |y - m| / (half width on its side): the interval covers
it as soon as its half widths are stretched by that ratio.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from timediff.errors import DataError, OptionError, warn
from timediff.quantiles import percentages
from timediff.types import Number
from timediff.widths import spread

LEAST_FACTOR = 0.1  # observations that sit on the median must not squeeze the others to a point
EXCHANGEABLE = ("windows", "values")


def ratios(samples: np.ndarray, actuals: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """By how much the half widths would have to be stretched, ``(W, L, P, D)``.

    NaN where nothing was observed, and where a forecast without any width was right: it is covered
    whatever the factor, and so says nothing about it. Infinite where it was wrong.

    Args:
        samples: ``(W, S, P, D)``.
        actuals: ``(W, P, D)``.
        levels: between 0 and 1.
    """
    found = np.empty((len(samples), len(levels), *actuals.shape[1:]))
    for ratio, paths, y in zip(found, samples, actuals, strict=True):
        median, (below, above) = spread(paths, levels)
        error = y - median
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio[:] = np.abs(error) / np.where(error > 0, above, below)
    return found


def usable(
    default: Iterable[Number],
    levels: Number | Iterable[Number] | None,
    actuals: np.ndarray,
    kind: str,
) -> list[Any]:
    """The levels in per cent that are wanted, for all of which there is enough to fit.

    Raises:
        OptionError: a level is not between 1 and 100.
        DataError: one needs more windows or values than there are. Of the default they go, with a
            warning.
    """
    seen = ~np.isnan(actuals)
    count = int(seen.any((1, 2)).sum() if kind == "windows" else seen.sum())
    wanted = sorted(percentages(default if levels is None else levels))
    if not wanted:
        raise OptionError("levels: there is none: name one, such as 90 per cent")
    needed = {level: least_number(level / 100) for level in wanted}
    what = "windows" if kind == "windows" else "observed values"
    if levels is None:
        most = max(needed.values())
        wanted = [level for level in wanted if needed[level] <= count] or wanted[:1]
        dropped = [f"{level:g}" for level in needed if level not in wanted]
        if dropped:
            warn(
                f"there are {count} {what}, too few for the level {' and '.join(dropped)} %, which "
                f"is left as it is: {most} are needed, so give more windows; or name the levels",
            )
    for level in wanted:
        if needed[level] > count:
            raise DataError(
                f"the level {level:g} % needs {needed[level]} {what}, there are {count}: give "
                "more windows, or leave the level out"
            )
    return wanted


def least_number(level: float) -> int:
    """The least n for which the rank ceil((n + 1) level) is not above n."""
    return int(np.ceil(level / (1 - level) - 1e-9))


def factors(
    ratio: np.ndarray,
    levels: np.ndarray,
    groups: list[np.ndarray],
    pooling: Number,
    exchangeable: str,
    left_out: int | None = None,
) -> np.ndarray:
    """The factor of each level, group of steps and series, ``(L, G, D)``.

    Args:
        ratio: ``(W, L, P, D)``.
        levels: between 0 and 1.
        groups: the steps of each group.
        pooling: windows that the ratios of all series together count for beside a series' own.
        exchangeable: ``"windows"`` or ``"values"``.
        left_out: a window that is not looked at.
    """
    kept = np.delete(ratio, left_out, 0) if left_out is not None else ratio
    found = np.empty((len(levels), len(groups), ratio.shape[3]))
    for i, level in enumerate(levels):
        for j, steps in enumerate(groups):
            part = kept[:, i, steps]
            everything = _quantile(part.reshape(len(part), -1, 1), level, exchangeable)
            finite = part[np.isfinite(part)]
            # no factor mends a forecast without width: as far as a factor can help
            pooled = _bounded(everything, finite.max(initial=1.0))
            if np.isinf(pooling):
                found[i, j] = pooled
                continue
            own = _bounded(_quantile(part, level, exchangeable), pooled)
            seen = (~np.isnan(part)).any(1).sum(0)
            share = seen / np.maximum(seen + pooling, 1e-9)
            found[i, j] = np.exp(share * np.log(own) + (1 - share) * np.log(pooled))
    return found


def _bounded(values: np.ndarray, other: np.ndarray | np.floating) -> np.ndarray:
    return np.maximum(np.where(np.isfinite(values), values, other), LEAST_FACTOR)


def _quantile(part: np.ndarray, level: float, exchangeable: str) -> np.ndarray:
    """The conformal quantile over windows and steps ``(W, P, D)``, ``(D,)``; infinite if too few.

    The smallest q with sum of the weights of ratios up to q >= level (n + 1). ``"values"``: all
    weigh 1, n is their number. ``"windows"``: those of a window weigh 1 together, n is W.
    """
    seen = ~np.isnan(part)
    count = seen.sum(1, keepdims=True)
    weight = seen / np.maximum(count, 1) if exchangeable == "windows" else seen.astype(float)
    flat, weight = (a.reshape(-1, part.shape[2]) for a in (part, weight))
    order = np.argsort(flat, axis=0)  # NaN last, of weight 0
    reached = np.take_along_axis(weight, order, 0).cumsum(0)
    n = reached[-1]
    enough = reached >= level * (n + 1) - 1e-9
    first = np.take_along_axis(order, enough.argmax(0)[None], 0)
    return np.where(enough.any(0), np.take_along_axis(flat, first, 0)[0], np.inf)
