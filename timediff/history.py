"""What a window knows of the history: what it is counted from, gaps filled, long means."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from timediff.windows import WindowSpec

PROFILE_SEASONS = 32  # values at most that a seasonal mean is over
LOOKED_AT = 4096  # steps, about, that tell whether single precision is enough
FINE = 1e-3  # of the mean change, by which single precision may be off
BRIDGE_SEASONS = 8  # past changes of the same season by which a short gap is filled


def offsets(values: np.ndarray) -> np.ndarray | None:
    """From what level each series is counted, where single precision would lose its changes.

    Next to a level of a thousand million, float32 knows no steps below 64.

    Args:
        values: ``(T, D)``, NaN where missing.

    Returns:
        ``(D,)`` float64: 0 where no level is needed, a whole number for whole numbers; None if no
        series needs one, as is so of all that come in single precision.
    """
    if values.dtype != np.float64 or len(values) < 2:
        return None
    stride = len(values) // LOOKED_AT | 1  # odd, so that not all are of the same hour
    before, after = values[:-1:stride], values[1::stride]
    with np.errstate(over="ignore", invalid="ignore"):
        lost = np.nan_to_num(np.abs(after.astype(np.float32) - after), posinf=0.0).max(0)
    if not lost.any():
        return None
    change = np.abs(after - before)
    steps = ~np.isnan(change)
    mean = np.where(steps, change, 0.0).sum(0) / np.maximum(steps.sum(0), 1)
    some = np.flatnonzero((mean > 0) & (lost > FINE * mean))
    if not len(some):
        return None
    known = values[:, some]
    observed = ~np.isnan(known)
    level = np.where(observed, known, 0.0).sum(0) / observed.sum(0)
    whole = ((known == known.round()) | ~observed).all(0)
    found = np.zeros(values.shape[1])
    found[some] = np.where(whole, level.round(), level)
    return found


def fill_gaps(values: np.ndarray, season: int | None, last: int | None = None) -> np.ndarray:
    """Gaps filled from the past only: a short one from the last value, else the last season's.

    In a short gap the last value goes on as the seasons before did, if that has been nearer to
    what came than the last value as it is.

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
    seen = (~np.isnan(values[-last:])).any(1)
    # what comes after the last value is a horizon
    end = len(values) - (int(seen[::-1].argmax()) if seen.any() else last)
    if begin > 0 and not np.isnan(values[begin:end]).any():
        values = values[begin:]  # nothing from further back is carried over a whole season
        end -= begin
    missing = np.isnan(values)
    if not missing.any():
        return values[-last:]
    table = values
    lead = int((~missing).any(1).argmax())  # rows before any value
    gaps = missing[lead:].any(1)
    # what is missing after whole rows is found in the season before, or in the row before
    whole = lead + max(0, int(gaps.argmax() if gaps.any() else len(gaps)) - (season or 1))
    before, values = values[:whole], values[whole:]
    if season is not None and gaps.any():
        values = _carry(values, _short(season))
        if gaps[: end - lead].any():
            row, column, bridge = _bridges(table[:end], season)
            values[row - whole, column] = bridge  # none is before: these rows have no gap
        length, dim = values.shape
        cycles = np.full((-(-length // season), season, dim), np.nan, values.dtype)
        cycles.reshape(-1, dim)[:length] = values
        values = _carry(cycles).reshape(-1, dim)[:length]
    values = np.concatenate([before, _carry(values)])[-last:]
    empty = np.isnan(values)
    first = len(empty) - int(empty.any(1)[::-1].argmax()) if empty.any() else 0
    if first:  # up to here, something lies before the first value of a series
        mean = np.where(missing, 0.0, table).sum(0) / np.maximum((~missing).sum(0), 1)
        values[:first] = np.where(empty[:first], mean.astype(values.dtype), values[:first])
    return values


def fill_features(values: np.ndarray, pad: int, total: int) -> np.ndarray:
    """Features with gaps filled from the past, ``(total, w, k)``.

    Args:
        values: ``(T, w, k)``, NaN where missing.
        pad: rows before them.
        total: rows, with those before and after them.
    """
    table = values.reshape(len(values), -1)
    padding = ((pad, total - pad - len(values)), (0, 0))
    table = fill_gaps(np.pad(table, padding, constant_values=np.nan), None)
    return table.reshape(total, *values.shape[1:])


def _bridges(values: np.ndarray, season: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns of short gaps, and the last value with what the seasons before made of it.

    Only of those where, up to then, the next value was nearer to that than to the last one.

    Args:
        values: ``(T, D)``, NaN where missing.
        season: steps of a season.
    """
    missing = np.isnan(values)
    inside = missing & np.logical_or.accumulate(~missing, axis=0)  # after the first value
    some = np.flatnonzero(inside.any(0))
    x, missing = values[:, some], missing[:, some]
    length, before = len(x), _latest(missing)
    near = np.arange(length)[:, None] - before <= _short(season)
    row, column = np.nonzero(inside[:, some] & near)
    if not len(row):
        return row, column, values[row, column]
    change = np.diff(x, axis=0, prepend=np.nan)
    usual, count = np.zeros_like(x), np.zeros(x.shape, np.int32)
    for k in range(season, min(length, BRIDGE_SEASONS * season + 1), season):
        known = ~np.isnan(change[:-k])
        usual[k:] += np.where(known, change[:-k], 0)
        count[k:] += known
    error = np.abs(change - usual / np.maximum(count, 1)) - np.abs(change)
    gain = np.where((count > 0) & ~np.isnan(error), error, 0).cumsum(0, dtype=np.float64)
    pick = gain[row, column] < 0
    row, column = row[pick], column[pick]
    last = before[row, column]
    start = x[last, column]
    total, number = np.zeros_like(start), np.zeros(len(row), np.int32)
    low, high = start.copy(), start.copy()
    for k in range(season, BRIDGE_SEASONS * season + 1, season):
        there = last >= k
        a = np.where(there, x[np.maximum(row - k, 0), column], np.nan)
        b = np.where(there, x[np.maximum(last - k, 0), column], np.nan)
        both = ~np.isnan(a - b)
        total += np.where(both, a - b, 0)
        number += both
        low, high = np.fmin(low, a), np.fmax(high, a)
    return row, some[column], np.clip(start + total / np.maximum(number, 1), low, high)


def _carry(values: np.ndarray, limit: int | None = None) -> np.ndarray:
    """The last value carried forward along the first axis, at most so far."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    last = _latest(missing)
    if limit is not None:
        time = np.arange(len(values), dtype=np.int32).reshape(-1, *[1] * (values.ndim - 1))
        last = np.where(time - last > limit, time, last)
    return np.take_along_axis(values, last, axis=0)


def _latest(missing: np.ndarray) -> np.ndarray:
    """Along the first axis, where the last value is that is not missing; 0 if there is none."""
    time = np.arange(len(missing), dtype=np.int32).reshape(-1, *[1] * (missing.ndim - 1))
    return np.maximum.accumulate(np.where(missing, np.int32(0), time), axis=0)


def _short(season: int) -> int:
    """Steps of a gap that is short beside a season."""
    return max(1, season // 12)


def long_means(
    values: np.ndarray, spec: "WindowSpec", begin: int, future: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """For steps of an entry the means of their past ``(t, D)`` and their profiles ``(t, D, s)``.

    Args:
        values: the whole entry, ``(T, D)``.
        spec: what a window holds.
        begin: the first step that is wanted; below 0 for some before the entry.
        future: steps after its end.
    """
    rows = len(values) - begin + future
    if not spec.lookback:
        return np.zeros((rows, 0), "f4"), np.zeros((rows, 0, 0), "f4")
    front, begin = max(0, -begin), max(0, begin)
    within = spec.prediction_length - 1  # how far before a step the first origin may lie
    early = max(0, begin - within)
    means = past_means(values, early)
    past = np.pad(means[begin - early :], ((front, future), (0, 0)), mode="edge")[:rows]
    profile = np.empty((rows, values.shape[1], len(spec.profiles)), values.dtype)
    profile[:front] = past[:front, :, None]
    for i, season in enumerate(spec.profiles):
        nearest = -(-spec.prediction_length // season)
        mean = seasonal_means(values, season, nearest, begin, future)
        step, series = np.nonzero(np.isnan(mean))
        if len(step):  # what every origin knows stands in; where none knows anything, the first
            first = 1 + (~np.isnan(values)).argmax(0)
            known = np.maximum(begin + step - within, first[series]) - early
            mean[step, series] = means[known.clip(max=len(means) - 1), series]
        profile[front:, :, i] = mean
    return past, profile


def past_means(values: np.ndarray, skipped: int = 0) -> np.ndarray:
    """The mean of what was observed before each step, and before the one after the end.

    Args:
        values: ``(T, D)``, NaN where missing.
        skipped: leave out the result for so many first steps.

    Returns:
        ``(T - skipped + 1, D)``; where nothing was observed before, the mean of the series.
    """
    observed, known, double = ~np.isnan(values), values, np.float64
    if observed.all():
        observed = np.ones((len(values), 1), bool)
    else:
        known = np.where(observed, values, 0)
    before = slice(0, skipped)
    first = known[before].sum(0, dtype=double, keepdims=True)
    total = np.concatenate([first, known[skipped:]]).cumsum(0, dtype=double)
    count = np.concatenate([observed[before].sum(0, keepdims=True), observed[skipped:]]).cumsum(0)
    whole = known[skipped:].sum(0, dtype=double) + first[0]
    mean = whole / np.maximum(observed.sum(0), 1)
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
    nearest = range(first, first + PROFILE_SEASONS)
    unread = max(0, skipped - season * nearest[-1])
    values, skipped = values[unread:], skipped - unread
    rows, missing = len(values) - skipped + future, np.isnan(values)
    known, seen = values, np.ones((len(values), 1), bool)
    if missing.any():
        known, seen = np.where(missing, 0, values), ~missing
    total = np.zeros((rows, values.shape[1]))
    count = np.zeros((rows, seen.shape[1]), np.int32)
    for low in (skipped - season * k for k in nearest):  # these rows one season further back
        begin, end = max(0, -low), min(rows, len(values) - low)
        if begin < end:
            total[begin:end] += known[low + begin : low + end]
            count[begin:end] += seen[low + begin : low + end]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(values.dtype)
