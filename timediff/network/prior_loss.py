"""What prior and dynamics are trained by, in the stage before that of the diffusion."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from timediff.network.batch import RowBatch
from timediff.network.dynamics import LIMIT
from timediff.network.prior import gaussian_crps, gaussian_nll, out_of_reach
from timediff.types import Float, Tensor

if TYPE_CHECKING:
    from timediff.network.residuals import ResidualNetwork
    from timediff.options import Options


def prior_loss(network: "ResidualNetwork", batch: RowBatch) -> Float[Tensor, "r"]:
    """The loss of rows: of the members of the prior, and of the dynamics of what they miss.

    Args:
        network: whose they are; in training, or in evaluation, where the members count together.
        batch: the rows, with observed horizons.
    """
    o, rows, observed = network.options, batch.rows, batch.observed
    forecasts = [member(rows) for member in network.priors]
    loc, scale = (part.detach() for part in mean_of(forecasts))
    target = torch.where(observed, batch.target, loc)
    unit = rows.unit.unsqueeze(1)
    if not network.training:  # what the members are worth together
        forecasts = [(loc, scale)]
    reach, score = o.prior_reach if network.training else None, score_of(o)

    def cost(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        return score(x, loc, scale) + out_of_reach(x, loc, scale, reach)

    # around the forecast, or a series far from 0 would lose digits
    losses = [cost((target - m) / unit, torch.zeros_like(m), s / unit) for m, s in forecasts]
    loss = torch.stack(losses).mean(0)
    z = ((target - loc) / scale).clamp(-LIMIT, LIMIT)
    mu, sigma = network.dynamics.innovations(z, observed, rows.series, rows.calendar)
    # in the same units, or a few series with small scales would say when to stop
    step = scale / unit
    loss = loss + cost(step * z, step * mu, step * sigma)
    weight = rows.unit**o.prior_balance
    return mean_observed(loss, observed) * weight / weight.mean()


def mean_of(forecasts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Location and scale of several forecasts, averaged."""
    loc, scale = (torch.stack(part).mean(0) for part in zip(*forecasts, strict=True))
    return loc, scale


def score_of(options: "Options") -> Callable[..., Tensor]:
    """What prior and dynamics are trained by: of a value, a location and a scale."""
    return gaussian_crps if options.prior_loss == "crps" else gaussian_nll


def mean_observed(loss: Float[Tensor, "r p"], observed: Tensor) -> Float[Tensor, "r"]:
    """The mean of a loss over what was observed."""
    return torch.where(observed, loss, 0.0).sum(1) / observed.sum(1).clamp(min=1)
