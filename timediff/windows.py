"""What a window of the data holds, and the network for windows of this kind."""

from dataclasses import dataclass, field
from typing import Any

from timediff.feature_spec import FeatureSpec
from timediff.network import Dynamics, FeatureSizes, LevelNetwork, ResidualNetwork, TimeGradNetwork
from timediff.options import Options
from timediff.seasonality import num_calendar

LEAST_FEATURE_STEPS = 16  # of the past, where the history has them


@dataclass(frozen=True)
class WindowSpec:
    """What a window holds; worked out from options and data when training starts.

    Attributes:
        freq: pandas frequency of the data.
        prediction_length: P, steps of the horizon.
        context_length: C, steps before it.
        season: season by which long gaps are filled; None for none.
        lags: distances of the lagged values, rising; none with a prior.
        scaling: name of the scaling.
        scale_window: ``"series"`` or ``"context"``.
        lookback: latest values that a prior reads; 0 without one.
        seasonal: how far back the seasonal values lie that it reads, rising.
        profiles: lengths of the seasons of which it reads the mean of many values.
        level: latest values over which it takes the level.
        yearly: whether the day of the year is among the calendar features.
        components: normal laws in the law of single innovations; 1 for the standard normal one.
        features: what is known beside the values.
        before: horizons read before the context: one where a network has common factors.
    """

    freq: str
    prediction_length: int
    context_length: int
    season: int | None
    lags: tuple[int, ...] = ()
    scaling: str = "standard"
    scale_window: str = "series"
    lookback: int = 0
    seasonal: tuple[int, ...] = ()
    profiles: tuple[int, ...] = ()
    level: int = 1
    yearly: bool = False
    components: int = 1
    features: FeatureSpec = field(default_factory=FeatureSpec)
    before: int = 0

    @property
    def depth(self) -> int:
        """Rows before the horizon that a window without common factors reads."""
        return self.context_length + max(self.lookback, *self.lags, *self.seasonal, 0)

    @property
    def pad(self) -> int:
        """Rows before the first value of an entry, so that all that a window may hold exists."""
        return self.depth + (self.prediction_length if self.lookback else 0)

    @property
    def first(self) -> int:
        """The first step of a window, from the start of its horizon."""
        return -self.context_length - self.prediction_length * self.before

    @property
    def blocks(self) -> range:
        """Where, from the start of the horizon, the horizon-long blocks of a window begin."""
        return range(self.first, 1, self.prediction_length)

    @property
    def reach(self) -> int:
        """How many steps of the past a forecast looks back to."""
        return self.pad + (self.season or 0)

    @property
    def feature_steps(self) -> int:
        """How many of the latest values of features the encoder of a prior reads."""
        return min(self.lookback, max(self.level, LEAST_FEATURE_STEPS))

    def floats(self, num_samples: int) -> int:
        """About how many numbers one forecast takes per series: history, pasts, paths."""
        p = self.prediction_length
        history = (self.reach + p) * (4 + 2 * len(self.profiles))
        pasts = 3 * (self.context_length + p) * len(self.lags)
        if self.lookback:
            step = len(self.seasonal) + len(self.profiles)
            pasts = 2 * len(self.blocks) * (self.lookback + p * step) + p * Dynamics.WIDTH
        known, past = self.features.known.size, self.features.past.size
        tables = 2 + len(self.profiles) if self.lookback else 1
        history += (self.reach + p) * (tables * known + past)
        if self.lookback:
            each = known * (self.lookback + p * (step + 1)) + past * self.feature_steps
            pasts += 3 * len(self.blocks) * each
        return history + pasts + 3 * num_samples * p


def build_network(options: Options, spec: WindowSpec, target_dim: int) -> TimeGradNetwork:
    """The network for windows of this kind; the one place where sizes are handed over."""
    f = spec.features
    features = FeatureSizes(
        known=f.known.size,
        past=f.past.size,
        steps=spec.feature_steps,
        real=f.real.size,
        categories=tuple(map(len, f.category.labels)),
    )
    known = f.known.size
    if not options.prior:  # the RNN reads those of each series
        known = sum(x.size * (target_dim if x.own else 1) for x in (f.known, f.past))
    sizes: dict[str, Any] = {
        "target_dim": target_dim,
        "prediction_length": spec.prediction_length,
        "context_length": spec.context_length,
        "num_calendar": num_calendar(spec.freq, spec.yearly) + known,
        "features": features,
    }
    if not options.prior:
        return LevelNetwork(options, **sizes, lags=spec.lags)
    return ResidualNetwork(
        options,
        **sizes,
        lookback=spec.lookback,
        num_seasonal=len(spec.seasonal),
        num_profiles=len(spec.profiles),
        level=spec.level,
        components=spec.components,
    )
