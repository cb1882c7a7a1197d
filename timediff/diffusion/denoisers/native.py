"""The published denoiser on the CPU, compiled from ``wavenet.cpp`` by the compiler of the machine.

PyTorch's own compiler leaves products with so few channels to a library that is made for large
ones, and writes everything between them to memory. Here a tile of rows stays in the cache from the
first layer to the last.
"""

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from timediff.diffusion import compiler
from timediff.types import Float, Tensor

if TYPE_CHECKING:
    from timediff.diffusion.denoisers.wavenet import WaveNet

SOURCE = Path(__file__).with_name("wavenet.cpp")


def library(channels: int) -> ctypes.CDLL | None:
    """The compiled source for so many channels; see :func:`timediff.diffusion.compiler.library`."""
    return compiler.library(SOURCE, f"CHANNELS={channels}")


def fits(
    network: "WaveNet",
    x: Float[Tensor, "n d"],
    condition: Float[Tensor, "n d"],
    embedding: Float[Tensor, "#n e"],
) -> bool:
    """Whether :func:`denoise` does for these: single precision on the CPU, a step for all.

    It has no gradient, so none may be wanted.
    """
    traced = (x, condition, embedding, *network.parameters()) if torch.is_grad_enabled() else ()
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32 == network.inlet.weight.dtype
        and len(embedding) == 1
        and not any(part.requires_grad for part in traced)
        and library(network.channels) is not None
    )


def denoise(
    network: "WaveNet",
    x: Float[Tensor, "n d"],
    condition: Float[Tensor, "n d"],
    embedding: Float[Tensor, "1 e"],
) -> Float[Tensor, "n d"]:
    """The network's prediction, equal to its own up to rounding; see :func:`fits`."""
    x, condition = x.contiguous(), condition.contiguous()
    result = torch.empty_like(x)
    kernel = library(network.channels)
    assert kernel is not None
    weights = [part.contiguous() for part in network.arranged(embedding)]
    dilations = torch.tensor([block.dilation for block in network.blocks])
    sizes = *x.shape, len(network.blocks)
    threads = torch.get_num_threads()
    compiler.call(kernel.denoise, x, condition, result, *sizes, dilations, *weights, threads)
    return result
