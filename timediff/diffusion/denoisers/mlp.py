"""A residual MLP over the whole vector, modulated by step and condition."""

import torch
from torch import nn
from torch.nn import functional as F

from timediff.diffusion.denoisers.base import DENOISERS, Denoiser, step_embedding
from timediff.types import Float, Int, Tensor


def default_width(target_dim: int) -> int:
    """A power of two of at least twice the series, between 128 and 512."""
    return min(max(128, 1 << (2 * target_dim - 1).bit_length()), 512)


@DENOISERS.register("mlp")
class MLP(Denoiser):
    """Residual blocks; step and condition shift and scale the normalised input of each block.

    The modulation is a sum of a part of the step and a part of the condition, so that the second
    is computed once per time step and the first for a single row.

    Args:
        target_dim: D, the length of the vectors.
        cond_dim: H, the length of the condition.
        width: units of a block; None takes a power of two from 128 to 512 that follows from D.
        blocks: number of residual blocks.
        dropout: probability with which a unit inside a block is dropped in training.
    """

    def __init__(
        self,
        target_dim: int,
        cond_dim: int,
        width: int | None = None,
        blocks: int = 3,
        dropout: float = 0.0,
    ):
        super().__init__()
        width = width or default_width(target_dim)
        self.frequencies = 16
        self.inlet = nn.Linear(target_dim, width)
        self.step = nn.Sequential(
            nn.Linear(2 * self.frequencies, width), nn.SiLU(), nn.Linear(width, 2 * blocks * width)
        )
        self.cond = nn.Sequential(
            nn.Linear(cond_dim, width), nn.SiLU(), nn.Linear(width, 2 * blocks * width)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width)
            )
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.outlet = nn.Linear(width, target_dim)
        for last in (self.step[-1], self.cond[-1], self.outlet):
            for p in last.parameters():  # starts near 0, where v prediction is right
                nn.init.normal_(p, std=0.02)

    def condition(self, h: Float[Tensor, "*b h"]) -> Float[Tensor, "*b m"]:
        """The condition's part of every block's shift and scale."""
        return self.cond(h)

    def _of_steps(self, k: Int[Tensor, "*#b"], dtype: torch.dtype) -> Float[Tensor, "*#b m"]:
        """The step's part of the modulation, computed once for each step that occurs."""
        steps, which = k.unique(return_inverse=True) if k.numel() > 1 else (k, None)
        table = self.step(step_embedding(steps, self.frequencies, -4.0, dtype))
        return table if which is None else F.embedding(which, table)

    def denoise(
        self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"], condition: Float[Tensor, "*b m"]
    ) -> Float[Tensor, "*b d"]:
        """The prediction; see :class:`Denoiser`."""
        modulation = self._of_steps(k, x.dtype) + condition
        x = self.inlet(x)
        for block, part in zip(
            self.blocks, modulation.chunk(len(self.blocks), dim=-1), strict=True
        ):
            shift, scale = part.chunk(2, dim=-1)
            x = x + block(torch.addcmul(shift, self.norm(x), 1 + scale))
        return self.outlet(self.norm(x))
