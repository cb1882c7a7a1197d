"""Is a forecast as certain as it may be? Intervals: coverage, width, and both in one score."""

from collections.abc import Sequence

import torch

from timediff.errors import OptionError
from timediff.scores._inputs import checked, reduced, summed
from timediff.scores.quantile_loss import LEVELS
from timediff.types import Float, Tensor


def quantile(samples: Float[Tensor, "s *b"], q: float) -> Float[Tensor, "*b"]:
    """The ``q`` quantile over the first axis, linearly interpolated between order statistics.

    The same as ``torch.quantile`` and ``numpy.quantile`` by default, without the limit of the
    former on the number of elements. Units: those of the samples.
    """
    return _sorted_quantile(samples.sort(dim=0).values, q)


def _sorted_quantile(ordered: Tensor, q: float) -> Tensor:
    position = q * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return torch.lerp(ordered[low], ordered[high], position - low)


def _interval(ordered: Tensor, level: float) -> tuple[Tensor, Tensor]:
    if not 0 < level < 1:
        raise OptionError(f"level must be above 0 and below 1, like 0.9; got {level}")
    return _sorted_quantile(ordered, (1 - level) / 2), _sorted_quantile(ordered, (1 + level) / 2)


def coverage(
    samples: Float[Tensor, "*b s p d"], target: Float[Tensor, "*b p d"], level: float = 0.9
) -> Float[Tensor, ""]:
    r"""Share of the observations inside the central interval of their series' forecast.

    .. math::

        \frac1N \sum_{w,p,d} 1\big\{\hat y_{(1 - \mathrm{level})/2} \le y
        \le \hat y_{(1 + \mathrm{level})/2}\big\}

    A calibrated forecast has ``level``; less means too certain. The bounds are quantiles of the
    samples with linear interpolation (as ``torch.quantile``), not the nearest ranks of
    :func:`~timediff.scores.crps`. With few samples even a perfect forecast falls short: S samples
    of the true law cover about ``level (S - 1) / (S + 1)``, .882 for 100 samples and 90 %.

    Args:
        samples: sample paths: windows, samples, steps, series; in the units of the target.
        target: what was observed. NaN means missing and is left out, element by element.
        level: probability of the interval, above 0 and below 1.

    Returns:
        A scalar between 0 and 1.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.
        OptionError: ``level`` is out of range.
    """
    return reliability(samples, target, [level])[0]


def coverage_sum(
    samples: Float[Tensor, "*b s p d"], target: Float[Tensor, "*b p d"], level: float = 0.9
) -> Float[Tensor, ""]:
    r"""Share of the sums over series inside the central interval of the sum's forecast.

    .. math::

        \mathrm{coverage}\Big(\sum_d x_d,\ \sum_d y_d\Big)

    The single series can be calibrated while this is not: it tests the dependence between them.
    At a step with missing series both sums run over the observed ones, as in
    :func:`~timediff.scores.crps_sum`. Arguments, interpolation and errors as in :func:`coverage`.
    """
    return coverage(*summed(samples, target), level)


def reliability(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    levels: Sequence[float] = LEVELS,
    kind: str = "interval",
) -> Float[Tensor, " q"]:
    r"""The reliability curve: what share of the observations is inside, level by level.

    For ``kind="interval"`` the :func:`coverage` of the central interval of each level; for
    ``kind="quantile"`` the share of observations at or below the forecast's quantile of each level,
    which also shows a forecast that lies too high or too low. Right is the diagonal. (S samples of
    the true law lie a little below it for intervals, by a factor (S - 1) / (S + 1).)

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing and is left out.
        levels: above 0 and below 1.
        kind: ``"interval"`` or ``"quantile"``.

    Returns:
        A share from 0 to 1 for each level.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.
        OptionError: a level out of range, or an unknown kind.

    References:
        Gneiting, Balabdaoui & Raftery 2007.
    """
    if kind not in ("interval", "quantile"):
        raise OptionError(f"kind must be 'interval' or 'quantile', not {kind!r}")
    inputs = checked(samples, target)
    hits = [0] * len(levels)
    for x, y, observed in inputs.windows():
        ordered = x.sort(dim=0).values
        for i, level in enumerate(levels):
            low, high = _interval(ordered, level)
            if kind == "quantile":
                low, high = ordered.new_tensor(-torch.inf), _sorted_quantile(ordered, level)
            hits[i] += int(((low <= y) & (y <= high) & observed).sum())
    count = int(inputs.observed.sum())
    return torch.tensor([hit / count for hit in hits], dtype=ordered.dtype, device=samples.device)


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
    inputs = checked(samples, target)
    widths = []
    for x, _, _ in inputs.windows():
        low, high = _interval(x.sort(dim=0).values, level)
        widths.append(high - low)
    return reduced(torch.stack(widths), inputs.observed, inputs.lead, reduction)


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
    inputs = checked(samples, target)
    scores = []
    for x, y, _ in inputs.windows():
        low, high = _interval(x.sort(dim=0).values, level)
        outside = (low - y).clamp_min(0) + (y - high).clamp_min(0)
        scores.append(high - low + 2 / (1 - level) * outside)
    return reduced(torch.stack(scores), inputs.observed, inputs.lead, reduction)
