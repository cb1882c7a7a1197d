"""Errors of the median and the mean of a forecast, as GluonTS computes them."""

import torch

from timediff.errors import DataError, OptionError
from timediff.scores._inputs import check_tensors, checked
from timediff.scores._ordered import at_rank, over_ordered
from timediff.scores.quantile_loss import weighted_quantile_loss
from timediff.types import Float, Tensor


def nd(samples: Float[Tensor, "*b s p d"], target: Float[Tensor, "*b p d"]) -> Float[Tensor, ""]:
    r"""Normalised deviation of the median, pooled over windows, steps and series.

    .. math:: \mathrm{ND} = \frac{\sum |y - \hat y_{.5}|}{\sum |y|}

    The same as the weighted quantile loss at .5.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing and is left out.

    Returns:
        A scalar without unit, lower is better. NaN where every observation is zero.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.
    """
    return weighted_quantile_loss(samples, target, [0.5])[0]


def nrmse(samples: Float[Tensor, "*b s p d"], target: Float[Tensor, "*b p d"]) -> Float[Tensor, ""]:
    r"""Root mean squared error of the mean, divided by the mean absolute observation.

    .. math:: \mathrm{NRMSE} = \frac{\sqrt{\frac1N \sum (y - \bar x)^2}}{\frac1N \sum |y|}

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing and is left out.

    Returns:
        A scalar without unit, lower is better. NaN where every observation is zero.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.
    """
    inputs = checked(samples, target)
    mean = inputs.samples.mean(1, dtype=inputs.exact)
    squared = torch.where(inputs.observed, inputs.target - mean, 0.0).square().sum()
    scale = inputs.target.abs().sum(dtype=inputs.exact)
    count = inputs.observed.sum()
    return torch.where(scale > 0, (squared * count).sqrt() / scale, torch.nan)


def seasonal_error(history: Float[Tensor, "*b t d"], season: int = 1) -> Float[Tensor, "*b d"]:
    r"""Mean absolute error of the seasonal naive forecast within the history, of each series.

    .. math:: \frac{1}{T - m} \sum_t |y_t - y_{t-m}|

    Args:
        history: what was known at the forecast's time. NaN means missing: pairs with a missing
            value are left out.
        season: m, steps of a season.

    Returns:
        In the units of the data; NaN where no pair is observed.

    Raises:
        OptionError: season is below 1 or not shorter than the history.
    """
    if not 1 <= season < history.shape[-2]:
        raise OptionError(
            f"season must be from 1 to {history.shape[-2] - 1}, less than the history's steps;"
            f" got {season}"
        )
    return (history[..., season:, :] - history[..., :-season, :]).abs().nanmean(-2)


def mase(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    scale: Float[Tensor, "..."],
) -> Float[Tensor, ""]:
    r"""Mean absolute scaled error of the median: 1 is as good as the seasonal naive forecast was.

    .. math:: \frac{1}{WD} \sum_{w,d} \frac{\frac1P \sum_p |y - \hat y_{.5}|}{s_{w,d}}

    A mean over windows and series of the error of each in units of its own seasonal error, so that
    every series counts alike.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing and is left out.
        scale: s, the :func:`seasonal_error` of each series' history, ``[*b, d]`` or ``[d]``.

    Returns:
        A scalar without unit, lower is better. A series whose seasonal error is 0 or NaN has no
        scale and is left out.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target, no
            observation, or no series with a scale.

    References:
        Hyndman & Koehler 2006.
    """
    check_tensors(scale=scale)
    inputs = checked(samples, target)
    shape = (*samples.shape[:-3], samples.shape[-1])
    try:
        scale = scale.to(samples.device).expand(shape).reshape(-1, shape[-1])
    except RuntimeError:
        raise DataError(f"scale must be of the shape {shape}; got {tuple(scale.shape)}") from None
    errors = over_ordered(inputs, lambda x, y, seen: (y - at_rank(x, 0.5)).abs() * seen)
    count = inputs.observed.sum(1)
    error = torch.cat(errors).reshape(inputs.target.shape).sum(1) / count
    fine = (scale > 0) & (count > 0)
    if not fine.any():
        raise DataError("no observed series has a seasonal error above 0: there is no scale")
    return (error[fine] / scale[fine]).mean()
