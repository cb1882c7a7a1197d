"""The head of a network: the diffusion that the options name, of one vector at a time."""

import copy
from typing import TYPE_CHECKING

from timediff.diffusion import (
    DENOISERS,
    SCHEDULES,
    WEIGHTINGS,
    ConditionalDiffusion,
    zero_terminal_snr,
)
from timediff.diffusion.denoisers import MLP, LearnedVariance
from timediff.diffusion.mixture import MarginalLaw

if TYPE_CHECKING:
    from timediff.options import Options


def build_head(
    options: "Options", target_dim: int, cond_dim: int, components: int = 1
) -> ConditionalDiffusion:
    """A diffusion with random weights.

    Args:
        options: see :class:`timediff.options.Options`.
        target_dim: D, length of the vectors.
        cond_dim: length of what they are conditioned on.
        components: normal laws in that of single numbers of what is diffused; 1 for none.
    """
    o = options
    schedule = SCHEDULES.build(
        o.schedule, num_steps=o.diff_steps, beta_start=o.beta_start, beta_end=o.beta_end
    )
    extra = dict(o.denoiser_options)
    if o.denoiser == "mlp":
        extra = {"dropout": o.dropout, **extra}
    vectors = {"target_dim": target_dim, "cond_dim": cond_dim}
    # an object has weights: each network its own
    denoiser = DENOISERS.build(copy.deepcopy(o.denoiser), **vectors, **extra)
    if o.variance_weight is not None:
        denoiser = LearnedVariance(denoiser, MLP(**vectors, width=64, blocks=1))
    steps = {} if o.min_snr is None else {"most": o.min_snr}
    schedule = zero_terminal_snr(schedule) if o.zero_terminal else schedule
    return ConditionalDiffusion(
        denoiser,
        schedule,
        o.parameterization,
        o.loss,
        WEIGHTINGS.build(o.weighting, **steps),
        o.variance_weight or 0.0,
        MarginalLaw(schedule, components) if components > 1 else None,
    )
