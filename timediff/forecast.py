"""A GluonTS forecast whose conveniences also work for several series."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.forecast import SampleForecast

from timediff._stamps import clock_info, stamps_of


class JointForecast(SampleForecast):
    """Joint sample paths of several series.

    Everything of :class:`gluonts.model.forecast.SampleForecast`; what raises there for a forecast
    of more than one series gives a table with a column per series here.

    Attributes:
        samples: ``(S, P, D)``, or ``(S, P)`` for a dataset whose targets have one axis.
    """

    @property
    def index(self) -> pd.PeriodIndex | pd.DatetimeIndex:  # type: ignore[override]
        """The periods of the horizon; of a calendar that has none, its timestamps."""
        info = self.info or {}
        if clock_info(info):
            return stamps_of(self.start_date, self.prediction_length, info)
        return super().index

    @property
    def columns(self) -> list[Any]:
        """Names of the series: those of ``info["columns"]``, else their numbers."""
        count = self.samples.shape[2] if self.samples.ndim == 3 else 1
        return list((self.info or {}).get("columns") or range(count))

    def _table(self, values: np.ndarray) -> pd.Series | pd.DataFrame:
        if values.ndim == 1:
            return pd.Series(values, index=self.index)
        return pd.DataFrame(values, index=self.index, columns=self.columns)

    @property
    def mean_ts(self) -> pd.Series | pd.DataFrame:  # type: ignore[override]
        """The mean, indexed by time."""
        return self._table(self.mean)

    def quantile_ts(self, q: float | str) -> pd.Series | pd.DataFrame:  # type: ignore[override]
        """A quantile, indexed by time."""
        return self._table(self.quantile(q))

    def copy_dim(self, dim: int) -> SampleForecast:
        """The forecast of one series, by its number; GluonTS's own, with which it evaluates.

        Of a calendar its index counts steps, as the entries do.
        """
        if self.samples.ndim == 2:
            return self._of(self.samples, self.columns)
        return self._of(self.samples[:, :, dim], [self.columns[dim]])

    def copy_aggregate(self, agg_fun: Callable[..., np.ndarray]) -> SampleForecast:
        """The forecast of what a function makes of all series, such as ``numpy.sum``; likewise.

        Args:
            agg_fun: is called with the samples and ``axis=2``.
        """
        if self.samples.ndim == 2:
            return self._of(self.samples, self.columns)
        return self._of(agg_fun(self.samples, axis=2), None)

    def _of(self, samples: np.ndarray, columns: list[Any] | None) -> SampleForecast:
        """Of one series, which has its name in ``info`` if the others had theirs there."""
        info = {**(self.info or {})}
        if info.pop("columns", None) is not None and columns is not None:
            info["columns"] = columns
        return SampleForecast(samples, self.start_date, item_id=self.item_id, info=info or None)

    def plot(self, **options: Any) -> Any:  # type: ignore[override]
        """A fan chart for each series; see :func:`timediff.plot.fan_chart`.

        For a forecast of one series with one axis, GluonTS's own plot.
        """
        if self.samples.ndim == 2:
            return super().plot(**options)
        from timediff.plot import fan_chart

        return fan_chart(self, **options)
