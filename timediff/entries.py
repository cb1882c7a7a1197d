"""GluonTS entries in, checked arrays out. One of the two transposes of the package is here."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.field_names import FieldName

from timediff._calendars import calendar_of, named
from timediff._frequency import frequency, model_frequency, moved, period, period_alias
from timediff._stamps import step_name
from timediff.errors import DataError, warn
from timediff.features import Features, read_features
from timediff.history import offsets

ABSURD = 1000  # times the usual deviation, beyond which a value is hardly an observation
SAMPLED = 512  # steps, about, that tell the usual deviation


@dataclass(frozen=True, eq=False)
class Panel:
    """One entry of a dataset, checked.

    Attributes:
        item_id: as in the entry.
        start: time of the first value.
        values: ``(T, D)`` float32, NaN where missing; counted from ``offset``.
        univariate: whether the entry's target had one axis; its forecast has none for series.
        info: as in the entry; ``info["columns"]`` names the series.
        features: what is known beside the values, or None.
        offset: ``(D,)`` float64, the level that each series is counted from; None if from 0, as is
            usual; see :func:`timediff.history.offsets`.
    """

    item_id: str | None
    start: pd.Period
    values: np.ndarray
    univariate: bool
    info: dict[str, Any] | None
    features: Features | None = None
    offset: np.ndarray | None = None

    @functools.cached_property
    def dead(self) -> np.ndarray:
        """Which series have no observation at all, ``(D,)``."""
        found: np.ndarray = np.isnan(self.values).all(axis=0)
        return found

    @property
    def shift(self) -> np.ndarray:
        """What is to be added to paths, ``(D,)``: NaN for a series of which nothing is known."""
        return np.where(self.dead, np.nan, 0.0 if self.offset is None else self.offset)

    def absolute(self, dtype: Any = np.float32) -> "Panel":
        """The same, counted from 0, in single precision or another one."""
        if self.offset is None:
            return dataclasses.replace(self, values=self.values.astype(dtype, copy=False))
        return dataclasses.replace(
            self, values=(self.values + self.offset).astype(dtype), offset=None
        )

    def name(self, series: int) -> str:
        """A name of one series for a message."""
        columns = (self.info or {}).get("columns")
        column = repr(columns[series]) if columns is not None else f"number {series}"
        return f"series {column}" + (f" of {self.item_id!r}" if self.item_id else "")

    def when(self, step: int) -> str:
        """The time of a step for a message, as its table stamps it."""
        return step_name(moved(self.start, step), self.info)

    @property
    def title(self) -> str:
        """A name of the entry for a message."""
        return repr(self.item_id) if self.item_id else f"the entry that starts at {self.when(0)}"

    def check_observed(self) -> None:
        """Raise a DataError if no series has any observation."""
        if self.dead.all():
            raise DataError(f"{self.title} has no observation in any series: leave it out")

    def warn_of_dead(self) -> None:
        """Warn if a series has no observation, so that nothing can be forecast of it."""
        if self.dead.any():
            warn(
                f"{self.name(int(self.dead.argmax()))} has no observation from {self.when(0)} on: "
                "what is forecast of it is NaN",
            )

    def warn_of_absurd(self) -> None:
        """Warn if a value lies where no other does: all that is forecast of its series is wider."""
        found = absurd(self.values)
        if found is not None:
            step, series = found
            value = float(self.values[step, series])
            value += 0.0 if self.offset is None else self.offset[series]
            warn(
                f"{self.name(series)} is {value:g} at {self.when(step)}, more than {ABSURD} times "
                "as far from its median as most of its values are: its forecast will be wide by "
                "that; make it NaN if it is no observation"
            )


def absurd(values: np.ndarray) -> tuple[int, int] | None:
    """The first step, and its series, that is much further from the median than most.

    Most are the tenths from the first to the ninth of some values of the series; where these are
    all the same, nothing is far.

    Args:
        values: ``(T, D)``, NaN where missing.
    """
    if not len(values):
        return None
    some = np.sort(values[:: len(values) // SAMPLED | 1], axis=0)  # NaN last
    last = np.maximum((~np.isnan(some)).sum(0) - 1, 0)
    rows = np.stack([last // 10, last // 2, last - last // 10])
    low, middle, high = np.take_along_axis(some, rows, axis=0).astype(np.float64)
    reach = ABSURD * np.where(high > low, high - low, np.inf)
    far = np.argwhere((values > middle + reach) | (values < middle - reach))
    return (int(far[0, 0]), int(far[0, 1])) if len(far) else None


def read_entry(entry: Mapping[str, Any], position: int, freq: str) -> Panel:
    """Check one entry.

    Args:
        entry: ``start`` and ``target``, ``(D, T)`` or ``(T,)``; NaN is missing, and so is what an
            ``observed_values`` field of the same shape marks with 0. For features see
            :func:`timediff.features.read_features`.
        position: of the entry in its dataset, for messages.
        freq: the frequency that is expected.

    Raises:
        DataError: a field is missing, the target is not numeric or has the wrong number of axes,
            a value is infinite, the frequency is another one, or a feature cannot be used.
    """
    if not isinstance(entry, Mapping):
        raise DataError(
            f"entry number {position} is a {type(entry).__name__}, not a mapping with a start and "
            "a target: make the entry of a table with timediff.from_wide, and put a single one in "
            "a list"
        )
    item_id = entry.get(FieldName.ITEM_ID)
    name = repr(item_id) if item_id is not None else f"entry number {position}"
    for field in (FieldName.START, FieldName.TARGET):
        if field not in entry:
            raise DataError(f"{name} has no field {field!r}: give a start and a target")
    start = start_of(entry, name, freq)
    try:
        target = entry[FieldName.TARGET]
        if isinstance(target, np.ma.MaskedArray):  # what is masked is missing
            target = np.ma.filled(target.astype(np.float64), np.nan)
        target = np.asarray(target)
        if target.dtype != np.float32:
            target = target.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the target of {name} is not a table of numbers: {error}") from error
    if target.ndim not in (1, 2):
        raise DataError(f"the target of {name} has shape {target.shape}, not (D, T) or (T,)")
    info = entry.get("info")
    columns = (info or {}).get("columns")
    if columns is not None and len(columns) != (len(target) if target.ndim == 2 else 1):
        raise DataError(f"{name} has {len(columns)} column names for a target {target.shape}")
    mask = entry.get(FieldName.OBSERVED_VALUES)
    if mask is not None:
        if np.shape(mask) != target.shape:
            raise DataError(
                f"observed_values of {name} has shape {np.shape(mask)}, its target {target.shape}"
            )
        target = np.where(np.nan_to_num(np.asarray(mask, dtype=float)) != 0, target, np.nan)
    panel = Panel(
        item_id=None if item_id is None else str(item_id),
        start=start,
        values=np.array(np.atleast_2d(target).T, order="C"),  # a copy, whatever was given
        univariate=target.ndim == 1,
        info=info,
    )
    offset = offsets(panel.values)
    with np.errstate(over="ignore"):
        single = panel.values if offset is None else panel.values - offset
        single = single.astype(np.float32, copy=False)
    bad = np.argwhere(np.isinf(single))
    if len(bad):
        time, column = map(int, bad[0])
        raise DataError(
            f"{panel.name(column)} has the value {panel.values[time, column]} at "
            f"{panel.when(time)}, which is infinite in single precision: replace it by NaN if it "
            "is missing"
        )
    features = read_features(entry, panel.title, start, *single.shape)
    return dataclasses.replace(panel, values=single, features=features, offset=offset)


def start_of(entry: Mapping[str, Any], name: str, freq: str) -> pd.Period:
    """The start of an entry as a period of this frequency; DataError if it is none."""
    start, calendar = entry[FieldName.START], calendar_of(freq)
    if not isinstance(start, pd.Period):
        if calendar is not None:
            raise DataError(
                f"the start of {name}, {start!r}, does not count the steps of {named(freq)!r}: "
                "make the entry with timediff.from_wide"
            )
        try:
            found = period(start, period_alias(freq))
        except (TypeError, ValueError):
            found = pd.NaT
        if found is pd.NaT:
            raise DataError(f"the start of {name}, {start!r}, is not a point in time")
        return found
    expected = period("2000-01-01", period_alias(freq)).freq
    own = calendar_of(frequency(entry))
    kinds = [None if one is None else (one.kind, one.rhythm) for one in (own, calendar)]
    if start.freq != expected or kinds[0] != kinds[1]:
        theirs = expected.freqstr if calendar is None else named(freq)
        mine = named(model_frequency(entry))
        raise DataError(
            f"{name} has frequency {mine!r}, but the model {theirs!r}"
            f"{', open at other times' if mine == theirs else ''}: "
            "resample the data, or make the model with their freq"
        )
    return start


def read_dataset(dataset: Iterable[Any], freq: str) -> list[Panel]:
    """Check all entries of a dataset; it is read once, so a generator will do.

    Raises:
        DataError: see :func:`read_entry`; or there is no entry, or their series differ.
    """
    if isinstance(dataset, Mapping):
        raise DataError("a dataset is a list of entries, this is a single one: put it in a list")
    panels = [read_entry(entry, i, freq) for i, entry in enumerate(dataset)]
    if not panels:
        raise DataError("the dataset has no entries")
    first = panels[0]
    for i, other in enumerate(panels):
        if other.values.shape[1] != first.values.shape[1]:
            raise DataError(
                f"entry number {i} has {other.values.shape[1]} series, the first has "
                f"{first.values.shape[1]}: one model forecasts a fixed set of series"
            )
    check_names(panels, names_of(panels), "the first entry has")
    return panels


def names_of(panels: Iterable[Panel]) -> list[Any] | None:
    """The names of the series, of the first entry that has any."""
    return next((list(p.info["columns"]) for p in panels if p.info and "columns" in p.info), None)


def check_names(panels: Iterable[Panel], names: list[Any] | None, whose: str) -> None:
    """Raise where an entry names its series otherwise: they go by position.

    Args:
        panels: the entries; those without names are taken to have these.
        names: what they should be; None if not known.
        whose: they are, and a verb, for the message.

    Raises:
        DataError: another name, or another order.
    """
    for panel in panels:
        own = (panel.info or {}).get("columns")
        if names is None or own is None or list(own) == names or len(own) != len(names):
            continue
        i = next(i for i, pair in enumerate(zip(own, names, strict=True)) if pair[0] != pair[1])
        raise DataError(
            f"column {i} of {panel.title} is {own[i]!r}, but {whose} {names[i]!r} there: give the "
            f"columns in the order {names}"
        )
