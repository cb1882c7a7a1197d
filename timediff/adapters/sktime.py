"""A forecaster of sktime.

>>> from timediff.adapters.sktime import TimeDiffForecaster
>>> TimeDiffForecaster().fit(y, fh=[1, 2, 3]).predict_interval()
"""

from typing import Any, no_type_check

import numpy as np
import pandas as pd

try:
    from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
except ImportError as error:
    raise ImportError("this adapter needs sktime: pip install 'timediff[sktime]'") from error

from timediff._calendars import calendar_of
from timediff._frequency import frequency, text_of
from timediff._stamps import stamps_of
from timediff.errors import DataError, OptionError
from timediff.features import KNOWN
from timediff.forecaster import Forecaster
from timediff.frames import from_wide
from timediff.histories import with_features
from timediff.results import Forecast

EPOCH = 10957  # days from 1970 to 2000, where rows of a whole-numbered index begin to count


class TimeDiffForecaster(BaseForecaster):
    """Joint probabilistic forecasts of all columns of ``y``, by diffusion.

    The model forecasts all steps up to the last one of the forecasting horizon at once. Point
    forecasts (the mean), quantiles and distributions are of the same sample paths. NaN in ``y`` is
    a missing value.

    Columns of ``X`` are features that are known ahead. In ``fit`` and ``update`` it has a row for
    each of ``y``, or more; in ``predict`` one for each step from the end of ``y`` to the last of
    ``fh``, unless it was given before. Where the model reaches further, the last row stands for
    those that follow.

    Parameters
    ----------
    preset : str, default="default"
        ``"default"``, ``"fast"``, ``"best"`` or ``"paper"``; see ``timediff.Forecaster``.
    num_samples : int, default=100
        Sample paths.
    seed : int or None, default=0
        Of the training and of the paths; None for fresh ones each time.
    horizon : int or None, default=None
        Steps that the model forecasts; the last of ``fh`` if None. Needed only where a later
        forecast is to reach further than the first.
    freq : str or None, default=None
        Frequency of the data; inferred from the index if None. Whole numbers count as days if
        None, so that a season of 7 steps is looked for.
    options : dict or None, default=None
        Further arguments of ``timediff.Forecaster``, such as ``max_epochs``.

    References
    ----------
    .. [1] Rasul et al., Autoregressive Denoising Diffusion Models for Multivariate Probabilistic
       Time Series Forecasting, ICML 2021.

    Examples
    --------
    >>> from sktime.datasets import load_longley
    >>> from timediff.adapters.sktime import TimeDiffForecaster
    >>> _, y = load_longley()
    >>> forecaster = TimeDiffForecaster(preset="fast")  # doctest: +SKIP
    >>> forecaster.fit(y, fh=[1, 2])  # doctest: +SKIP
    TimeDiffForecaster(...)
    >>> y_pred = forecaster.predict()  # doctest: +SKIP
    """

    _tags = {  # noqa: RUF012 - sktime wants a dict
        "authors": "the timediff authors",
        "maintainers": "the timediff authors",
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:categorical_in_X": False,
        "capability:non_contiguous_X": False,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": True,
        "capability:update": True,
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "requires-fh-in-fit": True,
    }

    preset: str
    num_samples: int
    seed: int | None
    horizon: int | None
    freq: str | None
    options: dict[str, Any] | None

    @no_type_check  # sktime reads the arguments, which a wrapper that checks types would hide
    def __init__(
        self,
        preset: str = "default",
        num_samples: int = 100,
        seed: int | None = 0,
        horizon: int | None = None,
        freq: str | None = None,
        options: dict[str, Any] | None = None,
    ):
        self.preset = preset
        self.num_samples = num_samples
        self.seed = seed
        self.horizon = horizon
        self.freq = freq
        self.options = options
        super().__init__()

    # -- fitting -----------------------------------------------------------------------------

    def _fit(self, y: Any, X: Any, fh: Any) -> "TimeDiffForecaster":
        steps = max(fh.to_relative(self.cutoff).to_numpy().max(), self.horizon or 1)
        self.forecaster_ = Forecaster(
            int(steps), preset=self.preset, seed=self.seed, **(self.options or {})
        )
        self.forecaster_.fit(self._entries(y, self.freq, X))
        fresh = int(np.random.SeedSequence().generate_state(1)[0])
        self._seed: int = fresh if self.seed is None else self.seed  # the same paths at every call
        return self

    def _freq(self) -> str:
        return frequency(next(iter(self.forecaster_.kept.entries.values())))

    def _update(self, y: Any, X: Any = None, update_params: bool = True) -> "TimeDiffForecaster":
        """Append the rows; with ``update_params`` also train on from the present weights."""
        freq = self._freq()
        self.forecaster_.update(self._entries(y, freq, X), train=update_params)
        return self

    @classmethod
    def _entries(
        cls, y: pd.DataFrame, freq: str | None, X: pd.DataFrame | None = None
    ) -> list[dict[str, Any]]:
        """The tables as timediff reads them."""
        table, freq = cls._stamped(y, freq)
        if X is None:
            return list(from_wide(table, freq=freq))
        lacking = y.index.difference(X.index)
        if len(lacking):
            raise DataError(
                f"X has no row at {lacking[0]} for {list(X.columns)}: give one for each row of y "
                "(NaN where a value is missing)"
            )
        return list(from_wide(table, freq=freq, known=cls._stamped(X, freq)[0]))

    @staticmethod
    def _stamped(table: pd.DataFrame, freq: str | None) -> tuple[pd.DataFrame, str | None]:
        """The table with timestamps or periods as its index, and its frequency if it needs one."""
        index = table.index
        if not isinstance(index, pd.DatetimeIndex | pd.PeriodIndex):
            index = pd.PeriodIndex.from_ordinals(index.to_numpy() + EPOCH, freq=freq or "D")
            freq = None
        elif isinstance(index, pd.PeriodIndex):
            freq = None  # it has its own
        elif freq is None and index.freq is not None:
            freq = text_of(index.freq)
        return table.set_axis(index, axis=0), freq

    # -- forecasting -------------------------------------------------------------------------

    def _paths(self, fh: Any, X: pd.DataFrame | None = None) -> tuple[np.ndarray, pd.Index]:
        """The joint paths ``(S, len(fh), D)`` after the cutoff, and their index."""
        if calendar_of(self._freq()) is not None and not fh.is_relative:
            raise OptionError("sktime cannot count the open steps of a calendar: give fh in steps")
        relative = fh.to_relative(self.cutoff).to_numpy()
        most = self.forecaster_.horizon
        if relative.max() > most:
            raise OptionError(
                f"fh reaches {relative.max()} steps, but the model was fitted to forecast {most}: "
                "give horizon= to the forecaster, or fit again"
            )
        entry = self._history()
        if X is not None:
            entry = with_features(entry, self._stamped(X, self._freq())[0])
        if entry.get(KNOWN) is not None:
            entry = {**entry, KNOWN: self._ahead(entry, int(relative.max()))}
        forecast = self.forecaster_.predict([entry], num_samples=self.num_samples, seed=self._seed)
        assert isinstance(forecast, Forecast)  # one entry in, one forecast out
        return forecast.samples[:, relative - 1], self._index(entry, relative, fh)

    def _index(self, entry: dict[str, Any], relative: np.ndarray, fh: Any = None) -> pd.Index:
        """The index of these steps after the cutoff, which ends the entry."""
        if calendar_of(self._freq()) is None:
            fh = ForecastingHorizon(relative, is_relative=True) if fh is None else fh
            return fh.to_absolute_index(self.cutoff)
        end = entry["start"] + entry["target"].shape[1]  # sktime would stamp every day
        stamps = stamps_of(end, int(relative.max()), entry["info"])
        return stamps[relative - 1].rename(self.cutoff.name)

    def _ahead(self, entry: dict[str, Any], steps: int) -> np.ndarray:
        """The known features ``(F, T + P)``: after so many steps of the horizon the last goes on.

        Raises:
            DataError: one is not known at one of these steps.
        """
        known, length = entry[KNOWN], entry["target"].shape[1]
        horizon = self.forecaster_.horizon
        ahead = np.full((len(known), horizon), np.nan, dtype=known.dtype)
        part = known[:, length : length + horizon]
        ahead[:, : part.shape[1]] = part
        missing = np.argwhere(np.isnan(ahead[:, :steps].T))
        if len(missing):
            step, column = map(int, missing[0])
            index = self._index(entry, np.arange(1, steps + 1))
            raise DataError(
                f"X has no value of {entry['info']['features'][KNOWN][column]!r} at {index[step]}, "
                f"which is to be forecast: give predict an X up to {index[-1]}"
            )
        for step in range(steps, horizon):
            ahead[:, step] = np.where(np.isnan(ahead[:, step]), ahead[:, step - 1], ahead[:, step])
        return np.concatenate([known[:, :length], ahead], axis=1)

    def _history(self) -> dict[str, Any]:
        """The history up to the cutoff, where forecasts begin."""
        (entry,) = self.forecaster_.kept.entries.values()
        at = pd.DataFrame({"": [np.nan]}, index=self.cutoff)
        end = self._entries(at, self._freq())[0]["start"]
        length = (end.ordinal - entry["start"].ordinal) // end.freq.n + 1
        return {**entry, "target": entry["target"][:, :length]}

    def _table(self, values: np.ndarray, index: pd.Index) -> pd.DataFrame:
        return pd.DataFrame(values, index, self._get_varnames())

    def _predict(self, fh: Any, X: Any = None) -> pd.DataFrame:
        """The mean of the paths."""
        paths, index = self._paths(fh, X)
        return self._table(paths.mean(0, dtype=np.float64), index)

    def _predict_quantiles(self, fh: Any, X: Any, alpha: list[float]) -> pd.DataFrame:
        paths, index = self._paths(fh, X)
        values = np.quantile(paths.astype(np.float64), alpha, axis=0)  # [a, p, d]
        columns = self._get_columns(method="predict_quantiles", alpha=alpha)
        return pd.DataFrame(values.transpose(1, 2, 0).reshape(len(index), -1), index, columns)

    def _predict_var(self, fh: Any, X: Any = None, cov: bool = False) -> pd.DataFrame:
        paths, index = self._paths(fh, X)
        paths = paths.astype(np.float64)
        if not cov:
            return self._table(paths.var(0), index)
        apart = paths - paths.mean(0)
        values = np.einsum("spd,sqd->pdq", apart, apart) / len(paths)
        columns = pd.MultiIndex.from_product([self._get_varnames(), index])
        return pd.DataFrame(values.reshape(len(index), -1), index, columns)

    def _predict_proba(self, fh: Any, X: Any, marginal: bool = True) -> Any:
        """The paths themselves, as skpro's empirical distribution.

        With ``marginal=False`` its samples are whole paths; all columns of a path belong together
        in both cases. Without skpro there are no joint samples: the marginal laws are then normal,
        with mean and variance of the paths.
        """
        try:
            from skpro.distributions.empirical import Empirical
        except ImportError:
            if marginal:
                return super()._predict_proba(marginal=marginal, fh=fh, X=X)
            raise
        paths, index = self._paths(fh, X)
        rows = pd.MultiIndex.from_product([range(len(paths)), index], names=["sample", "time"])
        spl = pd.DataFrame(paths.reshape(len(rows), -1), rows, self._get_varnames())
        return Empirical(spl, time_indep=marginal, index=index, columns=spl.columns)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Settings that train in a second, for sktime's tests.

        Parameters
        ----------
        parameter_set : str, default="default"
            There is only one.
        """
        small = {
            "max_epochs": 1,
            "num_batches_per_epoch": 1,
            "hidden_size": 4,
            "prior_epochs": 1,
            "prior_width": 4,
            "prior_rows": 8,
            "prior_members": 1,
            "batch_size": 4,
            "diff_steps": 4,
            "steps": 2,
            "diffusion_runs": 1,
            "validation_windows": 0,
            "denoiser_options": {"width": 8, "blocks": 1},
            "trainer_kwargs": {"accelerator": "cpu"},
        }
        first = {"num_samples": 20, "options": small}
        return [first, {**first, "seed": None, "horizon": 6}]
