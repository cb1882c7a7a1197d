"""Tables that come after a forecaster was fitted, read as those that it was fitted to."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import pandas as pd

from timediff._any_table import by_group, flattened, indexed, scenario, to_pandas
from timediff._calendars import calendar_of
from timediff._frequency import frequency
from timediff._stamps import index_of
from timediff._tables import check_pairs, long_columns, own_calendar
from timediff.errors import DataError
from timediff.features import ARGUMENTS, KNOWN, PAST
from timediff.frames import to_wide
from timediff.histories import Entry, aligned, check_zone, extended, with_features
from timediff.reading import Features, Names, Reading, read
from timediff.scenarios import Given


@dataclass(frozen=True)
class Kept:
    """What is kept of the tables that a forecaster was fitted to: the history it goes on from.

    Attributes:
        entries: the history of each group.
        names: of the columns of a long table.
        grouped: whether there are groups.
        freq: the frequency that was given, if any.
        model_freq: the frequency of the model; None before there is one.
        columns: the series in the order of the model; likewise.
        day_first: whether the day comes first in text such as ``05.01.2024``; None if not known.
    """

    entries: dict[Hashable, Entry] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    grouped: bool = False
    freq: str | None = None
    model_freq: str | None = None
    columns: list[Any] | None = None
    day_first: bool | None = None

    @classmethod
    def of(cls, reading: Reading, columns: list[Any] | None = None) -> "Kept":
        """What was read, its series in the order of the first group's, or in this one.

        Raises:
            DataError: the groups have not the same series, or only some have a time zone.
        """
        (first, one), *others = reading.entries.items()
        for key, other in others:
            check_zone(other, one, f"group {key!r}", f"group {first!r}")
        columns = columns or one["info"]["columns"]
        entries = {key: aligned(entry, columns, key) for key, entry in reading.entries.items()}
        orders = (entry.get("info", {}).get("day_first") for entry in entries.values())
        day_first = next((order for order in orders if order is not None), None)
        names, grouped = reading.names, reading.grouped
        return cls(entries, names, grouped, columns=columns, day_first=day_first)

    def reading(self, data: Any, features: Features, rows: bool = False) -> Reading:
        """A table of the same kind: of a long one, the columns that have the same names.

        Its columns of features are found by their names, too.

        Args:
            data: as of :func:`timediff.reading.read`.
            features: likewise.
            rows: whether these are rows of the same table, maybe too few to tell their frequency.
        """
        columns = self.names.columns | {"group_column": self.names.group}
        data = by_group(flattened(data, columns), self.names.group)
        features = features.by_group(self.names.group)
        named = data if isinstance(data, Mapping) else {None: data}
        tables = list(named.values())
        labels = [set(getattr(table, "columns", ())) for table in tables]
        columns = self.names.within(tables[0]) if tables else {}
        if columns and all(self.names.within(table) for table in tables):
            parts = {KNOWN: features.known, PAST: features.past}
            for field, given in parts.items():
                wanted = self._feature_names(field)
                if given is None and wanted and all(set(wanted) <= found for found in labels):
                    parts[field] = wanted
            features = replace(features, known=parts[KNOWN], past=parts[PAST])
        else:
            columns = {}
        freqs = {key: self._freq(key, table, rows) for key, table in named.items()}
        freq = freqs if isinstance(data, Mapping) else freqs[None]
        reading = read(data, freq=freq, features=features, day_first=self.day_first, **columns)
        if reading.grouped and self.names.group is not None:
            reading = replace(reading, names=replace(reading.names, group=self.names.group))
        return reading

    def _freq(self, key: Hashable, table: Any, rows: bool) -> str | None:
        """By what to read the table of a group; None for what its index or its timestamps say."""
        if self.freq is not None:
            return self.freq
        entry = self.entries.get(key, next(iter(self.entries.values()), None))
        known = self.model_freq if entry is None else frequency(entry)
        if rows or self._is_short(table):
            return known
        told = own_calendar(getattr(table, "index", None)) is not None
        return None if told or calendar_of(self.model_freq or "") is None else known

    def _is_short(self, table: Any) -> bool:
        """Whether a table has too few times to tell their frequency."""
        if not isinstance(table, pd.DataFrame | pd.Series):
            return False
        long = self.names.within(table) and self.names.time in table
        return (table[self.names.time] if long else table.index).nunique() < 3

    def _feature_names(self, field: str) -> list[str]:
        entry = next(iter(self.entries.values()), {})
        return list(entry.get("info", {}).get("features", {}).get(field, ()))

    def or_other(self, method: str, data: Any, features: Features) -> "Kept":
        """The history with these features; or that of other data, in the order of the model.

        Args:
            method: what asks for it, for the error.
            data: a table or tables; None for the history.
            features: what has become known of the history, or all that belongs to the data.

        Raises:
            DataError: there is no history, or the data have other series.
        """
        found = self.known(features) if data is None else self.read(data, features)
        return found.needed_by(method)

    def needed_by(self, method: str) -> "Kept":
        """Itself, if there is a history.

        Raises:
            DataError: there is none; names the method that takes one.
        """
        if not self.entries:
            raise DataError(f"there is no history: give one with {method}(data)")
        return self

    def read(self, data: Any, features: Features, rows: bool = False) -> "Kept":
        """Tables of the same series, in the order of the model where there is one.

        Args:
            data: see :meth:`reading`.
            features: likewise.
            rows: likewise.

        Raises:
            DataError: they have other series, or only they or the history have a time zone.
        """
        found = Kept.of(self.reading(data, features, rows), self.columns)
        order = self.day_first if found.day_first is None else found.day_first
        found = replace(found, freq=self.freq, day_first=order)
        for own in list(self.entries.values())[:1]:
            check_zone(next(iter(found.entries.values())), own, "the table", "the history")
        return found

    def extended(self, data: Any, features: Features) -> "Kept":
        """The history with newer rows, and with what has become known of its features.

        Raises:
            DataError: the rows have other series, another frequency, or are of an unknown group; or
                there is no history.
        """
        self.needed_by("predict")
        new = self.read(data, Features(), rows=True)
        history, keys = dict(self.entries), list(self.entries)
        for key, entry in new.entries.items():
            key = keys[0] if not self.grouped and not new.grouped else key
            if key not in history:
                if self.grouped and not new.grouped:
                    self._ask_for_groups("the new rows")
                if not self.grouped:
                    raise DataError("there are no groups: give a table, not a dict of them")
                raise DataError(f"there is no group {key!r}: groups are {keys}")
            history[key] = extended(history[key], entry)
        order = new.day_first if self.day_first is None else self.day_first
        return replace(self, entries=history, day_first=order).known(features)

    def _ask_for_groups(self, what: str) -> NoReturn:
        raise DataError(
            f"there are several groups, {[*self.entries]}: {what} must be a dict of tables with "
            f"some of these keys, or a table with the column {self.names.group!r}"
        )

    def tables(self) -> pd.DataFrame | dict[Hashable, pd.DataFrame]:
        """As a wide table, or one for each group."""
        tables = {
            key: to_wide(entry).set_axis(
                index_of(entry["start"], entry["target"].shape[1], entry["info"]), axis=0
            )
            for key, entry in self.entries.items()
        }
        return tables if self.grouped else next(iter(tables.values()))

    def known(self, features: Features) -> "Kept":
        """The history, with what has become known of its features.

        Raises:
            DataError: the features are not those of the history.
        """
        if not features:
            return self
        if features.static is not None:
            raise DataError("what does not change was given to fit: give it only with other data")
        features = features.by_group(self.names.group).within(self.entries)
        entries = {}
        for key, entry in self.entries.items():
            part = features.of(key)
            given = {KNOWN: (part.known, part.future), PAST: (part.past,)}
            for kind, parts in given.items():
                if entry.get(kind) is None and any(table is not None for table in parts):
                    raise DataError(
                        f"the model was fitted without features of this kind, {kind}: leave out "
                        f"{ARGUMENTS[kind]}" + (" and future=" if kind == KNOWN else "")
                    )
            tables = [
                None if table is None else self._indexed(to_pandas(table))
                for table in (part.known, part.past)
            ]
            if part.future is not None:
                entry = with_features(entry, self._pivoted(to_pandas(part.future)))
            entries[key] = with_features(entry, *tables)
        return replace(self, entries=entries)

    def _indexed(self, table: pd.DataFrame) -> pd.DataFrame:
        return indexed(table, None, self.freq, self.day_first)[0]

    def _scenario(self, data: Any) -> pd.DataFrame:
        """What is given of a horizon as a wide table; a long one by its own names or the usual."""
        own = flattened(data, self.names.columns)
        columns = self.names.within(own) or dict.fromkeys(self.names.columns)
        return scenario(own, columns, self.freq, self.day_first)

    def _pivoted(self, long: pd.DataFrame) -> pd.DataFrame:
        """Later rows of a long table as time × (feature, series)."""
        ids, time, features = self.names.id, self.names.time, self._feature_names(KNOWN)
        columns = [ids, time, *features]
        long, _ = long_columns(long, columns, "future", self.freq, self.day_first)
        check_pairs(long, ids, time)
        wide = long.set_index([time, ids])[features].unstack(ids)
        return wide.set_axis(pd.DatetimeIndex(wide.index), axis=0)

    def scenarios(
        self, given: Any, totals: Mapping[Any, Any] | None, prediction_length: int
    ) -> list[Given | None]:
        """What is given of each group's horizon.

        Args:
            given: a table, or for groups a dict of tables; see :meth:`timediff.Given.from_frame`.
            totals: as there.
            prediction_length: P.

        Raises:
            DataError: a table cannot be read, contradicts itself, or is of no group.
        """
        given = by_group(given, self.names.group)
        if self.grouped and not isinstance(given, Mapping):
            self._ask_for_groups("what is given")
        if not self.grouped and isinstance(given, Mapping):
            raise DataError("there are no groups: what is given must be a table, not a dict")
        tables = given if self.grouped else dict.fromkeys(self.entries, given)
        unknown = [key for key in tables if key not in self.entries]
        if unknown:
            raise DataError(
                f"what is given is of a group {unknown[0]!r}: groups are {[*self.entries]}"
            )
        return [
            Given.from_frame(self._scenario(tables[key]), entry, prediction_length, totals)
            if key in tables
            else None
            for key, entry in self.entries.items()
        ]
