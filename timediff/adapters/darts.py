"""Forecasts and tables as Darts knows them.

>>> from timediff.adapters.darts import from_darts, to_darts
>>> series = to_darts(Forecaster(24).fit(from_darts(known)).predict())
"""

from typing import Any

import numpy as np
import pandas as pd

try:
    from darts import TimeSeries
except ImportError as error:
    raise ImportError("this adapter needs Darts: pip install darts") from error

from timediff._calendars import calendar_of
from timediff.errors import DataError
from timediff.results import Forecast


def to_darts(forecast: Forecast) -> TimeSeries:
    """The joint paths as a stochastic series: time × component × sample.

    Sample s of every component and time belongs to the same path. Darts knows no time zones: stamps
    that have one become those of UTC.

    Args:
        forecast: of one group.
    """
    index, freq = forecast.stamps, forecast.info.get("freq")
    calendar = calendar_of(freq or "")
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    return TimeSeries.from_times_and_values(
        pd.DatetimeIndex(index),
        np.ascontiguousarray(forecast.samples.transpose(1, 2, 0)),
        columns=[str(column) for column in forecast.columns],
        freq=freq if calendar is None else calendar.offset,
    )


def from_darts(series: TimeSeries) -> Any:
    """A deterministic series as a wide table, for ``Forecaster.fit`` and ``predict``.

    Args:
        series: indexed by time; its components become the series.

    Raises:
        DataError: the series has samples, or is indexed by whole numbers.
    """
    if series.n_samples > 1:
        raise DataError(f"the series has {series.n_samples} samples: give what was observed")
    if not series.has_datetime_index:
        raise DataError("the series is indexed by whole numbers: give one with timestamps")
    return pd.DataFrame(series.values(), series.time_index, [str(c) for c in series.components])
