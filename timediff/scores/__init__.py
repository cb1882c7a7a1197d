"""Scores of sample forecasts, in torch, on any device, for any number of samples and series.

All take ``samples[w, s, p, d]`` and ``target[w, p, d]`` (windows, samples, steps, series) and
give one number. NaN in the target is a missing observation and is left out; NaN or infinity in the
samples is refused, because dropping it would improve the score.
"""

from timediff.scores.calibration import coverage, coverage_sum
from timediff.scores.multivariate import energy_score
from timediff.scores.quantile_loss import crps, crps_sum
from timediff.types import Float, Tensor

__all__ = ["coverage", "coverage_sum", "crps", "crps_sum", "energy_score", "score_table"]


def score_table(
    samples: Float[Tensor, "w s p d"], target: Float[Tensor, "w p d"]
) -> dict[str, float]:
    """All scores of a forecast, one row of a table.

    Args:
        samples: sample paths: windows, samples, steps, series; in the units of the target.
        target: what was observed. NaN means missing.

    Returns:
        ``crps`` and ``crps_sum`` (GluonTS' estimator, 19 quantiles, no unit), ``energy_score``
        (units of the target), ``coverage90`` and ``coverage90_sum`` (ideal: 0.9).

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.
    """
    return {
        "crps": crps(samples, target).item(),
        "crps_sum": crps_sum(samples, target).item(),
        "energy_score": energy_score(samples, target).item(),
        "coverage90": coverage(samples, target, 0.9).item(),
        "coverage90_sum": coverage_sum(samples, target, 0.9).item(),
    }
