"""Linear combinations of series: totals, spreads, portfolios."""

import torch

from timediff.errors import DataError
from timediff.scores._inputs import Block, check_tensors, checked
from timediff.types import Float, Tensor


def combine(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    weights: Float[Tensor, "..."],
) -> tuple[Float[Tensor, "*b s p k"], Float[Tensor, "*b p k"]]:
    r"""Linear combinations of the series, of every sample path and of what was observed.

    .. math:: x'_k = \sum_d w_{kd}\, x_d, \qquad y'_k = \sum_d w_{kd}\, y_d

    What comes out goes into any score: ``crps(*combine(x, y, w))`` is the CRPS of a region's
    total, of a spread between two prices, of a portfolio. A missing series is left out of both
    sums at that step; a combination is missing where none of its series (of nonzero weight) is
    observed.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed. NaN means missing.
        weights: a row per combination, or one combination ``[d]``.

    Returns:
        Samples and target with K combinations in place of the D series.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample or weight, an infinite
            target, or no observation.
    """
    check_tensors(weights=weights)
    inputs = checked(samples, target)
    rows = torch.atleast_2d(weights)
    if rows.ndim != 2 or rows.shape[1] != samples.shape[-1] or not torch.isfinite(rows).all():
        raise DataError(
            f"weights must be finite, {samples.shape[-1]} of them (one a series) or rows of them;"
            f" got the shape {tuple(weights.shape)}"
        )
    w = rows.to(inputs.samples.device, inputs.exact).T

    def of_block(block: Block) -> Tensor:
        x, y, seen = block.to(inputs.exact)
        return torch.where(seen[:, None], torch.cat([y[:, None], x], 1), 0.0) @ w

    steps, k = target.shape[:-1], len(rows)
    both = torch.cat(inputs.map(of_block)).reshape(*steps, samples.shape[-3] + 1, k)
    present = (inputs.observed.to(w) @ (w != 0).to(w)).reshape(*steps, k) > 0
    return both[..., 1:, :].transpose(-3, -2), torch.where(present, both[..., 0, :], torch.nan)


def summed(
    samples: Float[Tensor, "*b s p d"], target: Float[Tensor, "*b p d"]
) -> tuple[Float[Tensor, "*b s p 1"], Float[Tensor, "*b p 1"]]:
    """The sum over the series, in the samples and in the target."""
    return combine(samples, target, torch.ones(samples.shape[-1:]))
