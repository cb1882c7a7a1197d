"""TimeGrad as published, written down plainly: the yardstick of ``benchmarks/sampling.py``.

The network of Rasul et al. 2021 (section 3.3 and figure 2) and its reverse loop, structured as such
code usually is: everything is computed anew inside every reverse step, the projection of the
condition and the embedding of the step among it, and every convolution pads its own input.
Nothing here is used by the library.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from timediff.diffusion import NoiseSchedule
from timediff.diffusion.denoisers import WaveNet
from timediff.types import Float, Int, Tensor

SLOPE = 0.4


class StepEmbedding(nn.Module):
    """Sines and cosines of the step, and two layers."""

    def __init__(self, frequencies: int = 16, width: int = 64):
        super().__init__()
        self.frequencies = frequencies
        self.first = nn.Linear(2 * frequencies, width)
        self.second = nn.Linear(width, width)

    def forward(self, k: Int[Tensor, " n"]) -> Float[Tensor, "n e"]:
        """Embedding of steps counted from 0."""
        place = torch.arange(self.frequencies, device=k.device)
        angle = k.unsqueeze(1) * 10.0 ** (place * 4.0 / self.frequencies)
        table = torch.cat([angle.sin(), angle.cos()], dim=1).to(self.first.weight.dtype)
        return F.silu(self.second(F.silu(self.first(table))))


class ResidualLayer(nn.Module):
    """A gated, dilated, circular convolution with its projections of step and condition."""

    def __init__(self, channels: int, width: int, dilation: int):
        super().__init__()
        self.step = nn.Linear(width, channels)
        self.condition = nn.Conv1d(1, 2 * channels, 1, padding=2, padding_mode="circular")
        self.dilated = nn.Conv1d(
            channels,
            2 * channels,
            3,
            padding=dilation,
            dilation=dilation,
            padding_mode="circular",
        )
        self.outlet = nn.Conv1d(channels, 2 * channels, 1)

    def forward(
        self, y: Float[Tensor, "n c w"], condition: Float[Tensor, "n 1 d"], step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What goes on to the next layer, and what to the end."""
        z = self.dilated(y + self.step(step).unsqueeze(-1)) + self.condition(condition)
        gate, value = z.chunk(2, dim=1)
        z = F.leaky_relu(self.outlet(gate.sigmoid() * value.tanh()), SLOPE)
        onward, skip = z.chunk(2, dim=1)
        return (y + onward) / math.sqrt(2.0), skip


class EpsilonTheta(nn.Module):
    """The network that predicts the noise.

    Args:
        target_dim: D.
        cond_dim: length of the condition.
        layers: residual layers.
        channels: of each.
        dilation_cycle: the dilation of layer i is ``2 ** (i % dilation_cycle)``.
    """

    def __init__(
        self,
        target_dim: int,
        cond_dim: int = 100,
        layers: int = 8,
        channels: int = 8,
        dilation_cycle: int = 2,
    ):
        super().__init__()
        self.inlet = nn.Conv1d(1, channels, 1, padding=2, padding_mode="circular")
        self.embedding = StepEmbedding()
        half = max(1, target_dim // 2)
        self.upsample = nn.Sequential(
            nn.Linear(cond_dim, half),
            nn.LeakyReLU(SLOPE),
            nn.Linear(half, target_dim),
            nn.LeakyReLU(SLOPE),
        )
        self.layers = nn.ModuleList(
            ResidualLayer(channels, 64, 2 ** (i % dilation_cycle)) for i in range(layers)
        )
        self.skip = nn.Conv1d(channels, channels, 3)
        self.outlet = nn.Conv1d(channels, 1, 3)

    @classmethod
    def of(cls, network: WaveNet, dilation_cycle: int = 2) -> "EpsilonTheta":
        """With the weights of the library's network, which has them arranged otherwise."""
        weights = network.state_dict()
        channels = len(weights["inlet.weight"])
        dim = len(weights["upsample.2.weight"])
        cond = weights["upsample.0.weight"].shape[1]
        made = cls(dim, cond, len(network.blocks), channels, dilation_cycle)
        known = {}
        for name, value in weights.items():
            first, *rest = name.split(".")
            if first == "project":  # of all layers at once
                for i, part in enumerate(value.chunk(len(network.blocks))):
                    known[f"layers.{i}.condition.{rest[0]}"] = part
            elif first == "step":
                known[f"embedding.{ {'0': 'first', '2': 'second'}[rest[0]] }.{rest[1]}"] = value
            else:
                known[name.replace("blocks.", "layers.")] = value
        made.load_state_dict(known)
        return made.to(next(network.parameters()))

    def forward(
        self, x: Float[Tensor, "n d"], k: Int[Tensor, " n"], h: Float[Tensor, "n h"]
    ) -> Float[Tensor, "n d"]:
        """The noise in ``x`` at steps counted from 0."""
        y = F.leaky_relu(self.inlet(x.unsqueeze(1)), SLOPE)
        step = self.embedding(k)
        condition = self.upsample(h).unsqueeze(1)
        skips = []
        for layer in self.layers:
            y, skip = layer(y, condition, step)
            skips.append(skip)
        y = torch.stack(skips).sum(0) / math.sqrt(len(self.layers))
        return self.outlet(F.leaky_relu(self.skip(y), SLOPE)).squeeze(1)


class ReverseLoop:
    """Ancestral sampling, step by step (Ho et al. 2020, algorithm 2), with the posterior variance.

    Args:
        network: predicts the noise.
        schedule: of the forward process.
    """

    def __init__(self, network: EpsilonTheta, schedule: NoiseSchedule):
        self.network = network
        steps = schedule.num_steps
        alpha = torch.tensor([schedule.at(k)[0] for k in range(steps + 1)], dtype=torch.float64)
        level, before = alpha[1:] ** 2, alpha[:-1] ** 2
        beta = 1 - level / before
        self.tables = {
            "root": level.rsqrt(),
            "less": (1 / level - 1).sqrt(),
            "of_x0": beta * before.sqrt() / (1 - level),
            "of_x": (1 - before) * (1 - beta).sqrt() / (1 - level),
            "deviation": (beta * (1 - before) / (1 - level)).sqrt(),
        }
        dtype = next(network.parameters()).dtype
        self.tables = {name: table.to(dtype) for name, table in self.tables.items()}

    def step(self, x: Float[Tensor, "n d"], i: int, h: Tensor, noise: Tensor) -> Tensor:
        """From step i + 1 to step i."""
        k = torch.full((len(x),), i, device=x.device)
        at = {name: table.to(x.device)[k].unsqueeze(1) for name, table in self.tables.items()}
        x0 = at["root"] * x - at["less"] * self.network(x, k, h)
        mean = at["of_x0"] * x0 + at["of_x"] * x
        return mean + (at["deviation"] * noise if i > 0 else 0.0)

    @torch.no_grad()
    def sample(self, h: Float[Tensor, "n h"], noise: "list[Tensor]") -> Float[Tensor, "n d"]:
        """All steps; the first noise is the start.

        Args:
            h: conditions.
            noise: as many as there are steps.
        """
        x, *rest = noise
        for i in reversed(range(len(self.tables["root"]))):
            x = self.step(x, i, h, rest.pop(0) if i > 0 else torch.zeros_like(x))
        return x
