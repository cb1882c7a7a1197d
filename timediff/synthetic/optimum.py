"""The best possible score of a generated data set: that of the true law."""

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from timediff.baselines.base import at_least
from timediff.datasets import ForecastDataset
from timediff.errors import DataError
from timediff.synthetic.law import Law
from timediff.synthetic.linear import VectorAutoregression
from timediff.synthetic.oracle import START

LEVELS = np.arange(1, 20) / 20
WARM_UP = 500  # steps of each simulated history before its window


class OptimalScores(NamedTuple):
    """Scores of the true law, under the names of :func:`timediff.scores.score_table`.

    ``crps`` and ``crps_sum`` are normalised as in the tables (19 quantiles, divided by the sum of
    absolute values); ``crps_exact`` and ``energy_score`` have the units of the data, means over
    steps (and series).

    Attributes:
        expected: over all histories and outcomes, for the law itself (infinitely many paths). No
            forecast is better in expectation.
        standard_error: of ``expected``; 0 where it is a closed form.
        windows: what the law scores on the data set's own test windows with ``num_samples`` paths:
            the number to divide a model's score by, because it had the same luck.
    """

    expected: dict[str, float]
    standard_error: dict[str, float]
    windows: dict[str, float]


def optimal_scores(
    dataset: ForecastDataset,
    num_samples: int = 100,
    num_histories: int = 400,
    num_paths: int = 500,
    seed: int = 0,
) -> OptimalScores:
    r"""The scores of the law that the data were drawn from.

    For a true law F with independent :math:`X, X' \sim F` the expected CRPS is
    :math:`\tfrac12 E|X - X'|`, the expected energy score :math:`\tfrac12 E\lVert X - X' \rVert`,
    and the expected quantile loss that of F's own quantiles. For the Gaussian laws these are closed
    forms (:math:`\sigma/\sqrt\pi`, :math:`\sigma\varphi(z_q)`; the energy score an integral in one
    dimension). For the others they are means over simulated histories, each with paths of its
    predictive law, with the standard error between histories. ``crps`` and ``crps_sum`` are the
    expected loss over the expected sum of absolute values.

    Args:
        dataset: from :func:`~timediff.synthetic.generate`.
        num_samples: paths of each test window, as many as the models have that it is compared with.
        num_histories: simulated ones, where there is no closed form; 2 or more.
        num_paths: of each simulated history, where there is no closed form; 4 or more.
        seed: of the paths.

    Raises:
        DataError: the data set has no known law.
        OptionError: a number is too small.

    References:
        Gneiting & Raftery 2007; Székely & Rizzo 2013 (the integral).
    """
    at_least(1, num_samples=num_samples)
    at_least(2, num_histories=num_histories)
    at_least(4, num_paths=num_paths)
    at_least(0, seed=seed)
    if dataset.oracle is None:
        raise DataError(
            f"nobody knows the law of {dataset.name!r}: optimal scores exist for the generated "
            "data sets only"
        )
    law, steps = dataset.oracle.law, dataset.prediction_length
    ends = np.array([entry["target"].shape[1] for entry in dataset.test])
    starts = np.array([entry["start"].ordinal - START.ordinal for entry in dataset.test])
    origins = starts + ends - steps
    if isinstance(law, VectorAutoregression) and law.gaussian:
        expected = gaussian_expected(law, origins, steps)
        error = dict.fromkeys(expected, 0.0)
    else:
        rng = np.random.default_rng([seed, 2])
        origins = np.resize(origins, num_histories)
        expected, error = simulated_expected(law, origins, steps, num_paths, rng)
    return OptimalScores(expected, error, _on_windows(dataset, num_samples, seed))


def gaussian_expected(
    law: VectorAutoregression, origins: np.ndarray, steps: int
) -> dict[str, float]:
    """Expected scores of a Gaussian law in closed form, for windows that begin at ``origins``."""
    covariance, stationary = law.covariance(steps), law.stationary_covariance()
    level = law.level(origins, steps)
    sigma = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))  # (P, D)
    sigma_sum = np.sqrt(covariance.sum(axis=(1, 2)))
    size = _mean_absolute(level, np.sqrt(np.diagonal(stationary)))
    size_sum = _mean_absolute(level.sum(axis=-1), np.sqrt(stationary.sum()))
    normal = NormalDist()
    density = np.mean([normal.pdf(normal.inv_cdf(q)) for q in LEVELS])
    return {
        "crps": float(2 * density * sigma.mean() / size),
        "crps_sum": float(2 * density * sigma_sum.mean() / size_sum),
        "crps_exact": float(sigma.mean() / math.sqrt(math.pi)),
        "energy_score": float(np.mean([_mean_norm(c) for c in covariance]) / math.sqrt(2)),
    }


def _mean_absolute(mean: np.ndarray, sigma: np.ndarray | float) -> float:
    """The average of E|N(mean, sigma²)|."""
    ratio = mean / (sigma * math.sqrt(2))
    near_zero = sigma * math.sqrt(2 / math.pi) * np.exp(-(ratio**2))
    return float((near_zero + mean * np.vectorize(math.erf)(ratio)).mean())


def _mean_norm(covariance: np.ndarray, nodes: int = 200) -> float:
    r"""The mean norm of a centred normal vector with eigenvalues :math:`\lambda`.

    .. math:: E\lVert x \rVert = \frac1{\sqrt\pi} \int_0^\infty
        \Big(1 - \prod_d (1 + 2 \lambda_d u^2)^{-1/2}\Big) \frac{du}{u^2}

    by Gauss-Legendre, with :math:`u = \tan(a) / \sqrt{2 \sum_d \lambda_d}`.
    """
    values = np.linalg.eigvalsh(covariance)
    values, unit = values / values.sum(), math.sqrt(values.sum() * 2)
    x, weights = np.polynomial.legendre.leggauss(nodes)
    angle = (x + 1) * np.pi / 4
    u2 = np.tan(angle)[:, None] ** 2
    inside = -np.expm1(-0.5 * np.log1p(values * u2).sum(axis=1))
    return float(unit * (weights * inside / np.sin(angle) ** 2).sum() * math.sqrt(math.pi) / 4)


def simulated_expected(
    law: Law, origins: np.ndarray, steps: int, num_paths: int, rng: np.random.Generator
) -> tuple[dict[str, float], dict[str, float]]:
    """Expected scores over one simulated history for each origin, and their standard errors."""
    starts = origins - WARM_UP
    histories = law.simulate(WARM_UP, rng, size=len(origins), start=starts)
    rows = []
    for history, start in zip(histories, starts.tolist(), strict=True):
        paths = law.sample(history, steps, num_paths, rng, start)
        total = paths.sum(axis=2, keepdims=True)
        first, second = paths[: num_paths // 2], paths[num_paths // 2 :][: num_paths // 2]
        distance = np.sqrt(((first - second) ** 2).sum(axis=2))
        row = [*_loss_and_size(paths), *_loss_and_size(total), _spread(paths) / 2]
        rows.append([*row, distance.mean() / 2])
    loss, size, loss_sum, size_sum, spread, distance = np.array(rows).T
    one = np.ones(len(rows))
    fractions = {
        "crps": (loss, size),
        "crps_sum": (loss_sum, size_sum),
        "crps_exact": (spread, one),
        "energy_score": (distance, one),
    }
    expected, error = {}, {}
    for name, (top, bottom) in fractions.items():
        ratio = top.mean() / bottom.mean()
        expected[name] = float(ratio)
        scatter = np.std(top - ratio * bottom, ddof=1) / bottom.mean()
        error[name] = float(scatter / math.sqrt(len(rows)))
    return expected, error


def _loss_and_size(paths: np.ndarray) -> tuple[float, float]:
    """Twice the mean quantile loss of a law's own quantiles, and its mean absolute value.

    Quantiles of one half of the paths, their loss on both halves: too small on the half they were
    taken from and too large on the other one, by the same amount to first order.
    """
    quantiles = np.quantile(paths[: len(paths) // 2], LEVELS, axis=0)
    mean = paths.mean(axis=0)
    # q (x - c) + max(c - x, 0), level by level: small arrays stay in the cache
    losses = [
        q * (mean - c).mean() + np.maximum(c - paths, 0).mean()
        for q, c in zip(LEVELS, quantiles, strict=True)
    ]
    return 2 * float(np.mean(losses)), float(np.abs(paths).mean())


def _spread(paths: np.ndarray) -> float:
    """The mean of E|X - X'| over steps and series, from all pairs of different paths."""
    n = len(paths)
    weights = 2 * np.arange(1, n + 1) - n - 1
    pairs = np.tensordot(weights, np.sort(paths, axis=0), axes=1)
    return float(2 * pairs.mean() / (n * (n - 1)))


def _on_windows(dataset: ForecastDataset, num_samples: int, seed: int) -> dict[str, float]:
    import torch

    from timediff.scores import crps, crps_ensemble, crps_sum, energy_score

    steps = dataset.prediction_length
    entries: list[dict[str, Any]] = [
        {**entry, "target": entry["target"][:, :-steps]} for entry in dataset.test
    ]
    forecasts = dataset.oracle.predict(entries, num_samples=num_samples, seed=seed)
    samples = torch.from_numpy(np.stack([forecast.samples for forecast in forecasts]))
    target = torch.from_numpy(np.stack([entry["target"][:, -steps:].T for entry in dataset.test]))
    return {
        "crps": crps(samples, target).item(),
        "crps_sum": crps_sum(samples, target).item(),
        "crps_exact": crps_ensemble(samples, target).item(),
        "energy_score": energy_score(samples, target).item(),
    }
