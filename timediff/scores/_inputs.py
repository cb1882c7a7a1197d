"""What every score does first: check its two tensors, and take the sum over the series."""

from collections.abc import Iterator

import torch

from timediff.errors import DataError
from timediff.types import Bool, Float, Tensor


def check(samples: Tensor, target: Tensor) -> None:
    """Refuse what would give a number without a meaning.

    Raises:
        DataError: the shapes do not belong together, a sample is NaN or infinite, a target
            is infinite, or there is no observation at all.
    """
    fits = samples.ndim == 4 and (*samples.shape[:1], *samples.shape[2:]) == tuple(target.shape)
    if not fits or 0 in samples.shape:
        raise DataError(
            "samples must be (windows, samples, steps, series) and target (windows, steps, series);"
            f" got {tuple(samples.shape)} and {tuple(target.shape)}"
        )
    bad = ~torch.isfinite(samples)
    if bad.any():
        window, sample, step, series = bad.nonzero()[0].tolist()
        raise DataError(
            f"{int(bad.sum())} of {bad.numel()} sampled values are NaN or infinite, the first in"
            f" window {window}, sample {sample}, step {step}, series {series}; a forecast with"
            " such values has no score: repair the model instead of dropping them"
        )
    if torch.isinf(target).any():
        window, step, series = torch.isinf(target).nonzero()[0].tolist()
        raise DataError(
            f"the target is infinite in window {window}, step {step}, series {series}:"
            " replace it by NaN if it is missing"
        )
    if torch.isnan(target).all():
        raise DataError("the target has no observation: every value is NaN")


def windows(
    samples: Float[Tensor, "w s p d"], target: Float[Tensor, "w p d"]
) -> Iterator[tuple[Float[Tensor, "s p d"], Float[Tensor, "p d"], Bool[Tensor, "p d"]]]:
    """Window by window, to bound the memory: samples, target (0 where missing), observed.

    In float64 wherever the device has it.
    """
    dtype = torch.float32 if samples.device.type == "mps" else torch.float64
    for x, y in zip(samples, target.to(samples.device), strict=True):
        y = y.to(dtype)
        observed = ~torch.isnan(y)
        yield x.to(dtype), torch.where(observed, y, 0.0), observed


def sum_windows(
    samples: Float[Tensor, "w s p d"], target: Float[Tensor, "w p d"]
) -> Iterator[tuple[Float[Tensor, "s p 1"], Float[Tensor, "p 1"], Bool[Tensor, "p 1"]]]:
    """The same for the sum over the series observed at a step, in the samples and in the target.

    A step at which no series is observed counts as missing.
    """
    for x, y, observed in windows(samples, target):
        total = torch.where(observed, x, 0.0).sum(-1, keepdim=True)
        yield total, y.sum(-1, keepdim=True), observed.any(-1, keepdim=True)
