"""TimeGrad's denoiser: dilated convolutions over the series (Rasul et al. 2021)."""

import math
from itertools import repeat

import torch
from torch import nn
from torch.nn import functional as F

from timediff.diffusion.denoisers import native
from timediff.diffusion.denoisers.base import DENOISERS, Denoiser, step_embedding
from timediff.types import Float, Int, Tensor

SLOPE = 0.4  # of every leaky ReLU
POSITIONS = 2**16  # rows × series worked on at once, so that they stay in the processor's cache


def part_size(number: int, most: int) -> int:
    """Rows of each part, equal where possible, as compiled code is of one shape."""
    if number <= most:
        return number
    rows = (r for r in range(most, most // 2, -1) if number % r == 0)
    return next(rows, most)


def circular(x: Float[Tensor, "c w n"], width: int) -> Float[Tensor, "c v n"]:
    """``x`` continued periodically by ``width`` on both sides; unlike ``F.pad``, by any width."""
    if width <= x.shape[1]:
        return torch.cat([x[:, -width:], x, x[:, :width]], dim=1)
    return x[:, torch.arange(-width, x.shape[1] + width, device=x.device) % x.shape[1]]


def convolve(
    x: Float[Tensor, "c w n"],
    weight: Float[Tensor, "o c k"],
    bias: Float[Tensor, " o"],
    dilation: int = 1,
) -> Float[Tensor, "o v n"]:
    """A convolution over the middle axis, as one product of matrices.

    With so few channels this layout, channels first and the rows of the batch last, is worth it:
    every tap of the kernel is a contiguous block of memory.
    """
    out, taps = len(weight), weight.shape[2]
    width = x.shape[1] - dilation * (taps - 1)
    parts = [x[:, i * dilation : i * dilation + width] for i in range(taps)]
    columns = torch.cat(parts) if taps > 1 else x
    matrix = by_tap(weight)
    return torch.addmm(bias[:, None], matrix, columns.reshape(matrix.shape[1], -1)).view(
        out, width, -1
    )


def columns(
    x: Float[Tensor, "c w n"], condition: Float[Tensor, "1 w n"], dilation: int
) -> Float[Tensor, "m k"]:
    """What a circular convolution of three taps is a product with; last, the condition."""
    width = x.shape[1]
    around = circular(x, dilation)
    taps = [around[:, i * dilation : i * dilation + width] for i in range(3)]
    return torch.cat([*taps, condition]).flatten(1)


def by_tap(kernel: Float[Tensor, "o c k"]) -> Float[Tensor, "o kc"]:
    """A convolution's weights as a matrix: of its columns those of a tap lie together."""
    return kernel.transpose(1, 2).reshape(len(kernel), -1)


def parameters(layer: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that has both."""
    assert layer.bias is not None
    return layer.weight, layer.bias


class ResidualBlock(nn.Module):
    """One gated convolution with dilation over the series axis.

    What does not depend on x, and every constant factor, is worked into the weights.

    Args:
        channels: c.
        embedding: units of the step embedding.
        dilation: of the convolution.
        scale: input and output are this many times those of the published block, the output the
            root of 2 times as many: so nothing has to be divided by it from block to block.
    """

    def __init__(self, channels: int, embedding: int, dilation: int, scale: float):
        super().__init__()
        self.dilation, self.scale = dilation, scale
        self.step = nn.Linear(embedding, channels)
        self.dilated = nn.Conv1d(channels, 2 * channels, 3, dilation=dilation)
        self.outlet = nn.Conv1d(channels, 2 * channels, 1)
        nn.init.kaiming_normal_(self.outlet.weight)
        half = torch.arange(2 * channels).unsqueeze(1) < channels
        # tanh(v) = 2 sigmoid(2 v) - 1: one sigmoid over gate and value is twice as fast
        self.register_buffer("twice", torch.where(half, 1.0, 2.0), persistent=False)
        self.register_buffer("up", torch.where(half, scale, 1.0), persistent=False)
        self.twice: Float[Tensor, "cc 1"]
        self.up: Float[Tensor, "cc 1"]

    def forward(
        self,
        x: Float[Tensor, "c w n"],
        embedding: Float[Tensor, "#n e"],
        condition: Float[Tensor, "1 w n"],
        weight: Float[Tensor, " cc"],
        bias: Float[Tensor, " cc"],
    ) -> tuple[Float[Tensor, "c w n"], Float[Tensor, "c w n"]]:
        """The block's output, and its part of the network's.

        ``weight * condition + bias`` is the condition's projection, added before the gate.
        """
        channels = len(x)
        matrix, shift = self.gates(embedding, weight, bias)
        y = torch.mm(matrix, columns(x, condition, self.dilation)).view(2 * channels, *x.shape[1:])
        y = (y + shift.unsqueeze(1)).sigmoid()
        y = torch.addcmul(y[:channels], y[:channels], y[channels:], value=-2.0)  # times -1
        matrix, shift = self.ways()
        y = torch.mm(-matrix, y.flatten(1)).view(2 * channels, *x.shape[1:])
        y = F.leaky_relu(y + shift.unsqueeze(1), SLOPE)
        return x + y[:channels], y[channels:]

    def gates(
        self,
        embedding: Float[Tensor, "#n e"],
        weight: Float[Tensor, " cc"],
        bias: Float[Tensor, " cc"],
    ) -> tuple[Float[Tensor, "cc k"], Float[Tensor, "cc #n"]]:
        """The product with :func:`columns`, and what is added, that give gates and twice values."""
        kernel, shift = parameters(self.dilated)
        # the step is added to x before the convolution: a constant, as this goes round in circles
        shift = (shift + bias).unsqueeze(1) + kernel.sum(2) @ self.step(embedding).T
        matrix = torch.cat([by_tap(kernel) / self.scale, weight.unsqueeze(1)], dim=1)
        return matrix * self.twice, shift * self.twice

    def ways(self) -> tuple[Float[Tensor, "cc c"], Float[Tensor, "cc 1"]]:
        """The same after the gates: what goes on to the next block, and what to the end."""
        matrix, shift = parameters(self.outlet)
        return matrix.squeeze(2) * self.up, shift.unsqueeze(1) * self.up


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

    kernel = "_denoise"

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
        self.layers, self.channels = layers, channels
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
            ResidualBlock(channels, embedding, 2 ** (i % dilation_cycle), 2.0 ** (i / 2))
            for i in range(layers)
        )
        self.skip = nn.Conv1d(channels, channels, 3)
        self.outlet = nn.Conv1d(channels, 1, 3)
        nn.init.kaiming_normal_(self.inlet.weight)
        nn.init.kaiming_normal_(self.skip.weight)
        nn.init.normal_(self.outlet.weight, std=0.02)  # predicts about 0 at first

    def condition(self, h: Float[Tensor, "*b h"]) -> Float[Tensor, "*b d"]:
        """The condition spread over the series; each block scales it by its own projection."""
        return self.upsample(h)

    def denoise(
        self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"], condition: Float[Tensor, "*b d"]
    ) -> Float[Tensor, "*b d"]:
        """The prediction; see :class:`Denoiser`."""
        embedding = self.step(step_embedding(k - 1, self.frequencies, 4.0, x.dtype))
        embedding = embedding.reshape(-1, embedding.shape[-1])
        shape, size = x.shape, x.shape[-1]
        x, condition = x.reshape(-1, size), condition.reshape(-1, size)
        if self.is_compiled and native.fits(self, x, condition, embedding):
            return native.denoise(self, x, condition, embedding).view(shape)
        rows = part_size(len(x), max(1, POSITIONS // size))
        parts = zip(
            x.split(rows),
            condition.split(rows),
            embedding.split(rows) if len(embedding) > 1 else repeat(embedding),
            strict=False,
        )
        return torch.cat([self._denoise(*part) for part in parts]).view(shape)

    def _denoise(
        self,
        x: Float[Tensor, "n d"],
        condition: Float[Tensor, "n d"],
        embedding: Float[Tensor, "#n e"],
    ) -> Float[Tensor, "n d"]:
        y, condition = (circular(part.T.unsqueeze(0), 2) for part in (x, condition))
        y = F.leaky_relu(convolve(y, *parameters(self.inlet)), SLOPE)
        total = torch.zeros_like(y)
        for block, weight, bias in zip(self.blocks, *self.projections(), strict=True):
            y, skip = block(y, embedding, condition, weight, bias)
            total = total + skip
        total = total * (1 / math.sqrt(self.layers))
        y = F.leaky_relu(convolve(total, *parameters(self.skip)), SLOPE)
        return convolve(y, *parameters(self.outlet))[0].T

    def projections(self) -> list[Float[Tensor, "l cc"]]:
        """Weight and bias of the condition's projection for each block."""
        return [part.view(self.layers, -1) for part in parameters(self.project)]

    def arranged(self, embedding: Float[Tensor, "1 e"]) -> list[Tensor]:
        """All weights behind condition and step as ``wavenet.cpp`` reads them.

        Inlet ``[2, c]``, dilated ``[layers, 3 c + 2, 2 c]``, outlets ``[layers, c + 1, 2 c]``, skip
        ``[3 c + 1, c]`` and outlet ``[3 c + 1, 1]``; biases last.
        """
        dilated, outlets = [], []
        for block, weight, bias in zip(self.blocks, *self.projections(), strict=True):
            dilated.append(-torch.cat(block.gates(embedding, weight, bias), dim=1))  # exponents
            outlets.append(torch.cat(block.ways(), dim=1))
        skip, outlet = (
            torch.cat([by_tap(weight), bias.unsqueeze(1)], dim=1)
            for weight, bias in map(parameters, (self.skip, self.outlet))
        )
        skip[:, :-1] /= math.sqrt(self.layers)
        inlet = torch.cat([part.flatten() for part in parameters(self.inlet)])
        return [inlet, torch.stack(dilated).mT, torch.stack(outlets).mT, skip.T, outlet.T]
