"""What every score does first and last: check its two tensors, and reduce its values."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from timediff.errors import DataError, OptionError
from timediff.types import Bool, Float, Tensor


def check(samples: Tensor, target: Tensor) -> None:
    """Refuse what would give a number without a meaning.

    Raises:
        DataError: the shapes do not belong together, a sample is NaN or infinite, a target
            is infinite, or there is no observation at all.
    """
    fits = samples.ndim >= 3 and (*samples.shape[:-3], *samples.shape[-2:]) == tuple(target.shape)
    if not fits or 0 in samples.shape:
        raise DataError(
            "samples must be (windows, samples, steps, series) and target (windows, steps, series),"
            " with the same leading axes, any number of them;"
            f" got {tuple(samples.shape)} and {tuple(target.shape)}"
        )
    # the sum is finite unless something in it is not, or it overflows: look closer only then
    if not torch.isfinite(samples.sum()):
        bad = ~torch.isfinite(samples)
        if bad.any():
            *lead, sample, step, series = bad.nonzero()[0].tolist()
            raise DataError(
                f"{int(bad.sum())} of {bad.numel()} sampled values are NaN or infinite, the first"
                f" in {_window(lead)}sample {sample}, step {step}, series {series}; a forecast with"
                " such values has no score: repair the model instead of dropping them"
            )
    if torch.isinf(target).any():
        *lead, step, series = torch.isinf(target).nonzero()[0].tolist()
        raise DataError(
            f"the target is infinite in {_window(lead)}step {step}, series {series}:"
            " replace it by NaN if it is missing"
        )
    if torch.isnan(target).all():
        raise DataError("the target has no observation: every value is NaN")


def _window(lead: list[int]) -> str:
    if not lead:
        return ""
    return f"window {lead[0] if len(lead) == 1 else tuple(lead)}, "


class Checked(NamedTuple):
    """Samples and target with their leading axes made one."""

    samples: Float[Tensor, "w s p d"]
    target: Float[Tensor, "w p d"]  # 0 where missing
    observed: Bool[Tensor, "w p d"]
    lead: tuple[int, ...]  # what the first axis was

    def windows(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Window by window, to bound the memory; in float64 wherever the device has it."""
        exact = torch.float32 if self.samples.device.type == "mps" else torch.float64
        for x, y, observed in zip(self.samples, self.target, self.observed, strict=True):
            yield x.to(exact), y.to(exact), observed


def checked(samples: Float[Tensor, "*b s p d"], target: Float[Tensor, "*b p d"]) -> Checked:
    """Check, and bring into the shape that the scores compute with.

    Raises:
        DataError: see :func:`check`.
    """
    check(samples, target)
    target = target.to(samples.device)
    observed = ~torch.isnan(target)
    y = torch.where(observed, target, 0.0)
    size, lead = samples.shape[-3:], tuple(samples.shape[:-3])
    return Checked(
        samples.reshape(-1, *size), y.reshape(-1, *size[1:]), observed.reshape(-1, *size[1:]), lead
    )


def combine(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    weights: Float[Tensor, "..."],
) -> tuple[Float[Tensor, "*b s p k"], Float[Tensor, "*b p k"]]:
    r"""Linear combinations of the series, of every sample path and of what was observed.

    .. math:: x'_k = \sum_d w_{kd}\, x_d, \qquad y'_k = \sum_d w_{kd}\, y_d

    What comes out goes into any score: ``crps(*combine(x, y, w))`` is the CRPS of a region's
    total, of a spread between two prices, of a portfolio. A missing series is left out of both
    sums at that step; a combination is missing where none of its series (of nonzero weight) is
    observed.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed. NaN means missing.
        weights: a row per combination, or one combination ``[d]``.

    Returns:
        Samples and target with K combinations in place of the D series.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample or weight, an infinite
            target, or no observation.
    """
    inputs = checked(samples, target)
    rows = torch.atleast_2d(weights)
    if rows.ndim != 2 or rows.shape[1] != samples.shape[-1] or not torch.isfinite(rows).all():
        raise DataError(
            f"weights must be finite, {samples.shape[-1]} of them (one a series) or rows of them;"
            f" got the shape {tuple(weights.shape)}"
        )
    parts = []
    for x, y, observed in inputs.windows():
        w = rows.to(y).T
        present = (observed.to(y) @ (w != 0).to(y)) > 0
        total = torch.where(observed, x, 0.0) @ w
        parts.append((total, torch.where(present, y @ w, torch.nan)))
    x, y = (torch.stack(part) for part in zip(*parts, strict=True))
    return x.reshape(*inputs.lead, *x.shape[1:]), y.reshape(*inputs.lead, *y.shape[1:])


def summed(
    samples: Float[Tensor, "*b s p d"], target: Float[Tensor, "*b p d"]
) -> tuple[Float[Tensor, "*b s p 1"], Float[Tensor, "*b p 1"]]:
    """The sum over the series, in the samples and in the target."""
    check(samples, target)
    return combine(samples, target, torch.ones(samples.shape[-1]))


def reduced(
    values: Tensor, present: Bool[Tensor, "w ..."], lead: tuple[int, ...], reduction: str
) -> Tensor:
    """The mean of the values that are there, or all of them with NaN for those that are not.

    Raises:
        OptionError: an unknown reduction.
    """
    if reduction == "mean":
        return values[present].mean()
    if reduction == "none":
        return torch.where(present, values, torch.nan).reshape(*lead, *values.shape[1:])
    raise OptionError(f"reduction must be 'mean' or 'none', not {reduction!r}")
