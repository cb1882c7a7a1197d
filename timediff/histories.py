"""What becomes of a history: its series put in order, new rows, features that come later."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from timediff._calendars import calendar_of, named
from timediff._feature_tables import Grid, read_tables
from timediff._frequency import frequency, model_frequency, moved
from timediff._stamps import same_stamps, stamps_of, step_name
from timediff.errors import DataError, warn
from timediff.features import CATEGORY, KNOWN, PAST, REAL
from timediff.frames import to_wide
from timediff.registry import unknown_name

Entry = dict[str, Any]
MOST_EMPTY = 10  # times the longer of history and new rows, by which the former may be lengthened


def aligned(
    entry: Entry,
    columns: list[Any],
    name: Hashable,
    whose: str = "which the model was fitted with",
) -> Entry:
    """The entry with its series in this order.

    Args:
        entry: may have them in another.
        columns: the order.
        name: of the table, for messages.
        whose: they are, for messages.

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
                f"table {name!r} has no series {column!r}, {whose}: add it, with NaN where it was "
                "not observed"
            )
    order = [own.index(column) for column in columns]
    info = {**entry["info"], "columns": list(columns)}
    fields = {
        field: np.asarray(entry[field])[:, order]
        for field, axes in {KNOWN: 3, PAST: 3, REAL: 2, CATEGORY: 2}.items()
        if field in entry and np.ndim(entry[field]) == axes
    }
    return {**entry, "target": entry["target"][order], "info": info, **fields}


def observed_at(entry: Entry, stamps: pd.DatetimeIndex) -> np.ndarray:
    """What an entry has at the stamps of a horizon, ``(P, D)``, NaN where it has nothing.

    Raises:
        DataError: only one of them has a time zone, or there is no observation at all.
    """
    table = to_wide(entry)
    if (table.index.tz is None) != (stamps.tz is None):
        raise DataError(
            f"the forecast's timestamps have the time zone {stamps.tz}, those of the "
            f"observations {table.index.tz}: both or none must have one"
        )
    found = table.reindex(stamps).to_numpy()
    if np.isnan(found).all():
        raise DataError(
            f"there is no observation between {stamps[0]} and {stamps[-1]}, the horizon"
        )
    return found


def check_zone(entry: Entry, other: Entry, name: str, whose: str) -> None:
    """Raise a DataError if only one of two entries has timestamps with a time zone."""
    zones = [(e.get("info") or {}).get("tz") for e in (entry, other)]
    if (zones[0] is None) != (zones[1] is None):
        mine, theirs = (f"the time zone {zone}" if zone else "no time zone" for zone in zones)
        raise DataError(
            f"the timestamps of {name} have {mine}, those of {whose} {theirs}: give both one "
            "(tz_localize), or none (tz_localize(None))"
        )


def extended(history: Entry, new: Entry) -> Entry:
    """The history with newer rows; where they overlap the new values win, NaN excepted.

    Raises:
        DataError: the rows have another frequency, lie on another grid, or so far ahead that nearly
            all of the history would be missing.
    """
    start = history["start"]
    _warn_of_rhythm(history, new)
    theirs, own = model_frequency(new), model_frequency(history)
    if new["start"].freq != start.freq or (theirs != own and calendar_of(own) is not None):
        raise DataError(
            f"the new rows have frequency {named(theirs)!r}, the history {named(own)!r}"
            + (", of other days" if named(theirs) == named(own) else "")
        )
    if new["info"].get("clock") != history["info"].get("clock"):
        zones = [entry["info"].get("tz", "none") for entry in (new, history)]
        raise DataError(f"the new rows have the time zone {zones[0]}, the history {zones[1]}")
    offset, off_grid = divmod(new["start"].ordinal - start.ordinal, start.freq.n)
    steps = new["target"].shape[1]
    if off_grid or not same_stamps(new["start"], steps, new["info"], history["info"]):
        first = stamps_of(new["start"], 1, new["info"])[0]
        last = stamps_of(moved(start, history["target"].shape[1] - 1), 1, history["info"])[0]
        raise DataError(
            f"the new rows start at {first}, between the steps of the history, which ends at {last}"
        )
    before = max(0, -offset)
    length, total = history["target"].shape[1], before + offset + new["target"].shape[1]
    if max(before, total - length) > MOST_EMPTY * max(length, new["target"].shape[1]):
        raise DataError(
            f"the new rows, from {step_name(new['start'], new['info'])} on, are so far from the "
            f"history, which ends at {step_name(moved(start, length - 1), history['info'])}, that "
            f"{total - length} steps would be added, nearly all of them missing: is a timestamp "
            "wrong?"
        )
    target = _merged(history["target"], new["target"], before, before + offset)
    told = {key: value for key, value in new["info"].items() if key == "day_first"}
    info = told | history["info"]  # what the history's own dates did not tell
    joined = {**history, "start": moved(start, -before), "target": target, "info": info}
    for field in (KNOWN, PAST):
        if history.get(field) is not None:
            later = new.get(field)
            empty = history[field][..., :0]
            later = empty if later is None else _like(history, field, new)
            joined[field] = _merged(history[field], later, before, before + offset)
    return joined


def _warn_of_rhythm(history: Entry, new: Entry) -> None:
    """Warn if all new rows are several steps apart, as those of the history are not."""

    def seen(entry: Entry) -> np.ndarray:
        return np.flatnonzero(~np.isnan(entry["target"]).all(0))

    first, steps = seen(new)[:1], np.diff(seen(new))
    if len(steps) < 2 or steps[0] == 1 or (steps != steps[0]).any():
        return
    if (np.diff(seen(history)) < steps[0]).any():
        freq = named(model_frequency(history))
        begin = step_name(moved(new["start"], int(first[0])), new["info"])
        warn(
            f"all new rows, from {begin} on, are {steps[0]} steps of {freq!r} apart: what is "
            "between is taken as missing; if they are of another frequency, resample them first",
        )


def _merged(old: np.ndarray, new: np.ndarray, first: int, second: int) -> np.ndarray:
    """Two arrays along the last axis from these steps on; the new values win, NaN excepted."""
    length = max(first + old.shape[-1], second + new.shape[-1] if new.shape[-1] else 0)
    merged = np.full((*old.shape[:-1], length), np.nan, dtype=np.result_type(old, new))
    merged[..., first : first + old.shape[-1]] = old
    if new.shape[-1]:
        part = merged[..., second : second + new.shape[-1]]
        np.copyto(part, new, where=~np.isnan(new))
    return merged


def _like(history: Entry, field: str, new: Entry) -> np.ndarray:
    """Features of new rows, in the order of the history's."""
    names = [entry["info"].get("features", {}).get(field) for entry in (history, new)]
    values = np.asarray(new[field], dtype=np.float64)
    if values.ndim != history[field].ndim:
        raise DataError(f"{field} is of each series in one table, of the group in the other")
    if None in names or names[0] == names[1]:
        if len(values) != len(history[field]):
            raise DataError(
                f"there are {len(values)} features in {field}, not {len(history[field])}"
            )
        return values
    if sorted(names[0]) != sorted(names[1]):
        raise DataError(f"the features in {field} are {names[1]}, those of the history {names[0]}")
    return values[[names[1].index(name) for name in names[0]]]


def with_features(
    entry: Entry, known: pd.DataFrame | None = None, past: pd.DataFrame | None = None
) -> Entry:
    """The entry with features from tables; where it has some, the new values win, NaN excepted.

    Args:
        entry: not changed.
        known: time × features, or × (feature, series); see :func:`timediff.from_wide`.
        past: likewise, of those that are known of the past only.

    Raises:
        DataError: a table has other features than the entry, or another clock.
    """
    if known is None and past is None:
        return entry
    info = entry["info"]
    layout = {key: info[key] for key in ("freq", "phase", "tz", "clock") if key in info}
    grid = Grid(
        index=pd.DatetimeIndex([]),  # no row that must be there
        start=entry["start"],
        rows=np.array([], dtype=int),
        length=entry["target"].shape[1],
        freq=frequency(entry),
        layout=layout,
        columns=info["columns"],
    )
    fields, names = read_tables(grid, known, past, None)
    entry = {**entry, "info": {**info, "features": {**info.get("features", {})}}}
    for field, values in fields.items():
        own = names["features"][field]
        if entry.get(field) is None:
            entry[field], entry["info"]["features"][field] = values, own
            continue
        new = {field: values, "info": {"features": {field: own}}}
        entry[field] = _merged(entry[field], _like(entry, field, new), 0, 0)
    return entry
