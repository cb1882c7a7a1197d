"""Forecasts that go on from the last value: it stays, or it moves as it moved of late."""

import numpy as np
from gluonts.core.component import validated

from timediff.baselines.base import (
    SimpleForecast,
    at_least,
    forward_filled,
    gaussian_rows,
    require_observations,
)
from timediff.entries import Panel
from timediff.errors import DataError


class LastValue(SimpleForecast):
    r"""The last value of each series at every step and in every sample.

    .. math:: x_{T+h} = y_{T-1}, \quad h = 0, \dots, P-1

    A point forecast: all samples are the same, so its coverage is about 0 and its CRPS the absolute
    error.

    Missing values: the last observation counts, however old.

    Args:
        prediction_length: P, steps to forecast.

    Raises:
        OptionError: ``prediction_length`` is below 1.

    References:
        Hyndman & Athanasopoulos 2021, *Forecasting: Principles and Practice*, section 5.2.
    """

    @validated()
    def __init__(self, prediction_length: int) -> None:
        super().__init__(prediction_length)

    def history_needed(self) -> tuple[int, str]:
        """One step."""
        return 1, "a value"

    def sample(self, panel: Panel, count: int, rng: np.random.Generator) -> np.ndarray:
        """The last observations, over and over."""
        last = forward_filled(panel.values)[-1]
        return np.broadcast_to(last, (count, self.prediction_length, len(last)))


class RandomWalk(SimpleForecast):
    r"""Independent Gaussian steps, dependent across the series, from the last value on.

    .. math:: x_{T+h} = y_{T-1} + (h+1) \mu + \sum_{i=0}^{h} e_i, \quad e_i \sim N(0, \Sigma)

    with :math:`\Sigma` the sample covariance of the latest ``window`` one-step changes (divisor
    n - 1), and :math:`\mu` = 0 or, with ``drift``, their mean. The variance grows linearly with the
    horizon.

    Missing values: a gap counts as no change, and the whole change over it as one at its end, which
    leaves the sum of the changes and, for a random walk, the expected variance as they were.

    Args:
        prediction_length: P, steps to forecast.
        window: latest one-step changes used, at most; fewer where the history is shorter.
        drift: whether the walk goes on with the mean change of the window.

    Raises:
        OptionError: ``prediction_length`` is below 1, or ``window`` below 2.

    References:
        Hyndman & Athanasopoulos 2021, *Forecasting: Principles and Practice*, sections 5.2, 5.5.
    """

    @validated()
    def __init__(self, prediction_length: int, window: int = 60, drift: bool = False) -> None:
        super().__init__(prediction_length)
        at_least(2, window=window)
        self.window = window
        self.drift = drift

    def history_needed(self) -> tuple[int, str]:
        """Three steps."""
        return 3, "two changes"

    def sample(self, panel: Panel, count: int, rng: np.random.Generator) -> np.ndarray:
        """Cumulated Gaussian steps."""
        last, changes = _changes(panel, self.window)
        mean = changes.mean(axis=0)
        size = (count, self.prediction_length)
        steps = gaussian_rows(changes - mean, len(changes) - 1, size, rng)
        return last + np.cumsum(steps + mean if self.drift else steps, axis=1)


class BootstrapReturns(SimpleForecast):
    r"""Past one-step changes of all series at once, drawn at random and added up.

    .. math:: x_{T+h} = y_{T-1} + \sum_{i=0}^{h} (c_{t_i} - \bar c), \quad c_t = y_t - y_{t-1}

    with the times :math:`t_i` drawn independently and with equal probability from the latest
    ``window``. A drawn change is a whole row of history, so the series move together as they did,
    with their tails; over time the changes are independent. With daily exchange rates the strongest
    of the simple forecasts.

    With ``log``, the same for :math:`\log y`: returns instead of differences, for series whose
    changes grow with their level and that must stay positive. On exchange rates the two score the
    same; differences are the default because they cannot explode where a series comes close to 0.

    Missing values: as in :class:`RandomWalk`.

    Args:
        prediction_length: P, steps to forecast.
        window: latest one-step changes to draw from, at most; fewer where the history is shorter.
        center: whether the mean change of the window is taken off; without it, a trend goes on.
        log: draw returns, the changes of the logarithm, which all values used must have.

    Raises:
        OptionError: ``prediction_length`` is below 1, or ``window`` below 2.

    References:
        Efron & Tibshirani 1993, *An Introduction to the Bootstrap*, chapter 8.
    """

    @validated()
    def __init__(
        self, prediction_length: int, window: int = 60, center: bool = True, log: bool = False
    ) -> None:
        super().__init__(prediction_length)
        at_least(2, window=window)
        self.window = window
        self.center = center
        self.log = log

    def history_needed(self) -> tuple[int, str]:
        """Three steps."""
        return 3, "two changes"

    def sample(self, panel: Panel, count: int, rng: np.random.Generator) -> np.ndarray:
        """Cumulated rows of past changes."""
        last, changes = _changes(panel, self.window, self.log)
        if self.center:
            changes = changes - changes.mean(axis=0)
        picks = rng.integers(len(changes), size=(count, self.prediction_length))
        paths = last + np.cumsum(changes[picks], axis=1)
        return np.exp(np.minimum(paths, 100)) if self.log else paths  # single precision ends at 88


def _changes(panel: Panel, window: int, log: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The last observations ``(D,)`` and the changes before them ``(N, D)``."""
    used = panel.values[-window - 1 :]
    require_observations(panel, used, 2)
    if log:
        low = (used <= 0).any(axis=0)
        if low.any():
            raise DataError(
                f"{panel.name(int(low.argmax()))} has values of 0 or less, which have no logarithm:"
                " leave out log=True to draw differences"
            )
        used = np.log(used)
    filled = forward_filled(used)
    return filled[-1], np.nan_to_num(np.diff(filled, axis=0))
