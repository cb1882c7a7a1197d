"""Past forecasts and what was observed then, as :class:`timediff.Recalibration` learns of them."""

from typing import Any

import numpy as np

from timediff.backtest import Backtest
from timediff.errors import DataError
from timediff.results import Forecast

MARK = "recalibrated"  # in the info of a forecast that is


def past_windows(
    forecasts: Any, actuals: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, list[Any] | None]:
    """Paths ``(W, S, P, D)``, observations ``(W, P, D)`` and the names of the series.

    Args:
        forecasts: a backtest, a list of forecasts, or paths.
        actuals: what was observed; None for a backtest.

    Raises:
        DataError: they do not fit each other, or nothing can be learned of them.
    """
    columns = None
    if isinstance(forecasts, Backtest):
        actuals, forecasts = forecasts.actuals, forecasts.forecasts
    if not isinstance(forecasts, np.ndarray):
        parts = list(forecasts)
        if not parts or not all(isinstance(part, Forecast) for part in parts):
            raise DataError("forecasts: give a backtest, a list of forecasts, or an array of paths")
        if any(part.info.get(MARK) for part in parts):
            raise DataError("the forecasts are recalibrated already: give them as they were drawn")
        columns = parts[0].columns
        for part in parts:
            if part.columns != columns or part.samples.shape != parts[0].samples.shape:
                raise DataError(f"the forecasts differ: {part!r} is not like {parts[0]!r}")
        forecasts = np.stack([part.samples for part in parts])
    if actuals is None:
        raise DataError("actuals: give what was observed, windows × steps × series")
    observed = np.asarray(actuals, dtype=np.float64)
    w, *rest = forecasts.shape
    if forecasts.ndim != 4 or observed.shape != (w, *rest[1:]):
        raise DataError(
            f"paths of the shape {forecasts.shape} and observations of {observed.shape}: they "
            "must be windows × paths × steps × series and windows × steps × series"
        )
    # of a series that had no observation, neither is there; nothing is learned of it then
    forecasts = np.where(np.isnan(forecasts) & np.isnan(observed[:, None]), 0.0, forecasts)
    if not np.isfinite(forecasts).all() or not np.isfinite(observed).any():
        raise DataError("a path is not finite, or nothing at all was observed")
    return forecasts, observed, columns


def never_negative(samples: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Which series are 0 or more, in all paths and observations."""
    return ~_any_series(samples < 0) & ~_any_series(observed < 0)


def always_whole(samples: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Which series are whole numbers."""
    known = np.nan_to_num(observed)
    return ~_any_series(samples != samples.round()) & ~_any_series(known != known.round())


def _any_series(where: np.ndarray) -> np.ndarray:
    return np.asarray(where.reshape(-1, where.shape[-1]).any(0))
