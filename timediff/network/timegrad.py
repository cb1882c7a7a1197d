"""TimeGrad: an RNN over the past conditions a diffusion of the next vector (Rasul et al. 2021)."""

from collections.abc import Sequence
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
from timediff.diffusion.samplers import Start
from timediff.network.batch import Batch
from timediff.network.encoder import Encoder
from timediff.network.prior import LocationScale, gaussian_nll
from timediff.network.scaling import Affine
from timediff.types import Float

if TYPE_CHECKING:
    from timediff.options import Options

Generators = torch.Generator | Sequence[torch.Generator] | None


class TimeGradNetwork(nn.Module):
    """Everything between a batch of windows and its loss, or its sample paths.

    Args:
        options: see :class:`timediff.options.Options`.
        target_dim: D, the number of series.
        prediction_length: P, steps of the horizon.
        context_length: C, steps before it.
        lags: distances of the lagged values, rising.
        num_calendar: calendar features.
        profile: whether batches carry a seasonal profile.
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
        profile: bool,
    ):
        super().__init__()
        self.options = options
        self.target_dim = target_dim
        self.prediction_length, self.context_length = prediction_length, context_length
        self.lags = tuple(lags)
        o = options
        self.head: LocationScale | None = None
        self.embedding: nn.Parameter | None = None
        if o.location_scale:
            self.head = LocationScale(
                target_dim,
                len(self.lags),
                num_calendar,
                profile,
                o.embedding_dim,
                o.head_width,
            )
        elif o.embedding_dim:
            self.embedding = nn.Parameter(torch.randn(target_dim, o.embedding_dim))
        inputs = num_calendar
        if o.encoder_inputs in ("residuals", "both"):
            inputs += target_dim
        if o.encoder_inputs in ("lags", "both"):
            inputs += (len(self.lags) + profile) * target_dim
        if self.embedding is not None:
            inputs += self.embedding.numel()
        self.encoder = Encoder(inputs, o.cell, o.hidden_size, o.num_layers, o.dropout, o.cond_dim)
        self.profile = profile
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
        )
        self.sampler = SAMPLERS.build(o.sampler, **self._sampler_options())
        self.register_buffer("low", torch.full((target_dim,), -torch.inf))
        self.register_buffer("high", torch.full((target_dim,), torch.inf))
        self.low: Tensor
        self.high: Tensor

    def _sampler_options(self) -> dict[str, Any]:
        return {"steps": self.options.steps, **self.options.sampler_options}

    # -- from a batch to what the diffusion models -------------------------------------------

    def _inputs(
        self,
        lags: Float[Tensor, "*b l d"],
        profile: Float[Tensor, "*b 2 d"],
        calendar: Float[Tensor, "*b f"],
        previous: Float[Tensor, "*b d"],
    ) -> Float[Tensor, "*b u"]:
        """What the RNN reads at each step."""
        parts = [calendar]
        if self.options.encoder_inputs in ("residuals", "both"):
            parts.append(previous)
        if self.options.encoder_inputs in ("lags", "both"):
            parts.append(lags.flatten(-2))
            if self.profile:
                parts.append(profile[..., 0, :])
        if self.embedding is not None:
            parts.append(self.embedding.flatten().expand(*calendar.shape[:-1], -1))
        return torch.cat(parts, dim=-1)

    def _residuals(
        self, batch: Batch, steps: slice
    ) -> tuple[Batch, Tensor, Tensor | None, Tensor | None]:
        """The batch in scaled units, and what the diffusion models of it: ``z``, loc and scale.

        Where a value is missing, z is 0 and nothing of the value is left.
        """
        affine = Affine(batch.loc, batch.scale)
        lags = (batch.lags - batch.loc.unsqueeze(2)) / batch.scale.unsqueeze(2)
        mean, deviation = batch.profile.unbind(2)
        profile = torch.stack([affine.normalize(mean), deviation / batch.scale], dim=2)
        spread = batch.spread / batch.scale
        x = torch.where(batch.observed, affine.normalize(batch.target), 0.0)
        scaled = batch._replace(target=x, lags=lags, profile=profile, spread=spread)
        if self.head is None:
            return scaled, x[:, steps], None, None
        loc, scale = self.head(lags[:, steps], profile[:, steps], batch.calendar[:, steps], spread)
        z = torch.where(batch.observed[:, steps], (x[:, steps] - loc) / scale, 0.0)
        return scaled, z.detach(), loc, scale

    @staticmethod
    def _shift(z: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Z of the step before; 0 before the first."""
        return torch.cat([torch.zeros_like(z[:, :1]), z[:, :-1]], dim=1)

    # -- training ----------------------------------------------------------------------------

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> Float[Tensor, "b"]:
        """The training loss of each window, averaged over its observed values only.

        The denoising loss, and, with a location-scale head, the Gaussian negative log-likelihood
        of the head. The diffusion does not train the head.

        Args:
            batch: windows with an observed horizon.
            generator: source of the diffusion's steps and noise.
        """
        scaled, z, loc, scale = self._residuals(batch, slice(None))
        h, _ = self.encoder(
            self._inputs(scaled.lags, scaled.profile, batch.calendar, self._shift(z))
        )
        # the network sees all series at once: a missing one must look like any other, so it is
        # drawn from the prior rather than left at 0
        filler = torch.randn(z.shape, generator=generator, device=z.device, dtype=z.dtype)
        first = self.context_length if self.options.loss_window == "horizon" else 0
        observed = batch.observed[:, first:]
        z0 = torch.where(observed, z[:, first:], filler[:, first:])
        loss = self.diffusion.loss(z0, h[:, first:], generator)
        if loc is not None and scale is not None:
            nll = gaussian_nll(scaled.target[:, first:], loc[:, first:], scale[:, first:])
            loss = loss + nll
        loss = torch.where(observed, loss, 0.0)
        return loss.sum((1, 2)) / observed.sum((1, 2)).clamp(min=1)

    @torch.no_grad()
    def widen_bounds(self, batch: Batch) -> None:
        """Take what this batch holds into the range that samples are bound to."""
        _, z, _, _ = self._residuals(batch, slice(None))
        if torch.isinf(self.low).all():
            self.low.fill_(0.0)
            self.high.fill_(0.0)
        self.low.copy_(torch.minimum(self.low, z.amin((0, 1))))
        self.high.copy_(torch.maximum(self.high, z.amax((0, 1))))

    # -- sampling ----------------------------------------------------------------------------

    @torch.no_grad()
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
        sampler = sampler or self.sampler
        num, c, d = len(batch.target), self.context_length, self.target_dim
        scaled, z, _, _ = self._residuals(batch, slice(0, c))
        u = self._inputs(
            scaled.lags[:, :c], scaled.profile[:, :c], batch.calendar[:, :c], self._shift(z)
        )
        _, state = self.encoder(u)
        state = self.encoder.repeat(state, num_samples)
        previous = z[:, -1:].expand(num, num_samples, d)
        start = self._start(scaled)
        spread = scaled.spread.expand(num, num_samples, d)

        def noise() -> Tensor:
            if generator is None or isinstance(generator, torch.Generator):
                shape = (num, num_samples, d)
                return torch.randn(shape, generator=generator, device=z.device, dtype=z.dtype)
            return torch.stack(
                [
                    torch.randn(num_samples, d, generator=g, device=z.device, dtype=z.dtype)
                    for g in generator
                ]
            )

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
            profile, calendar = paths(scaled.profile[:, c + j]), paths(batch.calendar[:, c + j])
            u = self._inputs(lags, profile, calendar, previous)
            h, state = self.encoder(u.flatten(0, 1).unsqueeze(1), state)
            h = h.view(num, num_samples, -1)
            previous = sampler.sample(self.diffusion, h, noise, start)
            previous = previous.clamp(self.low, self.high)
            if self.head is None:
                drawn.append(previous)
            else:
                loc, scale = self.head(lags, profile, calendar, spread)
                drawn.append(loc + scale * previous)
        affine = Affine(batch.loc.unsqueeze(1), batch.scale.unsqueeze(1))
        return affine.restore(torch.stack(drawn, dim=2))

    def _start(self, scaled: Batch) -> Start | None:
        """Moments of what the chain draws, where it does not draw standardised residuals."""
        if self.head is not None or self.options.start == "standard":
            return None
        x, observed = (part[:, : self.context_length] for part in (scaled.target, scaled.observed))
        count = observed.sum(1, keepdim=True).clamp(min=1)
        mean = x.sum(1, keepdim=True) / count
        deviation = torch.where(observed, x - mean, 0.0)
        return Start(mean, (deviation**2).sum(1, keepdim=True) / count)
