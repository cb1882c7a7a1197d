"""Is a forecast as certain as it may be? Coverage and the reliability curve."""

from collections.abc import Sequence

import torch

from timediff.errors import OptionError
from timediff.scores._inputs import checked
from timediff.scores._ordered import at_quantile, check_levels, over_ordered
from timediff.scores.combination import summed
from timediff.scores.interval import bounds
from timediff.scores.quantile_loss import LEVELS
from timediff.types import Float, Tensor


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
    check_levels(*levels)
    inputs = checked(samples, target)

    def hits(x: Tensor, y: Tensor, seen: Tensor) -> Tensor:
        inside = [_inside(x, y, level, kind) & seen for level in levels]
        return torch.stack(inside).sum(1)

    count = inputs.observed.sum()
    return (torch.stack(over_ordered(inputs, hits)).sum(0) / count).to(inputs.exact)


def _inside(ordered: Tensor, y: Tensor, level: float, kind: str) -> Tensor:
    if kind == "quantile":
        return y <= at_quantile(ordered, level)
    low, high = bounds(ordered, level)
    return (low <= y) & (y <= high)
