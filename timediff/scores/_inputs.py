"""What every score does first and last: check, cut into blocks, reduce."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

from timediff.errors import DataError, OptionError
from timediff.types import Bool, Float, Tensor

BLOCK = 2**18
"""Numbers held at once by a step of a computation on the CPU: what stays in its cache."""
BLOCK_ACCELERATOR = 2**25
"""The same on other devices: enough to keep them busy."""


def check(samples: Tensor, target: Tensor) -> None:
    """Refuse what would give a number without a meaning.

    Raises:
        DataError: one is no tensor, the shapes do not belong together, a sample is NaN or infinite
            where there is an observation, a target is infinite, or there is no observation at all.
    """
    check_tensors(samples=samples, target=target)
    fits = samples.ndim >= 3 and (*samples.shape[:-3], *samples.shape[-2:]) == tuple(target.shape)
    if not fits or 0 in samples.shape:
        raise DataError(
            "samples must be (windows, samples, steps, series) and target (windows, steps, series),"
            " with the same leading axes, any number of them;"
            f" got {tuple(samples.shape)} and {tuple(target.shape)}"
        )
    # the sum is finite unless something in it is not, or it overflows: look closer only then
    if not torch.isfinite(samples.sum()):
        bad = ~torch.isfinite(samples) & ~torch.isnan(target).to(samples.device).unsqueeze(-3)
        if bad.any():
            *lead, sample, step, series = bad.nonzero()[0].tolist()
            raise DataError(
                f"{int(bad.sum())} of {bad.numel()} sampled values are NaN or infinite, the first"
                f" in {window(lead)}sample {sample}, step {step}, series {series}; a forecast with"
                " such values has no score: repair the model instead of dropping them"
            )
    if torch.isinf(target).any():
        *lead, step, series = torch.isinf(target).nonzero()[0].tolist()
        raise DataError(
            f"the target is infinite in {window(lead)}step {step}, series {series}:"
            " replace it by NaN if it is missing"
        )
    if torch.isnan(target).all():
        raise DataError("the target has no observation: every value is NaN")


def check_tensors(**given: Any) -> None:
    """Refuse arrays and numbers where tensors are needed.

    Raises:
        DataError: one is no tensor.
    """
    for name, x in given.items():
        if not isinstance(x, Tensor):
            raise DataError(
                f"{name} is a {type(x).__name__}: give torch tensors, torch.as_tensor({name})"
            )


def window(lead: list[int]) -> str:
    """Where in the leading axes, for a message; nothing where there are none."""
    if not lead:
        return ""
    return f"window {lead[0] if len(lead) == 1 else tuple(lead)}, "


class Block(NamedTuple):
    """Some rows of what is scored: a row is an element, the vector of a step, or a path."""

    samples: Float[Tensor, "n s d"]
    target: Float[Tensor, "n d"]  # 0 where missing
    observed: Bool[Tensor, "n d"]

    def to(self, dtype: torch.dtype) -> "Block":
        """The same in another precision."""
        return Block(self.samples.to(dtype), self.target.to(dtype), self.observed)


class Checked(NamedTuple):
    """Samples and target with their leading axes made one."""

    samples: Float[Tensor, "w s p d"]
    target: Float[Tensor, "w p d"]  # 0 where missing
    observed: Bool[Tensor, "w p d"]
    exact: torch.dtype  # float64 wherever the device has it

    def elements(self) -> "Checked":
        """Every series at every step on its own: rows of one series."""
        samples, target, observed, exact = self
        w, s, p, d = samples.shape
        ones = (w, p * d, 1)
        return Checked(
            samples.reshape(w, s, p * d, 1), target.reshape(ones), observed.reshape(ones), exact
        )

    def paths(self) -> "Checked":
        """Steps and series together: one row a window."""
        samples, target, observed, exact = self
        return Checked(
            samples.flatten(2)[:, :, None],
            target.flatten(1)[:, None],
            observed.flatten(1)[:, None],
            exact,
        )

    def blocks(self) -> Iterator[Block]:
        """All rows in their order, as many at once as a block holds."""
        s, p, d = self.samples.shape[1:]
        steps = max(1, block_size(self.samples) // (s * d))
        windows = max(1, steps // p)
        for x, *rest in zip(*(part.split(windows) for part in self[:3]), strict=True):
            for xx, y, seen in zip(
                x.split(steps, 2), *(part.split(steps, 1) for part in rest), strict=True
            ):
                yield Block(xx.transpose(1, 2).flatten(0, 1), y.flatten(0, 1), seen.flatten(0, 1))

    def map(self, kernel: Callable[[Block], Tensor]) -> list[Tensor]:
        """What the kernel makes of each block; by threads on the CPU, where no gradient is wanted.

        Threads over blocks, because those within torch's operators wait for each other after every
        one, which is slow where other work shares the cores.
        """
        tracked = self.samples.requires_grad or self.target.requires_grad
        if (tracked and torch.is_grad_enabled()) or self.samples.device.type != "cpu":
            return [kernel(block) for block in self.blocks()]

        def alone(block: Block) -> Tensor:
            with torch.no_grad():  # threads do not inherit it
                return kernel(block)

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return list(pool.map(alone, self.blocks()))


def block_size(x: Tensor) -> int:
    """How many numbers to hold at once on the device of ``x``."""
    return BLOCK if x.device.type == "cpu" else BLOCK_ACCELERATOR


def bounded(step: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``step(*tensors)``; what it holds is computed anew for the gradient instead of kept."""
    if not torch.is_grad_enabled():
        return step(*tensors)
    found = checkpoint(step, *tensors, use_reentrant=False, preserve_rng_state=False)
    assert isinstance(found, Tensor)
    return found


def checked(samples: Float[Tensor, "*b s p d"], target: Float[Tensor, "*b p d"]) -> Checked:
    """Check, and bring into the shape that the scores compute with.

    Raises:
        DataError: see :func:`check`.
    """
    check(samples, target)
    target = target.to(samples.device)
    observed = ~torch.isnan(target)
    if not observed.all() and not torch.isfinite(samples.sum()):  # NaN where nothing was observed
        samples = torch.where(observed.unsqueeze(-3), samples, 0.0)
    size = samples.shape[-3:]
    return Checked(
        samples.reshape(-1, *size),
        torch.where(observed, target, 0.0).reshape(-1, *size[1:]),
        observed.reshape(-1, *size[1:]),
        torch.float32 if samples.device.type == "mps" else torch.float64,
    )


def reduced(values: Float[Tensor, " n"], present: Bool[Tensor, "*b"], reduction: str) -> Tensor:
    """The mean of the values that are there, or all of them with NaN for those that are not.

    Args:
        values: row after row.
        present: which of them have a value, in the shape of the result of ``"none"``.
        reduction: ``"mean"`` or ``"none"``.

    Raises:
        OptionError: an unknown reduction.
    """
    values = values.reshape(present.shape)
    if reduction == "mean":
        return values[present].mean()
    if reduction == "none":
        return torch.where(present, values, torch.nan)
    raise OptionError(f"reduction must be 'mean' or 'none', not {reduction!r}")
