"""What every denoiser is: a network of noisy data, step and condition."""

import logging
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from timediff.registry import Registry
from timediff.types import Float, Int, Tensor

logger = logging.getLogger(__name__)


class Denoiser(nn.Module, ABC):
    """``forward(x[*b, D], k[*b], h[*b, H]) -> [*b, D]``; knows no schedule.

    It is split in two, so that a sampler does the first part once per time step and only the
    second in every reverse step.

    Attributes:
        kernel: name of the method that :meth:`compile_kernel` compiles: that with most of the work
            of a reverse step, called with few shapes.
    """

    kernel = "denoise"

    @abstractmethod
    def condition(self, h: Float[Tensor, "*b h"]) -> Any:
        """Everything that depends on the condition alone."""

    @abstractmethod
    def denoise(
        self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"], condition: Any
    ) -> Float[Tensor, "*b d"]:
        """The prediction for ``x`` at step ``k`` (of the shape ``*b``, or of ones: one for all)."""

    def forward(
        self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"], h: Float[Tensor, "*b h"]
    ) -> Float[Tensor, "*b d"]:
        """Both parts."""
        return self.denoise(x, k, self.condition(h))

    def compile_kernel(self) -> None:
        """Let ``torch.compile`` fuse the kernel when it is first called, where that is possible.

        Without a compiler, or where compilation fails, it stays as it is. A denoiser may have
        something faster of its own; see ``wavenet.py``.
        """
        plain = getattr(self, self.kernel)
        fused = torch.compile(plain, dynamic=False)

        def call(*inputs: Any) -> Any:
            if torch.compiler.is_compiling():  # as a part of more
                return plain(*inputs)
            try:
                return fused(*inputs)
            except torch.cuda.OutOfMemoryError:
                raise
            except Exception as error:
                logger.info("the denoiser is not compiled: %s", error)
                setattr(self, self.kernel, plain)
                return plain(*inputs)

        setattr(self, self.kernel, call)

    @property
    def is_compiled(self) -> bool:
        """Whether :meth:`compile_kernel` was called."""
        return self.kernel in self.__dict__

    def __getstate__(self) -> dict[str, Any]:
        """Without what was compiled, which belongs to this process."""
        return {name: value for name, value in self.__dict__.items() if name != self.kernel}


DENOISERS: Registry[Denoiser] = Registry("denoiser", Denoiser)


def step_embedding(
    k: Int[Tensor, "*b"], dim: int, decades: float, dtype: torch.dtype
) -> Float[Tensor, "*b e"]:
    """Sines and cosines of the step at ``dim`` frequencies, ``[*b, 2 * dim]``, for any step.

    Args:
        k: steps.
        dim: number of frequencies.
        decades: powers of ten from the first frequency, 1, to the one that would follow the last.
        dtype: of the result.
    """
    frequency = 10.0 ** (torch.arange(dim, device=k.device) * (decades / dim))
    angle = k.unsqueeze(-1) * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1).to(dtype)
