"""A law that changes its mind: hidden regimes, and the exact filter for them."""

import numpy as np

from timediff.errors import OptionError
from timediff.synthetic.law import Law


class RegimeSwitching(Law):
    r"""A first-order autoregression whose coefficients follow a hidden Markov chain of K regimes.

    .. math:: y_t = c_{k_t} + A_{k_t} y_{t-1} + F_{k_t} z_t, \quad z_t \sim N(0, I), \quad
        \Pr(k_t = j \mid k_{t-1} = i) = P_{ij}

    started from :math:`y_{-1} = 0` and the stationary law of the chain. The predictive law is
    exact: the regime after the last observation is drawn from the Hamilton filter over the whole
    history (for a history that starts later, as if it started there; what that costs is forgotten
    geometrically), then chain and series go on together.

    Args:
        transition: P, ``(K, K)``, rows that sum to 1, all entries above 0.
        intercepts: c, ``(K, D)``.
        coefficients: A, ``(K, D, D)``, each with a spectral norm below 1: every switching between
            them is then stationary.
        factors: F, ``(K, D, D)``, lower triangular with a positive diagonal.
        level: ``(m, D)`` and
        scale: ``(D,)`` as in :class:`~timediff.synthetic.law.Law`.
        name: for tables.

    Raises:
        OptionError: an argument is not as said above.

    References:
        Hamilton 1989, *Econometrica* 57.
    """

    def __init__(
        self,
        transition: np.ndarray,
        intercepts: np.ndarray,
        coefficients: np.ndarray,
        factors: np.ndarray,
        level: np.ndarray,
        scale: np.ndarray,
        name: str = "custom",
    ) -> None:
        super().__init__(level, scale, 1, name)
        arrays = (np.asarray(a, float) for a in (transition, intercepts, coefficients, factors))
        self.transition, self.intercepts, self.coefficients, self.factors = arrays
        k, dim = len(self.transition), self.num_series
        shapes = [a.shape for a in (self.transition, self.intercepts)]
        shapes += [a.shape for a in (self.coefficients, self.factors)]
        if shapes != [(k, k), (k, dim), (k, dim, dim), (k, dim, dim)]:
            raise OptionError(
                "transition, intercepts, coefficients and factors must be (K, K), (K, D), "
                f"(K, D, D), (K, D, D) with D = {dim} as in scale; got {shapes}"
            )
        if not np.allclose(self.transition.sum(1), 1) or not (self.transition > 0).all():
            raise OptionError("the rows of transition must be above 0 and sum to 1")
        norm = float(np.linalg.norm(self.coefficients, 2, axis=(1, 2)).max())
        if not norm < 1:
            raise OptionError(f"coefficients have spectral norm {norm:.4f}: it must be below 1")
        diagonal = np.diagonal(self.factors, axis1=1, axis2=2)
        if not (diagonal > 0).all() or np.triu(self.factors, 1).any():
            raise OptionError("factors must be lower triangular with a positive diagonal")
        self.stationary = np.linalg.matrix_power(self.transition, 2**20)[0]

    def _simulate(self, length: int, size: int, rng: np.random.Generator) -> np.ndarray:
        regimes = self._switch(np.tile(self.stationary, (size, 1)), rng)
        return self._run(regimes, np.zeros((size, self.num_series)), length, rng)

    def _continue(
        self, y: np.ndarray, steps: int, count: int, rng: np.random.Generator
    ) -> np.ndarray:
        ahead = self._filter(y) @ self.transition
        regimes = self._switch(np.tile(ahead, (count, 1)), rng)
        return self._run(regimes, np.tile(y[-1], (count, 1)), steps, rng)

    def _run(
        self, regimes: np.ndarray, y: np.ndarray, steps: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Paths ``(N, steps, D)`` after ``y`` ``(N, D)``; ``regimes`` ``(N,)`` rule the first."""
        path = np.empty((len(y), steps, self.num_series))
        noise = rng.standard_normal(path.shape)
        for t in range(steps):
            if t:
                regimes = self._switch(self.transition[regimes], rng)
            moved = np.einsum("nij,nj->ni", self.coefficients[regimes], y)
            shock = np.einsum("nij,nj->ni", self.factors[regimes], noise[:, t])
            y = path[:, t] = self.intercepts[regimes] + moved + shock
        return path

    def _switch(self, probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A regime ``(N,)`` from each row of probabilities ``(N, K)``."""
        edges = np.cumsum(probabilities[:, :-1], axis=1)
        return (rng.random((len(probabilities), 1)) > edges).sum(axis=1)

    def regime_probabilities(self, history: np.ndarray, start: int = 0) -> np.ndarray:
        """The filter: the law ``(K,)`` of the last step's regime, given the history ``(T, D)``."""
        y = (np.asarray(history, float) - self.level(start, len(history))) / self.scale
        return self._filter(y)

    def _filter(self, y: np.ndarray) -> np.ndarray:
        r"""Proportional to :math:`\pi_0 L_0 \prod_{t \ge 1} P L_t`, L diagonal with likelihoods.

        The product is taken pairwise, so that it needs log2(T) steps instead of T.
        """
        before = np.vstack([np.zeros(self.num_series), y[:-1]])
        moved = np.einsum("kij,tj->tki", self.coefficients, before)
        errors = y[:, None] - self.intercepts - moved  # (T, K, D)
        z = np.einsum("kij,tkj->tki", np.linalg.inv(self.factors), errors)
        log_det = np.log(np.diagonal(self.factors, axis1=1, axis2=2)).sum(axis=1)
        log_likelihood = -0.5 * (z**2).sum(axis=2) - log_det
        likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        product = self.transition * likelihood[1:, None, :]  # (T - 1, K, K)
        while len(product) > 1:
            odd = product[len(product) // 2 * 2 :]
            product = np.concatenate([product[:-1:2] @ product[1::2], odd])
            product /= product.max(axis=(1, 2), keepdims=True)
        weights = self.stationary * likelihood[0]
        weights = weights @ product[0] if len(product) else weights
        return weights / weights.sum()
