"""Any table a user may hold, as GluonTS entries: what :class:`timediff.Forecaster` reads.

Policy: rows may come in any order; a step without a row is NaN; series may start and end at
different times (NaN); a timestamp that comes twice is an error that names it; nothing that was
handed in is changed.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from timediff._any_table import by_group, flattened, indexed, is_long, is_range, to_pandas
from timediff._frequency import text_of
from timediff._tables import DIALECTS, find_column
from timediff.entries import start_of
from timediff.errors import DataError
from timediff.frames import from_long, from_wide, group_series
from timediff.histories import Entry, with_features


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
        freq = None if isinstance(freq, Mapping) else freq
        return _read_entries([data] if isinstance(data, Mapping) else list(data), freq)
    entry, names = _read_table(data, "frame", freq, columns, features or Features(), day_first)
    return Reading({"frame": entry}, names, grouped=False)


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

    if is_long(frame, columns):
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


def _with_period(entry: Entry, number: int, freq: str | pd.offsets.BaseOffset | None) -> Entry:
    """The entry with a period as its start, of the frequency that is given, if one is."""
    if freq is not None:
        return {**entry, "start": start_of(entry, f"entry number {number}", text_of(freq))}
    if not isinstance(entry["start"], pd.Period):
        raise DataError(
            f"entry number {number} starts at {entry['start']!r}, which tells no frequency: give "
            "freq=, or a pd.Period"
        )
    return entry


def _by_series(static: Any, id_column: str) -> pd.DataFrame:
    """A table of what does not change, its rows labelled by series."""
    frame = to_pandas(static)
    found = [c for c in (id_column, *DIALECTS["id_column"]) if c in frame.columns]
    return frame.set_index(found[0]) if found and is_range(frame.index) else frame


def _read_entries(entries: list[Any], freq: str | pd.offsets.BaseOffset | None) -> Reading:
    if not entries:
        raise DataError("the dataset has no entries")
    for i, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not {"start", "target"} <= entry.keys():
            raise DataError(f"entry number {i} has no start and target: it is {type(entry)}")
    entries = [_with_period(entry, i, freq) for i, entry in enumerate(entries)]
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
