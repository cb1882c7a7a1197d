"""Scores of sample forecasts, in torch, on any device, for any number of samples and series.

All take ``samples[*b, s, p, d]`` and ``target[*b, p, d]`` (windows or any other leading axes,
samples, steps, series). NaN in the target is a missing observation and is left out; NaN or infinity
in the samples is refused, because dropping it would improve the score. Scores that have a value for
each element, step or window take ``reduction="none"``; the others pool. They compute in float64
wherever the device has it (:func:`crps_ensemble` in the precision of the samples) and block by
block, so that the memory is bounded. ``docs/scores`` has a page on each. :func:`energy_distance`
compares two laws instead of a forecast with what came.
"""

from timediff.errors import warn
from timediff.scores._inputs import check
from timediff.scores.calibration import coverage, coverage_sum, reliability
from timediff.scores.combination import combine
from timediff.scores.dawid_sebastiani import dawid_sebastiani
from timediff.scores.energy import energy_distance, energy_score
from timediff.scores.ensemble import crps_ensemble
from timediff.scores.interval import interval_score, sharpness
from timediff.scores.point import mase, nd, nrmse, seasonal_error
from timediff.scores.quantile_loss import crps, crps_sum, weighted_quantile_loss
from timediff.scores.ranks import pit, rank_histogram
from timediff.scores.variogram import variogram_score
from timediff.types import Float, Tensor

__all__ = [
    "combine",
    "coverage",
    "coverage_sum",
    "crps",
    "crps_ensemble",
    "crps_sum",
    "dawid_sebastiani",
    "energy_distance",
    "energy_score",
    "interval_score",
    "mase",
    "nd",
    "nrmse",
    "pit",
    "rank_histogram",
    "reliability",
    "score_table",
    "seasonal_error",
    "sharpness",
    "variogram_score",
    "weighted_quantile_loss",
]


def score_table(
    samples: Float[Tensor, "*b s p d"], target: Float[Tensor, "*b p d"]
) -> dict[str, float]:
    """The scores of one row of a benchmark table.

    Args:
        samples: sample paths: windows, samples, steps, series; in the units of the target.
        target: what was observed. NaN means missing.

    Returns:
        ``crps`` and ``crps_sum`` (GluonTS' estimator, 19 quantiles, no unit), ``energy_score``
        and ``variogram_score`` (p = 0.5; both in units of the target), ``coverage90`` and
        ``coverage90_sum`` (ideal: 0.9). ``crps`` is relative to the sum of the
        absolute values of the target, ``crps_sum`` to that of its sums over the series: NaN where
        all of these are 0. The energy score, in the units of the target, is not.

    Warns:
        DataWarning: all that was observed is 0.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.
    """
    check(samples, target)
    if not target.nan_to_num().any():
        warn(
            "all that was observed is 0: crps is NaN, which is relative to it; use energy_score",
        )
    return {
        "crps": crps(samples, target).item(),
        "crps_sum": crps_sum(samples, target).item(),
        "energy_score": energy_score(samples, target).item(),
        "variogram_score": variogram_score(samples, target).item(),
        "coverage90": coverage(samples, target, 0.9).item(),
        "coverage90_sum": coverage_sum(samples, target, 0.9).item(),
    }
