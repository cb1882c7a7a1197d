"""What a :class:`timediff.Forecaster` gives back: joint paths, named and stamped as its tables."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from timediff._actuals import actuals_of
from timediff._arguments import check_options, listed
from timediff._by_series import bounds_of, marked, position, weights_of
from timediff._forecast_tables import labelled_array, long_table
from timediff._frequency import moved
from timediff._stamps import clock_info, index_of, stamps_of, timestamps
from timediff.errors import DataError, OptionError
from timediff.frames import to_wide
from timediff.histories import Entry
from timediff.quantiles import interval_ends, quantile_columns, quantile_level
from timediff.reading import Names
from timediff.scenarios import SCENARIO
from timediff.types import Number
from timediff.widths import combined

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray

    from timediff.forecast import JointForecast


class Forecast:
    """Joint sample paths of several series over the horizon.

    Args:
        samples: ``(S, P, D)``: paths, steps, series; in the units of the data.
        start: the first step of the horizon.
        columns: labels of the D series.
        info: how the table stamped its rows; see :func:`timediff.from_wide`.
        name: of the group.
        names: what the caller calls the columns of a long table.
        history: what was known, an entry; for pictures.
        shown: the columns that :meth:`to_frame` writes where it is not told, with their quantiles;
            see :func:`quantile_columns`.

    Example:
        >>> forecast = Forecaster(24).fit(table).predict()
        >>> forecast.aggregate({"north": ["a", "b"]}).quantile(0.95)
    """

    def __init__(
        self,
        samples: np.ndarray,
        start: pd.Period,
        columns: Sequence[Any],
        *,
        info: dict[str, Any] | None = None,
        name: Hashable = "frame",
        names: Names | None = None,
        history: Entry | None = None,
        shown: Mapping[str, float] | None = None,
    ):
        self.samples = np.asarray(samples)
        if self.samples.ndim != 3 or self.samples.shape[2] != len(columns):
            raise DataError(
                f"samples have the shape {self.samples.shape}, expected paths × steps × "
                f"{len(columns)} series"
            )
        self.start, self.columns, self.name = start, list(columns), name
        self.info, self.names, self.history = dict(info or {}), names or Names(), history
        self.shown = quantile_columns() if shown is None else dict(shown)

    def __repr__(self) -> str:
        s, p, d = self.samples.shape
        return f"<Forecast {self.name!r}: {s} paths × {p} steps from {self.index[0]} × {d} series>"

    @property
    def index(self) -> pd.DatetimeIndex | pd.PeriodIndex:
        """The times of the horizon, in the way and the time zone of the caller's table.

        Periods, if it had a PeriodIndex.
        """
        times = index_of(self.start, self.samples.shape[1], self.info)
        return times.rename(self.names.time)

    @property
    def stamps(self) -> pd.DatetimeIndex:
        """The same as timestamps: of periods, their begins."""
        return stamps_of(self.start, self.samples.shape[1], self.info).rename(self.names.time)

    @property
    def cutoff(self) -> pd.Timestamp | pd.Period:
        """The last time before the horizon."""
        return index_of(moved(self.start, -1), 1, self.info)[0]

    @property
    def plain_index(self) -> pd.DatetimeIndex:
        """The horizon by the clock that its periods count: no zone, no phase.

        Of a calendar whose open steps are counted, its own times, without a zone.
        """
        return timestamps(self.start, self.samples.shape[1], clock_info(self.info))

    def plain_history(self) -> pd.DataFrame | None:
        """The history, if it is kept, by the clock of :attr:`plain_index`."""
        if self.history is None:
            return None
        info = {**clock_info(self.info), "columns": self.columns}
        return to_wide({**self.history, "info": info})

    # -- tables ------------------------------------------------------------------------------

    def _wide(self, values: np.ndarray) -> pd.DataFrame:
        columns = pd.Index(self.columns, name=self.names.id, tupleize_cols=False)
        return pd.DataFrame(values, self.index, columns)

    def mean(self) -> pd.DataFrame:
        """The mean of the paths, time × series."""
        return self._wide(self.samples.mean(0, dtype=np.float64))

    def median(self) -> pd.DataFrame:
        """The median of the paths, time × series."""
        return self.quantile(0.5)

    def std(self) -> pd.DataFrame:
        """The standard deviation of the paths, time × series."""
        return self._wide(self.samples.std(0, dtype=np.float64))

    def quantile(self, q: Number) -> pd.DataFrame:
        """A quantile of the paths, linearly interpolated, time × series.

        Raises:
            OptionError: ``q`` is not in [0, 1].
        """
        return self._wide(np.quantile(self.samples.astype(np.float64), quantile_level(q), axis=0))

    def interval(self, level: Number) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Lower and upper end of the central interval of a level in per cent, such as 90."""
        low, high = interval_ends(level)
        return self.quantile(low), self.quantile(high)

    def to_frame(
        self,
        quantiles: Number | Sequence[Number] | None = None,
        level: Number | Sequence[Number] | None = None,
        samples: bool = False,
    ) -> pd.DataFrame:
        """A long table, its first columns named as the caller's.

        Args:
            quantiles: one or several, a column for each, named by it: ``"0.05"``.
            level: central intervals in per cent, such as ``[80, 95]``: columns ``lo-80``,
                ``hi-80``. Without both, the quantiles that ``predict`` was told.
            samples: the paths themselves: columns ``sample`` and the caller's name of the values.

        Returns:
            One row for each series and time, one series after another.

        Raises:
            OptionError: a quantile is not in [0, 1], or a level not in [1, 100).
            DataError: two columns would have one name.
        """
        if samples:
            return long_table(self, None)
        given = quantiles is not None or level is not None
        return long_table(self, quantile_columns(quantiles, level) if given else self.shown)

    def to_xarray(self) -> "xarray.DataArray":
        """The paths as a labelled array: sample × time × series.

        Raises:
            ImportError: xarray is not installed.
        """
        return labelled_array(self)

    def to_gluonts(self) -> "JointForecast":
        """The forecast as GluonTS knows it."""
        from timediff.forecast import JointForecast

        info = {**self.info, "columns": self.columns}
        return JointForecast(self.samples, self.start, item_id=str(self.name), info=info)

    # -- joint questions ---------------------------------------------------------------------

    def _combined(
        self, samples: np.ndarray, columns: list[Any], history: Any, weights: np.ndarray
    ) -> "Forecast":
        """The forecast of linear combinations of the series, with weights ``(K, D)``.

        What was given of a scenario is what is so known of them.
        """
        new = self._like(samples, columns, history)
        if SCENARIO in self.info:
            new.info[SCENARIO] = self.info[SCENARIO].combined(weights, columns)
        return new

    def _like(self, samples: np.ndarray, columns: list[Any], history: Any = None) -> "Forecast":
        return Forecast(
            samples,
            self.start,
            columns,
            info=self.info,
            name=self.name,
            names=self.names,
            history=history,
            shown=self.shown,
        )

    def with_samples(self, samples: np.ndarray, info: dict[str, Any] | None = None) -> "Forecast":
        """The same forecast with other paths ``(S, P, D)``, and more in its ``info``."""
        new = self._like(samples, self.columns, self.history)
        new.info |= info or {}
        return new

    def __getitem__(self, columns: Any) -> "Forecast":
        """The forecast of some series: ``forecast["a"]`` or ``forecast[["a", "b"]]``."""
        chosen = listed(columns, self.columns)
        picks = [position(column, self.columns) for column in chosen]
        history = self.history
        if history is not None:
            info = {**history["info"], "columns": chosen}
            history = {**history, "target": history["target"][picks], "info": info}
        weights = np.eye(len(self.columns))[picks]
        return self._combined(self.samples[:, :, picks], chosen, history, weights)

    def aggregate(self, groups: Mapping[Any, Any] | pd.DataFrame) -> "Forecast":
        """Totals and other linear combinations, path by path: with the right joint uncertainty.

        Args:
            groups: for each new series the series it sums, one or a list, or weights for some of
                them: ``{"region": ["a", "b"], "spread": {"a": 1, "b": -1}}``; or a table of
                weights, new series × series.

        Returns:
            The forecast of the combinations. Their history is missing where one of the series is.

        Raises:
            OptionError: an unknown series, one that is listed twice, a combination of none, or a
                weight that is no number.
            DataError: a weight is not finite.
        """
        names, weights = weights_of(groups, self.columns, "groups")
        # a series that is not in a total may be NaN
        samples = combined(self.samples, weights).astype(self.samples.dtype)
        history = self.history
        if history is not None:
            target = combined(history["target"].T, weights).T
            info = {**history["info"], "columns": names}
            history = {**history, "target": target, "info": info}
        return self._combined(samples, names, history, weights)

    def constrain(
        self,
        lower: Number | Mapping[Any, Any] | pd.Series | None = None,
        upper: Number | Mapping[Any, Any] | pd.Series | None = None,
        integer: Any = False,
    ) -> "Forecast":
        """The same paths cut off at bounds, or rounded to whole numbers.

        The default model keeps the bounds it can see by itself: where all of the history is whole
        numbers, or never negative, so are the paths.

        Of a scenario, what was given still holds: a constraint that would change it is an error.

        Args:
            lower: of all series, or of some: ``{"a": 0}``.
            upper: likewise.
            integer: whether all series are whole numbers, or the one or those that are; or for some
                whether they are.

        Raises:
            OptionError: the bounds are in the wrong order or leave no whole number, an unknown
                series, or a value or total that is given would not hold.

        Warns:
            DataWarning: a total that is given does not hold any more, by rounding.
        """
        low = bounds_of(lower, self.columns, -np.inf)
        high = bounds_of(upper, self.columns, np.inf)
        whole = marked(integer, self.columns)
        low, high = np.where(whole, np.ceil(low), low), np.where(whole, np.floor(high), high)
        for column, least, most in zip(self.columns, low, high, strict=True):
            if not least <= most:
                raise OptionError(f"{column!r}: lower {lower} is above upper {upper}, or no number")
        samples = np.where(whole, self.samples.round() + 0.0, self.samples)  # no -0
        kept = np.clip(samples, low, high).astype(self.samples.dtype)
        if SCENARIO in self.info:
            self.info[SCENARIO].check_kept(samples, kept)
        return self.with_samples(kept)

    # -- beside what happened ----------------------------------------------------------------

    def actuals(self, data: Any) -> np.ndarray:
        """What was observed over the horizon, ``(P, D)``, NaN where it was not.

        Args:
            data: a table of any of the forms that :func:`timediff.reading.read` takes, whose other
                series and times are left out; or an array ``(P, D)``.

        Raises:
            DataError: the table lacks a series, or has no observation within the horizon.
        """
        return actuals_of(self, data)

    def score(self, actuals: Any) -> dict[str, float]:
        """Scores of the paths; see :func:`timediff.scores.score_table`.

        A series of which nothing was known, so that its forecast is NaN, does not count.

        Args:
            actuals: what was observed, as a table of any form, or an array ``(P, D)``; more time,
                more series and NaN do not disturb.

        Raises:
            DataError: the table lacks a series, or has no observation within the horizon.

        Warns:
            DataWarning: all that was observed is 0, and a score in units of it is NaN.
        """
        import torch

        from timediff.scores import score_table

        samples = self.samples.astype(np.result_type(self.samples, np.float32), copy=False)
        target = np.where(np.isnan(samples).any(0), np.nan, self.actuals(actuals))
        return score_table(
            torch.from_numpy(samples), torch.from_numpy(target.astype(samples.dtype))
        )

    def plot(self, actuals: Any = None, **options: Any) -> "matplotlib.figure.Figure":
        """Fan charts after the history; see :func:`timediff.plot.fan_chart`.

        Args:
            actuals: what was observed over the horizon, drawn over the bands.
            options: of ``fan_chart``, such as ``series`` and ``total``.

        Raises:
            OptionError: an unknown option or series.
        """
        from timediff.plot import fan_chart

        check_options(fan_chart, options, ("forecast", "target"))
        options.setdefault("history", self.plain_history())
        if actuals is not None:
            options["target"] = pd.DataFrame(self.actuals(actuals), self.plain_index, self.columns)
        return fan_chart(self.to_gluonts(), **options)

    def plot_paths(self, n: int = 3, **options: Any) -> "matplotlib.figure.Figure":
        """The paths, some of them in colour; see :func:`timediff.plot_joint.plot_paths`."""
        from timediff.plot_joint import plot_paths

        check_options(plot_paths, options, ("forecast", "n"))
        return plot_paths(self, n, **options)

    def plot_total(self, groups: Any = None, actuals: Any = None) -> "matplotlib.figure.Figure":
        """What totals may come to; see :func:`timediff.plot_joint.plot_total`."""
        from timediff.plot_joint import plot_total

        return plot_total(self, groups, actuals)
