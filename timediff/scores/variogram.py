"""Variogram score: are the differences between series as large as forecast?"""

import torch

from timediff.errors import OptionError
from timediff.scores._inputs import bounded, check_tensors, checked, reduced
from timediff.types import Bool, Float, Tensor


def variogram_score(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    p: float = 0.5,
    weights: Float[Tensor, "i j"] | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Variogram score of order p of the vector of series, the mean over windows and steps.

    .. math::

        \mathrm{VS}_p = \sum_{i,j} w_{ij} \Big( |y_i - y_j|^p
        - \frac1S \sum_s |x_{s,i} - x_{s,j}|^p \Big)^2

    It asks whether the *differences* between series are as large as the forecast says: far more
    sensitive to a wrong dependence than the energy score, and blind to an error that all series
    share. Both (i, j) and (j, i) are counted. A pair with a missing series is left out.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing.
        p: the order, above 0; 0.5 is the authors' choice.
        weights: of the pairs, not negative; all 1 if None. Symmetric weights are usual.
        reduction: ``"mean"``, or ``"none"``.

    Returns:
        A scalar (units of the target to the power 2p), or ``[*b, p]`` with NaN where no pair is
        observed; lower is better. One series has no pair: 0. Differentiable in the samples.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target, or no
            observation.
        OptionError: p is not above 0, weights of another shape, or an unknown reduction.

    References:
        Scheuerer & Hamill 2015.
    """
    if not p > 0:
        raise OptionError(f"p must be above 0, like 0.5; got {p}")
    inputs = checked(samples, target)
    d = samples.shape[-1]
    pairs = torch.ones(d, d) if weights is None else weights
    check_tensors(weights=pairs)
    if pairs.shape != (d, d):
        raise OptionError(f"weights must be of the shape {(d, d)}; got {tuple(pairs.shape)}")
    pairs = (pairs + pairs.T).to(inputs.samples.device, inputs.exact)  # each unordered pair once
    values = inputs.map(lambda block: _variogram(*block.to(inputs.exact), p, pairs))
    present = inputs.observed.sum(-1) >= min(2, d)
    return reduced(torch.cat(values), present.reshape(target.shape[:-1]), reduction)


def _variogram(
    x: Float[Tensor, "n s d"],
    y: Float[Tensor, "n d"],
    observed: Bool[Tensor, "n d"],
    order: float,
    pairs: Float[Tensor, "d d"],
) -> Float[Tensor, " n"]:
    def mean_power(i: Tensor, rest: Tensor) -> Tensor:
        return _power(i - rest, order).mean(1)

    total = torch.zeros_like(y[:, 0])
    for i in range(x.shape[2] - 1):  # series i against those after it
        expected = bounded(mean_power, x[:, :, i : i + 1], x[:, :, i + 1 :])
        real = _power(y[:, i : i + 1] - y[:, i + 1 :], order)
        weight = pairs[i, i + 1 :] * (observed[:, i : i + 1] & observed[:, i + 1 :])
        total = total + (weight * (real - expected) ** 2).sum(1)
    return total


def _power(difference: Tensor, order: float) -> Tensor:
    """Of the absolute difference, which it uses up.

    Where that is 0 a root has no derivative, and 0 stands for it.
    """
    if not difference.requires_grad:
        return difference.abs_().pow_(order)
    size = difference.abs()
    same = size == 0
    return torch.where(same, 0.0, torch.where(same, 1.0, size) ** order)
