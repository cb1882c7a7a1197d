"""TimeGrad as published: the diffusion models the scaled values themselves (Rasul et al. 2021)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from timediff.diffusion import Sampler
from timediff.diffusion.samplers import Start
from timediff.network.base import Generators, TimeGradNetwork
from timediff.network.batch import Batch, Innovations, RowBatch
from timediff.network.scaling import Affine
from timediff.types import Float

if TYPE_CHECKING:
    from timediff.options import Options


class LevelNetwork(TimeGradNetwork):
    """The RNN reads lagged values of all series; the diffusion draws the next values.

    Args:
        options: see :class:`timediff.options.Options`.
        target_dim: D, the number of series.
        prediction_length: P, steps of the horizon.
        context_length: C, steps before it.
        lags: distances of the lagged values, rising.
        num_calendar: calendar features.
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
    ):
        size = (options.embedding_dim + len(lags)) * target_dim + num_calendar
        super().__init__(options, target_dim, prediction_length, context_length, size)
        self.lags = tuple(lags)
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

    @staticmethod
    def _scaled(batch: Batch) -> Batch:
        """The batch in scaled units; the target is 0 where missing."""
        affine = Affine(batch.loc, batch.scale)
        lags = (batch.lags - batch.loc.unsqueeze(2)) / batch.scale.unsqueeze(2)
        x = torch.where(batch.observed, affine.normalize(batch.target), 0.0)
        return batch._replace(target=x, lags=lags)

    def diffused(self, batch: Batch) -> Float[Tensor, "b t d"]:
        """Scaled values; see :meth:`TimeGradNetwork.diffused`."""
        return self._scaled(batch).target

    def loss(
        self, batch: Batch | RowBatch | Innovations, generator: torch.Generator | None = None
    ) -> Float[Tensor, "b"]:
        """The denoising loss; see :meth:`TimeGradNetwork.loss`."""
        assert isinstance(batch, Batch)
        scaled = self._scaled(batch)
        h, _ = self.encoder(self._inputs(scaled.lags, batch.calendar))
        return self._denoising_loss(scaled.target, batch.observed, h, generator)

    @torch.no_grad()
    def sample(
        self,
        batch: Batch,
        num_samples: int,
        generator: Generators = None,
        sampler: Sampler | None = None,
    ) -> Float[Tensor, "b s p d"]:
        """See :meth:`TimeGradNetwork.sample`."""
        sampler = sampler or self.sampler
        num, c, d = len(batch.target), self.context_length, self.target_dim
        scaled = self._scaled(batch)
        _, state = self.encoder(self._inputs(scaled.lags[:, :c], batch.calendar[:, :c]))
        state = self.encoder.repeat(state, num_samples)
        start = self._start(scaled)
        noise = self._noise(scaled.target, (num, num_samples, d), generator)

        def paths(x: Tensor) -> Tensor:
            """A value of each window for each of its paths."""
            return x.unsqueeze(1).expand(num, num_samples, *x.shape[1:])

        drawn: list[Tensor] = []
        for j in range(self.prediction_length):
            lags = paths(scaled.lags[:, c + j])
            reached = [i for i, lag in enumerate(self.lags) if lag <= j]
            if reached:  # these lags fall into the horizon: they are the path's own values
                lags = lags.clone()
                for i in reached:
                    lags[:, :, i] = drawn[j - self.lags[i]]
            u = self._inputs(lags, paths(batch.calendar[:, c + j]))
            h, state = self.encoder(u.flatten(0, 1).unsqueeze(1), state)
            x = sampler.sample(self.diffusion, h.view(num, num_samples, -1), noise, start)
            drawn.append(x.clamp(self.low, self.high))
        affine = Affine(batch.loc.unsqueeze(1), batch.scale.unsqueeze(1))
        return affine.restore(torch.stack(drawn, dim=2))

    def _start(self, scaled: Batch) -> Start | None:
        """Moments of what the chain draws, unless it starts from standard noise."""
        if self.options.start == "standard":
            return None
        x, observed = (part[:, : self.context_length] for part in (scaled.target, scaled.observed))
        count = observed.sum(1, keepdim=True).clamp(min=1)
        mean = x.sum(1, keepdim=True) / count
        deviation = torch.where(observed, x - mean, 0.0)
        return Start(mean, (deviation**2).sum(1, keepdim=True) / count)
