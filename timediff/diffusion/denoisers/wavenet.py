"""TimeGrad's denoiser: dilated convolutions over the series (Rasul et al. 2021)."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from timediff.diffusion.denoisers.base import DENOISERS, Denoiser, step_embedding
from timediff.types import Float, Int, Tensor

SLOPE = 0.4  # of every leaky ReLU


def circular(x: Float[Tensor, "n c w"], width: int) -> Float[Tensor, "n c v"]:
    """``x`` continued periodically by ``width`` on both sides; unlike ``F.pad``, by any width."""
    if width <= x.shape[-1]:
        return F.pad(x, (width, width), mode="circular")
    index = torch.arange(-width, x.shape[-1] + width, device=x.device) % x.shape[-1]
    return x[..., index]


class ResidualBlock(nn.Module):
    """One gated convolution with dilation over the series axis."""

    def __init__(self, channels: int, embedding: int, dilation: int):
        super().__init__()
        self.dilation = dilation
        self.step = nn.Linear(embedding, channels)
        self.dilated = nn.Conv1d(channels, 2 * channels, 3, dilation=dilation)
        self.outlet = nn.Conv1d(channels, 2 * channels, 1)
        nn.init.kaiming_normal_(self.outlet.weight)

    def forward(
        self,
        x: Float[Tensor, "n c w"],
        embedding: Float[Tensor, "#n e"],
        condition: Float[Tensor, "n cc w"],
    ) -> tuple[Float[Tensor, "n c w"], Float[Tensor, "n c w"]]:
        """The block's output, and its part of the network's."""
        y = x + self.step(embedding).unsqueeze(-1)
        y = self.dilated(circular(y, self.dilation)) + condition
        gate, value = y.chunk(2, dim=1)
        y = F.leaky_relu(self.outlet(torch.sigmoid(gate) * torch.tanh(value)), SLOPE)
        residual, skip = y.chunk(2, dim=1)
        return (x + residual) / math.sqrt(2.0), skip


@DENOISERS.register("wavenet")
class WaveNet(Denoiser):
    """The published network, with what does not depend on ``x`` taken out of the reverse loop.

    The convolutions run over the series, in their column order, as published. Any D from 1, any
    number of steps.

    Args:
        target_dim: D, the length of the vectors.
        cond_dim: H, the length of the condition.
        layers: residual blocks.
        channels: channels of a block.
        dilation_cycle: the dilation of block i is ``2 ** (i % dilation_cycle)``.
        embedding: units of the step embedding.
    """

    def __init__(
        self,
        target_dim: int,
        cond_dim: int,
        layers: int = 8,
        channels: int = 8,
        dilation_cycle: int = 2,
        embedding: int = 64,
    ):
        super().__init__()
        self.frequencies = 16
        self.layers = layers
        self.inlet = nn.Conv1d(1, channels, 1)
        self.step = nn.Sequential(
            nn.Linear(2 * self.frequencies, embedding),
            nn.SiLU(),
            nn.Linear(embedding, embedding),
            nn.SiLU(),
        )
        half = max(1, target_dim // 2)
        self.upsample = nn.Sequential(
            nn.Linear(cond_dim, half),
            nn.LeakyReLU(SLOPE),
            nn.Linear(half, target_dim),
            nn.LeakyReLU(SLOPE),
        )
        self.project = nn.Conv1d(1, layers * 2 * channels, 1)  # the condition's, for all blocks
        nn.init.kaiming_normal_(self.project.weight)
        self.blocks = nn.ModuleList(
            ResidualBlock(channels, embedding, 2 ** (i % dilation_cycle)) for i in range(layers)
        )
        self.skip = nn.Conv1d(channels, channels, 3)
        self.outlet = nn.Conv1d(channels, 1, 3)
        nn.init.kaiming_normal_(self.inlet.weight)
        nn.init.kaiming_normal_(self.skip.weight)
        nn.init.normal_(self.outlet.weight, std=0.02)  # predicts about 0 at first

    def condition(self, h: Float[Tensor, "*b h"]) -> Float[Tensor, "*b c w"]:
        """The condition's part of every block, ``[*b, layers * 2 * channels, D + 4]``."""
        rows = circular(self.upsample(h).reshape(-1, 1, self.upsample[-2].out_features), 2)
        rows = self.project(rows)
        return rows.reshape(*h.shape[:-1], *rows.shape[1:])

    def denoise(
        self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"], condition: Float[Tensor, "*b c w"]
    ) -> Float[Tensor, "*b d"]:
        """The prediction; see :class:`Denoiser`."""
        shape = x.shape
        embedding = self.step(step_embedding(k - 1, self.frequencies, 4.0, x.dtype))
        embedding = embedding.reshape(-1, embedding.shape[-1])
        parts = condition.reshape(-1, *condition.shape[-2:]).chunk(self.layers, dim=1)
        y = F.leaky_relu(self.inlet(circular(x.reshape(-1, 1, shape[-1]), 2)), SLOPE)
        total: Tensor | float = 0.0
        for block, part in zip(self.blocks, parts, strict=True):
            y, skip = block(y, embedding, part)
            total = total + skip
        y = F.leaky_relu(self.skip(total / math.sqrt(self.layers)), SLOPE)
        return self.outlet(y).reshape(shape)
