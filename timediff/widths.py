"""The map of :class:`timediff.Recalibration`: paths with other widths around their median.

With numpy alone: it lies beside ``runner.py``, too.
"""

import numpy as np

LEAST_SLOPE = 0.05  # of the map, so that no two values of a path become one
TURNS = 6  # of shifts to the totals, and orders between them
SAME = 1e-9  # relative: below it a total is certain, or follows from others


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
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Stretched paths, which stay what the series are, ``(S, P, D)`` in and out.

    Args:
        samples: see :func:`stretched`.
        levels: likewise.
        factor: likewise, of the D series and then of the K totals.
        positive: which of them are 0 or more, ``(D + K,)``.
        whole: which are whole numbers, likewise.
        weights: of the series in totals that are stretched by themselves, ``(K, D)``; None without.
    """
    if weights is None:
        return _kept(stretched(samples, levels, factor), positive, whole)
    d, unknown = samples.shape[-1], np.isnan(samples)
    known = np.where(unknown, 0.0, samples)  # a series that was never observed adds nothing
    both = np.concatenate([known, combined(known, weights)], axis=-1)
    both = _kept(stretched(both, levels, factor), positive, whole)
    moved = adding_up(both[..., :d], both[..., d:], weights)
    moved = _kept(moved, positive[:d], whole[:d])
    return np.where(unknown, np.nan, moved).astype(samples.dtype)


def _kept(paths: np.ndarray, positive: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """What is never negative, and what is whole, as it must be."""
    paths = np.where(positive, np.maximum(paths, 0), paths)
    return np.where(whole, paths.round() + 0.0, paths)  # no -0


def combined(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Linear combinations of series, ``(*b, D)`` to ``(*b, K)``; NaN where one of a series is."""
    parts = [x[..., own != 0].astype(np.float64) @ own[own != 0] for own in weights]
    return np.stack(parts, axis=-1)


def adding_up(samples: np.ndarray, totals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    r"""Paths whose linear combinations are these, each series as wide as it was, if that can be.

    In turn, path by path, the paths are shifted to the totals by what a total tells of a series,

    .. math:: x \leftarrow x + \mathrm{Cov}(x, W x)\, \mathrm{Cov}(W x)^{-1}\, (t - W x)

    and the values of each series are put back in the order that this has given them: so totals
    grow wide by series that move together more, not by wider series. The shift is the last, so
    that the totals are met even where no order would do.

    Args:
        samples: ``(S, P, D)``.
        totals: the combinations that are wanted, ``(S, P, K)``.
        weights: of the series in each, ``(K, D)``.
    """
    x = samples.astype(np.float64)
    values = np.sort(x, axis=0)
    for turn in range(TURNS):
        if turn:
            order, x = x.argsort(axis=0, kind="stable"), np.empty_like(x)
            np.put_along_axis(x, order, values, axis=0)
        x = x + _shift(x, totals, weights)
    return x.astype(samples.dtype)


def _shift(x: np.ndarray, totals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What the series of each path have to move for the totals, ``(S, P, D)``."""
    now = combined(x, weights)
    error = x - x.mean(axis=0)
    spread = now - now.mean(axis=0)
    unit = spread.std(axis=0)  # totals of other sizes weigh alike, and what is certain stays
    unit = np.where(unit > SAME * np.abs(now).max(axis=0), unit, np.inf)
    spread, missing = spread / unit, (totals - now) / unit
    own = np.einsum("spk,spl->pkl", spread, spread)
    tells = np.einsum("spk,spd->pkd", spread, error)
    gain = np.linalg.pinv(own, rcond=SAME, hermitian=True) @ tells
    return np.einsum("spk,pkd->spd", missing, gain)
