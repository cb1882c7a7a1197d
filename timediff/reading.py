"""Any table a user may hold, as GluonTS entries: what :class:`timediff.Forecaster` reads.

Policy: rows may come in any order; a step without a row is NaN; series may start and end at
different times (NaN); a timestamp that comes twice is an error that names it; nothing that was
handed in is changed.
"""

import datetime
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from timediff._frequency import of_years, text_of
from timediff._tables import DIALECTS, check_pairs, find_column, long_columns
from timediff._times import hint, parse_times, read_times
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
        """The arguments of :func:`read` for a long table of pandas with these columns; or none."""
        there = {self.id, self.target} <= set(getattr(table, "columns", ()))
        return dict(self.columns) if there else {}

    @property
    def columns(self) -> dict[str, str | None]:
        """By the names of the arguments of :func:`read`."""
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

    def check_groups(self, keys: Iterable[Hashable]) -> None:
        """Raise unless all that there is belongs to one of these groups.

        Raises:
            DataError: a table is of another group.
        """
        keys = list(keys)
        for name, part in vars(self).items():
            unknown = [key for key in part if key not in keys] if isinstance(part, Mapping) else []
            if unknown:
                raise DataError(f"{name}: there is no group {unknown[0]!r}: groups are {keys}")

    def within(self, keys: Iterable[Hashable]) -> "Features":
        """The same with None for the groups of which there is nothing.

        Raises:
            DataError: one is of none of these groups.
        """
        keys = list(keys)
        self.check_groups(keys)
        parts = {
            name: {key: part.get(key) for key in keys} if isinstance(part, Mapping) else part
            for name, part in vars(self).items()
        }
        return Features(**parts)

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
    day_first: bool | None = None,
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
        day_first: whether the day comes first in text such as ``05.01.2024``, where it does not
            tell. What is known of that is in ``info["day_first"]`` of the entries.

    Raises:
        DataError: see :func:`timediff.from_wide` and :func:`timediff.from_long`; or the data are
            nothing of the above.
    """
    columns = {"id_column": id_column, "time_column": time_column, "target_column": target_column}
    data = flattened(data, columns | {"group_column": group_column})
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
        beside.check_groups(data)
        freqs = freq if isinstance(freq, Mapping) else dict.fromkeys(data, freq)
        try:
            parts = {
                key: _read_table(table, str(key), freqs[key], columns, beside.of(key), day_first)
                for key, table in data.items()
            }
        except KeyError as error:
            raise DataError(f"there are no features of group {error}") from None
        names = replace(next(iter(parts.values()))[1], group=group_column or "group")
        return Reading({key: entry for key, (entry, _) in parts.items()}, names, grouped=True)
    if isinstance(data, Mapping) or (
        isinstance(data, Iterable)
        and not isinstance(data, str | np.ndarray)
        and not hasattr(data, "columns")
        and not _is_series(data)
    ):
        if features not in (None, Features()):
            raise DataError(
                "GluonTS entries hold their features themselves: give no tables of them"
            )
        return _read_entries([data] if isinstance(data, Mapping) else list(data))
    entry, names = _read_table(data, "frame", freq, columns, features or Features(), day_first)
    return Reading({"frame": entry}, names, grouped=False)


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


def _is_series(data: Any) -> bool:
    return isinstance(data, pd.Series) or hasattr(data, "to_frame")


def _read_table(
    data: Any,
    name: str,
    freq: str | pd.offsets.BaseOffset | None,
    columns: dict[str, str | None],
    features: Features,
    day_first: bool | None,
) -> tuple[Entry, Names]:
    frame, freq = to_pandas(data), None if freq is None else text_of(freq)
    known, past = (_columns_or_table(part) for part in (features.known, features.past))

    def stamped(part: Any) -> Any:
        return None if part is None else indexed(part, None, freq, day_first)[0]

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
            day_first=day_first,
        )
        day_first = entry["info"].get("day_first")
        known, past = (None if isinstance(part, list) else stamped(part) for part in (known, past))
        return with_features({**entry, "item_id": name}, known, past), names
    for part in (known, past, features.future):
        if isinstance(part, list) or part is features.future is not None:
            raise DataError(
                "a wide table has no columns for features: give tables known= and past="
            )
    default = Names()
    frame, day_first = indexed(frame, columns["time_column"], freq, day_first)
    (entry,) = from_wide(
        frame,
        freq=freq,
        item_id=name,
        known=stamped(known),
        past=stamped(past),
        static=None if features.static is None else _by_series(features.static, default.id),
    )
    if day_first is not None:
        entry["info"]["day_first"] = day_first
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
    found = [c for c in (id_column, *DIALECTS["id_column"]) if c in frame.columns]
    return frame.set_index(found[0]) if found and _is_range(frame.index) else frame


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


def _is_long(frame: pd.DataFrame, columns: dict[str, str | None]) -> bool:
    """Whether there is a column for the series and one for the values."""
    roles = ("id_column", "target_column")
    if any(columns[role] for role in roles):
        return True
    return all(any(name in frame.columns for name in DIALECTS[role]) for role in roles)


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
    numbers = dtypes.is_integer_dtype(frame.index.dtype) and not _is_range(frame.index)
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


def _is_range(index: pd.Index) -> bool:
    """Whether an index is what pandas numbers the rows by."""
    return isinstance(index, pd.RangeIndex) and index.start == 0


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
    if not _is_long(frame, dict(columns)):
        return indexed(frame, None, freq, day_first)[0]
    ids, time, target = (find_column(frame, role, name) for role, name in columns.items())
    long, _ = long_columns(frame, [ids, time, target], "what is given", freq, day_first)
    check_pairs(long, ids, time)
    return long.pivot(index=time, columns=ids, values=target)


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
    grouped = len(entries) > 1
    names = Names(group="group" if grouped else None)
    return Reading(dict(zip(keys, named, strict=True)), names, grouped)
