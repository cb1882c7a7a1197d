"""TimeGrad as published: the diffusion models the scaled values themselves (Rasul et al. 2021)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from timediff.diffusion import Sampler
from timediff.diffusion.noise import PathNoise
from timediff.diffusion.samplers import Start
from timediff.network.base import TimeGradNetwork, at
from timediff.network.batch import Batch, TrainingBatch
from timediff.network.courses import LevelCourse
from timediff.network.features import NONE, FeatureSizes, StaticFeatures
from timediff.network.likelihood import Diffused, observed_levels
from timediff.network.scaling import Affine
from timediff.network.scenario import Conditions
from timediff.types import Float, Int

if TYPE_CHECKING:
    from timediff.options import Options


class LevelPast(NamedTuple):
    """What the paths of windows start from.

    Attributes:
        state: of the RNN, after the context.
        calendar: what is known of the horizon.
        lags: of the horizon, scaled; where they fall into it, not known yet.
        loc: what scaling subtracts.
        scale: what it divides by.
        mean: of the scaled context.
        variance: likewise.
    """

    state: Any
    calendar: Float[Tensor, "b p f"]
    lags: Float[Tensor, "b p l d"]
    loc: Float[Tensor, "b 1 d"]
    scale: Float[Tensor, "b 1 d"]
    mean: Float[Tensor, "b 1 d"]
    variance: Float[Tensor, "b 1 d"]


class LevelState(NamedTuple):
    """What a step of the horizon passes on to the next.

    Attributes:
        rnn: state of the RNN.
        drawn: scaled values of all steps so far, 0 after them.
    """

    rnn: Any
    drawn: Float[Tensor, "n p d"]


class LevelNetwork(TimeGradNetwork):
    """The RNN reads lagged values of all series; the diffusion draws the next values.

    Args:
        options: see :class:`timediff.options.Options`.
        target_dim: D, the number of series.
        prediction_length: P, steps of the horizon.
        context_length: C, steps before it.
        lags: distances of the lagged values, rising.
        num_calendar: calendar features, and those of series that change.
        features: how many there are that do not change.
    """

    def __init__(
        self,
        options: "Options",
        *,
        target_dim: int,
        prediction_length: int,
        context_length: int,
        lags: Sequence[int],
        num_calendar: int,
        features: FeatureSizes = NONE,
    ):
        static = StaticFeatures(features, options.embedding_dim)
        size = (options.embedding_dim + len(lags) + static.width) * target_dim + num_calendar
        super().__init__(options, target_dim, prediction_length, context_length, size)
        self.lags, self.static = tuple(lags), static
        self.embedding: nn.Parameter | None = None
        if options.embedding_dim:
            self.embedding = nn.Parameter(torch.randn(target_dim, options.embedding_dim))

    def stage_parameters(self, stage: str) -> list[nn.Parameter]:
        """All of them."""
        return list(self.parameters())

    def _inputs(
        self, lags: Float[Tensor, "*b l d"], calendar: Float[Tensor, "*b f"]
    ) -> Float[Tensor, "*b u"]:
        """What the RNN reads at each step."""
        parts = [calendar, lags.flatten(-2)]
        if self.embedding is not None:
            parts.append(self.embedding.flatten().expand(*calendar.shape[:-1], -1))
        return torch.cat(parts, dim=-1)

    def _scaled(self, batch: Batch) -> Batch:
        """The batch in scaled units; the target is 0 where missing.

        Features that do not change are beside the calendar.
        """
        affine = Affine(batch.loc, batch.scale)
        lags = (batch.lags - batch.loc.unsqueeze(2)) / batch.scale.unsqueeze(2)
        x = torch.where(batch.observed, affine.normalize(batch.target), 0.0)
        calendar = batch.calendar
        if batch.static is not None:
            static = self.static(batch.static).flatten(1).unsqueeze(1)
            calendar = torch.cat([calendar, static.expand(-1, calendar.shape[1], -1)], dim=-1)
        return batch._replace(target=x, lags=lags, calendar=calendar)

    def diffused(self, batch: Batch) -> Float[Tensor, "b t d"]:
        """Scaled values; see :meth:`TimeGradNetwork.diffused`."""
        return self._scaled(batch).target

    @torch.no_grad()
    def observed_horizon(self, batch: Batch) -> Diffused:
        """Scaled values; see :meth:`TimeGradNetwork.observed_horizon`."""
        return observed_levels(self, batch)

    def loss(
        self, batch: TrainingBatch, generator: torch.Generator | None = None
    ) -> Float[Tensor, "b"]:
        """The denoising loss; see :meth:`TimeGradNetwork.loss`."""
        assert isinstance(batch, Batch)
        scaled = self._scaled(batch)
        h, _ = self.encoder(self._inputs(scaled.lags, scaled.calendar))
        return self._denoising_loss(scaled.target, batch.observed, h, generator)

    def _read(self, batch: Batch) -> LevelPast:
        """Lags and scale of the horizon, and the moments that the chain starts from."""
        c = self.context_length
        scaled = self._scaled(batch)
        _, state = self.encoder(self._inputs(scaled.lags[:, :c], scaled.calendar[:, :c]))
        calendar, lags = scaled.calendar[:, c:], scaled.lags[:, c:]
        return LevelPast(state, calendar, lags, batch.loc, batch.scale, *self._moments(scaled))

    def begin(self, past: LevelPast, window: Int[Tensor, " n"]) -> LevelState:
        """See :meth:`TimeGradNetwork.begin`."""
        size = len(window), self.prediction_length, self.target_dim
        return LevelState(self.encoder.select(past.state, window), past.loc.new_zeros(size))

    def advance(
        self,
        past: LevelPast,
        window: Int[Tensor, " n"],
        state: LevelState,
        step: Int[Tensor, "1"],
        noise: PathNoise,
        sampler: Sampler,
    ) -> tuple[Float[Tensor, "n d"], LevelState]:
        """See :meth:`TimeGradNetwork.advance`."""
        h, rnn = self.read_step(past, window, state.drawn, state.rnn, step)
        x = sampler.sample(self.diffusion, h, noise, self.start(past, window))
        x = x.clamp(self.low, self.high)
        drawn = state.drawn.index_copy_(1, step, x.unsqueeze(1))
        affine = Affine(past.loc[window, 0], past.scale[window, 0])
        return affine.restore(x), LevelState(rnn, drawn)

    def start(self, past: LevelPast, window: Int[Tensor, " n"]) -> Start | None:
        """Where the chains of some paths start."""
        if self.options.start == "standard":
            return None
        return Start(past.mean[window, 0], past.variance[window, 0])

    def read_step(
        self,
        past: LevelPast,
        window: Int[Tensor, " n"],
        drawn: Float[Tensor, "n p d"],
        state: Any,
        step: Int[Tensor, "1"],
    ) -> tuple[Float[Tensor, "n h"], Any]:
        """The condition of the next step of some paths, from all that was drawn before it."""
        lags = list(at(past.lags, 1, step)[window].unbind(1))
        for i, lag in enumerate(self.lags):
            if lag < self.prediction_length:
                own = at(drawn, 1, (step - lag).clamp(min=0))
                lags[i] = torch.where(step >= lag, own, lags[i])  # in the horizon: the path's own
        calendar = at(past.calendar, 1, step)[window]
        return self.encoder.step(self._inputs(torch.stack(lags, 1), calendar), state)

    def course(
        self, batch: Batch, conditions: Conditions, noise: PathNoise, sampler: Sampler
    ) -> LevelCourse:
        """See :meth:`TimeGradNetwork.course`."""
        return LevelCourse(self, self._read(batch), conditions, noise, sampler)

    def _moments(self, scaled: Batch) -> tuple[Float[Tensor, "b 1 d"], Float[Tensor, "b 1 d"]]:
        """Mean and variance of the context."""
        x, observed = (part[:, : self.context_length] for part in (scaled.target, scaled.observed))
        count = observed.sum(1, keepdim=True).clamp(min=1)
        mean = x.sum(1, keepdim=True) / count
        deviation = torch.where(observed, x - mean, 0.0)
        return mean, (deviation**2).sum(1, keepdim=True) / count
