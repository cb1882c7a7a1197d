"""What a :class:`timediff.Forecaster` gives back: joint paths, named and stamped as its tables."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from timediff._any_table import flattened, without_others
from timediff._arguments import (
    by_label,
    check_options,
    combinations,
    listed,
    number,
    weighted,
)
from timediff._stamps import clock_info, index_of, stamps_of, timestamps
from timediff._tables import check_distinct
from timediff.errors import DataError, OptionError
from timediff.frames import to_wide
from timediff.histories import Entry, aligned, observed_at
from timediff.quantiles import interval_ends, quantile_columns, quantile_level
from timediff.reading import Names, read
from timediff.registry import unknown_name
from timediff.scenarios import SCENARIO
from timediff.types import Number

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
        return index_of(self.start - 1, 1, self.info)[0]

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
        count, p, d = self.samples.shape
        if samples:
            body = [
                ("sample", np.tile(np.arange(count), p * d)),
                (self.names.target, self.samples.transpose(2, 1, 0).ravel()),
            ]
        else:
            count = 1
            given = quantiles is not None or level is not None
            wanted = quantile_columns(quantiles, level) if given else self.shown
            at = list(wanted.values())
            values = np.quantile(self.samples.astype(np.float64), at, axis=0)
            tables = {"mean": self.samples.mean(0, dtype=np.float64)}
            tables |= dict(zip(wanted, values, strict=True))
            body = [(key, value.T.ravel()) for key, value in tables.items()]
        labels = pd.Index(self.columns, tupleize_cols=False).repeat(p * count)
        when = self.index[np.tile(np.repeat(np.arange(p), count), d)]
        columns: list[tuple[str, Any]] = [(self.names.id, labels), (self.names.time, when), *body]
        check_distinct([name for name, _ in columns])
        return pd.DataFrame(dict(columns))

    def to_xarray(self) -> "xarray.DataArray":
        """The paths as a labelled array: sample × time × series.

        Raises:
            ImportError: xarray is not installed.
        """
        try:
            import xarray
        except ImportError as error:
            raise ImportError("to_xarray needs xarray: pip install xarray") from error
        index = self.stamps
        times = index.tz_convert("UTC").tz_localize(None) if index.tz is not None else index
        return xarray.DataArray(
            self.samples,
            dims=("sample", "time", "series"),
            coords={
                "time": times.rename("time"),
                "series": [str(column) for column in self.columns],
            },
            name=str(self.name),
            attrs={"time_zone": str(index.tz)} if index.tz is not None else {},
        )

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
        picks = [self._position(column) for column in chosen]
        history = self.history
        if history is not None:
            info = {**history["info"], "columns": chosen}
            history = {**history, "target": history["target"][picks], "info": info}
        weights = np.eye(len(self.columns))[picks]
        return self._combined(self.samples[:, :, picks], chosen, history, weights)

    def _position(self, column: Any) -> int:
        if column not in self.columns:
            raise unknown_name("series", column, [str(c) for c in self.columns])
        return self.columns.index(column)

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
        groups = combinations(groups, "groups")
        if not groups:
            raise OptionError("there is nothing to aggregate: give a name and series for it")
        weights = np.zeros((len(groups), len(self.columns)))
        for row, (name, members) in zip(weights, groups.items(), strict=True):
            for column, weight in weighted(repr(name), members, self.columns).items():
                row[self._position(column)] = weight
            if not np.isfinite(row).all():
                raise DataError(f"a weight of {name!r} is not finite")
        names: list[Any] = list(groups)
        # a series that is not in a total may be NaN
        parts = [(w[w != 0], w != 0) for w in weights]
        samples = np.stack([self.samples[..., own] @ w for w, own in parts], axis=2)
        samples = samples.astype(self.samples.dtype)
        history = self.history
        if history is not None:
            target = np.stack([w @ history["target"][own] for w, own in parts])
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
        low, high = self._bounds(lower, -np.inf), self._bounds(upper, np.inf)
        whole = np.zeros(len(self.columns), bool)
        if isinstance(integer, bool | np.bool_):
            integer = self.columns if integer else []
        integer = by_label(integer)
        if isinstance(integer, Mapping):
            integer = [column for column, wanted in integer.items() if wanted]
        picks = listed(integer, self.columns)
        whole[[self._position(column) for column in picks]] = True
        low, high = np.where(whole, np.ceil(low), low), np.where(whole, np.floor(high), high)
        for column, least, most in zip(self.columns, low, high, strict=True):
            if not least <= most:
                raise OptionError(f"{column!r}: lower {lower} is above upper {upper}, or no number")
        samples = np.where(whole, self.samples.round(), self.samples)
        kept = np.clip(samples, low, high).astype(self.samples.dtype)
        if SCENARIO in self.info:
            self.info[SCENARIO].check_kept(samples, kept)
        return self.with_samples(kept)

    def _bounds(
        self, given: Number | Mapping[Any, Any] | pd.Series | None, default: float
    ) -> np.ndarray:
        """A bound for each series."""
        given = by_label(given)
        if not isinstance(given, Mapping):
            bound = default if given is None else number("lower and upper", given)
            return np.full(len(self.columns), bound)
        bounds = np.full(len(self.columns), default)
        for column, value in given.items():
            bounds[self._position(column)] = number(f"the bound of {column!r}", value)
        return bounds

    # -- beside what happened ----------------------------------------------------------------

    def actuals(self, data: Any) -> np.ndarray:
        """What was observed over the horizon, ``(P, D)``, NaN where it was not.

        Args:
            data: a table of any of the forms that :func:`timediff.reading.read` takes, whose other
                series and times are left out; or an array ``(P, D)``.

        Raises:
            DataError: the table lacks a series, or has no observation within the horizon.
        """
        if isinstance(data, np.ndarray):
            if data.shape != self.samples.shape[1:] or np.isnan(data).all():
                raise DataError(
                    f"the array has the shape {data.shape}, or holds no observation: give steps × "
                    f"series, {self.samples.shape[1:]}, or a table with timestamps"
                )
            return data
        data = flattened(data, self.names.columns)
        freq, long = None, self.names.within(data)
        if isinstance(data, pd.DataFrame | pd.Series):
            freq = self.info.get("freq", self.start.freqstr)
            data = data if long else without_others(data, self.columns)
        reading = read(data, freq=freq, day_first=self.info.get("day_first"), **long)
        (entry,) = reading.entries.values()
        own = entry["info"]["columns"]
        picks = [i for i, column in enumerate(own) if column in self.columns]
        info = {**entry["info"], "columns": [own[i] for i in picks]}
        if ("freq" in info) != ("freq" in self.info):  # one has periods: they count the same steps
            stamped = {key: self.info[key] for key in ("freq", "phase") if key in self.info}
            info = {k: v for k, v in info.items() if k not in ("freq", "phase")} | stamped
        entry = {"start": entry["start"], "target": entry["target"][picks], "info": info}
        return observed_at(aligned(entry, self.columns, self.name), self.stamps)

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
