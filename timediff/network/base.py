"""What all networks have: an RNN over the past conditions a diffusion of the next vector."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from timediff.diffusion import (
    DENOISERS,
    SAMPLERS,
    SCHEDULES,
    ConditionalDiffusion,
    Sampler,
    zero_terminal_snr,
)
from timediff.network.batch import Batch, Innovations, RowBatch
from timediff.network.encoder import Encoder
from timediff.types import Float

if TYPE_CHECKING:
    from timediff.options import Options

Generators = torch.Generator | Sequence[torch.Generator] | None


class TimeGradNetwork(nn.Module, ABC):
    """Everything between a batch of windows and its loss, or its sample paths.

    Args:
        options: see :class:`timediff.options.Options`.
        target_dim: D, the number of series.
        prediction_length: P, steps of the horizon.
        context_length: C, steps before it.
        inputs: features that the RNN reads at each step.
    """

    def __init__(
        self,
        options: "Options",
        target_dim: int,
        prediction_length: int,
        context_length: int,
        inputs: int,
    ):
        super().__init__()
        o = self.options = options
        self.target_dim = target_dim
        self.prediction_length, self.context_length = prediction_length, context_length
        self.encoder = Encoder(inputs, o.cell, o.hidden_size, o.num_layers, o.dropout, o.cond_dim)
        schedule = SCHEDULES.build(
            o.schedule, num_steps=o.diff_steps, beta_start=o.beta_start, beta_end=o.beta_end
        )
        extra = dict(o.denoiser_options)
        if o.denoiser == "mlp":
            extra = {"dropout": o.dropout, **extra}
        self.diffusion = ConditionalDiffusion(
            DENOISERS.build(
                o.denoiser, target_dim=target_dim, cond_dim=self.encoder.cond_dim, **extra
            ),
            zero_terminal_snr(schedule) if o.zero_terminal else schedule,
            o.parameterization,
            o.loss,
            o.min_snr,
        )
        self.sampler = SAMPLERS.build(o.sampler, steps=o.steps, **o.sampler_options)
        self.register_buffer("low", torch.full((target_dim,), -torch.inf))
        self.register_buffer("high", torch.full((target_dim,), torch.inf))
        # of all that training saw: the history of a forecast may be too short to tell
        self.register_buffer("floor", torch.full((target_dim,), torch.inf))
        self.register_buffer("whole", torch.ones(target_dim, dtype=torch.bool))
        self.floor: Tensor
        self.whole: Tensor
        self.low: Tensor
        self.high: Tensor

    def stage_parameters(self, stage: str) -> list[nn.Parameter]:
        """The parameters that a stage trains."""
        return [*self.encoder.parameters(), *self.diffusion.parameters()]

    @abstractmethod
    def loss(
        self,
        batch: Batch | RowBatch | Innovations,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "b"]:
        """The training loss of each window or row, averaged over its observed values only.

        Args:
            batch: what the stage is trained on, with an observed horizon.
            generator: source of the diffusion's steps and noise.
        """

    @abstractmethod
    def diffused(self, batch: Batch) -> Float[Tensor, "b t d"]:
        """What the diffusion models of these windows; 0 where nothing was observed."""

    @abstractmethod
    def sample(
        self,
        batch: Batch,
        num_samples: int,
        generator: Generators = None,
        sampler: Sampler | None = None,
    ) -> Float[Tensor, "b s p d"]:
        """Joint sample paths of the horizon.

        The history is encoded once and its state repeated for the paths; then, step by step, the
        reverse chain draws the next vector of every path.

        Args:
            batch: windows whose context is known.
            num_samples: S, paths of each window.
            generator: source of the noise: one per window makes the paths of a window independent
                of what else is in the batch; or one for all; the global one if None.
            sampler: another one than the options name.
        """

    @torch.no_grad()
    def widen_bounds(self, x: Float[Tensor, "b t d"]) -> None:
        """Take these values of what the diffusion models into the range samples are bound to."""
        if torch.isinf(self.low).all():
            self.low.fill_(0.0)
            self.high.fill_(0.0)
        self.low.copy_(torch.minimum(self.low, x.amin((0, 1))))
        self.high.copy_(torch.maximum(self.high, x.amax((0, 1))))

    def _denoising_loss(
        self,
        x: Float[Tensor, "b t d"],
        observed: Tensor,
        h: Float[Tensor, "b t h"],
        generator: torch.Generator | None,
    ) -> Float[Tensor, "b"]:
        """Mean over what was observed, of the steps that the options say.

        The denoiser sees all series at once: a missing one must look like any other, so it is
        drawn from the prior rather than left at 0.
        """
        filler = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        first = self.context_length if self.options.loss_window == "horizon" else 0
        observed = observed[:, first:]
        x0 = torch.where(observed, x[:, first:], filler[:, first:])
        loss = self.diffusion.loss(x0, h[:, first:], generator)
        loss = torch.where(observed, loss, 0.0)
        return loss.sum((1, 2)) / observed.sum((1, 2)).clamp(min=1)

    @staticmethod
    def _noise(like: Tensor, shape: Sequence[int], generator: Generators) -> Callable[[], Tensor]:
        """A source of standard noise of a shape ``(windows, ...)``."""
        kind: dict[str, Any] = {"device": like.device, "dtype": like.dtype}

        def noise() -> Tensor:
            if generator is None or isinstance(generator, torch.Generator):
                return torch.randn(shape, generator=generator, **kind)
            return torch.stack([torch.randn(shape[1:], generator=g, **kind) for g in generator])

        return noise
