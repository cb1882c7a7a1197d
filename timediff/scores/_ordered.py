"""The sorted ensemble of every element, which the scores of single series are made of."""

from collections.abc import Callable

import torch

from timediff.errors import OptionError
from timediff.scores._inputs import Block, Checked
from timediff.types import Bool, Float, Tensor

Kernel = Callable[[Float[Tensor, "n s"], Float[Tensor, " n"], Bool[Tensor, " n"]], Tensor]


def over_ordered(inputs: Checked, kernel: Kernel, dtype: torch.dtype | None = None) -> list[Tensor]:
    """A function of the ordered samples, the target and whether it was observed, block by block.

    Where no gradient is wanted, on the CPU, numpy sorts: it uses the processor's vectors and is ten
    times as fast as torch there.

    Args:
        inputs: what is scored.
        kernel: takes ``(ordered [n, s], y [n], observed [n])``, the samples in rising order.
        dtype: to compute in; float32 or float64, the latter if None (where the device has it).

    Returns:
        What the kernel returns for each block of elements, in the order of the elements.
    """
    dtype = dtype or inputs.exact

    def of_block(block: Block) -> Tensor:
        x, y, seen = (part[..., 0] for part in block)
        if (x.requires_grad and torch.is_grad_enabled()) or x.device.type != "cpu":
            ordered = x.to(dtype).sort(-1).values
        else:
            ordered = torch.empty(x.shape, dtype=dtype).copy_(x.detach())
            ordered.numpy().sort(axis=-1)
        return kernel(ordered, y.to(dtype), seen)

    return inputs.elements().map(of_block)


def check_levels(*levels: float) -> None:
    """Refuse probabilities that are none.

    Raises:
        OptionError: there is none, or one out of range.
    """
    if not levels or not all(0 < q < 1 for q in levels):
        raise OptionError(f"levels must be above 0 and below 1, like 0.9; got {list(levels)}")


def at_quantile(ordered: Float[Tensor, "n s"], q: float) -> Float[Tensor, " n"]:
    """The quantile, linearly interpolated as by ``torch.quantile`` and ``numpy.quantile``."""
    position = q * (ordered.shape[1] - 1)
    low = int(position)
    high = min(low + 1, ordered.shape[1] - 1)
    return torch.lerp(ordered[:, low], ordered[:, high], position - low)


def at_rank(ordered: Float[Tensor, "n s"], q: float) -> Float[Tensor, " n"]:
    """The quantile by nearest rank, ties to even, as GluonTS takes it."""
    return ordered[:, round((ordered.shape[1] - 1) * q)]
