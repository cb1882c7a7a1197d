"""Any table a user may hold, as GluonTS entries: what :class:`timediff.Forecaster` reads.

Policy: rows may come in any order; a step without a row is NaN; series may start and end at
different times (NaN); a timestamp that comes twice is an error that names it; nothing that was
handed in is changed.
"""

import datetime
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from timediff._tables import DIALECTS, find_column
from timediff.errors import DataError
from timediff.frames import from_long, from_wide, group_series
from timediff.registry import unknown_name

TIME_NAMES = ("ds", "timestamp", "date", "datetime", "time")
Entry = dict[str, Any]


@dataclass(frozen=True)
class Names:
    """What the caller calls the columns of a long table; given back in the tables of a forecast."""

    id: str = "series"
    time: str = "timestamp"
    target: str = "value"


@dataclass(frozen=True)
class Reading:
    """A caller's data.

    Attributes:
        entries: one multivariate entry for each group, in its order.
        names: of the columns of a long table, or of the axes of a wide one.
        grouped: whether there are groups: a dict or several entries came in, and a dict goes out.
    """

    entries: dict[Hashable, Entry]
    names: Names
    grouped: bool


def read(
    data: Any,
    *,
    freq: str | pd.offsets.BaseOffset | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    target_column: str | None = None,
) -> Reading:
    """Read a table, several of them, or a GluonTS dataset.

    Args:
        data: a wide frame (time × series) or series; a long frame in either dialect, or of any
            column names; both from pandas, polars or whatever narwhals reads; a dict of these, one
            for each group; or GluonTS entries, of which univariate ones are joined.
        freq: pandas frequency; inferred from the timestamps if None.
        id_column: of a long table, the column with the series.
        time_column: the column with the timestamps; also of a wide table that has them in a column.
        target_column: of a long table, the column with the values.

    Raises:
        DataError: see :func:`timediff.from_wide` and :func:`timediff.from_long`; or the data are
            nothing of the above.
    """
    columns = {"id_column": id_column, "time_column": time_column, "target_column": target_column}
    if isinstance(data, Mapping) and not {"start", "target"} <= data.keys():
        if not data:
            raise DataError("the dict of tables is empty")
        parts = {key: _read_table(table, str(key), freq, columns) for key, table in data.items()}
        names = next(iter(parts.values()))[1]
        return Reading({key: entry for key, (entry, _) in parts.items()}, names, grouped=True)
    if isinstance(data, Mapping) or (
        isinstance(data, Iterable) and not hasattr(data, "columns") and not _is_series(data)
    ):
        return _read_entries([data] if isinstance(data, Mapping) else list(data))
    entry, names = _read_table(data, "frame", freq, columns)
    return Reading({"frame": entry}, names, grouped=False)


def aligned(entry: Entry, columns: list[Any], name: Hashable) -> Entry:
    """The entry with its series in this order.

    Raises:
        DataError: a series is missing, or is not among them.
    """
    own = (entry.get("info") or {}).get("columns")
    if own is None or own == columns:
        return entry
    extra = [c for c in own if c not in columns]
    if extra:
        error = unknown_name("series", extra[0], [str(c) for c in columns])
        raise DataError(f"table {name!r}: {error}; leave the column out, or fit with it")
    for column in columns:
        if column not in own:
            raise DataError(
                f"table {name!r} has no series {column!r}, which the model was fitted with: add "
                "it, with NaN where it was not observed"
            )
    order = [own.index(column) for column in columns]
    info = {**entry["info"], "columns": list(columns)}
    return {**entry, "target": entry["target"][order], "info": info}


def extended(history: Entry, new: Entry) -> Entry:
    """The history with newer rows; where they overlap the new values win, NaN excepted.

    Raises:
        DataError: the rows have another frequency, or lie on another grid.
    """
    start = history["start"]
    if new["start"].freq != start.freq:
        raise DataError(
            f"the new rows have frequency {new['start'].freqstr!r}, the history {start.freqstr!r}"
        )
    if new["info"].get("clock") != history["info"].get("clock"):
        zones = [entry["info"].get("tz", "none") for entry in (new, history)]
        raise DataError(f"the new rows have the time zone {zones[0]}, the history {zones[1]}")
    offset, off_grid = divmod(new["start"].ordinal - start.ordinal, start.freq.n)
    if off_grid or new["info"].get("phase") != history["info"].get("phase"):
        raise DataError(f"the new rows start at {new['start']}, between the steps of the history")
    before = max(0, -offset)
    old, rows = history["target"], new["target"]
    length = before + max(old.shape[1], offset + rows.shape[1])
    target = np.full((len(old), length), np.nan, dtype=np.float32)
    target[:, before : before + old.shape[1]] = old
    part = target[:, before + offset : before + offset + rows.shape[1]]
    np.copyto(part, rows, where=~np.isnan(rows))
    return {**history, "start": start - before, "target": target}


def to_pandas(data: Any) -> pd.DataFrame:
    """A frame of any library as one of pandas; one of pandas is handed through.

    Raises:
        DataError: it is no table.
    """
    if isinstance(data, pd.Series):
        return data.to_frame("value" if data.name is None else data.name)
    if isinstance(data, pd.DataFrame):
        return data
    import narwhals as nw

    try:
        native = nw.from_native(data)
    except TypeError:
        raise DataError(
            f"a {type(data).__name__} is no table: give a DataFrame, a dict of them, or GluonTS "
            "entries with start and target"
        ) from None
    frame = native.collect() if isinstance(native, nw.LazyFrame) else native
    return frame.to_pandas()


def _is_series(data: Any) -> bool:
    return isinstance(data, pd.Series) or hasattr(data, "to_frame")


def _read_table(
    data: Any, name: str, freq: str | pd.offsets.BaseOffset | None, columns: dict[str, str | None]
) -> tuple[Entry, Names]:
    frame = to_pandas(data)
    if _is_long(frame, columns):
        (entry,) = from_long(frame, freq=freq, **columns)
        found = [find_column(frame, role, given) for role, given in columns.items()]
        return {**entry, "item_id": name}, Names(*found)
    frame = _indexed(frame, columns["time_column"])
    (entry,) = from_wide(frame, freq=freq, item_id=name)
    default = Names()
    series = frame.columns.name or default.id
    return entry, Names(str(series), str(frame.index.name or default.time))


def _is_long(frame: pd.DataFrame, columns: dict[str, str | None]) -> bool:
    """Whether there is a column for the series and one for the values."""
    roles = ("id_column", "target_column")
    if any(columns[role] for role in roles):
        return True
    return all(any(name in frame.columns for name in DIALECTS[role]) for role in roles)


def _indexed(frame: pd.DataFrame, time_column: str | None) -> pd.DataFrame:
    """A wide table with its timestamps as the index."""
    if time_column is None:
        if isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex):
            return frame
        if isinstance(frame.index.dtype, pd.ArrowDtype):
            return frame.set_axis(pd.DatetimeIndex(frame.index), axis=0)
        times = [c for c in frame.columns if _holds_times(frame[c])]
        times = times or [c for c in frame.columns if str(c).lower() in TIME_NAMES]
        if len(times) != 1:
            raise DataError(
                f"the index holds {frame.index.dtype}, and "
                + (f"the columns {times} all hold times" if times else "no column holds times")
                + ": give time_column=, or set a DatetimeIndex"
            )
        time_column = times[0]
    if time_column not in frame.columns:
        raise DataError(f"there is no column {time_column!r}: columns are {list(frame.columns)}")
    times = frame[time_column]
    if isinstance(times.dtype, pd.PeriodDtype):
        index: pd.Index = pd.PeriodIndex(times)
    elif dtypes.is_numeric_dtype(times.dtype):
        raise DataError(f"column {time_column!r} holds {times.dtype}, not timestamps")
    else:
        parsed = pd.to_datetime(times, errors="coerce")
        if parsed.isna().any():
            row = int(parsed.isna().to_numpy().argmax())
            raise DataError(f"{times.iloc[row]!r} in column {time_column!r}, row {row}, is no time")
        index = pd.DatetimeIndex(parsed)
    return frame.drop(columns=time_column).set_axis(index.rename(time_column), axis=0)


def _holds_times(series: Any) -> bool:
    if isinstance(series, pd.DataFrame):  # a column twice: from_wide says so
        return False
    if dtypes.is_datetime64_any_dtype(series.dtype) or isinstance(series.dtype, pd.PeriodDtype):
        return True
    first = series.dropna().head(1)
    return series.dtype == object and any(isinstance(v, datetime.date) for v in first)


def _read_entries(entries: list[Any]) -> Reading:
    if not entries:
        raise DataError("the dataset has no entries")
    for i, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not {"start", "target"} <= entry.keys():
            raise DataError(f"entry number {i} has no start and target: it is {type(entry)}")
    if all(np.ndim(entry["target"]) == 1 for entry in entries):
        entries = group_series(entries)
    keys = [entry.get("item_id", i) for i, entry in enumerate(entries)]
    if len(set(keys)) < len(keys):
        raise DataError(f"two entries have the item_id {max(keys, key=keys.count)!r}")
    named = []
    for entry in entries:
        info = dict(entry.get("info") or {})
        info.setdefault("columns", [str(i) for i in range(len(entry["target"]))])
        named.append({**entry, "info": info})
    return Reading(dict(zip(keys, named, strict=True)), Names(), grouped=len(entries) > 1)
