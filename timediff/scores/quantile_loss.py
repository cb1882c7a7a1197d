"""Scores of the forecasting tables, as GluonTS computes them: pooled over everything."""

from collections.abc import Sequence

import torch

from timediff.scores._inputs import checked
from timediff.scores._ordered import at_rank, check_levels, over_ordered
from timediff.scores.combination import summed
from timediff.types import Float, Tensor

LEVELS = tuple(i / 20 for i in range(1, 20))
"""The 19 quantile levels of the published tables: 0.05, 0.10, ..., 0.95."""


def weighted_quantile_loss(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    levels: Sequence[float] = LEVELS,
) -> Float[Tensor, " q"]:
    r"""Quantile loss of each level, weighted by the size of the data (``wQuantileLoss[q]``).

    .. math::

        \mathrm{wQL}_q = \frac{2 \sum_{w,p,d} (y - \hat y_q) (q - 1\{y \le \hat y_q\})}
        {\sum_{w,p,d} |y|}

    The quantile :math:`\hat y_q` is the sorted sample at index ``round((s - 1) q)`` (nearest rank,
    ties to even), and both sums are pooled over windows, steps *and* series.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing and is left out, element
            by element.
        levels: of the quantiles, each above 0 and below 1.

    Returns:
        One number a level, without unit, lower is better. NaN where every observation is zero.
        Differentiable in the samples.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.
        OptionError: a level out of range.

    References:
        Koenker & Bassett 1978 (the loss); Alexandrov et al. 2020, *GluonTS* (this estimator).
    """
    check_levels(*levels)
    inputs = checked(samples, target)
    losses = over_ordered(
        inputs, lambda x, y, seen: torch.where(seen[:, None], pinball(x, y, levels), 0.0).sum(0)
    )
    scale = inputs.target.abs().sum(dtype=inputs.exact)
    return torch.where(scale > 0, 2 * torch.stack(losses).sum(0) / scale, torch.nan)


def pinball(
    ordered: Float[Tensor, "n s"], y: Float[Tensor, " n"], levels: Sequence[float]
) -> Float[Tensor, "n q"]:
    """Quantile loss of each element and level, of the quantile by nearest rank."""
    quantiles = torch.stack([at_rank(ordered, q) for q in levels], 1)
    error = y[:, None] - quantiles
    return error * (torch.tensor(levels, dtype=y.dtype, device=y.device) - (error <= 0).to(y))


def crps(samples: Float[Tensor, "*b s p d"], target: Float[Tensor, "*b p d"]) -> Float[Tensor, ""]:
    r"""CRPS of the single series, as published tables report it (``mean_wQuantileLoss``).

    .. math:: \mathrm{CRPS} = \frac{1}{19} \sum_{q = .05, \dots, .95} \mathrm{wQL}_q

    The mean of :func:`weighted_quantile_loss` over 19 levels: the estimator of GluonTS'
    ``MultivariateEvaluator``. Numerator and denominator are pooled over windows, steps and series,
    so that large series weigh more; it is not a mean over the series of their own CRPS. Other
    estimators and other numbers of quantiles give other values for the same forecast: .1154 with
    these 19 quantiles, .1204 with 9, .1100 exact (:func:`crps_ensemble`).

    Args:
        samples: sample paths: windows, samples, steps, series; in the units of the target.
        target: what was observed. NaN means missing and is left out, element by element.

    Returns:
        A scalar without unit, lower is better. NaN where every observation is zero.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.

    References:
        Matheson & Winkler 1976 (the score); Alexandrov et al. 2020, *GluonTS* (this estimator);
        Rasul et al. 2021, arXiv 2101.12072 (its use).
    """
    return weighted_quantile_loss(samples, target).mean()


def crps_sum(
    samples: Float[Tensor, "*b s p d"], target: Float[Tensor, "*b p d"]
) -> Float[Tensor, ""]:
    r"""CRPS of the sum over the series (``m_sum_mean_wQuantileLoss``), a check of the joint law.

    .. math::

        \mathrm{CRPS}_{\mathrm{sum}} = \mathrm{CRPS}\Big(\sum_d x_d,\ \sum_d y_d\Big)

    with :func:`crps`, whose numerator and denominator are pooled over windows and steps. Without
    missing values this is the GluonTS number. At a step where some series are missing, the sum
    runs over the observed ones in the samples *and* in the target, as in :func:`combine`. (GluonTS
    then compares the observed part of the target with the sum of all sampled series, which charges
    the forecast for what was not measured.) A step at which nothing is observed is left out.

    Args:
        samples: sample paths: windows, samples, steps, series; in the units of the target.
        target: what was observed. NaN means missing.

    Returns:
        A scalar without unit, lower is better. NaN where every sum is zero.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.

    References:
        Salinas et al. 2019, arXiv 1910.03002, who brought it into use.
    """
    return crps(*summed(samples, target))
