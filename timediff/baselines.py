"""Simple joint forecasts that every table shows beside the model: GluonTS predictors, no training.

Both draw whole blocks of history, all series and all steps of the horizon at once, so that their
samples keep the dependence between series and over time that the past had.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from gluonts.core.component import validated
from gluonts.dataset.common import DataEntry
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import RepresentablePredictor

from timediff.entries import Panel, read_entry
from timediff.errors import DataError, OptionError


class _BlockPredictor(RepresentablePredictor):
    """Samples of the form point path + a block of history drawn at random."""

    def __init__(self, prediction_length: int, season: int, count: tuple[str, int]) -> None:
        for name, value in (
            ("prediction_length", prediction_length),
            ("season", season),
            count,
        ):
            if value < 1:
                raise OptionError(f"{name} must be 1 or more; got {value}")
        super().__init__(prediction_length=prediction_length)
        self.season = season

    def _point_and_blocks(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """The point path ``(P, D)`` and the candidates ``(N, P, D)`` (NaN: missing)."""
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
            ``(S, P)`` for a target with one axis, float32, in the units of the target, never NaN.
            ``item_id`` and ``info`` are those of the entry.

        Raises:
            OptionError: ``num_samples`` is below 1 or ``seed`` is negative.
            DataError: the entry cannot be read, its history is too short, or a series has no
                observation where the forecast needs one.
        """
        if num_samples < 1:
            raise OptionError(f"num_samples must be 1 or more; got {num_samples}")
        if seed is not None and seed < 0:
            raise OptionError(f"seed must be 0 or more, or None; got {seed}")
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
            panel = read_entry(entry, position, getattr(start, "freqstr", ""))
            point, blocks = self._point_and_blocks(panel)
            rng = np.random.default_rng([seed, position])
            samples = (point + _draw(blocks, num_samples, rng, panel)).astype(np.float32)
            yield SampleForecast(
                samples=samples[..., 0] if panel.univariate else samples,
                start_date=panel.start + len(panel.values),
                item_id=panel.item_id,
                info=panel.info,
            )

    def _require(self, panel: Panel, steps: int, what: str) -> None:
        if len(panel.values) < steps:
            raise DataError(
                f"{panel.title} has {len(panel.values)} steps of history, {type(self).__name__}"
                f" needs {steps} ({what}): give a longer history, or a shorter season"
            )


class SeasonalNaive(_BlockPredictor):
    r"""The last season once more, plus residuals this forecast had at earlier origins.

    .. math:: x_{T+h} = y_{T-m+(h \bmod m)} + e_{o+h}, \quad
        e_{o+h} = y_{o+h} - y_{o-m+(h \bmod m)}, \quad h = 0, \dots, P-1

    with season m and an origin o drawn, per sample, from the latest
    ``num_residuals`` origins :math:`T - P - j \min(m, P)`, j = 0, 1, ...: with hourly data and a
    horizon of a day, the same hour of the past 60 days. A residual is the whole path, of all series
    and steps, so the samples are dependent as past errors were. Forecasts of different entries are
    independent.

    Missing values: the last season takes them from the latest earlier season that has one at that
    phase, else the series' last observation. A series whose residual path is incomplete at the
    origin drawn takes one from another origin, see :class:`PastSeasons`.

    Args:
        prediction_length: P, steps to forecast.
        season: m, steps of a season: 24 or 168 for hourly data; 1 repeats the last value.
        num_residuals: how many past origins at most; fewer where the history is shorter.

    Raises:
        OptionError: an argument is below 1.

    References:
        Hyndman & Athanasopoulos 2021, *Forecasting: Principles and Practice*, sections 5.2, 5.5.
    """

    @validated()
    def __init__(self, prediction_length: int, season: int, num_residuals: int = 60) -> None:
        super().__init__(prediction_length, season, ("num_residuals", num_residuals))
        self.num_residuals = num_residuals

    def _point_and_blocks(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        y, m, p = panel.values, self.season, self.prediction_length
        self._require(panel, m + p, "one season and one horizon")
        horizon = np.arange(p)
        origins = np.arange(len(y) - p, m - 1, -min(m, p))[: self.num_residuals, None]
        residuals = y[origins + horizon] - y[origins - m + horizon % m]
        return _last_season(panel, m)[horizon % m], residuals


class PastSeasons(_BlockPredictor):
    r"""The same steps of past seasons, drawn at random: "any of the past 20 Mondays".

    .. math:: x_{T+h} = y_{T-km+h}, \quad h = 0, \dots, P-1

    with season m and k drawn, per sample and with equal probability, from the smallest k that stays
    in the past, :math:`\lceil P/m \rceil`, and the ``num_seasons`` - 1 after it. One sample is one
    block of history, all series and steps, without change. With ``season=168`` the strongest of
    the simple forecasts of road traffic.

    Missing values: a series whose path in the drawn block is incomplete takes its path of another
    block, drawn from those where it is complete. If there are none, a missing step takes that
    step's value of a random block, or else any value the series has in the blocks. Only for those
    series and samples is the dependence on the others lost.

    Args:
        prediction_length: P, steps to forecast.
        season: m, steps of a season: 168 (a week) for hourly data of human activity.
        num_seasons: how many past seasons at most; fewer where the history is shorter.

    Raises:
        OptionError: an argument is below 1.
    """

    @validated()
    def __init__(self, prediction_length: int, season: int, num_seasons: int = 20) -> None:
        super().__init__(prediction_length, season, ("num_seasons", num_seasons))
        self.num_seasons = num_seasons

    def _point_and_blocks(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        y, m, p = panel.values, self.season, self.prediction_length
        first = -(-p // m)  # a later season would reach into the future
        self._require(panel, first * m, "whole seasons that cover the horizon")
        origins = len(y) - m * np.arange(first, first + self.num_seasons)
        origins = origins[origins >= 0, None]
        return np.zeros_like(y, shape=(1, 1)), y[origins + np.arange(p)]


def _last_season(panel: Panel, season: int) -> np.ndarray:
    """The last season ``(m, D)``, each gap filled by the latest value at its phase."""
    y = panel.values
    last = y[-season:].copy()
    for end in range(len(y) - season, 0, -season):
        missing = np.isnan(last)
        if not missing.any():
            return last
        earlier = np.full_like(last, np.nan)
        block = y[max(end - season, 0) : end]
        earlier[season - len(block) :] = block
        last[missing] = earlier[missing]
    for series in map(int, np.flatnonzero(np.isnan(last).any(axis=0))):
        observed = y[~np.isnan(y[:, series]), series]
        if not len(observed):
            raise DataError(f"{panel.name(series)} has no observation at all: leave it out")
        last[np.isnan(last[:, series]), series] = observed[-1]
    return last


def _draw(blocks: np.ndarray, count: int, rng: np.random.Generator, panel: Panel) -> Any:
    """``count`` of the blocks ``(N, P, D)`` at random, their gaps filled series by series."""
    picks = rng.integers(len(blocks), size=count)
    drawn = blocks[picks]
    incomplete = np.isnan(blocks).any(axis=1)  # (N, D)
    for series in map(int, np.flatnonzero(incomplete.any(axis=0))):
        rows = blocks[:, :, series]
        if np.isnan(rows).all():
            raise DataError(
                f"{panel.name(series)} has no observation in the {len(blocks)} stretches of history"
                " that the forecast draws from: leave it out, or use a longer history"
            )
        whole = rows[~incomplete[:, series]]
        for sample in np.flatnonzero(incomplete[picks, series]):
            path = drawn[sample, :, series]
            if len(whole):
                path[:] = whole[rng.integers(len(whole))]
            for step in np.flatnonzero(np.isnan(path)):
                donors = rows[~np.isnan(rows[:, step]), step]
                donors = donors if len(donors) else rows[~np.isnan(rows)]
                path[step] = donors[rng.integers(len(donors))]
    return drawn
