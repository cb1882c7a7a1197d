"""What a window knows of the history before it: gaps filled, and means of the long past."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from timediff.windows import WindowSpec

PROFILE_SEASONS = 32  # values at most that a seasonal mean is over


def fill_gaps(values: np.ndarray, season: int | None, last: int | None = None) -> np.ndarray:
    """Gaps filled from the past only: the last value for a short gap, else the last season's.

    Args:
        values: ``(T, D)``, NaN where missing.
        season: steps of a season, or None.
        last: only so many steps at the end are wanted; all if None.

    Returns:
        ``(T, D)`` or ``(last, D)`` without NaN; before the first value of a series, its mean (0 if
        it has none).
    """
    last = len(values) if last is None else last
    begin = len(values) - last - (season or 1)
    if begin > 0 and not np.isnan(values[begin:-last]).any():
        values = values[begin:]  # nothing from further back is carried over a whole season
    missing = np.isnan(values)
    if not missing.any():
        return values[-last:]
    mean = np.where(missing, 0.0, values).sum(0) / np.maximum((~missing).sum(0), 1)
    lead = int((~missing).any(1).argmax())  # rows before any value
    gaps = missing[lead:].any(1)
    # what is missing after whole rows is found in the season before, or in the row before
    whole = lead + max(0, int(gaps.argmax() if gaps.any() else len(gaps)) - (season or 1))
    before, values = values[:whole], values[whole:]
    if season is not None and gaps.any():
        values = _carry(values, max(1, season // 12))
        length, dim = values.shape
        cycles = np.full((-(-length // season), season, dim), np.nan, values.dtype)
        cycles.reshape(-1, dim)[:length] = values
        values = _carry(cycles).reshape(-1, dim)[:length]
    values = np.concatenate([before, _carry(values)])[-last:]
    return np.where(np.isnan(values), mean.astype(values.dtype), values)


def _carry(values: np.ndarray, limit: int | None = None) -> np.ndarray:
    """The last value carried forward along the first axis, at most so far."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    time = np.arange(len(values), dtype=np.int32).reshape(-1, *[1] * (values.ndim - 1))
    last = np.maximum.accumulate(np.where(missing, np.int32(0), time), axis=0)
    if limit is not None:
        last = np.where(time - last > limit, time, last)
    return np.take_along_axis(values, last, axis=0)


def long_means(
    values: np.ndarray, spec: "WindowSpec", skipped: int, future: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each row of an entry the mean of its past ``(t, D)`` and its profiles ``(t, D, s)``.

    Args:
        values: the whole entry, ``(T, D)``.
        spec: what a window holds.
        skipped: steps that are left out at its begin.
        future: steps that are added at its end, for the forecast after it: then only the means
            that its window reads are right.
    """
    rows = spec.pad + len(values) - skipped + future
    if not spec.lookback:
        return np.zeros((rows, 0), "f4"), np.zeros((rows, 0, 0), "f4")
    front = spec.pad
    if future:
        front += max(0, len(values) + spec.first - skipped)
    skipped += front - spec.pad
    past = past_means(values, skipped)
    past = np.pad(past, ((front, future), (0, 0)), mode="edge")[:rows]
    profile = np.empty((rows, values.shape[1], len(spec.profiles)), values.dtype)
    for i, season in enumerate(spec.profiles):
        first = -(-spec.prediction_length // season)
        mean = seasonal_means(values, season, first, skipped, future)
        mean = np.pad(mean, ((front, 0), (0, 0)), constant_values=np.nan)
        profile[..., i] = np.where(np.isnan(mean), past, mean)
    return past, profile


def past_means(values: np.ndarray, skipped: int = 0) -> np.ndarray:
    """The mean of what was observed before each step, and before the one after the end.

    Args:
        values: ``(T, D)``, NaN where missing.
        skipped: leave out the result for so many first steps.

    Returns:
        ``(T - skipped + 1, D)``; where nothing was observed before, the mean of the series.
    """
    observed, known = ~np.isnan(values), np.nan_to_num(values).astype(np.float64)
    before = slice(0, skipped)
    total = np.concatenate([known[before].sum(0, keepdims=True), known[skipped:]]).cumsum(0)
    count = np.concatenate([observed[before].sum(0, keepdims=True), observed[skipped:]]).cumsum(0)
    mean = known.sum(0) / np.maximum(observed.sum(0), 1)
    return np.where(count > 0, total / np.maximum(count, 1), mean).astype(values.dtype)


def seasonal_means(
    values: np.ndarray, season: int, first: int, skipped: int, future: int
) -> np.ndarray:
    """The mean of up to ``PROFILE_SEASONS`` values of the same season before each step.

    Args:
        values: ``(T, D)``, NaN where missing.
        season: steps of a season.
        first: how many seasons ago the latest value lies that may be read.
        skipped: leave out the result for so many first steps.
        future: steps after the end to add.

    Returns:
        ``(T - skipped + future, D)``, NaN where nothing was observed.
    """
    length, dim = values.shape
    reach = season * (first + PROFILE_SEASONS)
    begin = max(0, skipped - reach)  # what lies before is not read
    padded = np.full((-(-(length - begin + future) // season) * season, dim), np.nan)
    padded[: length - begin] = values[begin:]
    cycles = padded.reshape(-1, season, dim)

    def window(x: np.ndarray) -> np.ndarray:
        """Sums over the cycles ``first`` to ``first + PROFILE_SEASONS - 1`` before each."""
        sums = np.concatenate([np.zeros((1, season, dim)), x.cumsum(0)])
        n = len(x)
        high = np.clip(np.arange(n) - first + 1, 0, n)
        return sums[high] - sums[np.clip(high - PROFILE_SEASONS, 0, n)]

    total, count = window(np.nan_to_num(cycles)), window(~np.isnan(cycles))
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(-1, dim)
    return mean[skipped - begin : length - begin + future].astype(values.dtype)
