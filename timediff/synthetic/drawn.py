"""The laws by name, their coefficients drawn from a seed: always stationary, never the same.

Coefficients are rounded to six digits. Values that leave the generator are single precision. So
what differs between builds of LAPACK, the last bits, does not reach the data.
"""

import numpy as np

from timediff.registry import Registry
from timediff.synthetic.innovations import Clayton, Gaussian, StudentT
from timediff.synthetic.law import Law
from timediff.synthetic.linear import VectorAutoregression, spectral_radius
from timediff.synthetic.regimes import RegimeSwitching

LAWS: Registry[Law] = Registry("law", Law)
"""Each takes the number of series and a seed."""


@LAWS.register("var")
def var(num_series: int, seed: int) -> Law:
    """Gaussian VAR(2), correlated by a common factor, around a constant level."""
    rng = np.random.default_rng([seed, 0])
    level, scale = _levels(num_series, rng)
    coefficients = _stationary({1: 0.6, 2: 0.2}, 0.92, num_series, rng)
    noise = Gaussian(_correlation(num_series, rng))
    return VectorAutoregression(coefficients, noise, level, scale, "var")


@LAWS.register("seasonal_var")
def seasonal_var(num_series: int, seed: int) -> Law:
    """Gaussian VAR with lags of an hour and a day, around a daily profile."""
    rng = np.random.default_rng([seed, 0])
    level, scale = _levels(num_series, rng)
    peak = 18 + rng.normal(0, 2, num_series)
    swing, second = rng.uniform(0.2, 0.4, num_series), rng.uniform(0.05, 0.15, num_series)
    angle = 2 * np.pi * (np.arange(24)[:, None] - peak) / 24
    profile = level * (1 + swing * np.cos(angle) + second * np.cos(2 * angle))
    coefficients = _stationary({1: 0.5, 24: 0.4}, 0.985, num_series, rng)
    noise = Gaussian(_correlation(num_series, rng))
    return VectorAutoregression(coefficients, noise, profile.round(6), scale, "seasonal_var")


@LAWS.register("regime_switching")
def regime_switching(num_series: int, seed: int) -> Law:
    """A calm regime and a wild one: lower, four times as noisy, more correlated, shorter."""
    rng = np.random.default_rng([seed, 0])
    level, scale = _levels(num_series, rng)
    coefficients = []
    for norm in (0.9, 0.6):
        a = 0.6 * np.eye(num_series) + 0.3 * _mixing(num_series, rng)
        coefficients.append((a * norm / np.linalg.norm(a, 2)).round(6))
    calm, wild = _correlation(num_series, rng), _correlation(num_series, rng, least=0.8)
    return RegimeSwitching(
        transition=np.array([[0.98, 0.02], [0.08, 0.92]]),
        intercepts=np.stack([np.zeros(num_series), -rng.uniform(1, 2, num_series).round(6)]),
        coefficients=np.stack(coefficients),
        factors=np.stack([0.5 * np.linalg.cholesky(calm), 2 * np.linalg.cholesky(wild)]),
        level=level,
        scale=scale,
        name="regime_switching",
    )


@LAWS.register("heavy_tails")
def heavy_tails(num_series: int, seed: int) -> Law:
    """VAR(1) with multivariate t innovations, three degrees of freedom: no fourth moment."""
    rng = np.random.default_rng([seed, 0])
    level, scale = _levels(num_series, rng)
    coefficients = _stationary({1: 0.6}, 0.85, num_series, rng)
    noise = StudentT(_correlation(num_series, rng), df=3.0)
    return VectorAutoregression(coefficients, noise, level, scale, "heavy_tails")


@LAWS.register("copula")
def copula(num_series: int, seed: int) -> Law:
    """VAR(1) with a Clayton copula and reflected exponential margins: all fall together."""
    rng = np.random.default_rng([seed, 0])
    level, scale = _levels(num_series, rng)
    coefficients = _stationary({1: 0.6}, 0.85, num_series, rng)
    return VectorAutoregression(coefficients, Clayton(num_series, 2.0), level, scale, "copula")


def _levels(dim: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Levels around 100, unlike each other as in real data, and 5 % of them as scale."""
    level = (100 * np.exp(0.5 * rng.standard_normal(dim))).round(6)
    return level, (0.05 * level).round(6)


def _mixing(dim: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((dim, dim)) / np.sqrt(dim)


def _stationary(
    own: dict[int, float], radius: float, dim: int, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """Coefficients by lag whose companion matrix has this spectral radius.

    Multiplying each by ``c ** lag`` multiplies all eigenvalues by c.
    """
    raw = {lag: a * np.eye(dim) + 0.25 * a * _mixing(dim, rng) for lag, a in own.items()}
    c = radius / spectral_radius(raw, dim)
    return {lag: (a * c**lag).round(6) for lag, a in raw.items()}


def _correlation(dim: int, rng: np.random.Generator, least: float = 0.3) -> np.ndarray:
    """Correlations from one common factor: positive definite whatever is drawn."""
    loading = rng.uniform(least, 0.95, dim).round(6)
    return np.outer(loading, loading) + np.diag(1 - loading**2)
