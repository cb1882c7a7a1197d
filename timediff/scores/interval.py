"""The central interval of a forecast: its width, and width and misses in one score."""

import torch

from timediff.scores._inputs import checked, reduced
from timediff.scores._ordered import at_quantile, check_levels, over_ordered
from timediff.types import Float, Tensor


def sharpness(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    level: float = 0.9,
    reduction: str = "mean",
) -> Tensor:
    r"""Width of the central interval, where something was observed to compare it with.

    .. math:: \hat y_{(1 + \mathrm{level})/2} - \hat y_{(1 - \mathrm{level})/2}

    Of two calibrated forecasts the sharper one is better; of others it says nothing.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed; only where it is missing (NaN) matters here.
        level: probability of the interval.
        reduction: ``"mean"``, or ``"none"``.

    Returns:
        A scalar in the units of the data, or ``[*b, p, d]`` with NaN where the target is missing.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.
        OptionError: ``level`` is out of range, or an unknown reduction.

    References:
        Gneiting, Balabdaoui & Raftery 2007.
    """
    check_levels(level)
    inputs = checked(samples, target)

    def width(x: Tensor, y: Tensor, seen: Tensor) -> Tensor:
        low, high = bounds(x, level)
        return high - low

    values = torch.cat(over_ordered(inputs, width))
    return reduced(values, inputs.observed.reshape(target.shape), reduction)


def interval_score(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    level: float = 0.9,
    reduction: str = "mean",
) -> Tensor:
    r"""Winkler's interval score: the width, and a fine for every observation outside.

    .. math::

        (u - l) + \frac2\alpha (l - y)_+ + \frac2\alpha (y - u)_+,
        \qquad \alpha = 1 - \mathrm{level}

    with the bounds l and u of the central interval, quantiles as in :func:`coverage`. Proper for
    the two quantiles: neither a wide nor a narrow interval pays.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing.
        level: probability of the interval.
        reduction: ``"mean"``, or ``"none"``.

    Returns:
        A scalar in the units of the data, or ``[*b, p, d]`` with NaN where the target is missing;
        lower is better. Differentiable in the samples.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.
        OptionError: ``level`` is out of range, or an unknown reduction.

    References:
        Winkler 1972; Gneiting & Raftery 2007, section 6.2.
    """
    check_levels(level)
    inputs = checked(samples, target)

    def score(x: Tensor, y: Tensor, seen: Tensor) -> Tensor:
        low, high = bounds(x, level)
        outside = (low - y).clamp_min(0) + (y - high).clamp_min(0)
        return high - low + 2 / (1 - level) * outside

    values = torch.cat(over_ordered(inputs, score))
    return reduced(values, inputs.observed.reshape(target.shape), reduction)


def bounds(ordered: Float[Tensor, "n s"], level: float) -> tuple[Tensor, Tensor]:
    """Of the central interval."""
    return at_quantile(ordered, (1 - level) / 2), at_quantile(ordered, (1 + level) / 2)
