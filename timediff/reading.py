"""Any table a user may hold, as GluonTS entries: what :class:`timediff.Forecaster` reads.

Policy: rows may come in any order; a step without a row is NaN; series may start and end at
different times (NaN); a timestamp that comes twice is an error that names it; nothing that was
handed in is changed.
"""

import datetime
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from timediff._tables import DIALECTS, find_column
from timediff.errors import DataError
from timediff.frames import from_long, from_wide, group_series
from timediff.histories import Entry, with_features

TIME_NAMES = ("ds", "timestamp", "date", "datetime", "time")


@dataclass(frozen=True)
class Names:
    """What the caller calls the columns of a long table; given back in the tables of a forecast.

    Attributes:
        id: the column with the series.
        time: with the timestamps.
        target: with the values.
        group: with the groups, if there are any.
    """

    id: str = "series"
    time: str = "timestamp"
    target: str = "value"
    group: str | None = None

    def within(self, table: Any) -> dict[str, Any]:
        """The arguments of :func:`read` for a long table that has these columns; else none."""
        if not {self.id, self.target} <= set(getattr(table, "columns", ())):
            return {}
        return {"id_column": self.id, "time_column": self.time, "target_column": self.target}


@dataclass(frozen=True)
class Features:
    """What is known beside a table; for a dict of tables each may be a dict with the same keys.

    Attributes:
        known: a table of features that are known ahead, time × features, or × (feature, series);
            it goes on beyond the end of the series. Of a long table, also a list of its columns.
        past: likewise, of those that are known of the past only.
        future: beside a long table, the later rows of its columns that are known ahead.
        static: a table of what does not change, series × features.
    """

    known: Any = None
    past: Any = None
    future: Any = None
    static: Any = None

    def __bool__(self) -> bool:
        return any(part is not None for part in vars(self).values())

    def of(self, key: Hashable) -> "Features":
        """Those of one group."""
        parts = vars(self).values()
        return Features(*(part[key] if isinstance(part, Mapping) else part for part in parts))

    def by_group(self, column: str | None) -> "Features":
        """With a dict of tables in place of each table that has this column of groups."""
        parts = {name: by_group(part, column) for name, part in vars(self).items()}
        return Features(**parts)


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
    freq: str | pd.offsets.BaseOffset | Mapping[Hashable, str | None] | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    target_column: str | None = None,
    group_column: str | None = None,
    features: "Features | None" = None,
) -> Reading:
    """Read a table, several of them, or a GluonTS dataset.

    Args:
        data: a wide frame (time × series) or series; a long frame in either dialect, or of any
            column names; both from pandas, polars or whatever narwhals reads; a dict of these, one
            for each group; or GluonTS entries, of which univariate ones are joined.
        freq: pandas frequency; inferred from the timestamps if None. Of a dict of tables also a
            dict with the same keys.
        id_column: of a long table, the column with the series.
        time_column: the column with the timestamps; also of a wide table that has them in a column.
        target_column: of a long table, the column with the values.
        group_column: of a table of several groups, wide or long, the column that says which one a
            row is of; tables of features that have it are read likewise.
        features: what is known beside the values.

    Raises:
        DataError: see :func:`timediff.from_wide` and :func:`timediff.from_long`; or the data are
            nothing of the above.
    """
    columns = {"id_column": id_column, "time_column": time_column, "target_column": target_column}
    if group_column is not None:
        if group_column not in getattr(data, "columns", ()):
            raise DataError(f"there is no column {group_column!r}, which is to hold the groups")
        data, features = (
            by_group(data, group_column),
            (features or Features()).by_group(group_column),
        )
    if isinstance(data, Mapping) and not {"start", "target"} <= data.keys():
        if not data:
            raise DataError("the dict of tables is empty")
        beside = features or Features()
        freqs = freq if isinstance(freq, Mapping) else dict.fromkeys(data, freq)
        try:
            parts = {
                key: _read_table(table, str(key), freqs[key], columns, beside.of(key))
                for key, table in data.items()
            }
        except KeyError as error:
            raise DataError(f"there are no features of group {error}") from None
        names = replace(next(iter(parts.values()))[1], group=group_column or "group")
        return Reading({key: entry for key, (entry, _) in parts.items()}, names, grouped=True)
    if isinstance(data, Mapping) or (
        isinstance(data, Iterable) and not hasattr(data, "columns") and not _is_series(data)
    ):
        if features not in (None, Features()):
            raise DataError(
                "GluonTS entries hold their features themselves: give no tables of them"
            )
        return _read_entries([data] if isinstance(data, Mapping) else list(data))
    entry, names = _read_table(data, "frame", freq, columns, features or Features())
    return Reading({"frame": entry}, names, grouped=False)


def by_group(data: Any, column: str | None) -> Any:
    """A table with a column of groups as a dict of tables; anything else is handed through.

    Raises:
        DataError: a row is of no group.
    """
    if column is None or column not in getattr(data, "columns", ()):
        return data
    frame = to_pandas(data)
    missing = frame[column].isna().to_numpy()
    if missing.any():
        raise DataError(f"row {int(missing.argmax())} has no group: its {column!r} is missing")
    groups = frame.groupby(column, sort=False, observed=True)
    return {
        key.item() if isinstance(key, np.generic) else key: part.drop(columns=column)
        for key, part in groups
    }


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
    data: Any,
    name: str,
    freq: str | pd.offsets.BaseOffset | None,
    columns: dict[str, str | None],
    features: Features,
) -> tuple[Entry, Names]:
    frame, time_column = to_pandas(data), columns["time_column"]
    known, past = (_columns_or_table(part) for part in (features.known, features.past))
    if _is_long(frame, columns):
        names = Names(*(find_column(frame, role, given) for role, given in columns.items()))
        static = None if features.static is None else _by_series(features.static, names.id)
        future = features.future
        (entry,) = from_long(
            frame,
            **columns,  # type: ignore[arg-type]
            freq=freq,
            known=known if isinstance(known, list) else (),
            past=past if isinstance(past, list) else (),
            future=None if future is None else to_pandas(future),
            static=static,
        )
        known, past = (None if isinstance(part, list) else part for part in (known, past))
        return with_features({**entry, "item_id": name}, known, past), names
    for part in (known, past, features.future):
        if isinstance(part, list) or part is features.future is not None:
            raise DataError(
                "a wide table has no columns for features: give tables known= and past="
            )
    frame, default = indexed(frame, time_column), Names()
    (entry,) = from_wide(
        frame,
        freq=freq,
        item_id=name,
        known=None if known is None else indexed(known, None),
        past=None if past is None else indexed(past, None),
        static=None if features.static is None else _by_series(features.static, default.id),
    )
    series = frame.columns.name or default.id
    return entry, Names(str(series), str(frame.index.name or default.time))


def _columns_or_table(given: Any) -> Any:
    """Names of columns as a list; anything else as a table of pandas; or None."""
    if given is None:
        return None
    if isinstance(given, str):
        return [given]
    if isinstance(given, Sequence):
        return list(given)
    return to_pandas(given)


def _by_series(static: Any, id_column: str) -> pd.DataFrame:
    """A table of what does not change, its rows labelled by series."""
    frame = to_pandas(static)
    if isinstance(frame.index, pd.RangeIndex) and id_column in frame.columns:
        return frame.set_index(id_column)
    return frame


def _is_long(frame: pd.DataFrame, columns: dict[str, str | None]) -> bool:
    """Whether there is a column for the series and one for the values."""
    roles = ("id_column", "target_column")
    if any(columns[role] for role in roles):
        return True
    return all(any(name in frame.columns for name in DIALECTS[role]) for role in roles)


def indexed(frame: pd.DataFrame, time_column: str | None = None) -> pd.DataFrame:
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
