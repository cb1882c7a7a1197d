r"""What is left of the prior, from step to step and across series.

The residuals of a forecast that was made at one origin go on from step to step: a surprise at one
hour lasts for the next. A small network shared by all series takes this out, and a fixed linear
map takes out what the series have in common on average. What remains is close to independent
standard noise, from which the reverse chain starts; its true joint law is the diffusion's.
"""

import torch
from torch import nn
from torch.nn import functional as F

from timediff.types import Bool, Float, Tensor

ORDER = 2  # steps back
MOST_ITERATIONS = 100  # in which missing innovations are found


class Dynamics(nn.Module):
    r"""An autoregression of a series' residuals over the steps of one horizon.

    .. math:: z_j = \sum_k \phi_{jk}\, z_{j-k} + b_j + s_j\, e_j

    with coefficients that are learned constants of each step plus the output of a network of
    step, series and calendar, which starts at 0. Before the first step, z is 0.

    Args:
        target_dim: D, the number of series.
        prediction_length: P.
        num_calendar: features of the calendar.
        embedding_dim: length of the embedding of a series; 0 for none.
        width: units of both hidden layers.
    """

    STEP_DIM = 8

    def __init__(
        self,
        target_dim: int,
        prediction_length: int,
        num_calendar: int,
        embedding_dim: int = 8,
        width: int = 32,
    ):
        super().__init__()
        self.steps = nn.Parameter(0.1 * torch.randn(prediction_length, self.STEP_DIM))
        self.embedding: nn.Parameter | None = None
        if embedding_dim:
            self.embedding = nn.Parameter(0.1 * torch.randn(target_dim, embedding_dim))
        self.known = nn.Linear(self.STEP_DIM + num_calendar + embedding_dim, width)
        self.past = nn.Linear(ORDER, width, bias=False)
        self.hidden = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.outlet = nn.Linear(width, ORDER + 2)
        nn.init.zeros_(self.outlet.weight)
        nn.init.zeros_(self.outlet.bias)
        self.phi = nn.Parameter(torch.zeros(prediction_length, ORDER))
        self.rho = nn.Parameter(torch.full((prediction_length,), 0.5413))  # softplus of it is 1

    @staticmethod
    def before(z: Float[Tensor, "*b p"]) -> Float[Tensor, "*b p k"]:
        """The residuals of the steps before each step, the latest first; 0 before the first."""
        return torch.stack([F.pad(z, (k, 0))[..., : z.shape[-1]] for k in range(1, ORDER + 1)], -1)

    @torch.no_grad()
    def start(self, z: Float[Tensor, "r p"], observed: Bool[Tensor, "r p"]) -> None:
        """Set the constants to the least-squares autoregression of each step."""
        z = torch.where(observed, z, 0.0).double()
        past = self.before(z)
        for j in range(z.shape[1]):
            x, y = past[:, j], torch.where(observed[:, j], z[:, j], 0.0)
            x = torch.where(observed[:, j, None], x, 0.0)
            gram = x.T @ x + (1e-3 * len(z)) * torch.eye(ORDER, dtype=x.dtype, device=x.device)
            phi = torch.linalg.solve(gram, x.T @ y)
            left = ((y - x @ phi) ** 2).sum() / observed[:, j].sum().clamp(min=1)
            self.phi[j] = phi.to(self.phi.dtype)
            self.rho[j] = torch.log(torch.expm1(left.sqrt().clamp(1e-2, 20.0))).to(self.rho.dtype)

    def context(self, series: Tensor, calendar: Float[Tensor, "*b p f"]) -> Float[Tensor, "*b p w"]:
        """What step, calendar and series say, for :meth:`forward`; once per forecast.

        Args:
            series: numbers of the series ``[*b]``.
            calendar: features of the horizon.
        """
        parts = [self.steps.expand(*calendar.shape[:-1], -1), calendar]
        if self.embedding is not None:
            own = self.embedding[series].unsqueeze(-2)
            parts.append(own.expand(*calendar.shape[:-1], -1))
        return self.known(torch.cat(parts, dim=-1))

    def forward(
        self,
        past: Float[Tensor, "*b k"],
        context: Float[Tensor, "*b w"],
        phi: Float[Tensor, "*#b k"],
        rho: Float[Tensor, "*#b"],
    ) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """Location and scale of the next residual.

        Args:
            past: the last residuals, the latest first.
            context: see :meth:`context`.
            phi: constants of the step, ``self.phi[j]``.
            rho: likewise, ``self.rho[j]``.
        """
        out = self.outlet(self.hidden(self.past(past) + context))
        change, shift, widen = out.split([ORDER, 1, 1], dim=-1)
        loc = ((phi + change) * past).sum(-1) + shift.squeeze(-1)
        return loc, F.softplus(rho + widen.squeeze(-1)) + 1e-3

    def innovations(
        self, z: Float[Tensor, "r p"], series: Tensor, calendar: Float[Tensor, "r p f"]
    ) -> tuple[Float[Tensor, "r p"], Float[Tensor, "r p"]]:
        """Location and scale of each residual given those before it, all steps at once."""
        return self(self.before(z), self.context(series, calendar), self.phi, self.rho)


class Whitening(nn.Module):
    """The symmetric linear map that makes innovations uncorrelated with unit variance.

    Args:
        target_dim: D.
    """

    def __init__(self, target_dim: int):
        super().__init__()
        self.register_buffer("root", torch.eye(target_dim))
        self.register_buffer("inverse", torch.eye(target_dim))
        self.root: Tensor
        self.inverse: Tensor

    @torch.no_grad()
    def fit(self, e: Float[Tensor, "n d"], observed: Bool[Tensor, "n d"], independent: int) -> None:
        """Estimate the covariance, its correlations shrunk towards 0 (Schäfer, Strimmer 2005).

        Args:
            e: innovations, of mean about 0.
            observed: where there is one.
            independent: how many of the n are about independent; the rest only repeats them.
        """
        e = torch.where(observed, e, 0.0).double()
        count = observed.double().T @ observed.double()
        covariance = (e.T @ e) / count.clamp(min=1)
        deviation = covariance.diagonal().clamp(min=1e-4).sqrt()
        correlation = covariance / deviation / deviation.unsqueeze(1)
        others = ~torch.eye(len(correlation), dtype=torch.bool, device=e.device)
        squares = (correlation[others] ** 2).sum()
        noise = ((1 - correlation[others].clamp(-1, 1) ** 2) ** 2).sum() / max(1, independent)
        kept = 1 - (noise / squares.clamp(min=1e-12)).clamp(0, 1)
        correlation = torch.where(others, kept * correlation, 1.0)
        values, vectors = torch.linalg.eigh(correlation)
        values = values.clamp(min=1e-3)
        root = vectors * values.sqrt() @ vectors.T
        inverse = vectors * values.rsqrt() @ vectors.T
        self.root.copy_(deviation.unsqueeze(1) * root)
        self.inverse.copy_(inverse / deviation)

    @torch.no_grad()
    def complete(
        self,
        e: Float[Tensor, "*b d"],
        observed: Bool[Tensor, "*b d"],
        noise: Float[Tensor, "*b d"] | None = None,
    ) -> Float[Tensor, "*b d"]:
        """What is missing, given what is there: else one gap would change the others' whitening.

        Args:
            e: innovations, arbitrary where not observed.
            observed: where there is one.
            noise: standard noise, for a draw from the conditional normal law; None for its mean.
        """
        gaps = ~observed.all(-1)
        if not gaps.any():
            return e
        known, missing = observed[gaps], ~observed[gaps]
        drawn = torch.zeros_like(e[gaps]) if noise is None else self.back(noise[gaps])
        precision = self.inverse.T @ self.inverse

        def times(x: Tensor) -> Tensor:
            return torch.where(missing, x @ precision, 0.0)

        # conjugate gradients, all rows at once: precision of the missing x = right-hand side
        right = -times(torch.where(known, e[gaps] - drawn, 0.0))
        x, residual = torch.zeros_like(right), right
        direction, size = residual, residual.square().sum(-1, keepdim=True)
        enough = 1e-10 * size.clamp(min=1e-12)
        for _ in range(min(2 * e.shape[-1], MOST_ITERATIONS)):
            if (size <= enough).all():
                break
            image = times(direction)
            step = size / (direction * image).sum(-1, keepdim=True).clamp(min=1e-30)
            x, residual = x + step * direction, residual - step * image
            before, size = size, residual.square().sum(-1, keepdim=True)
            direction = residual + size / before.clamp(min=1e-30) * direction
        completed = e.clone()
        completed[gaps] = torch.where(known, e[gaps], drawn + x)
        return completed

    def forward(self, e: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Innovations made white."""
        return e @ self.inverse.T

    def back(self, w: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """White noise as innovations."""
        return w @ self.root.T
