"""Any table as one of pandas: of whatever library, wide or long, its timestamps where they may be.

Nothing that was handed in is changed.
"""

import datetime
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from timediff._frequency import of_years
from timediff._tables import DIALECTS, check_pairs, find_column, long_columns
from timediff._times import hint, parse_times, read_times
from timediff.errors import DataError

TIME_NAMES = ("ds", "timestamp", "date", "datetime", "time")


def as_pandas(data: Any) -> Any:
    """A frame of any library as one of pandas; what is no frame is handed through."""
    if data is None or isinstance(data, pd.DataFrame | pd.Series | Mapping | Sequence | np.ndarray):
        return data
    import narwhals as nw

    frame = nw.from_native(data, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    return frame.to_pandas() if isinstance(frame, nw.DataFrame) else data


def to_pandas(data: Any) -> pd.DataFrame:
    """A frame or a series of any library as a frame of pandas; one of pandas is handed through.

    Raises:
        DataError: it is no table.
    """
    data = as_pandas(data)
    if isinstance(data, pd.Series):
        return data.to_frame("value" if data.name is None else data.name)
    if not isinstance(data, pd.DataFrame):
        raise DataError(
            f"a {type(data).__name__} is no table: give a DataFrame, a dict of them, or GluonTS "
            "entries with start and target"
        )
    return data


def by_group(data: Any, column: str | None) -> Any:
    """A table with a column of groups as a dict of tables; anything else is handed through.

    Raises:
        DataError: a row is of no group.
    """
    frame = as_pandas(data)
    if column is None or column not in getattr(frame, "columns", ()):
        return frame
    missing = frame[column].isna().to_numpy()
    if missing.any():
        raise DataError(f"row {int(missing.argmax())} has no group: its {column!r} is missing")
    groups = frame.groupby(column, sort=False, observed=True)
    return {
        key.item() if isinstance(key, np.generic) else key: part.drop(columns=column)
        for key, part in groups
    }


def flattened(data: Any, columns: Mapping[str, str | None]) -> Any:
    """A table of pandas, with the columns of a long table as columns where its index held them.

    Of a dict of tables, each; what is no table is handed through.

    Args:
        data: as of :func:`read`.
        columns: names of columns by role; the usual ones where there is none.
    """
    if isinstance(data, Mapping):
        return {key: flattened(table, columns) for key, table in data.items()}
    data = as_pandas(data)
    if isinstance(data, pd.Series) and data.index.nlevels > 1:
        data = data.to_frame("value" if data.name is None else data.name)
    if not isinstance(data, pd.DataFrame):
        return data
    names = {role: (name,) if name else DIALECTS.get(role, ()) for role, name in columns.items()}
    own = [n for n in data.index.names if n in sum(names.values(), ()) and n not in data.columns]
    if not own:
        return data
    flat = data.reset_index(level=own)
    needed = {"id_column", "target_column"}
    long = all(any(name in flat.columns for name in names[role]) for role in needed)
    return flat if long or columns.get("group_column") in own else data


def without_others(table: Any, series: Collection[Hashable]) -> Any:
    """A wide table of pandas without what may stand beside these series and its times."""
    wanted = set(series)
    if not isinstance(table, pd.DataFrame) or not wanted & set(table.columns):
        return table
    kept = [
        name in wanted or str(name).lower() in TIME_NAMES or _holds_times(values)
        for name, values in table.items()
    ]
    return table.loc[:, kept]


def indexed(
    frame: pd.DataFrame,
    time_column: str | None = None,
    freq: str | None = None,
    day_first: bool | None = None,
) -> tuple[pd.DataFrame, bool | None]:
    """A wide table with its timestamps as the index, and whether the day is first in them.

    Args:
        frame: the table.
        time_column: the column with the timestamps, if it is known.
        freq: of the table, likewise.
        day_first: see :func:`timediff._times.read_times`.

    Raises:
        DataError: which column holds the timestamps is not known, or one cannot be read.
    """
    numbers = dtypes.is_integer_dtype(frame.index.dtype) and not is_range(frame.index)
    if time_column is None or time_column == frame.index.name:
        if isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex):
            return frame, day_first
        times = [c for c in frame.columns if _holds_times(frame[c])]
        times = times or [c for c in frame.columns if str(c).lower() in TIME_NAMES]
        labels = frame.index.to_series()
        if not times or time_column is not None:
            years = numbers and of_years(labels, freq) is not None
            if years or isinstance(labels.dtype, pd.ArrowDtype) or _tells_times(labels, day_first):
                stamps, day_first = read_times(labels, "the index", None, freq, day_first)
                index = pd.Index(stamps).rename(frame.index.name)
                return frame.set_axis(index, axis=0), day_first
        if isinstance(frame.index, pd.MultiIndex) and not times:
            raise DataError(
                f"the index has the levels {list(frame.index.names)}, and what these are is not "
                "known: name them unique_id and ds, or give all of id_column=, time_column= and "
                "target_column="
            )
        if len(times) != 1:
            raise DataError(
                f"the index holds {frame.index.dtype}, and "
                + (f"the columns {times} all hold times" if times else "no column holds times")
                + ": give time_column=, or set a DatetimeIndex"
                + (hint(labels) if numbers and not times else "")
            )
        time_column = times[0]
    if time_column not in frame.columns:
        raise DataError(f"there is no column {time_column!r}: columns are {list(frame.columns)}")
    stamps, day_first = read_times(frame[time_column], freq=freq, day_first=day_first)
    index = pd.Index(stamps).rename(time_column)
    return frame.drop(columns=time_column).set_axis(index, axis=0), day_first


def scenario(
    data: Any, columns: Mapping[str, str | None], freq: str | None, day_first: bool | None
) -> pd.DataFrame:
    """What is given of a horizon, wide or long, as a wide table with its timestamps as the index.

    Args:
        data: a table of some of the series.
        columns: names of columns by role; the usual ones where there is none.
        freq: of the history.
        day_first: whether the day is first in its dates, if that is known.
    """
    frame = to_pandas(flattened(data, columns))
    if not is_long(frame, dict(columns)):
        return indexed(frame, None, freq, day_first)[0]
    ids, time, target = (find_column(frame, role, name) for role, name in columns.items())
    long, _ = long_columns(frame, [ids, time, target], "what is given", freq, day_first)
    check_pairs(long, ids, time)
    return long.pivot(index=time, columns=ids, values=target)


def is_long(frame: pd.DataFrame, columns: dict[str, str | None]) -> bool:
    """Whether there is a column for the series and one for the values."""
    roles = ("id_column", "target_column")
    if any(columns[role] for role in roles):
        return True
    return all(any(name in frame.columns for name in DIALECTS[role]) for role in roles)


def is_range(index: pd.Index) -> bool:
    """Whether an index is what pandas numbers the rows by."""
    return isinstance(index, pd.RangeIndex) and index.start == 0


def _tells_times(labels: pd.Series, day_first: bool | None) -> bool:
    """Whether labels of rows are dates, or text that says some."""
    if _holds_times(labels):
        return True
    text = any(isinstance(x, str) for x in labels.dropna().head(1))
    return text and bool(parse_times(labels, "the index", day_first).stamps.notna().any())


def _holds_times(series: Any) -> bool:
    if isinstance(series, pd.DataFrame):  # a column twice: from_wide says so
        return False
    if dtypes.is_datetime64_any_dtype(series.dtype) or isinstance(series.dtype, pd.PeriodDtype):
        return True
    first = series.dropna().head(1)
    return series.dtype == object and any(isinstance(v, datetime.date) for v in first)
