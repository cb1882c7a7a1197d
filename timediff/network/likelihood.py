"""How likely what was observed was: the bound and the flow's density of every step of a horizon."""

from typing import TYPE_CHECKING, NamedTuple

import torch

from timediff.diffusion.bound import lower_bound
from timediff.diffusion.flow import flow_log_density
from timediff.diffusion.noise import PathNoise
from timediff.diffusion.samplers import Start
from timediff.types import Bool, Float, Int, Tensor

if TYPE_CHECKING:
    from timediff.network.base import TimeGradNetwork
    from timediff.network.batch import Batch
    from timediff.network.levels import LevelNetwork
    from timediff.network.residuals import ResidualNetwork


class Diffused(NamedTuple):
    """Observed horizons as what the diffusion models, and what it was given at each step.

    Attributes:
        x: the vectors; whole, also where something was not observed.
        h: their conditions.
        change: logarithm of the factor between the density of ``x`` and that of what was observed.
        known: where a density can be told.
        beyond: whether a value lies where the network's paths are kept from.
        start: moments from which the chain starts, of each window ``[b, 1, d]``; None for standard.
    """

    x: Float[Tensor, "b p d"]
    h: Float[Tensor, "b p h"]
    change: Float[Tensor, "b p"]
    known: Bool[Tensor, "b p"]
    beyond: Bool[Tensor, "b p d"]
    start: Start | None = None


class Likelihood(NamedTuple):
    """Of every step of a horizon, in nats; NaN where nothing can be told.

    Attributes:
        bound: lower bound of the log density of the observed values.
        flow: estimate of it by the probability flow; NaN if it was not asked for.
        beyond: how many observed values lie where paths are kept from.
    """

    bound: Float[Tensor, "b p"]
    flow: Float[Tensor, "b p"]
    beyond: Int[Tensor, "b p"]


@torch.no_grad()
def likelihood(
    network: "TimeGradNetwork",
    batch: "Batch",
    seeds: Int[Tensor, "b"],
    draws: int = 2,
    flow_steps: int = 25,
    variance: str | None = None,
) -> Likelihood:
    """The likelihood of observed horizons, each step given all that was observed before it.

    Args:
        network: in evaluation.
        batch: windows with an observed horizon.
        seeds: of the noise, one for each window.
        draws: see :func:`timediff.diffusion.bound.bound_terms`.
        flow_steps: of the flow, at most K; 0 leaves it out.
        variance: of the reverse steps, likewise.
    """
    diffused = network.observed_horizon(batch)
    b, p, d = diffused.x.shape
    x, h = diffused.x.flatten(0, 1), diffused.h.flatten(0, 1)
    start = diffused.start
    if start is not None:
        start = Start(*(torch.as_tensor(part).expand(b, p, d).flatten(0, 1) for part in start))
    steps = torch.arange(p, device=x.device).repeat(b)
    noise = PathNoise(seeds.to(x.device).repeat_interleave(p), steps, d, x.dtype)
    bound = lower_bound(
        network.diffusion, x, h, noise, start=start, variance=variance, draws=draws
    ).sum(-1)
    flow = torch.full_like(bound, torch.nan)
    if flow_steps:
        most = min(flow_steps, network.diffusion.schedule.num_steps)
        flow = flow_log_density(network.diffusion, x, h, noise, start=start, steps=most)
    bound, flow = (
        torch.where(diffused.known, part.view(b, p) + diffused.change, torch.nan)
        for part in (bound, flow)
    )
    return Likelihood(bound, flow, diffused.beyond.sum(-1))


def observed_residuals(network: "ResidualNetwork", batch: "Batch", limit: float) -> Diffused:
    """White innovations of observed horizons.

    A residual beyond the limit is cut off in what later steps are given, not where its own density
    is told. Missing innovations are at their mean given the others, and their density there, under
    the normal law of the whitening, is taken out of that of the whole vector.

    Args:
        network: see :meth:`TimeGradNetwork.observed_horizon`.
        batch: windows with an observed horizon.
        limit: where the network cuts residuals off.
    """
    c, drawn = network.context_length, network.whitening.as_drawn()
    found = network.residuals(batch)
    observed, calendar = network.seen(batch)
    w = network.white(found.e, observed)
    # within a path the RNN reads what was drawn, before it was drawn wider
    w[:, c:] = drawn(drawn.complete(found.e[:, c:], observed[:, c:]))
    h, _ = network.encoder(network._inputs(calendar, w))
    observed, (loc, scale, _, e, spread) = observed[:, c:], (x[:, c:] for x in found)
    target = batch.target[:, -network.prediction_length :]
    z = torch.where(observed, (target - loc) / scale, 0.0)
    e = e + (z - z.clamp(-limit, limit)) / spread
    x = drawn(drawn.complete(e, observed))
    units = torch.where(observed, scale.log() + spread.log(), 0.0).sum(-1)
    return Diffused(
        x,
        h[:, c:],
        drawn.log_change(observed) - units,
        observed.any(-1),
        observed & ((z.abs() > limit) | (x < network.low) | (x > network.high)),
    )


def observed_levels(network: "LevelNetwork", batch: "Batch") -> Diffused:
    """Scaled values of observed horizons.

    Where a series is missing no density can be told: what the others say of it is not known.

    Args:
        network: see :meth:`TimeGradNetwork.observed_horizon`.
        batch: windows with an observed horizon.
    """
    c = network.context_length
    horizon, observed = network._scaled(batch).target[:, c:], batch.observed[:, c:]
    past = network._read(batch)
    window = torch.arange(len(horizon), device=horizon.device)
    state, conditions = past.state, []
    for j in range(network.prediction_length):
        step = torch.tensor([j], device=horizon.device)
        h, state = network.read_step(past, window, horizon, state, step)
        conditions.append(h)
    return Diffused(
        horizon,
        torch.stack(conditions, dim=1),
        -batch.scale.log().sum(-1).expand(horizon.shape[:-1]),
        observed.all(-1),
        observed & ((horizon < network.low) | (horizon > network.high)),
        None if network.options.start == "standard" else Start(past.mean, past.variance),
    )
