"""The published denoiser on the CPU, compiled from ``wavenet.cpp`` by the compiler of the machine.

PyTorch's own compiler leaves products with so few channels to a library that is made for large
ones, and writes everything between them to memory. Here a tile of rows stays in the cache from the
first layer to the last.
"""

import ctypes
import functools
import hashlib
import logging
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from timediff._cache import cache_folder
from timediff.types import Float, Tensor

if TYPE_CHECKING:
    from timediff.diffusion.denoisers.wavenet import WaveNet

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("wavenet.cpp")
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno"),
    *("-shared", "-fPIC", "-pthread"),
)
SECONDS = 120  # that a compiler may take


@functools.cache
def library(channels: int) -> ctypes.CDLL | None:
    """The compiled source; None where there is no compiler that can, which is logged once.

    It is kept in the folder that ``TIMEDIFF_CACHE`` names, or the platform's for caches, under a
    name that says what it was made from, and for which processor.
    """
    compiler = os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++"
    command = [*compiler.split(), *FLAGS, f"-DCHANNELS={channels}"]
    try:
        # all that the compiler knows of itself and of the processor
        macros = _run([*command, "-dM", "-E", "-x", "c++", os.devnull])
        source = SOURCE.read_bytes()
        name = hashlib.sha256(repr(command).encode() + macros + source).hexdigest()[:32]
        made = cache_folder() / "compiled" / f"wavenet-{name}.so"
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=made.parent) as folder:
                unfinished = Path(folder) / made.name
                _run([*command, "-o", str(unfinished), str(SOURCE)])
                unfinished.replace(made)
        return ctypes.CDLL(str(made))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        logger.info("%s is not compiled: %s %s", SOURCE.name, error, said.decode(errors="replace"))
        return None


def _run(command: list[str]) -> bytes:
    """What it says."""
    return subprocess.run(command, check=True, capture_output=True, timeout=SECONDS).stdout


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
    kernel: Any = library(network.channels)
    weights = [part.contiguous() for part in network.arranged(embedding)]
    dilations = torch.tensor([block.dilation for block in network.blocks])
    kernel.denoise(
        *(ctypes.c_void_p(part.data_ptr()) for part in (x, condition, result)),
        *(ctypes.c_int64(n) for n in (*x.shape, len(network.blocks))),
        *(ctypes.c_void_p(part.data_ptr()) for part in (dilations, *weights)),
        ctypes.c_int64(torch.get_num_threads()),
    )
    return result
