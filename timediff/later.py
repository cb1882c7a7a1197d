"""Tables that come after a forecaster was fitted, read as those that it was fitted to."""

import dataclasses
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from timediff._calendars import calendar_of
from timediff._frequency import frequency
from timediff._tables import own_calendar
from timediff.errors import DataError
from timediff.features import KNOWN, PAST
from timediff.histories import Entry, with_features
from timediff.reading import Features, Names, Reading, indexed, read, to_pandas
from timediff.scenarios import Given


@dataclass(frozen=True)
class Kept:
    """What is kept of the tables that a forecaster was fitted to.

    Attributes:
        entries: the history of each group.
        names: of the columns of a long table.
        freq: the frequency that was given, if any.
        model_freq: the frequency of the model; None before there is one.
    """

    entries: dict[Hashable, Entry]
    names: Names
    freq: str | None
    model_freq: str | None

    def read(self, data: Any, features: Features, rows: bool = False) -> Reading:
        """Read a table of the same kind: of a long one, the columns that have the same names.

        Its columns of features are found by their names, too.

        Args:
            data: as of :func:`timediff.reading.read`.
            features: likewise.
            rows: whether these are rows of the same table, maybe too few to tell their frequency.
        """
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
            features = dataclasses.replace(features, known=parts[KNOWN], past=parts[PAST])
        else:
            columns = {}
        freqs = {key: self._freq(key, table, rows) for key, table in named.items()}
        freq = freqs if isinstance(data, Mapping) else freqs[None]
        return read(data, freq=freq, features=features, **columns)

    def _freq(self, key: Hashable, table: Any, rows: bool) -> str | None:
        """By what to read the table of a group; None for what its index or its timestamps say."""
        if self.freq is not None:
            return self.freq
        entry = self.entries.get(key, next(iter(self.entries.values()), None))
        if rows and entry is not None:
            return frequency(entry)
        if calendar_of(self.model_freq or "") is None:
            return None
        if own_calendar(getattr(table, "index", None)) is not None:
            return None
        return self.model_freq if entry is None else frequency(entry)

    def _feature_names(self, field: str) -> list[str]:
        entry = next(iter(self.entries.values()), {})
        return list(entry.get("info", {}).get("features", {}).get(field, ()))

    def known(self, features: Features) -> dict[Hashable, Entry]:
        """The history, with what has become known of its features.

        Raises:
            DataError: the features are not those of the history.
        """
        if not features:
            return self.entries
        if features.static is not None:
            raise DataError("what does not change was given to fit: give it only with other data")
        entries = {}
        for key, entry in self.entries.items():
            part = features.of(key)
            tables = [
                None if table is None else indexed(to_pandas(table))
                for table in (part.known, part.past)
            ]
            if part.future is not None:
                entry = with_features(entry, self._pivoted(to_pandas(part.future)))
            entries[key] = with_features(entry, *tables)
        return entries

    def _pivoted(self, long: pd.DataFrame) -> pd.DataFrame:
        """Later rows of a long table as time × (feature, series)."""
        ids, time, features = self.names.id, self.names.time, self._feature_names(KNOWN)
        for column in (ids, time, *features):
            if column not in long:
                raise DataError(f"future has no column {column!r}, only {list(long.columns)}")
        twice = long.duplicated([ids, time])
        if twice.any():
            series, when = long.loc[twice.to_numpy(), [ids, time]].iloc[0]
            raise DataError(f"future: series {series!r} has two rows at {when}")
        wide = long.set_index([time, ids])[features].unstack(ids)
        return wide.set_axis(pd.DatetimeIndex(wide.index), axis=0)


def scenarios(
    given: Any,
    totals: Mapping[Any, Any] | None,
    history: dict[Hashable, Entry],
    grouped: bool,
    prediction_length: int,
) -> list[Given | None]:
    """What is given of each group's horizon.

    Args:
        given: a table, or for groups a dict of tables; see :meth:`timediff.Given.from_frame`.
        totals: as there.
        history: the groups.
        grouped: whether there are groups.
        prediction_length: P.

    Raises:
        DataError: a table cannot be read, contradicts itself, or is of no group.
    """
    if grouped and not isinstance(given, Mapping):
        raise DataError("there are several groups: what is given must be a dict of tables")
    tables = given if grouped else dict.fromkeys(history, given)
    unknown = [key for key in tables if key not in history]
    if unknown:
        raise DataError(f"what is given is of a group {unknown[0]!r}: groups are {[*history]}")
    return [
        Given.from_frame(indexed(to_pandas(tables[key])), entry, prediction_length, totals)
        if key in tables
        else None
        for key, entry in history.items()
    ]
