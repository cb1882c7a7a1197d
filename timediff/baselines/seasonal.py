"""Forecasts from whole blocks of history: all series and all steps of the horizon at once.

So their samples keep the dependence between series and over time that the past had.
"""

from typing import Any

import numpy as np
from gluonts.core.component import validated

from timediff.baselines.base import SimpleForecast, at_least
from timediff.entries import Panel
from timediff.errors import DataError


class _BlockForecast(SimpleForecast):
    """Samples of the form point path + a block of history drawn at random."""

    def _point_and_blocks(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """The point path ``(P, D)`` and the candidates ``(N, P, D)`` (NaN: missing)."""
        raise NotImplementedError

    def sample(self, panel: Panel, count: int, rng: np.random.Generator) -> np.ndarray:
        """The point path plus drawn blocks."""
        point, blocks = self._point_and_blocks(panel)
        return point + _draw(blocks, count, rng, panel)


class SeasonalNaive(_BlockForecast):
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
        super().__init__(prediction_length)
        at_least(1, season=season, num_residuals=num_residuals)
        self.season = season
        self.num_residuals = num_residuals

    def history_needed(self) -> tuple[int, str]:
        """A season and a horizon."""
        return self.season + self.prediction_length, "one season and one horizon"

    def _point_and_blocks(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        y, m, p = panel.values, self.season, self.prediction_length
        horizon = np.arange(p)
        origins = np.arange(len(y) - p, m - 1, -min(m, p))[: self.num_residuals, None]
        residuals = y[origins + horizon] - y[origins - m + horizon % m]
        return _last_season(panel, m)[horizon % m], residuals


class PastSeasons(_BlockForecast):
    r"""The same steps of past seasons, drawn at random: "any of the past 20 Mondays".

    .. math:: x_{T+h} = y_{T-km+h}, \quad h = 0, \dots, P-1

    with season m and k drawn, per sample and with equal probability, from the smallest k that stays
    in the past, :math:`\lceil P/m \rceil`, and the ``num_seasons`` - 1 after it. One sample is one
    block of history, all series and steps, without change. With ``season=168`` the strongest of
    the simple forecasts of road traffic.

    Missing values: a series whose path in the drawn block is incomplete takes its path of another
    block, drawn from those where it is complete, if that is half of them or more. Else a missing
    step takes that step's value of a random block, or any value the series has in the blocks. Only
    for those series and samples is the dependence on the others lost.

    Args:
        prediction_length: P, steps to forecast.
        season: m, steps of a season: 168 (a week) for hourly data of human activity.
        num_seasons: how many past seasons at most; fewer where the history is shorter.

    Raises:
        OptionError: an argument is below 1.
    """

    @validated()
    def __init__(self, prediction_length: int, season: int, num_seasons: int = 20) -> None:
        super().__init__(prediction_length)
        at_least(1, season=season, num_seasons=num_seasons)
        self.season = season
        self.num_seasons = num_seasons

    def history_needed(self) -> tuple[int, str]:
        """As many whole seasons as cover the horizon."""
        return self._first() * self.season, "whole seasons that cover the horizon"

    def _first(self) -> int:
        return -(-self.prediction_length // self.season)  # a later one reaches into the future

    def _point_and_blocks(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        y, m, p = panel.values, self.season, self.prediction_length
        origins = len(y) - m * np.arange(self._first(), self._first() + self.num_seasons)
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
            if 2 * len(whole) >= len(rows):  # of few there would be few different paths
                path[:] = whole[rng.integers(len(whole))]
            for step in np.flatnonzero(np.isnan(path)):
                donors = rows[~np.isnan(rows[:, step]), step]
                donors = donors if len(donors) else rows[~np.isnan(rows)]
                path[step] = donors[rng.integers(len(donors))]
    return drawn
