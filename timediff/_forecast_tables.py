"""A forecast as a long table, and as a labelled array."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from timediff._tables import check_distinct

if TYPE_CHECKING:
    import xarray

    from timediff.results import Forecast


def long_table(forecast: "Forecast", quantiles: Mapping[str, float] | None) -> pd.DataFrame:
    """One row for each series and time, one series after another.

    Args:
        forecast: the forecast.
        quantiles: names of columns, and the quantile in each; None for the paths themselves, a row
            for each of them.

    Raises:
        DataError: two columns would have one name.
    """
    samples, names = forecast.samples, forecast.names
    count, p, d = samples.shape
    if quantiles is None:
        body = [
            ("sample", np.tile(np.arange(count), p * d)),
            (names.target, samples.transpose(2, 1, 0).ravel()),
        ]
    else:
        count = 1
        values = np.quantile(samples.astype(np.float64), list(quantiles.values()), axis=0)
        tables = {"mean": samples.mean(0, dtype=np.float64)}
        tables |= dict(zip(quantiles, values, strict=True))
        body = [(key, value.T.ravel()) for key, value in tables.items()]
    labels = pd.Index(forecast.columns, tupleize_cols=False).repeat(p * count)
    when = forecast.index[np.tile(np.repeat(np.arange(p), count), d)]
    columns: list[tuple[str, Any]] = [(names.id, labels), (names.time, when), *body]
    check_distinct([name for name, _ in columns])
    return pd.DataFrame(dict(columns))


def labelled_array(forecast: "Forecast") -> "xarray.DataArray":
    """The paths, sample × time × series; see :meth:`timediff.results.Forecast.to_xarray`."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError("to_xarray needs xarray: pip install xarray") from error
    index = forecast.stamps
    times = index.tz_convert("UTC").tz_localize(None) if index.tz is not None else index
    return xarray.DataArray(
        forecast.samples,
        dims=("sample", "time", "series"),
        coords={
            "time": times.rename("time"),
            "series": [str(column) for column in forecast.columns],
        },
        name=str(forecast.name),
        attrs={"time_zone": str(index.tz)} if index.tz is not None else {},
    )
