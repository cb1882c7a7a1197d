"""The parts of a network that are exported, each a module of tensors with inputs to trace it."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from timediff.diffusion import ConditionalDiffusion, Denoiser
from timediff.diffusion.denoisers import LearnedVariance, WaveNet
from timediff.diffusion.denoisers.base import step_embedding
from timediff.diffusion.denoisers.variance import BothConditions
from timediff.errors import OptionError
from timediff.network import Dynamics, Encoder, LevelNetwork, ResidualNetwork, Rows, TimeGradNetwork
from timediff.network.batch import RowFeatures, Static
from timediff.network.dynamics import ORDER
from timediff.network.features import StaticFeatures
from timediff.network.prior_loss import mean_of
from timediff.seasonality import num_calendar
from timediff.windows import WindowSpec

FEW = 3  # of whatever an axis of any length holds, while tracing


class Graph(NamedTuple):
    """A module to export.

    Attributes:
        module: takes and returns tensors.
        inputs: to trace it with, by name.
        axes: for each input, which axes may have any length, and the name of that length.
        outputs: names.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    axes: dict[str, dict[int, str]]
    outputs: list[str]


FEATURES = {  # of rows, and what the runner calls them
    "recent": "known_recent",
    "seasonal": "known_seasonal",
    "profile": "known_profile",
    "past": "known_past",
    "horizon": "known_horizon",
    "lagged": "past_recent",
}


def named_static(static: Static) -> dict[str, Tensor]:
    """Features that do not change, by name; those of width 0 are left out."""
    return {name: part for name, part in static._asdict().items() if part.shape[-1]}


def named_rows(rows: Rows) -> dict[str, Tensor]:
    """The parts of rows by the names that the runner has for them; see :data:`FEATURES`."""
    found = {name: part for name, part in rows._asdict().items() if isinstance(part, Tensor)}
    if rows.features is None:
        return found
    parts = {own: getattr(rows.features, name) for name, own in FEATURES.items()}
    found |= {own: part for own, part in parts.items() if part.shape[-1]}
    return found | named_static(rows.features.static)


class Prior(nn.Module):
    """Location and scale of single series.

    Args:
        network: the network.
        example: rows such as it will be given.
    """

    def __init__(self, network: ResidualNetwork, example: Rows):
        super().__init__()
        self.priors, self.example = network.priors, example
        self.names = list(named_rows(example))

    def forward(self, *rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of rows ``[r, ...]``."""
        given = dict(zip(self.names, rows, strict=True))
        features = self.example.features
        if features is not None:
            size = given["unit"].shape[:1]

            def part(name: str, example: Tensor) -> Tensor:
                """What was given, or nothing as wide as is expected."""
                return given.pop(name, example.new_zeros(*size, *example.shape[1:]))

            static = Static(**{n: part(n, x) for n, x in features.static._asdict().items()})
            own = {name: part(FEATURES[name], getattr(features, name)) for name in FEATURES}
            features = RowFeatures(static=static, **own)
        parts = Rows(features=features, **given)
        return mean_of([member(parts) for member in self.priors])


class Embed(nn.Module):
    """Features that do not change, with their categories embedded.

    Args:
        static: embeds them.
        example: such as it will be given.
    """

    def __init__(self, static: StaticFeatures, example: Static):
        super().__init__()
        self.static, self.example = static, example
        self.names = list(named_static(example))

    def forward(self, *parts: Tensor) -> Tensor:
        """Of rows ``[r, ...]``."""
        given = dict(zip(self.names, parts, strict=True))
        size = parts[0].shape[:1]
        empty = {n: x.new_zeros(*size, 0) for n, x in self.example._asdict().items()}
        return self.static(Static(**{**empty, **given}))


class Context(nn.Module):
    """What step, calendar and series say to the dynamics."""

    def __init__(self, dynamics: Dynamics):
        super().__init__()
        self.dynamics = dynamics

    def forward(self, series: Tensor, calendar: Tensor) -> Tensor:
        """Of rows ``[r]`` and ``[r, p, f]``."""
        return self.dynamics.context(series, calendar)


class Filter(nn.Module):
    """Location and scale of the residuals of a past in which some may be missing."""

    def __init__(self, dynamics: Dynamics):
        super().__init__()
        self.dynamics = dynamics

    def forward(self, z: Tensor, seen: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Of rows ``[r, p]``, 1 where there is one, and ``[r, p, c]``."""
        return self.dynamics.filtered(z, seen > 0.5, context)


class Encode(nn.Module):
    """One step of the RNN."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder
        self.is_pair = isinstance(encoder.rnn, nn.LSTM)

    def forward(self, u: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Conditions ``[b, h]``, and the parts of the state."""
        h, after = self.encoder(u.unsqueeze(1), state if self.is_pair else state[0])
        return h.squeeze(1), *(after if self.is_pair else (after,))


class Condition(nn.Module):
    """What depends on the condition alone, of one or more denoisers."""

    def __init__(self, *denoisers: Denoiser):
        super().__init__()
        self.denoisers = nn.ModuleList(denoisers)

    def forward(self, h: Tensor) -> tuple[Tensor, ...]:
        """Of conditions ``[n, h]``."""
        return tuple(net.condition(h) for net in self.denoisers)  # type: ignore[operator]


class Denoise(nn.Module):
    """The prediction at one step for all rows."""

    def __init__(self, diffusion: ConditionalDiffusion, denoiser: Denoiser):
        super().__init__()
        self.diffusion, self.denoiser = diffusion, denoiser

    def forward(self, x: Tensor, k: Tensor, condition: Tensor) -> Tensor:
        """Of vectors ``[n, d]``, a step ``[1]`` and what :class:`Condition` says."""
        net = self.denoiser
        if not isinstance(net, WaveNet):
            return self.diffusion.with_marginal(net.denoise(x, k, condition), x, k)
        # it goes on in parts of so many rows, which is of no use where their number is open
        embedding = net.step(step_embedding(k - 1, net.frequencies, 4.0, x.dtype))
        return self.diffusion.with_marginal(net._denoise(x, condition, embedding), x, k)


class Fraction(nn.Module):
    """The share of the larger variance that was learned for a step."""

    def __init__(self, denoiser: LearnedVariance):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x: Tensor, k: Tensor, condition: Tensor) -> Tensor:
        """As :class:`Denoise`, of the variance's own condition."""
        return self.denoiser.fraction(x, k, BothConditions(None, condition))


def state_shape(network: TimeGradNetwork) -> tuple[int, int]:
    """Layers and units of the RNN."""
    rnn = network.encoder.rnn
    return rnn.num_layers, rnn.hidden_size


def shared_graphs(network: TimeGradNetwork, variance: bool) -> dict[str, Graph]:
    """What every network has.

    Args:
        network: the network.
        variance: whether the sampler asks for a learned variance.
    """
    encoder, denoiser, learned = network.encoder, network.diffusion.denoiser, None
    if isinstance(denoiser, LearnedVariance):
        learned, denoiser = denoiser if variance else None, denoiser.denoiser
    layers, width = state_shape(network)
    u = torch.randn(FEW, encoder.rnn.input_size)
    encode = Encode(encoder)
    state = {f"state{i}": torch.zeros(layers, FEW, width) for i in range(1 + encode.is_pair)}
    h, x = torch.randn(FEW, encoder.cond_dim), torch.randn(FEW, network.target_dim)
    with torch.no_grad():
        condition: Any = denoiser.condition(h)
    if not isinstance(condition, Tensor):
        raise OptionError(
            f"the denoiser {type(denoiser).__name__} cannot be exported: its condition is a "
            f"{type(condition).__name__}, not a tensor"
        )
    row, k = {0: "n"}, torch.tensor([1])
    axes = {"x": row, "k": {}, "condition": row}
    of_variance = {}
    if learned is not None:
        other: Any = learned.variance.condition(h).detach()
        inputs = {"x": x, "k": k, "condition": other}
        of_variance = {"variance": Graph(Fraction(learned), inputs, axes, ["share"])}
    both = [denoiser] if learned is None else [denoiser, learned.variance]
    return of_variance | {
        "encoder": Graph(
            encode,
            {"u": u, **state},
            {"u": {0: "b"}, **{name: {1: "b"} for name in state}},
            ["h", *(f"{name}_after" for name in state)],
        ),
        "condition": Graph(
            Condition(*both),
            {"h": h},
            {"h": row},
            ["condition_of_h", "condition_of_variance"][: len(both)],
        ),
        "denoiser": Graph(
            Denoise(network.diffusion, denoiser),
            {"x": x, "k": k, "condition": condition},
            axes,
            ["prediction"],
        ),
    }


def _static(spec: WindowSpec) -> Static:
    """Features that do not change, of a few rows."""
    f = spec.features
    return Static(
        real=torch.randn(FEW, f.real.size),
        category=torch.zeros(FEW, f.category.size, dtype=torch.long),
    )


def level_graphs(network: LevelNetwork, spec: WindowSpec) -> dict[str, Graph]:
    """What a network of levels has besides."""
    example = _static(spec)
    inputs = named_static(example)
    if not inputs:
        return {}
    axes = {name: {0: "r"} for name in inputs}
    return {"static": Graph(Embed(network.static, example), inputs, axes, ["embedded"])}


def residual_graphs(network: ResidualNetwork, spec: WindowSpec) -> dict[str, Graph]:
    """What a network with a prior has besides."""
    p, r = network.prediction_length, FEW
    lookback, seasonal, profiles = spec.lookback, len(spec.seasonal), len(spec.profiles)
    known, past_only = spec.features.known.size, spec.features.past.size
    features = RowFeatures(
        recent=torch.randn(r, lookback, known),
        seasonal=torch.randn(r, p, seasonal, known),
        profile=torch.randn(r, p, profiles, known),
        past=torch.randn(r, known),
        horizon=torch.randn(r, p, known),
        lagged=torch.randn(r, spec.feature_steps, past_only),
        static=_static(spec),
    )
    rows = Rows(
        recent=torch.randn(r, lookback),
        seasonal=torch.randn(r, p, seasonal),
        profile=torch.randn(r, p, profiles),
        past=torch.randn(r),
        calendar=torch.randn(r, p, num_calendar(spec.freq, spec.yearly) + known),
        series=torch.zeros(r, dtype=torch.long),
        unit=torch.ones(r),
        change=torch.ones(r),
        scale=torch.ones(r),
        features=features if spec.features else None,
    )
    context = {"series": rows.series, "calendar": rows.calendar}
    step = {
        "past": torch.randn(r, ORDER),
        "context": torch.randn(r, Dynamics.WIDTH),
        "phi": torch.randn(r, ORDER),
        "rho": torch.randn(r),
    }

    def graph(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> Graph:
        return Graph(module, inputs, {name: {0: "r"} for name in inputs}, outputs)

    past = {
        "z": torch.randn(r, p),
        "seen": torch.ones(r, p),
        "context_rows": torch.randn(r, p, Dynamics.WIDTH),
    }
    return {
        "filter": graph(Filter(network.dynamics), past, ["filtered_loc", "filtered_scale"]),
        "prior": graph(Prior(network, rows), named_rows(rows), ["loc", "prior_scale"]),
        "context": graph(Context(network.dynamics), context, ["context"]),
        "dynamics": graph(network.dynamics, step, ["loc", "residual_scale"]),
    }
