"""The diffusion of what a prior leaves open: the default."""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from timediff.diffusion import Sampler
from timediff.diffusion.noise import PathNoise
from timediff.network.base import TimeGradNetwork, at
from timediff.network.batch import Batch, Innovations, RowBatch, Rows, TrainingBatch
from timediff.network.courses import ResidualCourse
from timediff.network.dynamics import LIMIT, ORDER, Dynamics
from timediff.network.factors import CommonFactors, standing
from timediff.network.features import NONE, FeatureSizes
from timediff.network.hindcasts import Residuals, hindcast
from timediff.network.likelihood import Diffused, observed_residuals
from timediff.network.prior import HorizonPrior
from timediff.network.prior_loss import mean_of, prior_loss
from timediff.network.scenario import Conditions
from timediff.network.whitening import Whitening
from timediff.types import Bool, Float, Int

if TYPE_CHECKING:
    from timediff.options import Options


class ResidualPast(NamedTuple):
    """What the paths of windows start from.

    Attributes:
        state: of the RNN, after the context.
        calendar: what is known of the horizon.
        loc: location of the prior over the horizon.
        scale: its scale.
        w: white innovations of the last step before the horizon.
        context: see :meth:`Dynamics.context`.
    """

    state: Any
    calendar: Float[Tensor, "b p f"]
    loc: Float[Tensor, "b p d"]
    scale: Float[Tensor, "b p d"]
    w: Float[Tensor, "b d"]
    context: Float[Tensor, "b d p c"]


class ResidualState(NamedTuple):
    """What a step of the horizon passes on to the next.

    Attributes:
        rnn: state of the RNN.
        w: white innovations of the step.
        residuals: those of the last steps, the latest first.
    """

    rnn: Any
    w: Float[Tensor, "n d"]
    residuals: Float[Tensor, "n d k"]


class ResidualNetwork(TimeGradNetwork):
    """A prior for each series, an autoregression of its residuals, a diffusion of all of them.

    The RNN reads the calendar and the white innovations of all series, in the context those of
    forecasts that would have been made then; the diffusion draws the next ones.

    Args:
        options: see :class:`timediff.options.Options`.
        target_dim: D, the number of series.
        prediction_length: P, steps of the horizon.
        context_length: C, steps before it: a multiple of P.
        lookback: values before an origin that the prior reads.
        num_seasonal: past values of the same season that it reads.
        num_profiles: for how many lengths of season it reads the mean of many such values.
        level: over how many of the latest values their level is taken.
        components: normal laws in the law of single innovations; 1 for the standard normal one.
        num_calendar: calendar features, and those known ahead.
        features: see :class:`FeatureSizes`.
    """

    def __init__(
        self,
        options: "Options",
        *,
        target_dim: int,
        prediction_length: int,
        context_length: int,
        lookback: int,
        num_seasonal: int,
        num_profiles: int,
        level: int,
        components: int,
        num_calendar: int,
        features: FeatureSizes = NONE,
    ):
        position = Dynamics.STEP_DIM
        size = num_calendar + target_dim + position
        super().__init__(options, target_dim, prediction_length, context_length, size, components)
        o = options
        self.priors = nn.ModuleList(
            HorizonPrior(
                target_dim,
                prediction_length,
                lookback,
                num_seasonal,
                num_profiles,
                num_calendar,
                level,
                o.embedding_dim,
                o.prior_width,
                o.prior_dropout,
                features,
            )
            for _ in range(o.prior_members)
        )
        self.factors = CommonFactors(target_dim, prediction_length, o.factors)
        self.dynamics = Dynamics(target_dim, prediction_length, num_calendar, o.embedding_dim)
        self.whitening = Whitening(target_dim)
        self.position = nn.Parameter(0.1 * torch.randn(prediction_length, position))

    # -- training ----------------------------------------------------------------------------

    def stage_parameters(self, stage: str) -> list[nn.Parameter]:
        """Prior and dynamics first; then the rest."""
        if stage == "prior":
            return [*self.priors.parameters(), *self.dynamics.parameters()]
        return [*super().stage_parameters(stage), self.position]

    def start(self, batch: RowBatch) -> None:
        """Fit the few constants, so that training starts from the best simple forecast."""
        for prior in self.priors:
            prior.start(  # type: ignore[operator]
                batch.rows, batch.target, batch.observed, self.options.prior_reach
            )
        with torch.no_grad():
            loc, scale = self.prior(batch.rows)
            z = ((batch.target - loc) / scale).clamp(-LIMIT, LIMIT)
            self.dynamics.start(z, batch.observed)

    def prior(self, rows: Rows) -> tuple[Float[Tensor, "r p"], Float[Tensor, "r p"]]:
        """Location and scale: the means over the members."""
        return mean_of([member(rows) for member in self.priors])

    def loss(
        self, batch: TrainingBatch, generator: torch.Generator | None = None
    ) -> Float[Tensor, "b"]:
        """Of rows, the loss of prior and dynamics; of windows, the denoising loss."""
        if isinstance(batch, RowBatch):
            return prior_loss(self, batch)
        if isinstance(batch, Batch):
            batch = self.innovations(batch)
        h, _ = self.encoder(self._inputs(batch.calendar, batch.w))
        return self._denoising_loss(batch.w, batch.observed, h, generator)

    def residuals(self, batch: Batch) -> Residuals:
        """Prior and innovations of all blocks of these windows, from the context on.

        Where there are common factors, the windows have one more block before it.
        """
        return hindcast(self, batch)

    def standing(self, batch: Batch) -> Float[Tensor, "b n d k"]:
        """Where the series stand before each block of windows; see :func:`standing`."""
        assert batch.rows is not None
        prior: Any = self.priors[0]
        found = standing(batch.rows, prior.level)
        return found.view(len(batch.target), -1, self.target_dim, found.shape[1])

    def seen(self, batch: Batch) -> tuple[Bool[Tensor, "b t d"], Float[Tensor, "b t f"]]:
        """Where the residuals of windows are observed, and the calendar of their steps."""
        steps = self.context_length + self.prediction_length
        return batch.observed[:, -steps:], batch.calendar[:, -steps:]

    def innovations(self, batch: Batch) -> Innovations:
        """What the diffusion is trained on."""
        return Innovations(self.diffused(batch), *self.seen(batch))

    def diffused(self, batch: Batch) -> Float[Tensor, "b t d"]:
        """White innovations; see :meth:`TimeGradNetwork.diffused`."""
        return self.white(self.residuals(batch).e, self.seen(batch)[0])

    @torch.no_grad()
    def observed_horizon(self, batch: Batch) -> Diffused:
        """White innovations; see :meth:`TimeGradNetwork.observed_horizon`."""
        return observed_residuals(self, batch, LIMIT)

    def white(
        self,
        e: Float[Tensor, "b t d"],
        observed: Bool[Tensor, "b t d"],
        noise: Float[Tensor, "b t d"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Innovations made white, the missing ones completed from the others of their step.

        So the RNN reads the mean of what it does not know, given the rest, and not a value that
        says that the forecast was exact.
        """
        whole = self.whitening.complete(e, observed, noise)
        return self.whitening(whole)

    def _inputs(
        self, calendar: Float[Tensor, "b t f"], w: Float[Tensor, "b t d"]
    ) -> Float[Tensor, "b t u"]:
        """What the RNN reads: at each step the innovations of the step before, 0 at the first."""
        previous = torch.cat([torch.zeros_like(w[:, :1]), w[:, :-1]], dim=1)
        blocks = calendar.shape[1] // self.prediction_length
        position = self.position.repeat(blocks, 1).expand(len(w), -1, -1)
        return torch.cat([calendar, previous, position], dim=-1)

    # -- sampling ----------------------------------------------------------------------------

    def _read(self, batch: Batch) -> ResidualPast:
        """Location, scale, innovations before the horizon, and what the dynamics need of it."""
        c, d = self.context_length, self.target_dim
        known = batch._replace(observed=batch.observed.clone())
        known.observed[:, -self.prediction_length :] = False  # nothing of the horizon is read
        loc, scale, _, e, _ = self.residuals(known)
        observed, calendar = self.seen(known)
        w = self.white(e, observed)
        _, state = self.encoder(self._inputs(calendar[:, :c], w[:, :c]))
        calendar = calendar[:, c:]
        series = torch.arange(d, device=loc.device).expand(len(loc), d)
        assert batch.rows is not None
        own = batch.rows.calendar.unflatten(0, (len(loc), -1, d))[:, -1]  # of the horizon
        context = self.dynamics.context(series, own)
        return ResidualPast(state, calendar, loc[:, c:], scale[:, c:], w[:, c - 1], context)

    def begin(self, past: ResidualPast, window: Int[Tensor, " n"]) -> ResidualState:
        """See :meth:`TimeGradNetwork.begin`."""
        w = past.w[window]
        state = self.encoder.select(past.state, window)
        return ResidualState(state, w, w.new_zeros(*w.shape, ORDER))

    def advance(
        self,
        past: ResidualPast,
        window: Int[Tensor, " n"],
        state: ResidualState,
        step: Int[Tensor, "1"],
        noise: PathNoise,
        sampler: Sampler,
    ) -> tuple[Float[Tensor, "n d"], ResidualState]:
        """See :meth:`TimeGradNetwork.advance`."""
        h, rnn = self.read_step(past, window, state.w, state.rnn, step)
        w = sampler.sample(self.diffusion, h, noise).clamp(self.low, self.high)
        x, residuals = self._place(past, window, state.residuals, w, step)
        return x, ResidualState(rnn, w, residuals)

    def _place(
        self,
        past: ResidualPast,
        window: Int[Tensor, " n"],
        residuals: Float[Tensor, "n d k"],
        w: Float[Tensor, "n d"],
        step: Int[Tensor, "1"],
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d k"]]:
        """The values of a step that has these white innovations, and the last residuals then."""
        z = self.dynamics.draw(
            residuals, self.whitening.back(w), at(past.context, 2, step), window, step
        ).clamp_(-LIMIT, LIMIT)
        residuals = torch.cat([z.unsqueeze(-1), residuals[..., :-1]], dim=-1)
        loc, scale = (at(part, 1, step)[window] for part in (past.loc, past.scale))
        return torch.addcmul(loc, scale, z), residuals

    @torch.no_grad()
    def innovation_paths(
        self, past: ResidualPast, num_samples: int, seeds: Int[Tensor, "b"]
    ) -> Float[Tensor, "n p d"]:
        """White innovations of paths, one window after another; :meth:`unrolled` are their values.

        Args:
            past: of the windows; see :meth:`TimeGradNetwork.pasts`.
            num_samples: paths of each.
            seeds: of the noise, one for each window.
        """
        seeds = seeds.to(self.low.device)
        number = torch.arange(len(seeds) * num_samples, device=seeds.device)
        window = number // num_samples
        noise = self.noise(seeds[window], number % num_samples)
        state, drawn = self.begin(past, window), []
        for step in torch.arange(self.prediction_length, device=seeds.device).split(1):
            _, state = self.advance(past, window, state, step, noise, self.sampler)
            drawn.append(state.w)
        return torch.stack(drawn, dim=1)

    @torch.no_grad()
    def unrolled(
        self, past: ResidualPast, w: Float[Tensor, "n p d"], batch: Batch
    ) -> Float[Tensor, "b s p d"]:
        """The paths that have these white innovations, as wide as is drawn now.

        Args:
            past: of the windows.
            w: see :meth:`innovation_paths`.
            batch: the windows.
        """
        count = len(w) // len(past.loc)
        window = torch.arange(len(w), device=w.device) // count
        residuals, values = w.new_zeros(len(w), self.target_dim, ORDER), []
        for j, step in enumerate(torch.arange(w.shape[1], device=w.device).split(1)):
            x, residuals = self._place(past, window, residuals, w[:, j], step)
            values.append(x)
        return self._finish(torch.stack(values, dim=1).unflatten(0, (-1, count)), batch)

    def read_step(
        self,
        past: ResidualPast,
        window: Int[Tensor, " n"],
        w: Tensor,
        state: Any,
        step: Int[Tensor, "1"],
    ) -> tuple[Float[Tensor, "n h"], Any]:
        """The condition of the next step of some paths, from the last innovations ``[n, d]``."""
        position = self.position[step].expand(len(w), -1)
        calendar = at(past.calendar, 1, step)[window]
        return self.encoder.step(torch.cat([calendar, w, position], dim=-1), state)

    def course(
        self, batch: Batch, conditions: Conditions, noise: PathNoise, sampler: Sampler
    ) -> ResidualCourse:
        """See :meth:`TimeGradNetwork.course`."""
        return ResidualCourse(self, self._read(batch), conditions, noise, sampler, LIMIT)

    def _finish(self, paths: Float[Tensor, "b s p d"], batch: Batch) -> Float[Tensor, "b s p d"]:
        """Counts as whole numbers, and what is never negative at 0 or above."""
        if not self.options.bound_samples:
            return paths
        whole, floor = batch.whole & self.whole, batch.floor.minimum(self.floor)
        if whole.any():
            paths = torch.where(whole.unsqueeze(1), paths.round() + 0.0, paths)  # no -0
        return paths.clamp_(min=floor.unsqueeze(1))
