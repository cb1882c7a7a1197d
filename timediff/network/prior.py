r"""The location-scale head: what each series does on its own.

One small network, its weights shared by all series, turns a series' own lags, seasonal profile,
calendar and embedding into a location and a scale. The diffusion then only has to learn the joint
law and the shape of what is left (compare the data-dependent prior of Lee et al. 2022).
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from timediff.types import Float, Tensor

ROWS = 2**13  # values of single series worked on at once, so that they stay in the cache


class LocationScale(nn.Module):
    r"""Location and scale of each series, in scaled units.

    .. math:: \mu = \sum_a w_a\, x_a + s\,\delta, \qquad \sigma = s\,\text{softplus}(\rho)

    The weights :math:`w` (a softmax), :math:`\delta` and :math:`\rho` come from the network; the
    anchors :math:`x_a` are the lags and the mean of the seasonal profile, so that a random walk
    and a repeated season are both represented exactly; s is the spread of the series.

    Args:
        target_dim: D, the number of series.
        num_lags: L.
        num_calendar: features of the calendar.
        profile: whether the seasonal profile is given.
        embedding_dim: length of the embedding of a series, which lives here; 0 for none.
        width: units of both hidden layers.
    """

    def __init__(
        self,
        target_dim: int,
        num_lags: int,
        num_calendar: int,
        profile: bool,
        embedding_dim: int = 8,
        width: int = 64,
    ):
        super().__init__()
        self.profile = profile
        self.anchors = num_lags + profile
        self.own = nn.Linear(self.anchors + profile, width)
        self.calendar = nn.Linear(num_calendar, width, bias=False) if num_calendar else None
        self.embedding: nn.Parameter | None = None
        if embedding_dim:
            self.embedding = nn.Parameter(0.1 * torch.randn(target_dim, embedding_dim))
            self.series = nn.Linear(embedding_dim, width, bias=False)
        self.hidden = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.outlet = nn.Linear(width, self.anchors + 2)

    def forward(
        self,
        lags: Float[Tensor, "*b l d"],
        profile: Float[Tensor, "*b 2 d"],
        calendar: Float[Tensor, "*b f"],
        spread: Float[Tensor, "*#b d"],
    ) -> tuple[Float[Tensor, "*b d"], Float[Tensor, "*b d"]]:
        """Location and scale; all inputs but the calendar in scaled units."""
        *leading, _, d = lags.shape
        if len(leading) < 2:
            return self._block(lags, profile, calendar, spread)
        size = max(1, ROWS // max(1, math.prod(leading[1:]) * d))
        spread = spread.expand(leading[0], *spread.shape[1:])
        inputs = (part.split(size) for part in (lags, profile, calendar, spread))
        locs, scales = zip(*map(self._block, *inputs), strict=True)
        return torch.cat(locs), torch.cat(scales)

    def _block(
        self, lags: Tensor, profile: Tensor, calendar: Tensor, spread: Tensor
    ) -> tuple[Tensor, Tensor]:
        own = torch.cat([lags, profile], dim=-2) if self.profile else lags
        own = own.transpose(-1, -2)
        u = self.own(own)
        if self.calendar is not None:
            u = u + self.calendar(calendar).unsqueeze(-2)
        if self.embedding is not None:
            u = u + self.series(self.embedding)
        out = self.outlet(self.hidden(u))
        weights = out[..., :-2].softmax(dim=-1)
        delta, rho = out[..., -2], out[..., -1]
        loc = (weights * own[..., : self.anchors]).sum(-1) + spread * delta
        return loc, spread * (F.softplus(rho) + 1e-3)


def gaussian_nll(
    x: Float[Tensor, "*b d"], loc: Float[Tensor, "*b d"], scale: Float[Tensor, "*b d"]
) -> Float[Tensor, "*b d"]:
    """Negative log-likelihood in nats, unreduced."""
    return 0.5 * ((x - loc) / scale) ** 2 + scale.log() + 0.5 * math.log(2 * math.pi)
