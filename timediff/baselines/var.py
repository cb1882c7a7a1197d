"""The linear classic: every series from the last values of all of them."""

import warnings
from typing import Any

import numpy as np
from gluonts.core.component import validated

from timediff.baselines.base import SimpleForecast, at_least, gaussian_rows, require_observations
from timediff.baselines.gaussian import moment
from timediff.entries import Panel
from timediff.errors import OptionError

_STABLE = 0.999  # largest modulus of an eigenvalue that a fit may have
_ROWS_PER_COEFFICIENT = 3  # of each equation; fewer give order 0


class VAR(SimpleForecast):
    r"""A vector autoregression with Gaussian errors, fitted by least squares with statsmodels.

    .. math:: z_t = c + \sum_{i=1}^{p} A_i z_{t-i} + e_t, \quad e_t \sim N(0, \Sigma)

    on the latest ``window`` steps, where z is the value less the mean of its phase of the season in
    that window. The order p minimises AIC, up to ``max_order`` and to what the data carry: at least
    three steps for each coefficient of an equation. Where not even order 1 has that, as with more
    series than observations, p = 0: errors that are dependent across the series but not over time.
    The paths are simulated, :math:`\Sigma` is the residual covariance with its degrees of freedom.

    It cannot explode. If the fit has an eigenvalue of modulus r > .999, as non-stationary series
    have, :math:`A_i` becomes :math:`(.999/r)^i A_i`, which brings all eigenvalues down alike, and
    c and the residuals follow from that. A path is kept within the range its series had in the
    window, widened on both sides by its width. Series that are constant in the window stay out of
    the fit and are forecast as that constant (plus profile). If the criterion cannot be computed,
    as for identical series, the order is 1.

    Missing values: interpolated linearly after the profile is taken off, so long gaps make the
    forecast too narrow. A phase never observed takes the series' mean.

    Args:
        prediction_length: P, steps to forecast.
        season: m, steps of the season whose mean profile is taken off first; 1 takes off the mean.
        window: latest steps to fit on, at most; fewer where the history is shorter.
        max_order: the largest order p that is tried.

    Raises:
        OptionError: ``prediction_length``, ``season`` or ``max_order`` is below 1, ``window`` holds
            fewer than two seasons or ten steps, or statsmodels is not installed.

    References:
        Lütkepohl 2005, *New Introduction to Multiple Time Series Analysis*, chapters 3 and 4.
    """

    @validated()
    def __init__(
        self, prediction_length: int, season: int = 1, window: int = 2000, max_order: int = 5
    ) -> None:
        super().__init__(prediction_length)
        at_least(1, season=season, max_order=max_order)
        at_least(max(2 * season, 10), window=window)
        _statsmodels()
        self.season = season
        self.window = window
        self.max_order = max_order

    def history_needed(self) -> tuple[int, str]:
        """Two seasons, or ten steps."""
        return max(2 * self.season, 10), "two seasons, and ten steps"

    def sample(self, panel: Panel, count: int, rng: np.random.Generator) -> np.ndarray:
        """Simulated paths."""
        used = panel.values[-self.window :]
        require_observations(panel, used, 2)
        profile, z = _deseason(used, self.season)
        scale = z.std(axis=0)
        moving = scale > 1e-9 * np.nanmax(np.abs(used), axis=0)  # not just rounding
        paths = np.zeros((count, self.prediction_length, z.shape[1]))
        if moving.any():
            fitted = z[:, moving] / scale[moving]
            paths[:, :, moving] = scale[moving] * self._simulate(fitted, count, rng)
        low, high = np.nanmin(used, axis=0), np.nanmax(used, axis=0)
        width = high - low
        horizon = np.arange(self.prediction_length) % self.season
        return np.clip(profile[horizon] + paths, low - width, high + width)

    def _simulate(self, z: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        A = _fit(z, self.max_order)
        order = len(A)
        residuals = z[order:] - _predicted(z, A)
        constant = residuals.mean(axis=0)
        degrees = len(residuals) - order * z.shape[1] - 1
        size = (count, self.prediction_length)
        errors = constant + gaussian_rows(residuals - constant, degrees, size, rng)
        path = np.concatenate([np.tile(z[len(z) - order :], (count, 1, 1)), errors], axis=1)
        for t in range(order, path.shape[1]):
            for i in range(order):
                path[:, t] += path[:, t - 1 - i] @ A[i].T
        return path[:, order:]


def _statsmodels() -> Any:
    try:
        import statsmodels.tsa.api
    except ImportError as error:
        raise OptionError(
            "the forecast VAR needs statsmodels: pip install 'timediff[baselines]'"
        ) from error
    return statsmodels.tsa.api


def _deseason(used: np.ndarray, season: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean profile ``(m, D)``, its first row for the step after, and what is left, filled."""
    missing = np.full((-len(used) % season, used.shape[1]), np.nan)
    whole = np.concatenate([missing, used]).reshape(-1, season, used.shape[1])
    profile, _, count = moment(whole, axis=0)
    profile = np.where(count, profile, np.nanmean(used, axis=0))
    z = used - profile[(np.arange(len(used)) - len(used)) % season]
    steps = np.arange(len(z))
    for column in z.T:
        gaps = np.isnan(column)
        if gaps.any():
            column[gaps] = np.interp(steps[gaps], steps[~gaps], column[~gaps])
    return profile, z


def _fit(z: np.ndarray, max_order: int) -> np.ndarray:
    """Coefficients ``(p, D, D)`` with eigenvalues of modulus .999 at most."""
    steps, series = z.shape
    largest = min(max_order, (steps // _ROWS_PER_COEFFICIENT - 1) // series)
    while largest and (steps - largest) < _ROWS_PER_COEFFICIENT * (largest * series + 1):
        largest -= 1
    if not largest:
        return np.zeros((0, series, series))
    tsa = _statsmodels()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of singular covariances, which are handled here
        if series == 1:  # statsmodels' VAR wants two
            fits = [tsa.AutoReg(z[:, 0], p, hold_back=largest).fit() for p in range(largest + 1)]
            coefficients = min(fits, key=lambda fit: fit.aic).params[1:, None, None]
        else:
            model = tsa.VAR(z)
            try:
                coefficients = model.fit(maxlags=largest, ic="aic", trend="c").coefs
            except (np.linalg.LinAlgError, ValueError):
                coefficients = model.fit(1, trend="c").coefs
    return _stabilised(np.reshape(coefficients, (-1, series, series)))


def _stabilised(A: np.ndarray) -> np.ndarray:
    order, series = A.shape[:2]
    if not order:
        return A
    companion = np.eye(order * series, k=-series)
    companion[:series] = np.concatenate(list(A), axis=1)
    radius = np.abs(np.linalg.eigvals(companion)).max()
    shrink = min(1.0, _STABLE / max(radius, _STABLE))
    return A * shrink ** np.arange(1, order + 1)[:, None, None]


def _predicted(z: np.ndarray, A: np.ndarray) -> np.ndarray:
    """What the lags say of ``z[p:]``, without the constant."""
    p = len(A)
    lagged = (z[p - 1 - i : len(z) - 1 - i] @ A[i].T for i in range(p))
    return sum(lagged, np.zeros_like(z[p:]))
