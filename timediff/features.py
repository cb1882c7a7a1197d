"""Features of an entry, checked: what is known beside the series themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.field_names import FieldName

from timediff._frequency import moved
from timediff._stamps import step_name
from timediff.errors import DataError

KNOWN = FieldName.FEAT_DYNAMIC_REAL
PAST = FieldName.PAST_FEAT_DYNAMIC_REAL
REAL = FieldName.FEAT_STATIC_REAL
CATEGORY = FieldName.FEAT_STATIC_CAT
ATTRIBUTES = {KNOWN: "known", PAST: "past", REAL: "real", CATEGORY: "category"}
ARGUMENTS = {KNOWN: "known=", PAST: "past=", REAL: "static=", CATEGORY: "static="}  # of tables


@dataclass(frozen=True, eq=False)
class Features:
    """Features of one entry; None where a field was not given.

    The axis of series has length 1 where a feature is the group's, D where each series has its own.

    Attributes:
        known: ``(T or more, 1 or D, F)`` float64: known ahead of time; NaN where missing.
        past: ``(T, 1 or D, G)`` float64: known of the past only; NaN where missing.
        real: ``(1, 1 or D, R)`` float64: do not change.
        category: ``(1 or D, C)``: labels that do not change.
        names: of the features of each field that has names.
        series: names of the series, or None.
    """

    known: np.ndarray | None
    past: np.ndarray | None
    real: np.ndarray | None
    category: np.ndarray | None
    names: dict[str, tuple[str, ...]]
    series: list[Any] | None

    def field(self, field: str) -> np.ndarray | None:
        """The values of a field of GluonTS."""
        values: np.ndarray | None = getattr(self, ATTRIBUTES[field])
        return values

    def in_order(self, field: str, names: tuple[str, ...]) -> "Features":
        """The same, if this field has just these features in another order, with them in this."""
        values, given = self.field(field), self.names.get(field)
        if values is None or given is None or sorted(given) != sorted(names):
            return self
        values = values[..., [given.index(name) for name in names]]
        changed = {ATTRIBUTES[field]: values, "names": {**self.names, field: names}}
        return replace(self, **changed)  # type: ignore[arg-type]

    def name(self, field: str, number: int, series: int | None = None) -> str:
        """A name of one feature for a message, of one series where each has its own."""
        given = self.names.get(field)
        text = f"feature {given[number]!r}" if given else f"feature number {number}"
        values = self.field(field)
        if series is not None and values is not None and values.shape[-2] > 1:
            column = f"number {series}" if self.series is None else repr(self.series[series])
            text += f" of series {column}"
        return f"{text} ({field})"


def read_features(
    entry: Mapping[str, Any], title: str, start: pd.Period, length: int, width: int
) -> Features | None:
    """Check the features of an entry; None if it has none.

    Args:
        entry: may have ``feat_dynamic_real``, ``(F, T)`` of the group or ``(F, D, T)`` of each
            series, which may go on beyond the target; ``past_feat_dynamic_real`` likewise;
            ``feat_static_real`` and ``feat_static_cat``, ``(F,)`` or ``(F, D)``. ``info`` may hold
            ``features``: names of the features by field, and ``categories``: the labels of each
            categorical one.
        title: name of the entry for messages.
        start: time of the first value.
        length: T.
        width: D.

    Raises:
        DataError: a field has another shape or length, or a value that cannot be used.
    """
    info = entry.get("info") or {}
    given = info.get("features") or {}
    fields = [f for f in (KNOWN, PAST, REAL, CATEGORY) if entry.get(f) is not None]
    fields = [f for f in fields if not hasattr(entry[f], "__len__") or len(entry[f])]
    if not fields:
        return None
    arrays: dict[str, np.ndarray] = {}
    names = {f: tuple(map(str, given[f])) for f in fields if given.get(f) is not None}
    for field in fields:
        arrays[field] = _array(entry[field], field, title, length, width)
        if len(names.get(field, arrays[field])) != len(arrays[field]):
            raise DataError(
                f"info['features'] of {title} has {len(names[field])} names for the "
                f"{len(arrays[field])} features of {field}"
            )
    turned = {f: np.ascontiguousarray(x.transpose(*range(x.ndim)[::-1])) for f, x in arrays.items()}
    if REAL in turned:
        turned[REAL] = turned[REAL][None]
    if CATEGORY in turned:
        turned[CATEGORY] = _labels(turned[CATEGORY], given.get("categories"), title)
    features = Features(
        known=turned.get(KNOWN),
        past=turned.get(PAST),
        real=turned.get(REAL),
        category=turned.get(CATEGORY),
        names=names,
        series=info.get("columns"),
    )
    for field in fields:
        if field != CATEGORY:
            _check_numbers(features, field, title, start, info)
    return features


def _array(value: Any, field: str, title: str, length: int, width: int) -> np.ndarray:
    """One field as numbers: the features, then series if each has its own, then time."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{field} of {title} is not a table of numbers: {error}") from error
    dynamic = field in (KNOWN, PAST)
    expected = ("(F, T)", "(F, D, T)") if dynamic else ("(F,)", "(F, D)")
    if array.ndim not in (1 + dynamic, 2 + dynamic):
        raise DataError(
            f"{field} of {title} has shape {array.shape}, not {expected[0]} for the group or "
            f"{expected[1]} for each series"
        )
    if array.ndim == 1 + dynamic:
        array = array[:, None]
    elif array.shape[1] != width:
        raise DataError(
            f"{field} of {title} has shape {array.shape}: its second axis is not the {width} "
            f"series of the target; give {expected[1]}"
        )
    if dynamic and array.shape[-1] < length:
        raise DataError(
            f"{field} of {title} has {array.shape[-1]} steps, its target {length}: give a value, "
            f"or NaN, for every step (with tables: {ARGUMENTS[field]})"
        )
    # beyond the end of the target there is no past: GluonTS's evaluation cuts only the target
    return array[..., :length] if field == PAST else array


def _check_numbers(
    features: Features, field: str, title: str, start: pd.Period, info: Mapping[str, Any]
) -> None:
    """Raise a DataError where a value is infinite, or one that does not change is missing."""
    values = features.field(field)
    assert values is not None
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    bad = np.argwhere(~np.isfinite(single) if field == REAL else np.isinf(single))
    if len(bad):
        time, series, number = map(int, bad[0])
        when = "" if field == REAL else f" at {step_name(moved(start, time), info)}"
        value = values[time, series, number]
        large = ", beyond what float32 holds" if np.isfinite(value) else ""
        raise DataError(
            f"{features.name(field, number, series)} of {title} is {value}{when}{large}: "
            + ("give another number" if field == REAL else "make it NaN if it is missing")
        )


def _labels(codes: np.ndarray, categories: Any, title: str) -> np.ndarray:
    """The labels of numbers that stand for categories; the numbers themselves without labels."""
    if not (np.isfinite(codes) & (codes == codes.round())).all():
        raise DataError(f"{CATEGORY} of {title} holds values that are no whole numbers: code them")
    labels = np.empty(codes.shape, dtype=object)
    for i, column in enumerate(codes.T.astype(int)):
        known = categories[i] if categories is not None else None
        if known is not None and not (column.min() >= 0 and column.max() < len(known)):
            raise DataError(
                f"feature number {i} ({CATEGORY}) of {title} has the code {column.max()} for "
                f"{len(known)} labels in info['features']['categories']"
            )
        labels[:, i] = [int(code) if known is None else known[code] for code in column]
    return labels
