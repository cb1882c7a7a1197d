"""Whether an exported model draws what its predictor draws: both are tried on random data."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from timediff import runner
from timediff._calendars import calendar_of
from timediff._frequency import period, period_alias
from timediff.errors import TimediffError
from timediff.feature_spec import Numbers
from timediff.features import ATTRIBUTES, CATEGORY
from timediff.frames import from_wide
from timediff.predictor import TimeGradPredictor
from timediff.windows import WindowSpec

TOLERANCE = 1e-4  # of the paths, in deviations of the series


def check(predictor: TimeGradPredictor, folder: Path) -> float:
    """The largest difference of paths, in deviations of the series, on random walks with a gap.

    Args:
        predictor: the model.
        folder: what was exported of it.

    Raises:
        TimediffError: it is too large.
    """
    spec, network = predictor.spec, predictor.network
    length = spec.reach + 3 * spec.prediction_length
    values = np.random.default_rng(0).standard_normal((length, network.target_dim))
    values = (values + values.cumsum(0) / length**0.5).astype(np.float32)
    values[-3:-1, 0] = np.nan
    features = _random_features(spec, *values.shape)
    entry, start = _entry(values, spec)
    fields = _fields(features, spec)
    fields["info"] |= entry.get("info", {})
    (forecast,) = predictor.predict([entry | fields], 4, seed=0)
    ours = forecast.samples
    theirs = runner.Runner(folder).predict(values, start, 4, seed=0, calibrated=False, **features)
    scale = np.nanstd(values, axis=0)
    difference = float(np.abs((ours - theirs) / scale).max())
    if not difference < TOLERANCE:
        raise TimediffError(
            f"the exported model draws paths that differ by {difference:.2g} deviations: it has a "
            "part that the runner does not know"
        )
    return difference


def _entry(values: np.ndarray, spec: WindowSpec) -> tuple[dict[str, Any], Any]:
    """An entry with these values, and its start as the runner takes it."""
    calendar = calendar_of(spec.freq)
    if calendar is None:
        start = period("2024-01-01", period_alias(spec.freq))
        return {"start": start, "target": values.T}, start.start_time
    steps = len(values) + spec.prediction_length
    times = pd.date_range("2000-01-01", periods=steps, freq=calendar.offset)
    (entry,) = from_wide(pd.DataFrame(values, times[: len(values)]), freq=spec.freq)
    info = {name: part for name, part in entry["info"].items() if name != "columns"}
    return entry | {"info": info}, times.to_numpy()


def _random_features(spec: WindowSpec, length: int, dim: int) -> dict[str, Any]:
    """Features for the runner, some of the past missing."""
    rng, f, found = np.random.default_rng(1), spec.features, {}
    steps = {"known": (length + spec.prediction_length,), "past": (length,), "real": ()}
    for kind, before in steps.items():
        field: Numbers = getattr(f, kind)
        if field.size:
            x = rng.standard_normal((*before, dim if field.own else 1, field.size))
            x = x * np.array(field.scale) + np.array(field.loc)
            x[: length // 3 if before else 0, 0] = np.nan
            found[kind] = x if field.own else x[..., 0, :]
    if f.category.size:
        rows = range(dim if f.category.own else 1)
        labels = [
            [known[int(rng.integers(len(known)))] for known in f.category.labels] for _ in rows
        ]
        found["category"] = np.array(labels, dtype=object)[... if f.category.own else 0]
    return found


def _fields(features: dict[str, Any], spec: WindowSpec) -> dict[str, Any]:
    """The same as fields of an entry."""
    names = {kind: name for name, kind in ATTRIBUTES.items()}
    given = {names[kind]: x.T for kind, x in features.items()}
    labels = spec.features.category.labels
    if CATEGORY in given:
        codes = zip(given[CATEGORY], labels, strict=True)
        given[CATEGORY] = np.array([np.vectorize(known.index)(row) for row, known in codes])
    return {**given, "info": {"features": {"categories": labels}}}
