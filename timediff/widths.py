"""The map of :class:`timediff.Recalibration`: paths with other widths around their median.

With numpy alone: it lies beside ``runner.py``, too.
"""

import numpy as np

LEAST_SLOPE = 0.05  # of the map, so that no two values of a path become one


def spread(
    samples: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Median ``(*b, P, D)`` of paths ``(*b, S, P, D)``, and half widths ``(L, *b, P, D)``.

    The half widths are those below and those above.
    """
    at = np.concatenate([(1 - levels) / 2, [0.5], (1 + levels) / 2])
    quantiles = np.quantile(samples.astype(np.float64), at, axis=-3)
    low, median, high = np.split(quantiles, [len(levels), len(levels) + 1])
    return median[0], (median - low, high - median)


def stretched(samples: np.ndarray, levels: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The paths with their half widths stretched, ``(S, P, D)`` in and out.

    A monotone, piecewise linear map of each step and series: the quantile (1 ± c) / 2 moves to
    the median ± factor × half width, and what lies outside the last level goes on with its factor.

    Args:
        samples: ``(S, P, D)``.
        levels: between 0 and 1, rising.
        factor: ``(L, P, D)``.
    """
    median, halves = spread(samples, levels)
    error = samples - median
    moved = np.zeros_like(error)
    for sign, half in zip((-1, 1), halves, strict=True):
        distance = np.maximum(sign * error, 0)
        before, reached = np.zeros_like(median), np.zeros_like(median)
        for f, h in zip(factor, half, strict=True):
            width = h - before
            # a level's end must not come to lie inside that of the level before
            new = np.maximum(f * h, reached + LEAST_SLOPE * width)
            with np.errstate(divide="ignore", invalid="ignore"):
                slope = np.where(width > 0, (new - reached) / width, 0.0)
            moved += sign * slope * np.clip(distance - before, 0, width)
            before, reached = h, new
        moved += sign * factor[-1] * np.maximum(distance - before, 0)
    return (median + moved).astype(samples.dtype)


def mapped(
    samples: np.ndarray,
    levels: np.ndarray,
    factor: np.ndarray,
    positive: np.ndarray,
    whole: np.ndarray,
) -> np.ndarray:
    """Stretched paths, which stay what the series are, ``(S, P, D)`` in and out.

    Args:
        samples: see :func:`stretched`.
        levels: likewise.
        factor: likewise.
        positive: which series are 0 or more, ``(D,)``.
        whole: which are whole numbers, ``(D,)``.
    """
    moved = stretched(samples, levels, factor)
    moved = np.where(positive, np.maximum(moved, 0), moved)
    return np.where(whole, moved.round(), moved)
