"""Is a forecast as certain as it may be? Coverage of central intervals."""

from collections.abc import Iterable

import torch

from timediff.errors import OptionError
from timediff.scores._inputs import check, sum_windows, windows
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


def coverage(
    samples: Float[Tensor, "w s p d"], target: Float[Tensor, "w p d"], level: float = 0.9
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
    check(samples, target)
    return _coverage(windows(samples, target), level)


def coverage_sum(
    samples: Float[Tensor, "w s p d"], target: Float[Tensor, "w p d"], level: float = 0.9
) -> Float[Tensor, ""]:
    r"""Share of the sums over series inside the central interval of the sum's forecast.

    .. math::

        \mathrm{coverage}\Big(\sum_d x_d,\ \sum_d y_d\Big)

    The single series can be calibrated while this is not: it tests the dependence between them.
    At a step with missing series both sums run over the observed ones, as in
    :func:`~timediff.scores.crps_sum`. Arguments, interpolation and errors as in :func:`coverage`.
    """
    check(samples, target)
    return _coverage(sum_windows(samples, target), level)


def _coverage(parts: Iterable[tuple[Tensor, Tensor, Tensor]], level: float) -> Tensor:
    if not 0 < level < 1:
        raise OptionError(f"level must be above 0 and below 1, like 0.9; got {level}")
    hits, count = 0, 0
    for x, y, observed in parts:
        ordered = x.sort(dim=0).values
        low = _sorted_quantile(ordered, (1 - level) / 2)
        high = _sorted_quantile(ordered, (1 + level) / 2)
        hits += int(((low <= y) & (y <= high) & observed).sum())
        count += int(observed.sum())
    return torch.tensor(hits / count, dtype=torch.float64)
