"""Paths in blocks: as many at a time as is fast, or as fit into memory.

On a CPU the size of a block depends on the number of series alone: the last bits of a product of
matrices depend on its size, and a path must not depend on what is drawn beside it.
"""

from typing import TYPE_CHECKING, Any

import torch

from timediff.diffusion import Sampler
from timediff.network.encoder import Encoder
from timediff.network.walk import Walk, products, recorded, walk
from timediff.types import Float, Int, Tensor

if TYPE_CHECKING:
    from timediff.network.base import TimeGradNetwork

MOST_PATHS, POSITIONS = 400, 2**15  # drawn at a time on the CPU: paths, and paths × series
POSITION_BYTES = 1024  # that one series of a path takes while it is drawn, about


def block_size(target_dim: int) -> int:
    """Paths drawn at a time on the CPU: hundreds, as many are usually wanted of a window."""
    return min(MOST_PATHS, max(1, round(POSITIONS / target_dim / 100)) * 100)


def join(pasts: list[Any]) -> Any:
    """What the paths of several batches start from, as of one: see ``TimeGradNetwork._read``."""
    states, *parts = zip(*pasts, strict=True)
    return type(pasts[0])(Encoder.join(list(states)), *map(torch.cat, parts))


def draw_paths(
    network: "TimeGradNetwork",
    past: Any,
    num_samples: int,
    seeds: Int[Tensor, "b"],
    sampler: Sampler,
) -> Float[Tensor, "b s p d"]:
    """Paths of some windows before they are finished; see ``TimeGradNetwork.paths``."""
    device, total = network.low.device, len(seeds) * num_samples
    if device.type == "cpu":
        size = block_size(network.target_dim)
    else:
        most = network.options.memory_budget * 2**30 / (network.target_dim * POSITION_BYTES)
        size = max(1, int(min(most, total)))
    seeds, draw = seeds.to(device), recorded if device.type == "cuda" else walk
    drawn = network.low.new_empty(total, network.prediction_length, network.target_dim)
    for first in range(0, total, size):
        number = torch.arange(first, first + size, device=device).clamp(max=total - 1)
        window = number // num_samples
        start = Walk(past, window, seeds[window], number % num_samples)
        with products(network.options.matmul_precision, device):
            drawn[first : first + size] = draw(network, start, sampler)[: total - first]
    return drawn.view(len(seeds), num_samples, *drawn.shape[1:])
