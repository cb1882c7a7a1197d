"""Scaling as a value: computed from what was observed, passed on, never stored on a module.

Where no mask is given, everything was observed: the same numbers, found without looking at it.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from timediff.types import Bool, Float, Tensor


class Affine(NamedTuple):
    """``x -> (x - loc) / scale`` and back; both broadcast against ``x``."""

    loc: Tensor
    scale: Tensor

    def normalize(self, x: Tensor) -> Tensor:
        """Into scaled units."""
        return (x - self.loc) / self.scale

    def restore(self, x: Tensor) -> Tensor:
        """Back into the units of the data."""
        return self.loc + self.scale * x


def _positive(scale: Tensor, otherwise: Tensor) -> Tensor:
    """Scales that are 0 replaced, by ``otherwise`` where that is positive, else by 1."""
    otherwise = torch.where(otherwise > 0, otherwise, torch.ones_like(otherwise))
    return torch.where(scale > 0, scale, otherwise)


def _mean(x: Tensor, observed: Tensor | None) -> Tensor:
    """Mean of the observed values over time; 0 where there are none."""
    if observed is None:
        return x.sum(-2, keepdim=True) / x.new_full((), x.shape[-2])
    x = torch.where(observed, x, torch.zeros_like(x))
    return x.sum(-2, keepdim=True) / observed.sum(-2, keepdim=True).clamp(min=1)


def mean(x: Float[Tensor, "*b t d"], observed: Bool[Tensor, "*b t d"] | None) -> Affine:
    """Divide by the mean absolute value (TimeGrad's); 1 where that is 0."""
    scale = _mean(x.abs(), observed)
    return Affine(torch.zeros_like(scale), _positive(scale, torch.zeros_like(scale)))


def standard(x: Float[Tensor, "*b t d"], observed: Bool[Tensor, "*b t d"] | None) -> Affine:
    """Subtract the mean, divide by the standard deviation.

    For a constant series the scale is the absolute value of the constant, or 1.
    """
    loc = _mean(x, observed)
    deviation = _mean((x - loc) ** 2, observed).sqrt()
    if not deviation.isfinite().all():  # squares of values beyond 1e19 are infinite
        largest = x.abs().amax(-2, keepdim=True).clamp(min=1)
        large = _mean(((x - loc) / largest) ** 2, observed).sqrt() * largest
        deviation = torch.where(deviation.isfinite(), deviation, large)
    # rounding leaves a constant series a deviation of a few ulp of its value
    deviation = torch.where(deviation > 1e-6 * loc.abs(), deviation, torch.zeros_like(deviation))
    return Affine(loc, _positive(deviation, loc.abs()))


def robust(x: Float[Tensor, "*b t d"], observed: Bool[Tensor, "*b t d"] | None) -> Affine:
    """Subtract the median, divide by the distance of the quartiles as a Gaussian sigma.

    Where more than half of the values are equal, the standard deviation takes the place of the
    quartiles.
    """
    known = x if observed is None else torch.where(observed, x, torch.nan)
    low, loc, high = (
        torch.nanquantile(known, q, dim=-2, keepdim=True).nan_to_num(0.0) for q in (0.25, 0.5, 0.75)
    )
    return Affine(loc, _positive((high - low) / 1.349, standard(x, observed).scale))


def none(x: Float[Tensor, "*b t d"], observed: Bool[Tensor, "*b t d"] | None) -> Affine:
    """Leave the values as they are."""
    loc = torch.zeros_like(x[..., :1, :])
    return Affine(loc, torch.ones_like(loc))


SCALERS: dict[str, Callable[[Tensor, Tensor | None], Affine]] = {
    "mean": mean,
    "standard": standard,
    "robust": robust,
    "none": none,
}
