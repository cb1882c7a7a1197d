"""CRPS of an ensemble, element by element, in three estimators."""

from collections.abc import Callable

import torch

from timediff.errors import DataError, OptionError
from timediff.scores._inputs import checked, reduced
from timediff.scores._ordered import over_ordered
from timediff.scores.quantile_loss import LEVELS, pinball
from timediff.types import Float, Tensor


def crps_ensemble(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    estimator: str = "energy",
    reduction: str = "mean",
) -> Tensor:
    r"""Continuous ranked probability score of each element's ensemble, in the units of the data.

    .. math::

        \text{energy:}\quad \frac1S \sum_i |x_i - y| - \frac{1}{2 S^2} \sum_{i,j} |x_i - x_j|
        \qquad
        \text{fair:}\quad \frac1S \sum_i |x_i - y| - \frac{1}{2 S (S - 1)} \sum_{i,j} |x_i - x_j|

    ``"energy"`` is the exact CRPS of the empirical distribution of the S samples; ``"fair"`` is
    unbiased for the distribution they were drawn from; ``"quantile"`` is twice the mean pinball
    loss over the 19 levels of the published tables, with quantiles by nearest rank: what
    :func:`~timediff.scores.crps` pools and divides. The double sum takes a sort,
    :math:`\sum_{i,j} |x_i - x_j| = 2 \sum_i (2i - S - 1)\, x_{(i)}`, never S² numbers.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed. NaN means missing.
        estimator: ``"energy"``, ``"fair"`` or ``"quantile"``.
        reduction: ``"mean"`` over all observed elements, or ``"none"``.

    Returns:
        A scalar, or ``[*b, p, d]`` with NaN where the target is missing; lower is better. In the
        precision of the samples (float64 in, float64 out). Differentiable in the samples.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target, no
            observation, or fewer than two samples for the fair estimator.
        OptionError: an unknown estimator or reduction.

    References:
        Gneiting & Raftery 2007, eq. 20; Ferro 2014 (fair); Jordan, Krüger & Lerch 2019 (sorting).
    """
    kernel = ESTIMATORS.get(estimator)
    if kernel is None:
        raise OptionError(f"estimator must be one of {list(ESTIMATORS)}, not {estimator!r}")
    inputs = checked(samples, target)
    if estimator == "fair" and inputs.samples.shape[1] < 2:
        raise DataError("the fair CRPS needs at least 2 samples; got 1")
    dtype = torch.promote_types(samples.dtype, torch.float32)
    values = over_ordered(inputs, lambda x, y, _: kernel(x, y), dtype)
    return reduced(torch.cat(values), inputs.observed.reshape(target.shape), reduction)


def _energy(ordered: Float[Tensor, "n s"], y: Float[Tensor, " n"], pairs: int) -> Tensor:
    s = ordered.shape[1]
    error = ordered - y[:, None]  # also for the pairs: a large level would cost digits
    weight = 2 * torch.arange(1, s + 1, dtype=y.dtype, device=y.device) - s - 1
    return error.abs().mean(1) - error @ weight / pairs


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "energy": lambda x, y: _energy(x, y, x.shape[1] ** 2),
    "fair": lambda x, y: _energy(x, y, x.shape[1] * (x.shape[1] - 1)),
    "quantile": lambda x, y: 2 * pinball(x, y, LEVELS).mean(1),
}
