"""Intervals that hold: forecasts stretched by what past windows show to be needed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from timediff._arguments import number, whole
from timediff._by_series import weights_of
from timediff._conformal import EXCHANGEABLE, factors, ratios, usable
from timediff._past_windows import MARK, always_whole, never_negative, past_windows
from timediff.backtest import Backtest, coverage_table
from timediff.errors import DataError, OptionError
from timediff.forecast_group import ForecastGroup
from timediff.results import Forecast
from timediff.types import Number
from timediff.widths import combined, mapped

LEVELS = (20, 50, 80, 90, 95)
OPTIONS = ("pooling", "step_groups", "exchangeable", "latest", "rate")
ARRAYS = ("ratios", "drift", "positive", "whole")
TOTALS = "totals."
T = TypeVar("T", bound=Forecast | ForecastGroup | Backtest | np.ndarray)


class Recalibration:
    r"""A monotone map of forecasts that makes their central intervals cover what they promise.

    For each level c the half widths of the central interval, from the median down and up, are
    stretched by one factor: a conformal quantile of the ratios by which they would have had to be
    stretched to just reach what was observed in past windows,

    .. math:: f_c = \min\Big\{f :\ \#\{r_i \le f\} \ge c\,(n + 1)\Big\}, \qquad
        r_i = \frac{|y_i - m_i|}{h_{c,i}}

    Between the levels the map is linear. It goes series by series and path by path, and is
    monotone: the ranks of the paths, and so the dependence between series and steps, stay as they
    are, and totals are totals of the mapped paths. Where all forecasts and observations of a series
    are 0 or more, or whole numbers, the mapped paths are, too.

    Series that hold what they promise may add up to a total that does not: if they move together
    more than was forecast, or less. ``totals`` are recalibrated, too, each by factors of its own,
    as if it was forecast by itself. The paths are then moved, and the values of each series ordered
    anew, so that they add up to these totals and each series stays as wide as it can; see
    :func:`timediff.widths.adding_up`. Of totals that follow from each other not all can be met.

    What is guaranteed, for the end points at the levels given and a window that is exchangeable
    with those fitted to: with ``exchangeable="windows"`` a value of it is covered with probability
    c or more, on average over the values that share factors (a series' steps with ``pooling=0``;
    all with ``pooling=inf``), however they depend on each other within a window; with
    ``"values"`` only if the values themselves are exchangeable, but then also hardly more often
    than c. Factors of a series and of all are mixed (``pooling`` between 0 and inf) without a
    guarantee. Nothing is guaranteed if the law changes (see :meth:`update`), or where a forecast
    has no width.

    Args:
        forecasts: past forecasts: a :class:`timediff.backtest.Backtest`, a list of
            :class:`timediff.Forecast`, or the paths ``(W, S, P, D)`` of any model.
        actuals: what was observed, ``(W, P, D)``, NaN where it was not; not for a backtest.
        levels: of the intervals that are to hold, in per cent. 20, 50, 80, 90 and 95 if None; a
            warning names those for which there are too few windows, and which are left out.
        pooling: windows that all series together count for beside those in which a series itself
            was observed, when the logarithms of their factors are averaged. 0: each series on its
            own; ``inf``: the same factors for all.
        step_groups: parts of the horizon, of equal length, with factors of their own.
        exchangeable: what is taken to be exchangeable, see above.
        latest: windows at most that :meth:`update` keeps; all if None.
        rate: of the correction that :meth:`update` makes; 0 for none.
        totals: linear combinations of the series that are to hold, too, as of
            :meth:`timediff.Forecast.aggregate`: ``{"region": ["a", "b"]}``. Of arrays the series
            are called 0, 1, ...

    Raises:
        DataError: no observation, too few windows for a level that was named, shapes that do not
            fit, or a total that was never observed, since one of its series was not.
        OptionError: an impossible option, or an unknown series.

    Example:
        >>> recalibration = Recalibration(forecaster.backtest(windows=20))
        >>> recalibration.coverage()
        >>> recalibration.apply(forecaster.predict())

    References:
        Vovk, Gammerman & Shafer 2005; Lei et al. 2018 (split conformal); Romano, Patterson &
        Candès 2019 (quantiles); Kuleshov, Fenner & Ermon 2018 (whole distributions); Lee, Barber &
        Willett 2023 (windows as groups); Gibbs & Candès 2021 and Angelopoulos, Candès & Tibshirani
        2023 (:meth:`update`).
    """

    def __init__(
        self,
        forecasts: Backtest | Sequence[Forecast] | np.ndarray,
        actuals: np.ndarray | None = None,
        *,
        levels: Number | Iterable[Number] | None = None,
        pooling: Number = 10,
        step_groups: int = 1,
        exchangeable: str = "values",
        latest: int | None = None,
        rate: Number = 0,
        totals: Mapping[Any, Any] | pd.DataFrame | None = None,
    ):
        samples, observed, self.columns = past_windows(forecasts, actuals)
        if exchangeable not in EXCHANGEABLE:
            raise OptionError(f"exchangeable is one of {EXCHANGEABLE}, not {exchangeable!r}")
        if not number("pooling", pooling) >= 0 or not number("rate", rate) >= 0:
            raise OptionError(f"pooling {pooling} and rate {rate} must be 0 or more")
        if latest is not None:
            latest = whole("latest", latest, 1)
        step_groups = whole("step_groups", step_groups, 1)
        if step_groups > observed.shape[1]:
            raise OptionError(f"step_groups is {step_groups}: there are {observed.shape[1]} steps")
        self.pooling, self.step_groups, self.exchangeable = pooling, step_groups, exchangeable
        self.latest, self.rate = latest, rate
        self.levels = usable(LEVELS, levels, observed, exchangeable)
        self.ratios = ratios(samples, observed, self._shares)
        self.positive = never_negative(samples, observed)
        self.whole = always_whole(samples, observed)
        self.drift = np.zeros(len(self.levels))
        self._known: tuple[np.ndarray, np.ndarray] | None = (samples, observed)
        self.saved_coverage: pd.DataFrame | None = None
        self.weights = np.zeros((0, observed.shape[2]))  # of the series in totals
        self.totals: Recalibration | None = None
        if totals is not None:
            labels = list(range(observed.shape[2])) if self.columns is None else self.columns
            names, self.weights = weights_of(totals, labels, "totals")
            self.totals = self._of_totals(names, samples, observed)

    def _of_totals(
        self, names: list[Any], samples: np.ndarray, observed: np.ndarray
    ) -> "Recalibration":
        """A recalibration with the same options whose series are the totals."""
        sums = self._sums(observed)
        never = np.isnan(sums).all((0, 1))
        if never.any():
            k, missing = int(never.argmax()), np.isnan(observed).any((0, 1))
            own = int((missing & (self.weights[k] != 0)).argmax())
            label = own if self.columns is None else self.columns[own]
            raise DataError(
                f"total {names[k]!r} was observed at no step of the windows, since {label!r} or "
                "another of its series was not: leave those out of it"
            )
        options = {name: getattr(self, name) for name in OPTIONS}
        of_totals = Recalibration(self._sums(samples), sums, levels=self.levels, **options)
        of_totals.columns = names
        return of_totals

    def _sums(self, x: np.ndarray) -> np.ndarray:
        """The totals of paths or observations."""
        return combined(x, self.weights)

    def __repr__(self) -> str:
        w, _, p, d = self.ratios.shape
        text = f"levels {self.levels} from {w} windows × {p} steps × {d} series"
        return f"<Recalibration: {text}{f', totals {self.totals.columns}' if self.totals else ''}>"

    @property
    def _shares(self) -> np.ndarray:
        return np.array(self.levels) / 100

    def _factors(self, left_out: int | None = None) -> np.ndarray:
        """Of each level, step and series, ``(L, P, D)``."""
        steps = np.array_split(np.arange(self.ratios.shape[2]), self.step_groups)
        options = (self.pooling, self.exchangeable, left_out)
        found = factors(self.ratios, self._shares, steps, *options)
        found *= np.exp(self.drift)[:, None, None]
        return found.repeat([len(part) for part in steps], axis=1)

    def factors(self) -> pd.DataFrame:
        """The factor by which the half widths of each level are stretched, the mean over steps.

        Of series; those of totals are ``recalibration.totals.factors()``.
        """
        index = pd.Index(self.levels, name="level")
        return pd.DataFrame(self._factors().mean(1), index, self.columns)

    # -- forecasts ---------------------------------------------------------------------------

    def apply(self, forecast: T) -> T:
        """The forecast with its paths mapped; what was handed in is not changed.

        Args:
            forecast: a forecast, those of several groups, a backtest, or paths ``(*b, S, P, D)``.

        Raises:
            DataError: other series or another horizon, or a forecast that is recalibrated already.
        """
        return self._applied(forecast)

    def _applied(self, forecast: Any) -> Any:
        if isinstance(forecast, ForecastGroup):
            return ForecastGroup({key: self.apply(one) for key, one in forecast.items()})
        if isinstance(forecast, Backtest):
            parts = [self.apply(one) for one in forecast.forecasts]
            return Backtest(parts, forecast.actuals, forecast.others, forecast.grouped)
        if isinstance(forecast, Forecast):
            self._check(forecast)
            return forecast.with_samples(self._applied(forecast.samples), {MARK: True})
        samples = np.asarray(forecast)
        self._check_shape(samples.shape[-2:])
        flat, table = samples.reshape(-1, *samples.shape[-3:]), self.table()
        return np.stack([mapped(paths, **table) for paths in flat]).reshape(samples.shape)

    def table(self, left_out: int | None = None) -> dict[str, np.ndarray]:
        """All that the map needs besides paths, by the arguments of ``timediff.widths.mapped``.

        Args:
            left_out: a window that is not looked at.
        """
        own = {
            "factor": self._factors(left_out),
            "positive": self.positive,
            "whole": self.whole,
        }
        if self.totals is not None:
            theirs = self.totals.table(left_out)
            own = {name: np.concatenate([x, theirs[name]], -1) for name, x in own.items()}
            own["weights"] = self.weights
        return {"levels": self._shares, **own}

    def _check(self, forecast: Forecast) -> None:
        if forecast.info.get(MARK):
            raise DataError("the forecast is recalibrated already: give it as it was drawn")
        if forecast.info.get("given"):
            raise DataError("a scenario is not recalibrated: what is given would not hold")
        if self.columns is not None and forecast.columns != self.columns:
            raise DataError(
                f"the forecast has the series {forecast.columns}, the recalibration {self.columns}"
            )

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if shape != self.ratios.shape[2:]:
            raise DataError(
                f"the forecast has {shape} steps × series, the recalibration "
                f"{self.ratios.shape[2:]}"
            )

    # -- what it is worth --------------------------------------------------------------------

    def held_out(self) -> np.ndarray:
        """The paths of the windows, each mapped with what the other windows say, ``(W, S, P, D)``.

        Raises:
            DataError: the recalibration was loaded (paths are not saved), or has a single window.
        """
        if self._known is None:
            raise DataError("the paths of the windows are not saved with a recalibration")
        if len(self.ratios) < 2:
            raise DataError("a single window leaves none to hold against it")
        return np.stack([mapped(x, **self.table(w)) for w, x in enumerate(self._known[0])])

    def after(self, backtest: Backtest) -> np.ndarray:
        """The paths of a backtest as recalibrated; :meth:`held_out` if it was fitted to them."""
        own = self._known is not None and np.array_equal(self._known[0], backtest.samples)
        return self.held_out() if own else self.apply(backtest).samples

    def coverage(self, levels: Number | Iterable[Number] = (50, 80, 90, 95)) -> pd.DataFrame:
        """The share of observations within central intervals, in per cent, before and after.

        ``after`` is what a window has that the factors have not seen: each is mapped with those of
        the other windows. ``sum`` is the total of all series; those that were named come after it.
        Of a recalibration that was loaded the table is the one it was saved with.

        Args:
            levels: in per cent.
        """
        if self.saved_coverage is not None:
            return self.saved_coverage
        assert self._known is not None
        names = [] if self.totals is None else self.totals.columns or []
        totals = {f"total {name}": w for name, w in zip(names, self.weights, strict=True)}
        paths, observed = self._known
        before, after = (
            coverage_table(x, observed, levels, totals) for x in (paths, self.held_out())
        )
        both = {"before": before, "after": after}
        columns = {f"{what} {when}": x[what] for what in before for when, x in both.items()}
        return pd.DataFrame(columns)

    # -- as time goes on ---------------------------------------------------------------------

    def update(self, forecast: Forecast | np.ndarray, actuals: Any) -> "Recalibration":
        r"""Learn from one more window, so that the map follows a law that changes.

        The window joins the others; of more than ``latest`` the oldest goes. Besides, the factor of
        each level is corrected by what it just missed,

        .. math:: \log g_c \leftarrow \log g_c + \mathrm{rate}\,
            \big(\text{share outside} - (1 - c)\big)

        which, without any assumption, makes the long-run share outside approach 1 - c as long as
        the ratios stay bounded.

        Args:
            forecast: as it was drawn, not recalibrated; or its paths ``(S, P, D)``.
            actuals: what was observed: a table, or ``(P, D)``; NaN where it was not.

        Returns:
            Itself.

        Raises:
            DataError: other series or another horizon, or no observation.
        """
        if isinstance(forecast, Forecast):
            self._check(forecast)
            observed, samples = forecast.actuals(actuals), forecast.samples
        else:
            samples, observed = np.asarray(forecast), np.asarray(actuals)
        self._check_shape(samples.shape[1:])
        if observed.shape != samples.shape[1:] or np.isnan(observed).all():
            raise DataError(f"actuals have the shape {observed.shape}, or hold no observation")
        keep = -(self.latest or 0)
        if self._known is not None:
            self._remember(samples, observed, keep)
        new = ratios(samples[None], observed[None], self._shares)
        known = ~np.isnan(new[0])
        outside = ((new[0] > self._factors()) & known).sum((1, 2)) / known.sum((1, 2)).clip(1)
        # a level of which nothing is known stays
        self.drift += self.rate * np.where(known.any((1, 2)), outside - (1 - self._shares), 0)
        self.ratios = np.concatenate([self.ratios, new])[keep:]
        self.positive = self.positive & never_negative(samples, observed)
        self.whole = self.whole & always_whole(samples, observed)
        if self.totals is not None:
            sums = self._sums(observed)
            if not np.isnan(sums).all():
                self.totals.update(self._sums(samples), sums)
        return self

    def _remember(self, samples: np.ndarray, observed: np.ndarray, keep: int) -> None:
        assert self._known is not None
        paths, actuals = self._known
        if paths.shape[1:] != samples.shape:  # another number of paths: one array cannot hold both
            self.saved_coverage, self._known = self.coverage(), None
            return
        both = np.concatenate([paths, samples[None]]), np.concatenate([actuals, observed[None]])
        self._known = both[0][keep:], both[1][keep:]

    # -- saving ------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """All that it takes to make it again: what JSON holds, and arrays."""
        options = {name: getattr(self, name) for name in OPTIONS}
        options["pooling"] = str(self.pooling)  # JSON knows no infinity
        table = self.coverage() if len(self.ratios) > 1 else None
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ARRAYS}
        description = {
            "options": options,
            "levels": self.levels,
            "columns": self.columns,
            "coverage": None if table is None else table.reset_index().to_dict("list"),
        }
        if self.totals is not None:
            own, more = self.totals.state()
            description["totals"] = own
            arrays |= {TOTALS + name: array for name, array in more.items()}
            arrays[TOTALS + "weights"] = self.weights
        return description, arrays

    @classmethod
    def from_state(
        cls, description: dict[str, Any], arrays: dict[str, np.ndarray]
    ) -> "Recalibration":
        """The recalibration that :meth:`state` described."""
        new = cls.__new__(cls)
        options = {**description["options"], "pooling": float(description["options"]["pooling"])}
        vars(new).update(options, levels=description["levels"], columns=description["columns"])
        vars(new).update({name: arrays[name] for name in ARRAYS})
        table = description["coverage"]
        new._known = None
        new.saved_coverage = None if table is None else pd.DataFrame(table).set_index("level")
        own = {k.removeprefix(TOTALS): v for k, v in arrays.items() if k.startswith(TOTALS)}
        new.weights, new.totals = own.pop("weights", np.zeros((0, new.ratios.shape[-1]))), None
        if description.get("totals") is not None:
            new.totals = cls.from_state(description["totals"], own)
        return new
