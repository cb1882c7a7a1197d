"""How the two networks take a step of which something is given."""

from typing import TYPE_CHECKING

import torch

from timediff.diffusion import Sampler
from timediff.diffusion.noise import PathNoise
from timediff.network.dynamics import ORDER
from timediff.network.outlook import Outlook
from timediff.network.scenario import Conditions, Course, Projection, meet
from timediff.types import Float, Int, Tensor

if TYPE_CHECKING:
    from timediff.network.levels import LevelNetwork, LevelPast
    from timediff.network.residuals import ResidualNetwork, ResidualPast


class ResidualCourse(Course):
    """Steps in white innovations: what is given now is exact, what is given later looked at ahead.

    Args:
        network: draws the paths.
        past: of one window.
        conditions: what is given of it.
        noise: of all its paths.
        sampler: goes down the reverse chain.
        limit: within which residuals are kept.
    """

    def __init__(
        self,
        network: "ResidualNetwork",
        past: "ResidualPast",
        conditions: Conditions,
        noise: PathNoise,
        sampler: Sampler,
        limit: float,
    ):
        self.network, self.past, self.conditions = network, past, conditions
        self.noise, self.sampler, self.limit = noise, sampler, limit
        self.window = torch.zeros_like(noise.paths)
        self.state = network.encoder.select(past.state, self.window)
        self.w = past.w[self.window]
        self.residuals = self.w.new_zeros(*self.w.shape, ORDER)
        self.outlook = Outlook(
            network, past.loc[0], past.scale[0], past.context[0], conditions, limit
        )
        self.promised = self.w.new_zeros(len(self.w))  # squares that earlier steps left for later

    def step(self, j: int) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`Course`."""
        network, past, residuals = self.network, self.past, self.residuals
        loc, scale = past.loc[0, j], past.scale[0, j]
        step = torch.tensor([j], device=loc.device)
        h, self.state = network.read_step(past, self.window, self.w, self.state, step)
        mu, sigma = network.dynamics.moments(residuals, past.context[:, :, j], self.window, step)
        fixed, weights, target = self.conditions.at(j)
        now = self._now(j, mu, sigma)
        ahead = self.outlook.ahead(j, residuals, mu, sigma.mean(0), now)
        w = self.sampler.sample(network.diffusion, h, self.noise, None, now)
        w = now(w.clamp(network.low, network.high))
        expected = torch.zeros_like(w)
        if now.first is not None and not network.diffusion.parameterization.needs_signal:
            expected = now.first
        square = (now.coordinates - expected @ now.basis.T).square().sum(1)
        left = torch.zeros_like(square)
        if ahead is not None:
            square = square + ahead.square(now(expected))
            w = ahead.correct(w, self.noise())
            left = ahead.missing(w).square().sum(1)
        square, self.promised = square - self.promised, left
        change = -0.5 * square - sigma[:, fixed].log().sum(1)
        z = mu + sigma * network.whitening.back(w)
        x = torch.addcmul(loc, scale, z.clamp(-self.limit, self.limit))
        x = torch.where(fixed, self.conditions.values[j], x)
        x = meet(x, weights, target, torch.where(fixed, 0.0, (scale * sigma) ** 2))
        z = ((x - loc) / scale).clamp(-self.limit, self.limit)
        self.residuals = torch.cat([z.unsqueeze(-1), residuals[..., :-1]], dim=-1)
        self.w = w.clamp(network.low, network.high)
        return x, change, square

    def _now(self, j: int, mu: Float[Tensor, "n d"], sigma: Float[Tensor, "n d"]) -> Projection:
        """What is given at a step, of its white noise."""
        loc, scale = self.past.loc[0, j], self.past.scale[0, j]
        fixed, weights, target = self.conditions.at(j)
        z = ((self.conditions.values[j] - loc) / scale)[fixed].clamp(-self.limit, self.limit)
        single = torch.eye(len(fixed), dtype=mu.dtype, device=mu.device)[fixed]
        rows = torch.cat([single, weights * scale * sigma.mean(0)])
        values = [(z - mu[:, fixed]) / sigma[:, fixed], target - (loc + scale * mu) @ weights.T]
        rows = self.network.whitening.back_transposed(rows)
        return Projection.of(rows.cpu().double(), torch.cat(values, 1).cpu().double(), mu)

    def select(self, index: Int[Tensor, " n"]) -> None:
        """See :class:`Course`."""
        self.state = self.network.encoder.select(self.state, index)
        self.w, self.residuals = self.w[index], self.residuals[index]
        self.promised = self.promised[index]


class LevelCourse(Course):
    """Steps in scaled values: what is given now is exact; nothing is known of what comes later."""

    def __init__(
        self,
        network: "LevelNetwork",
        past: "LevelPast",
        conditions: Conditions,
        noise: PathNoise,
        sampler: Sampler,
    ):
        self.network, self.past, self.conditions = network, past, conditions
        self.noise, self.sampler = noise, sampler
        self.window = torch.zeros_like(noise.paths)
        self.state = network.begin(past, self.window)

    def step(self, j: int) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`Course`."""
        network, past, window = self.network, self.past, self.window
        loc, scale = past.loc[0, 0], past.scale[0, 0]
        step, start = torch.tensor([j], device=loc.device), network.start(past, window)
        h, rnn = network.read_step(past, window, self.state.drawn, self.state.rnn, step)
        fixed, weights, target = self.conditions.at(j)
        single = torch.eye(len(fixed), dtype=loc.dtype, device=loc.device)[fixed]
        values = [((self.conditions.values[j] - loc) / scale)[fixed], target - weights @ loc]
        rows = torch.cat([single, weights * scale]).cpu().double()
        now = Projection.of(rows, torch.cat(values).cpu().double().expand(len(window), -1), loc)
        x = self.sampler.sample(network.diffusion, h, self.noise, start, now)
        x = now(x.clamp(network.low, network.high))
        drawn = self.state.drawn.index_copy_(1, step, x.unsqueeze(1))
        self.state = self.state._replace(rnn=rnn, drawn=drawn)
        x = torch.where(fixed, self.conditions.values[j], loc + scale * x)
        x = meet(x, weights, target, torch.where(fixed, 0.0, scale**2))
        unknown = torch.full_like(x[:, 0], torch.nan)
        return x, torch.zeros_like(unknown), unknown

    def select(self, index: Int[Tensor, " n"]) -> None:
        """See :class:`Course`."""
        rnn = self.network.encoder.select(self.state.rnn, index)
        self.state = self.state._replace(rnn=rnn, drawn=self.state.drawn[index])
