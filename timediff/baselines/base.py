"""What all simple forecasts share: reading entries, seeds, and a forecast for each entry."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from gluonts.dataset.common import DataEntry
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import RepresentablePredictor

from timediff._arguments import whole
from timediff._frequency import model_frequency, moved
from timediff.entries import Panel, read_entry
from timediff.errors import DataError

_LARGEST = float(np.finfo(np.float32).max)


class SimpleForecast(RepresentablePredictor):
    """Base class: a forecast is made from the entry's own history, nothing is trained.

    A new one is a file with a subclass that writes :meth:`history_needed` and :meth:`sample`.
    """

    def __init__(self, prediction_length: int) -> None:
        at_least(1, prediction_length=prediction_length)
        super().__init__(prediction_length=prediction_length)

    def history_needed(self) -> tuple[int, str]:
        """The shortest history that can be forecast from, in steps, and what it holds."""
        raise NotImplementedError

    def sample(self, panel: Panel, count: int, rng: np.random.Generator) -> np.ndarray:
        """Sample paths ``(count, P, D)`` of one entry, float64 like the panel's values."""
        raise NotImplementedError

    def predict(
        self, dataset: Iterable[DataEntry], num_samples: int = 100, seed: int | None = None
    ) -> Iterator[SampleForecast]:
        """Forecast each entry of a dataset.

        Args:
            dataset: GluonTS entries with a target ``(D, T)`` or ``(T,)``, NaN where missing.
            num_samples: sample paths of each forecast.
            seed: fixes the samples, each entry's by seed and position in the dataset. If None, a
                seed is drawn from NumPy's global generator.

        Yields:
            A forecast of the steps after the entry's last one: samples ``(S, P, D)``, or
            ``(S, P)`` for a target with one axis, in the units of the target, never infinite, and
            NaN only for a series without any observation. ``item_id`` and ``info`` are those of
            the entry.

        Raises:
            OptionError: ``num_samples`` is below 1 or ``seed`` is negative.
            DataError: the entry cannot be read, its history is too short, or a series has no
                observation where the forecast needs one, though it has some.
        """
        at_least(1, num_samples=num_samples)
        if seed is not None:
            at_least(0, seed=seed)
        return self._forecasts(dataset, num_samples, seed)

    def _forecasts(
        self, dataset: Iterable[DataEntry], num_samples: int, seed: int | None
    ) -> Iterator[SampleForecast]:
        if seed is None:
            seed = int(np.random.randint(2**31))
        for position, entry in enumerate(dataset):
            start = entry.get("start")
            if start is not None and not isinstance(start, pd.Period):
                raise DataError(f"entry number {position}: start must be a pandas.Period")
            freq = "" if start is None else model_frequency(entry)
            panel = read_entry(entry, position, freq)
            self._check(panel)
            panel.check_observed()
            exact = np.float32 if panel.offset is None else np.float64
            seen = ~panel.dead
            rng = np.random.default_rng([seed, position])
            paths = self.sample(_of(panel, seen), num_samples, rng)
            samples = np.full((*paths.shape[:2], len(seen)), np.nan, exact)
            samples[..., seen] = np.clip(paths, -_LARGEST, _LARGEST)
            yield SampleForecast(
                samples=samples[..., 0] if panel.univariate else samples,
                start_date=moved(panel.start, len(panel.values)),
                item_id=panel.item_id,
                info=panel.info,
            )

    def _check(self, panel: Panel) -> None:
        steps, what = self.history_needed()
        if len(panel.values) < steps:
            raise DataError(
                f"{panel.title} has {len(panel.values)} steps of history, {type(self).__name__}"
                f" needs {steps} ({what}): give a longer history, or a shorter season"
            )


def _of(panel: Panel, chosen: np.ndarray) -> Panel:
    """The entry with these series only, in double precision, counted from 0."""
    panel = panel.absolute(np.float64)
    info = panel.info
    if not chosen.all() and info is not None and info.get("columns") is not None:
        kept = [c for c, there in zip(info["columns"], chosen, strict=True) if there]
        info = {**info, "columns": kept}
    return dataclasses.replace(panel, values=panel.values[:, chosen], info=info)


def at_least(least: int, **options: int) -> None:
    """Raise an OptionError for an option that is below the least it may be."""
    for name, value in options.items():
        whole(name, value, least)


def forward_filled(values: np.ndarray) -> np.ndarray:
    """``(T, D)`` with each gap at the observation before it; NaN before a series' first one."""
    steps = np.arange(len(values))[:, None]
    latest = np.maximum.accumulate(np.where(np.isnan(values), 0, steps), axis=0)
    return np.take_along_axis(values, latest, axis=0)


def require_observations(panel: Panel, window: np.ndarray, count: int) -> None:
    """Raise a DataError for a series with fewer than ``count`` values in the rows given."""
    few = (~np.isnan(window)).sum(axis=0) < count
    if few.any():
        raise DataError(
            f"{panel.name(int(few.argmax()))} has no observation, or fewer than {count}, in the"
            f" {len(window)} last steps, which the forecast uses: leave it out, or use more history"
        )


def gaussian_rows(
    rows: np.ndarray, degrees: int, size: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Draws ``(*size, D)`` from N(0, rows' rows / degrees): any rows, also fewer than series."""
    factor = np.linalg.qr(rows, mode="r") / np.sqrt(degrees)  # factor' factor is the covariance
    return rng.standard_normal((*size, len(factor))) @ factor
