"""A Gaussian for every series and step by itself: the forecast that knows of no dependence."""

import numpy as np
from gluonts.core.component import validated

from timediff.baselines.base import SimpleForecast, at_least, require_observations
from timediff.entries import Panel


class IndependentGaussian(SimpleForecast):
    r"""Gaussian values, independent over series and time, with the moments of past seasons.

    .. math:: x_{T+h} \sim N(m_\phi, s_\phi^2), \quad \phi = h \bmod m

    with :math:`m_\phi, s_\phi` the mean and the standard deviation (divisor n - 1) of the series'
    values :math:`y_{T-km+\phi}`, k = 1, ..., ``num_seasons``. What it loses against
    :class:`PastSeasons` in a score of the sum is what the dependence is worth.

    Missing values: the moments are those of what was observed. A phase with fewer than two
    observations takes the moments over all phases of the seasons used.

    Args:
        prediction_length: P, steps to forecast.
        season: m, steps of a season; 1 gives every step the moments of the latest values.
        num_seasons: how many past seasons at most, at least 2; fewer where the history is shorter.
            None takes the whole history.

    Raises:
        OptionError: ``prediction_length`` or ``season`` is below 1, or ``num_seasons`` below 2.
    """

    @validated()
    def __init__(
        self, prediction_length: int, season: int = 1, num_seasons: int | None = None
    ) -> None:
        super().__init__(prediction_length)
        at_least(1, season=season)
        if num_seasons is not None:
            at_least(2, num_seasons=num_seasons)
        self.season = season
        self.num_seasons = num_seasons

    def history_needed(self) -> tuple[int, str]:
        """Two seasons."""
        return 2 * self.season, "two seasons"

    def sample(self, panel: Panel, count: int, rng: np.random.Generator) -> np.ndarray:
        """Independent Gaussian values."""
        y, m, p = panel.values, self.season, self.prediction_length
        seasons = min(len(y) // m, self.num_seasons or len(y))
        used = y[len(y) - seasons * m :]
        require_observations(panel, used, 2)
        mean, deviation = moments(used.reshape(seasons, m, -1))
        phase = np.arange(p) % m
        noise = rng.standard_normal((count, p, y.shape[1]))
        return mean[phase] + deviation[phase] * noise


def moments(seasons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation ``(m, D)`` of the observed ones of ``(N, m, D)`` values."""
    mean, deviation, count = moment(seasons, axis=0)
    all_mean, all_deviation, _ = moment(seasons, axis=(0, 1))
    rare = count < 2
    return np.where(rare, all_mean, mean), np.where(rare, all_deviation, deviation)


def moment(
    values: np.ndarray, axis: int | tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and number of the observed values along an axis."""
    observed = ~np.isnan(values)
    count = observed.sum(axis=axis)
    mean = np.where(observed, values, 0).sum(axis=axis) / np.maximum(count, 1)
    squares = np.where(observed, values - mean, 0) ** 2
    return mean, np.sqrt(squares.sum(axis=axis) / np.maximum(count - 1, 1)), count
