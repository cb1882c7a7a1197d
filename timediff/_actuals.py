"""What was observed over the horizon of a forecast, from any table that has it."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from timediff._any_table import flattened, without_others
from timediff.errors import DataError
from timediff.histories import aligned, observed_at
from timediff.reading import read

if TYPE_CHECKING:
    from timediff.results import Forecast


def actuals_of(forecast: "Forecast", data: Any) -> np.ndarray:
    """See :meth:`timediff.results.Forecast.actuals`."""
    if isinstance(data, np.ndarray):
        if data.shape != forecast.samples.shape[1:] or np.isnan(data).all():
            raise DataError(
                f"the array has the shape {data.shape}, or holds no observation: give steps × "
                f"series, {forecast.samples.shape[1:]}, or a table with timestamps"
            )
        return data
    data = flattened(data, forecast.names.columns)
    freq, long = None, forecast.names.within(data)
    if isinstance(data, pd.DataFrame | pd.Series):
        freq = forecast.info.get("freq", forecast.start.freqstr)
        data = data if long else without_others(data, forecast.columns)
    reading = read(data, freq=freq, day_first=forecast.info.get("day_first"), **long)
    (entry,) = reading.entries.values()
    own = entry["info"]["columns"]
    picks = [i for i, column in enumerate(own) if column in forecast.columns]
    info = {**entry["info"], "columns": [own[i] for i in picks]}
    if ("freq" in info) != ("freq" in forecast.info):  # one has periods: they count the same steps
        stamped = {key: forecast.info[key] for key in ("freq", "phase") if key in forecast.info}
        info = {k: v for k, v in info.items() if k not in ("freq", "phase")} | stamped
    entry = {"start": entry["start"], "target": entry["target"][picks], "info": info}
    entry = aligned(entry, forecast.columns, forecast.name, "which the forecast has")
    return observed_at(entry, forecast.stamps)
