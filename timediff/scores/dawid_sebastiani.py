"""Dawid-Sebastiani score: mean and covariance of the forecast."""

import torch

from timediff.errors import DataError, OptionError
from timediff.scores._inputs import checked, reduced, window
from timediff.types import Bool, Float, Tensor


def dawid_sebastiani(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    shrinkage: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    r"""Dawid-Sebastiani score: only the mean and the covariance of the forecast count.

    .. math:: \mathrm{DSS} = \log\det\Sigma + (y - \mu)^\top \Sigma^{-1} (y - \mu)

    at each (window, step), with the sample mean and covariance (divided by S - 1) over the
    observed series: up to constants, the Gaussian log score. With S samples of the true law it is
    biased upwards, more so the nearer D is to S.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing and is left out.
        shrinkage: from 0 to 1, towards the diagonal: ``(1 - a) Sigma + a diag(Sigma)``.
        reduction: ``"mean"``, or ``"none"``.

    Returns:
        A scalar, or ``[*b, p]`` with NaN where nothing is observed; lower is better. Other units
        of the data change it by a constant. Differentiable in the samples.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target, no
            observation, or a singular covariance.
        OptionError: shrinkage out of range, or an unknown reduction.

    References:
        Dawid & Sebastiani 1999.
    """
    if not 0 <= shrinkage <= 1:
        raise OptionError(f"shrinkage must be from 0 to 1; got {shrinkage}")
    inputs = checked(samples, target)
    present = inputs.observed.any(-1).reshape(target.shape[:-1])
    values, first = [], 0
    for block in inputs.blocks():
        x, y, seen = block.to(inputs.exact)
        mean, factor, singular = _moments(x, seen, shrinkage)
        if singular.any():
            row = int(singular.nonzero()[0, 0])
            *lead, step = map(int, torch.unravel_index(torch.tensor(first + row), present.shape))
            raise DataError(
                f"the covariance of the {x.shape[1]} samples of {int(seen[row].sum())} series is"
                f" singular in {window(lead)}step {step}: draw more samples than there are series,"
                " leave out series that are constant or copies, or set shrinkage, like 0.1"
            )
        error = torch.where(seen, y - mean, 0.0)
        solved = torch.linalg.solve_triangular(factor, error[..., None], upper=False)
        log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(-1)
        values.append(log_det + (solved**2).sum((1, 2)))
        first += len(x)
    return reduced(torch.cat(values), present, reduction)


def _moments(
    x: Float[Tensor, "n s d"], observed: Bool[Tensor, "n d"], shrinkage: float
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"], Bool[Tensor, " n"]]:
    """Mean, Cholesky factor of the covariance, and where that is singular."""
    s, mean = x.shape[1], x.mean(1)
    z = torch.where(observed[:, None], x - mean[:, None], 0.0)
    covariance = z.transpose(1, 2) @ z / max(1, s - 1)
    diagonal = torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))
    covariance = (1 - shrinkage) * covariance + shrinkage * diagonal
    # a missing series becomes one of its own, of variance 1, hit exactly: it adds nothing
    covariance = covariance + torch.diag_embed((~observed).to(x))
    factor, info = torch.linalg.cholesky_ex(covariance)
    few = (observed.sum(-1) >= s) & (shrinkage == 0)  # rounding can hide it from the factor
    return mean, factor, (info > 0) | few
