"""Which features a model was trained with, and the statistics that it keeps of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from timediff.entries import Panel
from timediff.errors import DataError
from timediff.features import ARGUMENTS, CATEGORY, KNOWN, PAST, REAL, Features

LEAST_SCALE = 1e-3  # of the usual deviation of a feature: below, a series has none of its own


@dataclass(frozen=True)
class Field:
    """The features of one field.

    Attributes:
        size: how many.
        own: whether each series has its own.
        names: their names, if they have any.
    """

    size: int = 0
    own: bool = False
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Numbers(Field):
    """Features that are numbers, and what standardises them: of each series, of each feature."""

    loc: tuple[tuple[float, ...], ...] = ()
    scale: tuple[tuple[float, ...], ...] = ()

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """``(T, 1 or D, F)`` in deviations around the mean of the training data, float32."""
        return ((values - np.array(self.loc)) / np.array(self.scale)).astype(np.float32)


@dataclass(frozen=True)
class Categories(Field):
    """Features that are categories, and the labels of each."""

    labels: tuple[tuple[Any, ...], ...] = ()

    def codes(self, labels: np.ndarray) -> np.ndarray:
        """Numbers of the categories ``(1 or D, C)``."""
        return np.array(
            [[known.index(x) for known, x in zip(self.labels, row, strict=True)] for row in labels]
        )


@dataclass(frozen=True)
class FeatureSpec:
    """The features of all fields.

    Attributes:
        known: ``feat_dynamic_real``.
        past: ``past_feat_dynamic_real``.
        real: ``feat_static_real``.
        category: ``feat_static_cat``.
    """

    known: Numbers = field(default_factory=Numbers)
    past: Numbers = field(default_factory=Numbers)
    real: Numbers = field(default_factory=Numbers)
    category: Categories = field(default_factory=Categories)

    def __bool__(self) -> bool:
        return any(part.size for _, part in self.fields())

    def fields(self) -> list[tuple[str, Field]]:
        """GluonTS's names of the fields, and what is known of each."""
        return [
            (KNOWN, self.known),
            (PAST, self.past),
            (REAL, self.real),
            (CATEGORY, self.category),
        ]

    @classmethod
    def of(cls, panels: Sequence[Panel]) -> "FeatureSpec":
        """What the entries of the training data have.

        Raises:
            DataError: they do not all have the same features.
        """
        if all(panel.features is None for panel in panels):
            return cls()
        spec = cls(
            _numbers(panels, KNOWN),
            _numbers(panels, PAST),
            _numbers(panels, REAL),
            _categories(panels),
        )
        for panel in panels:
            spec.check(panel, "the first entry has")
        return spec

    def in_order(self, panel: Panel) -> Panel:
        """The entry with its features in the order of the model, where they are found by name."""
        features = panel.features
        if features is None:
            return panel
        for name, part in self.fields():
            if part.names:
                features = features.in_order(name, tuple(part.names))
        return replace(panel, features=features)

    def check(self, panel: Panel, who: str = "the model was trained with") -> None:
        """Raise a DataError unless an entry has these features, whose categories are known."""
        for name, part in self.fields():
            values = panel.features.field(name) if panel.features else None
            size = 0 if values is None else values.shape[-1]
            if name == CATEGORY and not part.size and (values is None or len(values) == 1):
                continue  # one that says nothing, such as GluonTS's grouper adds to every entry
            if size != part.size:
                raise DataError(
                    f"{panel.title} has {size} features in {name}, but {who} {part.size}"
                    + (f", {list(part.names)}" if part.names else "")
                    + f": give {part.size or 'none'}"
                    + (f" (with tables: {ARGUMENTS[name]})" if part.size else "")
                )
            if values is None or panel.features is None:
                continue
            if (values.shape[-2] > 1) != part.own:
                kinds = ["one for the whole group", "one for each series"]
                raise DataError(
                    f"{name} of {panel.title} is {kinds[values.shape[-2] > 1]}, but {who} "
                    f"{kinds[part.own]}"
                )
            given = panel.features.names.get(name)
            if given and part.names and given != part.names:
                raise DataError(
                    f"{name} of {panel.title} holds {list(given)}, but {who} {list(part.names)}: "
                    f"give these (with tables: {ARGUMENTS[name]})"
                )
        if self.category.size and panel.features is not None:
            self._check_categories(panel.title, panel.features)

    def _check_categories(self, title: str, features: Features) -> None:
        assert features.category is not None
        for series, row in enumerate(features.category):
            for number, (label, known) in enumerate(zip(row, self.category.labels, strict=True)):
                if label not in known:
                    raise DataError(
                        f"{features.name(CATEGORY, number, series)} of {title} has the category "
                        f"{label!r}, which was not in the training data: these are {list(known)}"
                    )

    def check_future(self, panel: Panel, prediction_length: int) -> None:
        """Raise a DataError unless the known features are known over the horizon."""
        features = panel.features
        if not self.known.size or features is None or features.known is None:
            return
        length, p = len(panel.values), prediction_length
        future = features.known[length : length + p]
        missing = np.full((p, *future.shape[1:]), True)
        missing[: len(future)] = np.isnan(future)
        bad = np.argwhere(missing)
        if len(bad):
            time, series, number = map(int, bad[0])
            raise DataError(
                f"{features.name(KNOWN, number, series)} of {panel.title} has no value at "
                f"{panel.when(length + time)}, which is to be forecast: give it up to "
                f"{panel.when(length + p - 1)}, or, if it is not known ahead, as {PAST} (with "
                f"tables: {ARGUMENTS[PAST]})"
            )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; empty without features."""
        return asdict(self) if self else {}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "FeatureSpec":
        """What :meth:`to_json` made."""

        def tuples(value: Any) -> Any:
            return tuple(map(tuples, value)) if isinstance(value, list) else value

        kinds = {"known": Numbers, "past": Numbers, "real": Numbers, "category": Categories}
        return cls(
            **{
                name: kinds[name](**{k: tuples(v) for k, v in part.items()})
                for name, part in data.items()
            }
        )


def _given(panels: Sequence[Panel], name: str) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The values of a field in all entries whose shape is the first's, and what it is like."""
    first = panels[0].features
    values = first.field(name) if first is not None else None
    if first is None or values is None:
        return [], {}
    parts = [x for p in panels if p.features and (x := p.features.field(name)) is not None]
    parts = [x for x in parts if x.shape[-2:] == values.shape[-2:]]
    like = {"size": values.shape[-1], "own": values.shape[-2] > 1, "names": first.names.get(name)}
    return parts, like


def _numbers(panels: Sequence[Panel], name: str) -> Numbers:
    parts, like = _given(panels, name)
    if not parts:
        return Numbers()
    if name == KNOWN:
        parts = [x[: len(p.values)] for x, p in zip(parts, panels, strict=False)]
    values = np.concatenate(parts).astype(np.float64)
    if name == REAL:  # over the series, too: what they do not have in common is what tells
        values = values.reshape(-1, 1, values.shape[-1])
    seen = ~np.isnan(values)
    count = np.maximum(seen.sum(0), 1)
    loc = np.where(seen, values, 0.0).sum(0) / count
    scale = np.sqrt(np.where(seen, (values - loc) ** 2, 0.0).sum(0) / count)
    usual = np.sqrt((scale**2).mean(0))
    usual = np.where(usual > 1e-10 * np.abs(loc).max(0), usual, 1.0)
    scale = np.where(scale > LEAST_SCALE * usual, scale, usual)
    rows = [tuple(tuple(map(float, row)) for row in table) for table in (loc, scale)]
    return Numbers(**like, loc=rows[0], scale=rows[1])


def _categories(panels: Sequence[Panel]) -> Categories:
    parts, like = _given(panels, CATEGORY)
    if not parts:
        return Categories()
    columns = np.concatenate(parts).T
    labels = tuple(tuple(sorted(set(c), key=lambda x: (str(type(x)), x))) for c in columns)
    if not like["own"] and all(len(known) == 1 for known in labels):
        return Categories()
    return Categories(**like, labels=labels)
