"""What all networks have: an RNN over the past conditions a diffusion of the next vector."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from timediff.diffusion import SAMPLERS, Sampler
from timediff.diffusion.noise import PathNoise
from timediff.network.batch import Batch, TrainingBatch
from timediff.network.blocks import draw_paths, join
from timediff.network.encoder import Encoder
from timediff.network.head import build_head
from timediff.network.likelihood import Diffused
from timediff.network.scenario import Conditions, Course, Scenarios, draw_scenarios
from timediff.network.walk import Recording, products
from timediff.types import Float, Int, Shaped

if TYPE_CHECKING:
    from timediff.options import Options


def at(x: Shaped[Tensor, "*b"], axis: int, step: Int[Tensor, "1"]) -> Shaped[Tensor, "*c"]:
    """One step of a tensor along its axis of steps."""
    return x.index_select(axis, step).squeeze(axis)


class TimeGradNetwork(nn.Module, ABC):
    """Everything between a batch of windows and its loss, or its sample paths.

    Args:
        options: see :class:`timediff.options.Options`.
        target_dim: D, the number of series.
        prediction_length: P, steps of the horizon.
        context_length: C, steps before it.
        inputs: features that the RNN reads at each step.
        components: normal laws in that of single numbers of what is diffused; 1 for none.

    Attributes:
        recording: see :class:`timediff.network.walk.Recording`; None where there is none yet.
    """

    recording: Recording | None = None

    def __init__(
        self,
        options: "Options",
        target_dim: int,
        prediction_length: int,
        context_length: int,
        inputs: int,
        components: int = 1,
    ):
        super().__init__()
        o = self.options = options
        self.target_dim = target_dim
        self.prediction_length, self.context_length = prediction_length, context_length
        self.encoder = Encoder(inputs, o.cell, o.hidden_size, o.num_layers, o.dropout, o.cond_dim)
        self.diffusion = build_head(o, target_dim, self.encoder.cond_dim, components)
        self.sampler = SAMPLERS.build(o.sampler, steps=o.steps, **o.sampler_options)
        self.sampler.timesteps(self.diffusion)  # so that what does not go together is an error now
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
        batch: TrainingBatch,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "b"]:
        """The training loss of each window or row, averaged over its observed values only.

        Args:
            batch: what the stage is trained on, with an observed horizon.
            generator: source of the diffusion's steps and noise.
        """

    @abstractmethod
    def diffused(self, batch: Batch) -> Float[Tensor, "b t d"]:
        """What the diffusion models of these windows; no observation where there was none."""

    @abstractmethod
    def observed_horizon(self, batch: Batch) -> Diffused:
        """What the diffusion models of these observed horizons, and how densities change to it.

        Each step is given the context and the steps of the horizon before it, as in sampling.
        Nothing of the horizon itself is cut off: where paths are kept within bounds, the density is
        that of paths that are not.
        """

    @torch.no_grad()
    def sample(
        self,
        batch: Batch,
        num_samples: int,
        seeds: Int[Tensor, "b"] | None = None,
        sampler: Sampler | None = None,
    ) -> Float[Tensor, "b s p d"]:
        """Joint sample paths of the horizon.

        The history of a window is read once, for all of its paths; then, step by step, the reverse
        chain draws the next vector of every path. On a CPU the histories are read one by one, and
        the paths drawn in blocks of one size: there the last bits of a product of matrices depend
        on its size, and a path must not depend on what is drawn beside it.

        Args:
            batch: windows whose context is known.
            num_samples: S, paths of each window.
            seeds: of the noise, one for each window, from 0 to 2^63 - 1; from the global generator
                if None.
            sampler: another one than the options name.
        """
        if seeds is None:
            seeds = torch.randint(2**62, (len(batch.target),))
        paths = self.paths(self.pasts(batch), num_samples, seeds, sampler or self.sampler)
        return self._finish(paths, batch)

    def pasts(self, batch: Batch) -> Any:
        """What the paths of some windows start from, on a CPU read one by one."""
        device, precision = batch.target.device, self.options.matmul_precision
        size = 1 if device.type == "cpu" else len(batch.target)
        with products("float32" if precision == "float32" else "tf32", device):
            return join([self._read(part) for part in batch.split(size)])

    def paths(
        self, past: Any, num_samples: int, seeds: Int[Tensor, "b"], sampler: Sampler
    ) -> Float[Tensor, "b s p d"]:
        """What the paths of some windows are before they are finished; see :meth:`sample`.

        Args:
            past: see :meth:`pasts`.
            num_samples: S, paths of each window.
            seeds: of the noise, one for each window.
            sampler: goes down the reverse chain.
        """
        return draw_paths(self, past, num_samples, seeds, sampler)

    def noise(
        self,
        seeds: Int[Tensor, " n"],
        paths: Int[Tensor, " n"],
        first: int | Int[Tensor, "1"] = 0,
    ) -> PathNoise:
        """The noise of some paths; see :class:`timediff.diffusion.noise.PathNoise`."""
        compiled = self.diffusion.denoiser.is_compiled
        return PathNoise(seeds, paths, self.target_dim, self.low.dtype, first, compiled)

    @torch.no_grad()
    def scenarios(
        self,
        batch: Batch,
        num_samples: int,
        seed: Int[Tensor, "1"],
        conditions: Conditions,
        sampler: Sampler | None = None,
    ) -> Scenarios:
        """Joint sample paths of one window, some of whose horizon is given.

        Args:
            batch: one window whose context is known.
            num_samples: S, paths.
            seed: of the noise.
            conditions: what is given.
            sampler: another one than the options name.
        """
        return draw_scenarios(self, batch, num_samples, seed, sampler, conditions)

    @abstractmethod
    def course(
        self, batch: Batch, conditions: Conditions, noise: PathNoise, sampler: Sampler
    ) -> Course:
        """What draws the paths of one window step by step, so that they fit what is given."""

    @abstractmethod
    def _read(self, batch: Batch) -> Any:
        """What the paths of some windows start from."""

    @abstractmethod
    def begin(self, past: Any, window: Int[Tensor, " n"]) -> Any:
        """What a step of the horizon passes on to the next, as it is before the first.

        Args:
            past: see :meth:`_read`.
            window: of each path.
        """

    @abstractmethod
    def advance(
        self,
        past: Any,
        window: Int[Tensor, " n"],
        state: Any,
        step: Int[Tensor, "1"],
        noise: PathNoise,
        sampler: Sampler,
    ) -> tuple[Float[Tensor, "n d"], Any]:
        """The next values of some paths, in the units of the data, and what is passed on.

        All that differs between steps is in tensors, so that one recording of it does for all.

        Args:
            past: see :meth:`_read`.
            window: of each path.
            state: what the step before passed on; may be changed.
            step: number of the step, from 0.
            noise: of the paths.
            sampler: goes down the reverse chain.
        """

    def _finish(self, paths: Float[Tensor, "b s p d"], batch: Batch) -> Float[Tensor, "b s p d"]:
        """The paths in what is left to do for all of them; may change them in place."""
        return paths

    def __getstate__(self) -> dict[str, Any]:
        """Without what was recorded, which belongs to this process and these weights."""
        return {k: v for k, v in self.__dict__.items() if k != "recording"}

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

        The denoiser sees all series at once: a missing one must look much like any other, so it is
        standard normal noise rather than left at 0.
        """
        filler = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        first = self.context_length if self.options.loss_window == "horizon" else 0
        observed = observed[:, first:]
        x0 = torch.where(observed, x[:, first:], filler[:, first:])
        loss = self.diffusion.loss(x0, h[:, first:], generator)
        loss = torch.where(observed, loss, 0.0)
        return loss.sum((1, 2)) / observed.sum((1, 2)).clamp(min=1)
