r"""The prior: what each series does on its own, forecast for the whole horizon at once.

One network, its weights shared by all series, turns the past of a single series into location and
scale at every step of the horizon. It starts as the best simple forecast and learns corrections.
The diffusion then only has to learn the joint law and the shape of what is left (compare the
data-dependent prior of Lee et al. 2022; the network is a dense encoder-decoder like TiDE, Das et
al. 2023).
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from timediff.network.batch import Rows
from timediff.network.features import NONE, FeatureSizes, LinearEffects, StaticFeatures
from timediff.types import Bool, Float, Tensor

LIMIT = 20.0  # inputs are cut off this many units from the recent level
START_SHARPNESS = 8.0  # how much more the better anchors weigh at first
START_STEPS, START_LR = 150, 0.1  # of the descent in which the constants are fitted
COST = 0.3  # of each scale that a value lies out of reach
FAR = 4  # times the reach, beyond which a value costs no more than its logarithm


class HorizonPrior(nn.Module):
    r"""Location and scale of a series at each step of the horizon.

    .. math:: \mu_j = \sum_a w_{ja}\, x_{ja} + u\,\delta_j, \qquad
              \sigma_j = u\,\text{softplus}(\rho_j)\, e^{k \cdot v}

    The anchors :math:`x_{ja}` are the last value, the means of the last season and of the whole
    past, values of the same season in the past, and their means over few and over many seasons, so
    that a random walk, a repeated season and a steady law are all represented exactly. The weights
    :math:`w` are a softmax, u is the unit of the series, v its recent volatility. Weights,
    :math:`\delta` and :math:`\rho` are learned constants of each step plus the output of the
    network, which starts at 0.

    Features known ahead act in two ways: what a series owes to them linearly is taken out of all
    of its past and added to the horizon, and the network reads them as it does the calendar.

    Args:
        target_dim: D, the number of series.
        prediction_length: P.
        lookback: how many of the latest values are read.
        num_seasonal: how many past values of the same season.
        num_profiles: for how many lengths of season the mean of many such values.
        num_calendar: features of the calendar, and those known ahead.
        level: over how many of the latest values the mean is an anchor.
        embedding_dim: length of the embedding of a series, which lives here; 0 for none.
        width: units of the encoder.
        dropout: probability.
        features: how many there are.
    """

    FEATURES, DECODED, STEP_WIDTH = 4, 16, 48  # per step: into the encoder, out of it, last layers

    def __init__(
        self,
        target_dim: int,
        prediction_length: int,
        lookback: int,
        num_seasonal: int,
        num_profiles: int,
        num_calendar: int,
        level: int,
        embedding_dim: int = 8,
        width: int = 256,
        dropout: float = 0.1,
        features: FeatureSizes = NONE,
    ):
        super().__init__()
        p = prediction_length
        self.static = StaticFeatures(features)
        self.effects: LinearEffects | None = None
        if features.known:
            self.effects = LinearEffects(target_dim, features.known, self.static.width)
        self.feature_steps = features.steps
        self.level = min(level, lookback)
        self.means = 3 + num_profiles  # anchors before the seasonal values
        self.anchors = self.means + num_seasonal + (num_seasonal > 1)
        self.embedding: nn.Parameter | None = None
        if embedding_dim:
            self.embedding = nn.Parameter(0.1 * torch.randn(target_dim, embedding_dim))
        own = 2 + num_seasonal + 2 * (num_seasonal > 1) + num_calendar
        self.spans = [max(1, p // 2), p, lookback - 1]
        embedding_dim += self.static.width
        summary = len(self.spans) + 1 + embedding_dim
        summary += features.steps * (features.known + features.past)
        self.features = nn.Linear(own, self.FEATURES)
        self.inlet = nn.Linear(lookback + self.FEATURES * p + summary, width)
        self.norm = nn.LayerNorm(width)
        self.block = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.Dropout(dropout)
        )
        self.decode = nn.Sequential(nn.SiLU(), nn.Linear(width, p * self.DECODED))
        self.drop = nn.Dropout(dropout)
        self.first = nn.Linear(self.DECODED + own + embedding_dim, self.STEP_WIDTH)
        self.second = nn.Linear(self.STEP_WIDTH, self.STEP_WIDTH)
        self.outlet = nn.Linear(self.STEP_WIDTH, self.anchors + 2)
        nn.init.zeros_(self.outlet.weight)
        nn.init.zeros_(self.outlet.bias)
        self.weights = nn.Parameter(torch.zeros(p, self.anchors))
        self.rho = nn.Parameter(torch.zeros(p))
        self.volatility = nn.Parameter(torch.zeros(len(self.spans)))

    def _anchors(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """The anchors in units around the recent level; level and unit, ``[r, 1]``."""
        level = rows.recent[:, -self.level :].mean(1, keepdim=True)
        unit = rows.unit.unsqueeze(1)
        p = rows.seasonal.shape[1]
        constants = torch.cat([rows.recent[:, -1:], level, rows.past.unsqueeze(1)], dim=1)
        parts = [constants.unsqueeze(1).expand(-1, p, -1), rows.profile]
        if rows.seasonal.shape[2]:
            parts.append(rows.seasonal)
        if rows.seasonal.shape[2] > 1:
            parts.append(rows.seasonal.mean(-1, keepdim=True))
        return (torch.cat(parts, dim=-1) - level.unsqueeze(2)) / unit.unsqueeze(2), level, unit

    def _spread(self, anchors: Float[Tensor, "r p a"]) -> Float[Tensor, "r p 1"]:
        """Standard deviation of the seasonal values around their mean, the last anchor."""
        return (
            (anchors[..., self.means : -1] - anchors[..., -1:])
            .square()
            .mean(-1, keepdim=True)
            .sqrt()
        )

    def _drop_steps(self, x: Float[Tensor, "r p w"]) -> Float[Tensor, "r p w"]:
        """Dropout of the same units at all steps: fewer random numbers, a mask for each path."""
        return x * self.drop(x.new_ones(len(x), 1, x.shape[-1])) if self.training else x

    def _volatility(self, rows: Rows) -> Float[Tensor, "r v"]:
        """How restless the series was of late, over several spans: 0 as ever."""
        change = rows.recent.diff(dim=1).abs()
        recent = torch.stack([change[:, -n:].mean(1) for n in self.spans], dim=1)
        return torch.log(recent / rows.change.unsqueeze(1) + 1e-2).clamp(-LIMIT, LIMIT)

    def _combine(
        self, anchors: Tensor, volatility: Tensor, weights: Tensor, rho: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Location without its correction, and scale, in units around the level."""
        scale = F.softplus(self.rho + rho) + 1e-3
        restless = (volatility @ self.volatility).clamp(-3.0, 3.0).exp().unsqueeze(1)
        return ((self.weights + weights).softmax(-1) * anchors).sum(-1), scale * restless

    def start(
        self,
        rows: Rows,
        target: Float[Tensor, "r p"],
        observed: Bool[Tensor, "r p"],
        reach: float | None,
    ) -> None:
        """Fit the constants to these rows, so that training starts from the best simple forecast.

        They begin where each anchor weighs the more the smaller its error is, and go on by
        gradient descent on the continuous ranked probability score.

        Args:
            rows: the pasts.
            target: the values of the horizon.
            observed: where there is one.
            reach: see :func:`out_of_reach`.
        """
        if self.effects is not None and rows.features is not None:
            static = self.static(rows.features.static)
            self.effects.start(rows, static, target, observed, self._anchors, self._first_weights)
            with torch.no_grad():
                rows, effect = self.effects(rows, static)
            target = target - effect
        anchors, level, unit = self._anchors(rows)
        volatility = self._volatility(rows)
        y = torch.where(observed, (target - level) / unit, 0.0)

        def mean(loss: Tensor) -> Tensor:
            """Over the rows that were observed, step by step."""
            return torch.where(observed, loss, 0.0).sum(0) / observed.sum(0).clamp(min=1)

        with torch.no_grad():
            self.weights.copy_(self._first_weights(anchors, y, observed))
            best = mean((y - (self.weights.softmax(-1) * anchors).sum(-1)).abs()).clamp(1e-3, LIMIT)
            self.rho.copy_(torch.log(torch.expm1(math.sqrt(math.pi / 2) * best)))
        constants = [self.weights, self.rho, self.volatility]
        optimizer = torch.optim.Adam(constants, lr=START_LR)
        nothing = y.new_zeros(())
        for step in range(START_STEPS):
            for group in optimizer.param_groups:
                group["lr"] = START_LR * (1 - step / START_STEPS)
            loc, scale = self._combine(anchors, volatility, nothing, nothing)
            loss = gaussian_crps(y, loc, scale) + out_of_reach(y, loc, scale, reach)
            loss = mean(loss).mean()
            gradients = torch.autograd.grad(loss, constants)
            for constant, gradient in zip(constants, gradients, strict=True):
                constant.grad = gradient
            optimizer.step()
        for constant in constants:
            constant.grad = None

    @staticmethod
    def _first_weights(anchors: Tensor, y: Tensor, observed: Tensor) -> Float[Tensor, "p a"]:
        """Each anchor weighs the more the smaller its error is."""
        count = observed.sum(0).clamp(min=1)
        errors = [
            (torch.where(observed, (y - part).abs(), 0.0).sum(0) / count).clamp(1e-3, 1e3)
            for part in anchors.unbind(-1)
        ]
        return -START_SHARPNESS * torch.stack(errors, dim=-1).log()

    def forward(self, rows: Rows) -> tuple[Float[Tensor, "r p"], Float[Tensor, "r p"]]:
        """Location and scale in the units of the data."""
        static, effect = None, None
        if rows.features is not None:
            static = self.static(rows.features.static)
            if self.effects is not None:
                rows, effect = self.effects(rows, static)
        anchors, level, unit = self._anchors(rows)
        r, p, _ = anchors.shape
        # the long means are no inputs: they would tell the time of a series that drifts
        own = torch.cat([anchors[..., :2], anchors[..., self.means :]], -1).clamp(-LIMIT, LIMIT)
        if rows.seasonal.shape[2] > 1:
            own = torch.cat([own, self._spread(anchors).clamp(max=LIMIT)], dim=-1)
        own = torch.cat([soften(own), rows.calendar], dim=-1)
        volatility = self._volatility(rows)
        summary = [
            soften(((rows.recent - level) / unit).clamp(-LIMIT, LIMIT)),
            self.features(own).flatten(1),
            volatility,
            torch.log(rows.unit / rows.scale + 1e-3).unsqueeze(1),
        ]
        if rows.features is not None:
            read = rows.features.recent[:, -self.feature_steps :], rows.features.lagged
            summary += [soften(part.clamp(-LIMIT, LIMIT)).flatten(1) for part in read]
        names = [] if self.embedding is None else [self.embedding[rows.series]]
        names += [] if static is None else [static]
        if names:
            series = torch.cat(names, dim=-1)
            summary.append(series)
            own = torch.cat([own, series.unsqueeze(1).expand(r, p, -1)], dim=-1)
        h = F.silu(self.inlet(self.drop(torch.cat(summary, dim=-1))))
        h = h + self.block(self.norm(h))
        step = self._drop_steps(self.decode(h).view(r, p, -1))
        step = F.silu(self.first(torch.cat([step, own], dim=-1)))
        step = step + self._drop_steps(F.silu(self.second(step)))
        weights, delta, rho = self.outlet(step).split([self.anchors, 1, 1], dim=-1)
        loc, scale = self._combine(anchors, volatility, weights, rho.squeeze(-1))
        loc = level + unit * (loc + delta.squeeze(-1))
        return loc if effect is None else loc + effect, unit * scale


def soften(x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The identity near 0, a square root far from it."""
    return x * (1 + x.abs()).rsqrt()


def gaussian_nll(
    x: Float[Tensor, "*b"], loc: Float[Tensor, "*b"], scale: Float[Tensor, "*b"]
) -> Float[Tensor, "*b"]:
    """Negative log-likelihood in nats, unreduced."""
    return 0.5 * ((x - loc) / scale) ** 2 + scale.log() + 0.5 * math.log(2 * math.pi)


def gaussian_crps(
    x: Float[Tensor, "*b"], loc: Float[Tensor, "*b"], scale: Float[Tensor, "*b"]
) -> Float[Tensor, "*b"]:
    """Continuous ranked probability score in the units of x, unreduced (Gneiting et al. 2005)."""
    z = (x - loc) / scale
    density = torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return scale * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def out_of_reach(
    x: Float[Tensor, "*b"],
    loc: Float[Tensor, "*b"],
    scale: Float[Tensor, "*b"],
    reach: float | None,
) -> Float[Tensor, "*b"]:
    """What it costs, beside the score, that a value lies so many scales away; unreduced.

    Where most outcomes are exactly as forecast, as they are of counts and of zeros, the best scale
    for the score is 0, which leaves the diffusion no room for the others. So what is out of reach
    costs something for each scale; the scale alone gets a gradient. Of a jump by hundreds of
    scales, as when a currency is no longer pegged, only the logarithm counts, or it would outweigh
    a whole batch.

    Args:
        x: values.
        loc: their locations.
        scale: their scales.
        reach: scales within which nothing is paid; None for nothing at all.
    """
    if reach is None:
        return torch.zeros_like(scale)
    z, far = (x - loc).detach().abs() / scale, FAR * reach
    z = torch.where(z > far, far + far * (z.clamp(min=far) / far).log(), z)
    return COST * F.relu(z - reach)
