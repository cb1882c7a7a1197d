"""Reading a user's table: its clock, its columns, its numbers. Errors name series and timestamp."""

import datetime
from collections.abc import Collection, Hashable
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from timediff._calendars import calendar_of
from timediff._frequency import is_subdaily, text_of
from timediff._inferred import infer, most_common_step
from timediff._times import read_times
from timediff.errors import DataError, OptionError

DIALECTS = {
    "id_column": ("unique_id", "item_id"),
    "time_column": ("ds", "timestamp"),
    "target_column": ("y", "target"),
}
YEARS = pd.Timestamp.min.year + 1, pd.Timestamp.max.year - 1  # that nanoseconds reach, whole


def check_distinct(columns: Collection[Hashable]) -> None:
    """Raise unless the columns of a table that is to be made have names of their own.

    Raises:
        DataError: two would have the same.
    """
    seen: set[Hashable] = set()
    for name in columns:
        if name in seen:
            raise DataError(
                f"two columns of the table would be called {name!r}, since one of the table that "
                "was fitted, its index or its columns have that name: rename it there, by "
                "rename_axis, or rename and id_column=, time_column=, target_column= or "
                "group_column="
            )
        seen.add(name)


def check_table(frame: pd.DataFrame, title: str) -> pd.DataFrame:
    """The table sorted by time, its rows and columns each there once.

    Raises:
        DataError: it is empty, its index holds no timestamps, one of them is beyond what pandas
            counts in nanoseconds, a column has no name, or one of either is there twice.
    """
    if not len(frame) or not len(frame.columns):
        raise DataError(f"{title} is empty: {len(frame)} rows × {len(frame.columns)} series")
    where = "" if title == "the table" else f" of {title}"
    if not isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex):
        raise DataError(
            f"the index{where} holds {frame.index.dtype}, not timestamps: set it with "
            "frame.set_index(pd.to_datetime(...))"
        )
    if frame.index.hasnans:
        row = int(frame.index.isna().argmax())
        raise DataError(
            f"row {row}{where} has no timestamp: give it one, or leave "
            "the row out (frame[frame.index.notna()])"
        )
    beyond = (frame.index.year < YEARS[0]) | (frame.index.year > YEARS[1])
    if beyond.any():
        raise DataError(
            f"timestamp {first_of(beyond, frame.index)}{where} is not between {YEARS[0]} and "
            f"{YEARS[1]}, which is as far as nanoseconds reach: leave the row out"
        )
    for i, label in enumerate(frame.columns):
        if label is pd.NA or label is pd.NaT or (isinstance(label, float) and np.isnan(label)):
            raise DataError(f"column {i}{where} has no name: rename it, or leave it out")
    if not frame.columns.is_unique:
        twice = first_of(frame.columns.duplicated(), frame.columns)
        raise DataError(f"column {twice!r}{where} is twice")
    if not frame.index.is_monotonic_increasing:
        frame = frame.sort_index()
    if not frame.index.is_unique:
        twice = first_of(frame.index.duplicated(), frame.index)
        text = any(not dtypes.is_numeric_dtype(dtype) for dtype in frame.dtypes)
        raise DataError(
            f"timestamp {twice}{where} appears more than once: keep one row of each, or aggregate "
            f"(frame.groupby(level=0).mean()){_clocks(twice)}"
            + ("; of a long table, give id_column= and target_column=" if text else "")
        )
    return frame


def read_clock(
    index: pd.DatetimeIndex | pd.PeriodIndex, freq: str | None
) -> tuple[pd.DatetimeIndex | pd.PeriodIndex, str, dict[str, Any]]:
    """The index without time zone, its frequency, and what brings the zone back."""
    if isinstance(index, pd.PeriodIndex):
        return index, index.freqstr if freq is None else freq, {}
    freq = own_calendar(index) if freq is None else freq
    if index.tz is None:
        return index, infer(index) if freq is None else freq, {}
    utc, local = index.tz_convert("UTC").tz_localize(None), index.tz_localize(None)
    if freq is None and len(index) > 1:
        # 23 hours: the day on which the clocks go forward
        subdaily = most_common_step(utc) < pd.Timedelta(hours=23)
    else:
        subdaily = freq is not None and is_subdaily(freq)
    clock = utc if subdaily else _before_gaps(local, index)
    freq = infer(clock) if freq is None else freq
    return clock, freq, {"tz": _zone(index.tz), "clock": "utc" if subdaily else "local"}


def _before_gaps(local: pd.DatetimeIndex, index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The local times of days; where clocks skipped the usual one (midnight, in Cairo) that one."""
    days = local.normalize()
    usual = days + (local - days).min()  # what is in a gap comes later
    first = np.ones(len(local), dtype=bool)
    meant = usual.tz_localize(index.tz, ambiguous=first, nonexistent="shift_forward") == index
    return local.where(~meant, usual)


def own_calendar(index: Any) -> str | None:
    """The frequency of an index if its timestamps do not tell it.

    That of a calendar, and several business days, which seem to be days.
    """
    offset = getattr(index, "freq", None)
    if offset is None:
        return None
    try:
        freq = text_of(offset)
    except OptionError:
        return None  # its timestamps may tell
    several = isinstance(offset, pd.offsets.BusinessDay) and offset.n > 1
    return freq if several or calendar_of(freq) is not None else None


def _zone(tz: datetime.tzinfo) -> str | datetime.tzinfo:
    """The name pandas knows a time zone by, itself if it has none."""
    name = getattr(tz, "key", None) or getattr(tz, "zone", None)
    if name is None and (offset := tz.utcoffset(None)) is not None:  # always the same: UTC+01:00
        name = str(datetime.timezone(offset))
    return name or tz


def read_numbers(series: pd.Series, label: Hashable, kind: str = "series") -> np.ndarray:
    """The values of one column, NaN where missing; errors say of which kind it is."""
    if dtypes.is_numeric_dtype(series.dtype) and not dtypes.is_complex_dtype(series.dtype):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        objects = series.astype(object)
        numbers = pd.to_numeric(objects, errors="coerce")
        if numbers.dtype.kind not in "fiub" or dtypes.is_datetime64_any_dtype(series.dtype):
            numbers = pd.Series(np.nan, index=series.index)
        bad = (numbers.isna() & objects.notna()).to_numpy()
        if bad.any():
            value = objects.iloc[int(bad.argmax())]
            hint = "; make categories columns of 0 and 1 (pd.get_dummies)"
            raise DataError(
                f"{kind} {label!r} at {first_of(bad, series.index)}: {value!r} is no number"
                + (hint if kind.endswith("feature") else "")
            )
        values = numbers.to_numpy(dtype=np.float64)
    with np.errstate(over="ignore"):
        where = np.isinf(values.astype(np.float32))
    if where.any():
        value = series.iloc[int(where.argmax())]
        raise DataError(
            f"{kind} {label!r} at {first_of(where, series.index)}: {value} is infinite or beyond "
            "what float32 holds; make it NaN if it is missing"
        )
    return values


def long_columns(
    frame: pd.DataFrame,
    columns: list[str],
    title: str,
    freq: str | None = None,
    day_first: bool | None = None,
) -> tuple[pd.DataFrame, bool | None]:
    """Columns of a long table, the first two of them its series and its timestamps.

    Returns:
        Them, and whether the day is first in their dates; see :class:`timediff._times.Times`.

    Raises:
        DataError: one of them is not there, or holds no timestamps.
    """
    lacking = [c for c in columns if c not in frame.columns]
    if lacking:
        raise DataError(f"{title} has no column {lacking[0]!r}, only {list(frame.columns)}")
    ids, time = columns[:2]
    stamps, day_first = read_times(frame[time], None, frame[ids], freq, day_first)
    return frame[columns].assign(**{time: stamps}), day_first


def without_periods(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the begins of periods in their place, for what knows no periods."""
    periods = [c for c in frame.columns if isinstance(frame[c].dtype, pd.PeriodDtype)]
    return frame.assign(**{str(c): frame[c].dt.start_time for c in periods})


def check_pairs(table: pd.DataFrame, ids: str, time: str) -> None:
    """Raise a DataError where a long table has two rows of the same series and time."""
    twice = table.duplicated([ids, time])
    if twice.any():
        series, stamp = table.loc[twice.to_numpy(), [ids, time]].iloc[0]
        raise DataError(
            f"series {series!r} has more than one value at {stamp}: keep one of them, or aggregate "
            f"(frame.groupby([{ids!r}, {time!r}], as_index=False).mean(numeric_only=True))"
            f"{_clocks(stamp)}"
        )


def _clocks(stamp: Any) -> str:
    """What to do about an hour that is there twice because clocks were put back."""
    naive = isinstance(stamp, pd.Timestamp) and stamp.tz is None
    if naive and stamp.weekday() == 6 and 0 < stamp.hour < 4:  # a Sunday, at night
        return (
            "; if clocks were put back there, localize (tz_localize(..., ambiguous=)), or use UTC"
        )
    return ""


def find_column(frame: pd.DataFrame, role: str, name: str | None) -> str:
    """The column of a long table with this role."""
    if name is not None and not isinstance(name, str):
        raise DataError(
            f"{role}={name!r} is no text: name the columns first (frame.rename(columns=str))"
        )
    expected = DIALECTS[role] if name is None else (name,)
    found = [c for c in expected if c in frame.columns]
    if len(found) != 1:
        what = f"has both {found[0]!r} and {found[1]!r}" if found else "has no such column"
        raise DataError(
            f"{role}: the table {what} (expected {' or '.join(map(repr, expected))}, "
            f"columns are {list(frame.columns)}): give {role}="
        )
    return str(found[0])


def first_of(mask: Any, labels: pd.Index) -> Any:
    """The label of the first true element."""
    return labels[int(np.asarray(mask).argmax())]
