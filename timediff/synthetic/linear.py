"""Linear laws: vector autoregressions with innovations of any kind."""

from collections.abc import Mapping

import numpy as np

from timediff.errors import OptionError
from timediff.synthetic.innovations import Gaussian, Innovations
from timediff.synthetic.law import Law

BURN_IN = 1000
LARGEST_RADIUS = 0.99  # 0.99 ** 1000: what the start leaves after the burn-in is below 1e-4


class VectorAutoregression(Law):
    r"""A stationary vector autoregression around a level.

    .. math:: y_t = \sum_{l} A_l\, y_{t-l} + e_t

    The predictive law is exact: it depends on the last ``max(lags)`` steps alone. A seasonal one
    has a lag of a whole season, or a level with more than one row, or both.

    Args:
        coefficients: matrices ``(D, D)`` by lag.
        innovations: the law of e.
        level: ``(m, D)`` and
        scale: ``(D,)`` as in :class:`~timediff.synthetic.law.Law`.
        name: for tables.

    Raises:
        OptionError: shapes that do not fit, or a process that is not stationary: the companion
            matrix must have a spectral radius of at most 0.99.
    """

    def __init__(
        self,
        coefficients: Mapping[int, np.ndarray],
        innovations: Innovations,
        level: np.ndarray,
        scale: np.ndarray,
        name: str = "custom",
    ) -> None:
        super().__init__(level, scale, max(coefficients, default=0), name)
        self.coefficients = {lag: np.asarray(a, float) for lag, a in coefficients.items()}
        self.innovations = innovations
        dim = self.num_series
        wrong = [lag for lag, a in self.coefficients.items() if lag < 1 or a.shape != (dim, dim)]
        if wrong:
            raise OptionError(
                f"coefficients must be ({dim}, {dim}) at lags of 1 or more; lag {wrong[0]} is not"
            )
        if innovations.num_series != dim:
            raise OptionError(f"innovations have {innovations.num_series} series, scale has {dim}")
        radius = spectral_radius(self.coefficients, dim)
        if radius > LARGEST_RADIUS:
            raise OptionError(
                f"the coefficients have spectral radius {radius:.4f}, more than {LARGEST_RADIUS}: "
                "the process is not stationary, or forgets too slowly; make them smaller"
            )

    @property
    def gaussian(self) -> bool:
        """Whether the predictive law is normal, so that its scores have a closed form."""
        return type(self.innovations) is Gaussian

    def _simulate(self, length: int, size: int, rng: np.random.Generator) -> np.ndarray:
        start = np.zeros((self.memory, self.num_series))
        return self._continue(start, BURN_IN + length, size, rng)[:, BURN_IN:]

    def _continue(
        self, y: np.ndarray, steps: int, count: int, rng: np.random.Generator
    ) -> np.ndarray:
        return self._run(y, self.innovations.draw((count, steps), rng))

    def _run(self, y: np.ndarray, e: np.ndarray) -> np.ndarray:
        """What follows the history for given innovations ``(count, steps, D)``."""
        past = np.broadcast_to(y[len(y) - self.memory :], (len(e), self.memory, self.num_series))
        path = np.concatenate([past, e], axis=1)
        for t in range(self.memory, path.shape[1]):
            for lag, a in self.coefficients.items():
                path[:, t] += path[:, t - lag] @ a.T
        return path[:, self.memory :]

    def mean(self, history: np.ndarray, steps: int, start: int = 0) -> np.ndarray:
        """The mean ``(steps, D)`` of the predictive law; arguments as in ``sample``."""
        y = (np.asarray(history, float) - self.level(start, len(history))) / self.scale
        path = self._run(y, np.zeros((1, steps, self.num_series)))[0]
        return self.level(start + len(history), steps) + self.scale * path

    def covariance(self, steps: int) -> np.ndarray:
        r"""The covariances of the predictive law, step by step.

        .. math:: s \sum_{j<h} \Psi_j \Sigma \Psi_j' s, \quad \Psi_0 = I, \quad
            \Psi_j = \sum_l A_l \Psi_{j-l}

        They are the same for every history; for many steps they tend to the stationary covariance.

        Returns:
            ``(steps, D, D)``, between the series at one step.

        Raises:
            OptionError: the innovations have no covariance in closed form.
        """
        if self.innovations.covariance is None:
            raise OptionError(
                f"{type(self.innovations).__name__} innovations have no covariance in closed form"
            )
        impulses = np.zeros((self.num_series, steps, self.num_series))
        impulses[:, 0] = np.eye(self.num_series)
        rest = np.zeros((self.memory, self.num_series))
        psi = self._run(rest, impulses).transpose(1, 2, 0) * self.scale[:, None]
        return np.cumsum(psi @ self.innovations.covariance @ psi.transpose(0, 2, 1), axis=0)

    def stationary_covariance(self) -> np.ndarray:
        """The covariance ``(D, D)`` of one step, whatever the history."""
        return self.covariance(BURN_IN)[-1]


def spectral_radius(coefficients: Mapping[int, np.ndarray], dim: int) -> float:
    """Largest modulus of the companion matrix's eigenvalues: below 1 the process is stationary."""
    order = max(coefficients, default=0)
    if not order:
        return 0.0
    companion = np.eye(dim * order, k=-dim)
    companion[:dim] = 0
    for lag, a in coefficients.items():
        companion[:dim, (lag - 1) * dim : lag * dim] = a
    return float(np.abs(np.linalg.eigvals(companion)).max())
