r"""What is left of the prior, from step to step.

The residuals of a forecast that was made at one origin go on from step to step: a surprise at one
hour lasts for the next. A small network shared by all series takes this out. What remains are
innovations, which :class:`~timediff.network.whitening.Whitening` makes independent on average.
"""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F

from timediff.types import Bool, Float, Int, Tensor

ORDER = 2  # steps back
LIMIT = 10.0  # standardised residuals are cut off here
POSITIONS = 2**13  # series × paths worked on at once, so that they stay in the processor's cache


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
    """

    STEP_DIM, WIDTH = 8, 32  # of the embedding of a step, of both hidden layers

    def __init__(
        self,
        target_dim: int,
        prediction_length: int,
        num_calendar: int,
        embedding_dim: int = 8,
    ):
        super().__init__()
        width = self.WIDTH
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
        """Set the constants to the least-squares autoregression of each step.

        Only rows count whose residuals before the step are all there: zeros in their place would
        let the coefficients stand in for each other, until they add up to more than 1.
        """
        z = torch.where(observed, z, 0.0).double()
        past, there = self.before(z), (self.before((~observed).to(z)) == 0).all(-1)
        for j in range(z.shape[1]):
            whole = observed[:, j] & there[:, j]
            x = torch.where(whole[:, None], past[:, j], 0.0)
            gram = x.T @ x + (1e-3 * len(z)) * torch.eye(ORDER, dtype=x.dtype, device=x.device)
            phi = torch.linalg.solve(gram, x.T @ z[:, j])
            used = whole if whole.any() else observed[:, j]  # then phi is 0
            left = (torch.where(used, z[:, j] - x @ phi, 0.0) ** 2).sum() / used.sum().clamp(min=1)
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

    def draw(
        self,
        past: Float[Tensor, "n d k"],
        e: Float[Tensor, "n d"],
        contexts: Float[Tensor, "b d w"],
        window: Int[Tensor, " n"],
        step: Int[Tensor, "1"],
    ) -> Float[Tensor, "n d"]:
        """The next residuals of some paths, from their innovations.

        Args:
            past: see :meth:`forward`.
            e: innovations.
            contexts: of every window at this step; see :meth:`context`.
            window: of each path.
            step: number of the step, from 0.
        """
        parts = self._blocks(past, contexts, window, step)
        return torch.cat([torch.addcmul(loc, scale, e[block]) for block, loc, scale in parts])

    def moments(
        self,
        past: Float[Tensor, "n d k"],
        contexts: Float[Tensor, "b d w"],
        window: Int[Tensor, " n"],
        step: Int[Tensor, "1"],
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Location and scale of the next residuals of some paths; see :meth:`draw`."""
        _, *parts = zip(*self._blocks(past, contexts, window, step), strict=True)
        loc, scale = map(torch.cat, parts)
        return loc, scale

    def _blocks(
        self, past: Tensor, contexts: Tensor, window: Tensor, step: Tensor
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Location and scale of some paths at a time."""
        rows = max(1, POSITIONS // past.shape[1]) if past.device.type == "cpu" else len(past)
        for i in range(0, len(past), rows):
            block = slice(i, i + rows)
            context = contexts[window[block]]
            yield block, *self(past[block], context, self.phi[step], self.rho[step])

    def tangent(
        self, past: Float[Tensor, "d k"], context: Float[Tensor, "d w"], step: int
    ) -> tuple[Float[Tensor, "d"], Float[Tensor, "d k"], Float[Tensor, "d"]]:
        """The step as a linear one around a past: constant, coefficients, and scale."""
        with torch.enable_grad():
            past = past.detach().requires_grad_()
            loc, scale = self(past, context, self.phi[step], self.rho[step])
            (slope,) = torch.autograd.grad(loc.sum(), past)
        past, loc = past.detach(), loc.detach()
        return loc - (slope * past).sum(-1), slope, scale.detach()

    def innovations(
        self,
        z: Float[Tensor, "r p"],
        observed: Bool[Tensor, "r p"],
        series: Tensor,
        calendar: Float[Tensor, "r p f"],
    ) -> tuple[Float[Tensor, "r p"], Float[Tensor, "r p"]]:
        """Location and scale of each residual given those before it that were observed.

        Args:
            z: residuals, arbitrary where not observed.
            observed: where there is one.
            series: numbers of the series.
            calendar: features of the horizon.
        """
        context = self.context(series, calendar)
        loc, scale = self(self.before(z), context, self.phi, self.rho)
        gaps = observed.any(1) & ~observed.all(1)
        if not gaps.any():
            return loc, scale
        found = self.filtered(z[gaps], observed[gaps], context[gaps])
        loc, scale = loc.clone(), scale.clone()
        loc[gaps], scale[gaps] = found
        return loc, scale

    def filtered(
        self, z: Float[Tensor, "r p"], observed: Bool[Tensor, "r p"], context: Tensor
    ) -> tuple[Float[Tensor, "r p"], Float[Tensor, "r p"]]:
        """As :meth:`innovations` of rows with gaps: a Kalman filter of the last two residuals.

        A residual that is missing is replaced by its mean given those before it, and its variance
        widens those after it. A zero in its place would be taken for an observation. Where nothing
        is missing the variances are 0, and location and scale those of :meth:`forward`. Mean
        and variance stay within what a residual may be: in a long gap they could grow without end.
        """
        last = before = v = c = u = torch.zeros_like(z[:, 0])  # means; variance of the last one,
        found = []  # its covariance with the one before, variance of that
        for j in range(z.shape[1]):
            past = torch.stack([last, before], -1)
            out = self.outlet(self.hidden(self.past(past) + context[:, j]))
            change, shift, widen = out.split([ORDER, 1, 1], dim=-1)
            phi = self.phi[j] + change
            a, b = phi.unbind(-1)
            loc = (phi * past).sum(-1) + shift.squeeze(-1)
            scale = F.softplus(self.rho[j] + widen.squeeze(-1)) + 1e-3
            to_last = a * v + b * c  # covariance with the last one
            variance = scale**2 + a * to_last + b * (a * c + b * u)
            found.append((loc, variance.sqrt()))
            seen = observed[:, j]
            gain = to_last / variance
            before = torch.where(seen, last + gain * (z[:, j] - loc), last)
            u = torch.where(seen, v - gain * to_last, v).clamp(min=0)
            last = torch.where(seen, z[:, j], loc.clamp(-LIMIT, LIMIT))
            kept = (LIMIT**2 / variance).clamp(max=1.0)
            c = torch.where(seen, 0.0, to_last * kept.sqrt())
            v = torch.where(seen, 0.0, variance * kept)
        loc, scale = (torch.stack(part, 1) for part in zip(*found, strict=True))
        return loc, scale
