"""One table of all there is, as a server is sent it: history, features, and what is known ahead."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from timediff._any_table import by_group, flattened, indexed, to_pandas
from timediff._tables import DIALECTS
from timediff._times import read_times
from timediff.errors import DataError
from timediff.feature_spec import FeatureSpec
from timediff.features import CATEGORY, REAL
from timediff.histories import Entry
from timediff.later import Kept


class Parts(NamedTuple):
    """A table taken apart, as :meth:`timediff.Forecaster.predict` takes the parts.

    Attributes:
        data: rows up to the last in which a series was observed; None without any observation.
        known: features of the rows of all series; of a long table also a list of its columns.
        past: likewise, of those that are known of the past only.
        future: of a long table, the rows after ``data``.
    """

    data: Any
    known: Any = None
    past: Any = None
    future: Any = None


def taken_apart(table: Any, kept: Kept, spec: FeatureSpec) -> dict[str, Any]:
    """The arguments of ``predict`` that one table of series and features is.

    After the last row in which any series was observed, rows are of the horizon: they hold what is
    known ahead. Columns are features by their names. A table in which nothing was observed goes on
    from the history that was kept. What does not change is that of the history.

    Args:
        table: wide or long, of one group or with the column of groups; not changed.
        kept: of the forecaster.
        spec: the features of the model.

    Raises:
        DataError: a feature that is known ahead has no column, or is not the same for all series
            though the model has one for all; or only some groups have observations.
    """
    if not spec:
        return {"data": table}
    groups = by_group(flattened(table, kept.names.columns), kept.names.group)
    if not isinstance(groups, Mapping):
        parts = _apart(to_pandas(groups), kept, spec)._asdict()
        one = None if kept.grouped else next(iter(kept.entries.values()), None)
        return parts | {"static": None if parts["data"] is None else _static(one)}
    pieces = {key: _apart(frame, kept, spec) for key, frame in groups.items()}
    empty = [key for key, piece in pieces.items() if piece.data is None]
    if empty and len(empty) < len(pieces):
        raise DataError(f"group {empty[0]!r} has no observation, but others have: give it some")
    found: dict[str, Any] = {}
    for field in Parts._fields:
        own = {key: getattr(piece, field) for key, piece in pieces.items()}
        found[field] = None if all(part is None for part in own.values()) else own
    if found["data"] is not None:
        static = {key: _static(kept.entries.get(key)) for key in pieces}
        found["static"] = static if any(part is not None for part in static.values()) else None
    return found


def _apart(frame: pd.DataFrame, kept: Kept, spec: FeatureSpec) -> Parts:
    known, past = list(spec.known.names or ()), list(spec.past.names or ())
    if not known and not past:
        return Parts(frame)
    _check_columns(frame, known)
    ids, time = (_column(frame, role, kept) for role in ("id_column", "time_column"))
    if ids is None or time is None:
        return _wide(frame, known, past, kept)
    return _long(frame, ids, time, known, past, kept, spec)


def _check_columns(frame: pd.DataFrame, names: list[str]) -> None:
    """Raise a DataError unless all of these features are columns."""
    lacking = [name for name in names if name not in frame.columns]
    if lacking:
        raise DataError(
            f"the table has no column {lacking[0]!r}, a feature that the model was fitted with: "
            f"columns are {list(frame.columns)}"
        )


def _column(frame: pd.DataFrame, role: str, kept: Kept) -> str | None:
    """The column of a long table with this role, if there is one."""
    names = (kept.names.columns[role], *DIALECTS[role])
    return next((name for name in names if name in frame.columns), None)


def _wide(frame: pd.DataFrame, known: list[str], past: list[str], kept: Kept) -> Parts:
    frame = indexed(frame, None, kept.freq, kept.day_first)[0]
    series = frame.drop(columns=[c for c in (*known, *past) if c in frame.columns])
    seen = series.notna().any(axis=1).to_numpy()
    ahead = frame[known] if known else None
    if not seen.any():
        return Parts(None, ahead)
    _check_columns(frame, past)
    before = frame.index <= frame.index[seen].max()
    return Parts(series[before], ahead, frame.loc[before, past] if past else None)


def _long(
    frame: pd.DataFrame,
    ids: str,
    time: str,
    known: list[str],
    past: list[str],
    kept: Kept,
    spec: FeatureSpec,
) -> Parts:
    stamps, _ = read_times(frame[time], None, frame[ids], kept.freq, kept.day_first)
    frame = frame.assign(**{time: stamps})
    target = _column(frame, "target_column", kept)
    before = pd.Series(False, frame.index)
    if target is not None and frame[target].notna().any():
        before = stamps <= stamps[frame[target].notna()].max()
    rows, later = frame[before], frame[~before]
    ahead: Any = None
    future = None
    if known and not spec.known.own:
        ahead = _of_all(frame, time, known)
    elif known:
        ahead = known if len(rows) else None
        future = later[[ids, time, *known]] if len(later) else None
    if not len(rows):
        if future is not None:  # as the history calls them
            future = future.set_axis([kept.names.id, kept.names.time, *known], axis=1)
        return Parts(None, ahead, None, future)
    _check_columns(frame, past)
    behind: Any = past if spec.past.own else _of_all(rows, time, past)
    return Parts(rows, ahead, behind if past else None, future)


def _of_all(long: pd.DataFrame, time: str, names: list[str]) -> pd.DataFrame:
    """Features that all series share, of a long table, time × features."""
    by_time = long.groupby(time)[names]
    several = (by_time.nunique() > 1).any(axis=1)
    if several.any():
        raise DataError(
            f"a feature of {names} is not the same for all series at {several.idxmax()}, but the "
            "model was fitted with one for all"
        )
    return by_time.first()


def _static(entry: Entry | None) -> pd.DataFrame | None:
    """What does not change of a history, series × features, as tables hold it."""
    names = {} if entry is None else entry["info"].get("features", {})
    if entry is None or not {REAL, CATEGORY} & names.keys():
        return None
    columns = dict(zip(names.get(REAL, ()), entry.get(REAL, ()), strict=True))
    coded = (names.get(CATEGORY, ()), entry.get(CATEGORY, ()), names.get("categories", ()))
    for name, codes, labels in zip(*coded, strict=True):
        columns[name] = [labels[int(code)] for code in codes]
    return pd.DataFrame(columns, pd.Index(entry["info"]["columns"], tupleize_cols=False))
