"""The front door: tables in, forecasts with the tables' names and stamps out."""

import dataclasses
import logging
import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from timediff._arguments import check_options, whole
from timediff._calendars import named
from timediff._frequency import frequency, text_of
from timediff.backtest import Backtest, cut, run_backtest
from timediff.device import best_device
from timediff.drawing import draw
from timediff.errors import DataError, OptionError, TimediffError
from timediff.forecast_group import ForecastGroup
from timediff.later import Kept
from timediff.predictor import TimeGradPredictor
from timediff.quantiles import quantile_columns
from timediff.reading import Features, read
from timediff.recalibration import Recalibration
from timediff.recipe import Recipe
from timediff.results import Forecast
from timediff.types import Number

if TYPE_CHECKING:
    import matplotlib.figure

logger = logging.getLogger(__name__)


class Forecaster:
    """Fits timediff's model to tables and forecasts them, jointly.

    Args:
        horizon: steps to forecast.
        freq: pandas frequency of the data, an alias or an offset, such as
            ``pd.offsets.CustomBusinessDay(holidays=...)``; if None, that of the index where it is a
            calendar, else inferred from the timestamps.
        preset: ``"default"``, ``"fast"``, ``"best"`` or ``"paper"``.
        seed: of the training, and of the paths unless ``predict`` is told another; the same seed
            gives the same numbers. None for fresh ones each time.
        device: to forecast on: ``"auto"``, ``"cpu"``, ``"cuda"``, ... Training takes the GPU if
            there is one, unless ``trainer_kwargs`` says something else.
        verbose: show the progress of training.
        options: any of :class:`timediff.Options`, and ``trainer_kwargs`` of
            :class:`timediff.TimeGradEstimator`.

    Raises:
        OptionError: an unknown or impossible option, or there is no such device here.

    Example:
        >>> forecaster = Forecaster(24, seed=0).fit(table)
        >>> forecaster.predict().to_frame(level=[80, 95])
    """

    def __init__(
        self,
        horizon: int,
        *,
        freq: str | pd.offsets.BaseOffset | None = None,
        preset: str = "default",
        seed: int | None = None,
        device: str | torch.device = "auto",
        verbose: bool = False,
        **options: Any,
    ):
        self.freq = None if freq is None else text_of(freq)
        self.device = device if device == "auto" else best_device(device)
        seed = None if seed is None else whole("seed", seed, 0)
        self.recipe = Recipe(whole("horizon", horizon, 1), preset, seed, verbose, options)
        self.recipe.estimator(self.freq or "h")  # so that a wrong option is an error now
        self._predictor: TimeGradPredictor | None = None
        self.kept = Kept()  # the history that forecasts go on from
        self.scores: pd.DataFrame | None = None  # of the last backtest, for the model card
        self.recalibration: Recalibration | None = None

    def __repr__(self) -> str:
        known = f"fitted to {len(self.columns)} series" if self._predictor else "not fitted"
        return f"<Forecaster of {self.horizon} steps, preset {self.recipe.preset!r}, {known}>"

    @property
    def horizon(self) -> int:
        """Steps to forecast."""
        return self.recipe.horizon

    @property
    def seed(self) -> int | None:
        """Of the training, and of the paths unless another one is given."""
        return self.recipe.seed

    # -- fitting -----------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        *,
        id_column: str | None = None,
        time_column: str | None = None,
        target_column: str | None = None,
        group_column: str | None = None,
        known: Any = None,
        past: Any = None,
        future: Any = None,
        static: Any = None,
        day_first: bool | None = None,
    ) -> "Forecaster":
        """Train a model of these series, and keep them as the history that forecasts go on from.

        Args:
            data: a wide or long table, a dict of tables (groups: the same series in other places
                or at other times), or GluonTS entries; see :func:`timediff.reading.read`. NaN is a
                missing value. Not changed.
            id_column: of a long table with other names than ``unique_id, ds, y`` or ``item_id,
                timestamp, target``: the column with the series.
            time_column: the column with the timestamps.
            target_column: the column with the values.
            group_column: of a table of several groups, in place of a dict of tables: the column
                that says which one a row is of. Later tables have it, too.
            known: features that are known ahead: a table, time × features or × (feature, series),
                that goes on beyond the end of the series; or columns of a long table. This and the
                next three: for a dict of tables, one for all groups or a dict with the same keys.
            past: likewise, features that are known of the past only.
            future: beside a long table, the later rows of its columns that are known ahead.
            static: a table of what does not change, series × features: numbers or categories.
            day_first: of text such as ``05.01.2024``, whether the day comes first, where all rows
                together do not tell. The order is remembered for later tables.

        Returns:
            Itself.

        Raises:
            DataError: the data cannot be read, or are too short; names series and timestamp.
            TrainingError: the training diverged.
        """
        reading = read(
            data,
            freq=self.freq,
            id_column=id_column,
            time_column=time_column,
            target_column=target_column,
            group_column=group_column,
            features=Features(known, past, future, static),
            day_first=day_first,
        )
        kept = Kept.of(reading)
        if self.freq is None:
            first = next(iter(kept.entries.values()))
            self._say(f"the frequency is {named(frequency(first))!r}, as the timestamps tell")
        self.take(self.recipe.train(list(kept.entries.values())), kept)
        self.recalibration = None  # it was another model's
        return self

    def take(self, predictor: TimeGradPredictor, history: Kept) -> None:
        """Forecast with this predictor, after this history."""
        self._predictor = predictor
        if self.device != "auto":
            self._predictor = predictor.on(self.device)
        self.kept = dataclasses.replace(
            history,
            freq=self.freq,
            model_freq=predictor.spec.freq,
            columns=self.columns or history.columns,
        )

    @property
    def predictor(self) -> TimeGradPredictor:
        """The trained GluonTS predictor.

        Raises:
            TimediffError: :meth:`fit` was not called.
        """
        if self._predictor is None:
            raise TimediffError("the forecaster is not fitted: call fit(data), or load one")
        return self._predictor

    def to_gluonts(self) -> TimeGradPredictor:
        """The trained GluonTS predictor, for GluonTS's own pipelines."""
        return self.predictor

    @property
    def columns(self) -> list[Any]:
        """Labels of the series, in the order of the model."""
        return list(self.predictor.columns or [])

    # -- forecasting -------------------------------------------------------------------------

    def predict(
        self,
        data: Any = None,
        *,
        num_samples: int = 100,
        quantiles: Number | Sequence[Number] | None = None,
        level: Number | Sequence[Number] | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        calibrated: bool | None = None,
        known: Any = None,
        past: Any = None,
        future: Any = None,
        static: Any = None,
        given: Any = None,
        totals: Mapping[Any, Any] | None = None,
    ) -> Forecast | ForecastGroup:
        """Draw joint paths of the steps after the end of the history.

        Args:
            data: another history than the one that was kept: tables of the same series, in any
                form that :meth:`fit` takes. Series may be in another order.
            num_samples: joint paths.
            quantiles: columns that the forecast's ``to_frame`` writes; .05, .5 and .95 if None.
            level: or central intervals in per cent, such as ``[80, 95]``.
            seed: of the paths; the forecaster's own if None.
            batch_size: groups drawn at a time at most; the memory budget decides otherwise.
            device: where to draw this time.
            calibrated: whether the paths are recalibrated; if None, they are if :meth:`calibrate`
                was called and nothing is given.
            known: what has become known ahead of the horizon, if the model was fitted with such
                features: a table, whose values go before those that were given earlier. This and
                the next three are those of :meth:`fit`; with ``data``, all that belongs to them.
            past: likewise, of the past only.
            future: likewise, as a long table.
            static: what does not change, of ``data``.
            given: a scenario: a table, time × some of the series, of values that the horizon is to
                have; NaN is free, and all else is drawn from the conditional law. For groups a dict
                of such tables. See ``docs/scenarios.md``.
            totals: of ``given``, the columns that are sums, each with its series or a list of
                them, or with weights: ``{"north": ["a", "b"]}``.

        Returns:
            The forecast; for a dict of tables, or several entries, a dict of them.

        Raises:
            DataError: the series are not those of the model, a feature is not known over the
                horizon, or what is given cannot be; names series or column and timestamp.
            OptionError: an impossible argument.
            TimediffError: the forecaster is not fitted, or not calibrated.
        """
        if calibrated and given is not None:
            raise OptionError("a scenario is not recalibrated: what is given would not hold")
        if totals and given is None:
            raise OptionError("totals= names columns of given=: give the table that has them")
        if calibrated and self.recalibration is None:
            raise TimediffError("the forecaster is not calibrated: call calibrate() first")
        predictor = self.predictor.on(device, batch_size)
        history = self.kept.or_other("predict", data, Features(known, past, future, static))
        drawn = draw(
            predictor,
            list(history.entries.items()),
            history.names,
            num_samples,
            self.seed if seed is None else seed,
            quantile_columns(quantiles, level),
            None if given is None else history.scenarios(given, totals, self.horizon),
        )
        if self.recalibration is not None and calibrated is not False and given is None:
            drawn = [self.recalibration.apply(forecast) for forecast in drawn]
        forecasts = ForecastGroup(zip(history.entries, drawn, strict=True))
        return forecasts if history.grouped else drawn[0]

    def log_likelihood(
        self,
        data: Any = None,
        *,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        known: Any = None,
        past: Any = None,
        future: Any = None,
        static: Any = None,
        **options: Any,
    ) -> pd.DataFrame | dict[Hashable, pd.DataFrame]:
        """How likely each observed step was, in nats: the lowest are the anomalies.

        Args:
            data: what to judge, in any form that :meth:`fit` takes, with enough history before; the
                history that was kept if None.
            batch_size: horizons judged at a time at most.
            device: where to compute this time.
            known: features of ``data``; this and the next three as in :meth:`fit`.
            past: likewise.
            future: likewise.
            static: likewise.
            options: ``last``, ``draws``, ``flow_steps``, ``variance``, ``seed`` of
                :meth:`timediff.TimeGradPredictor.log_likelihood`, which says what is computed.

        Returns:
            A table over the time stamps of the data: ``bound``, ``flow``, ``observed`` and
            ``beyond``; for a dict of tables, a dict of them.

        Raises:
            DataError: the series are not those of the model, or there are too few steps.
            OptionError: an unknown or impossible option.
            TimediffError: the forecaster is not fitted.
        """
        check_options(TimeGradPredictor.log_likelihood, options, ("self", "dataset"))
        predictor = self.predictor.on(device, batch_size)
        features = Features(known, past, future, static)
        history = self.kept.or_other("log_likelihood", data, features)
        tables = predictor.log_likelihood(list(history.entries.values()), **options)
        found = dict(zip(history.entries, tables, strict=True))
        return found if history.grouped else next(iter(found.values()))

    def update(
        self,
        data: Any,
        *,
        train: bool = False,
        known: Any = None,
        past: Any = None,
        future: Any = None,
    ) -> "Forecaster":
        """Append what has been observed since; the next forecast goes on from there.

        Args:
            data: rows of the same series, in any form that :meth:`fit` takes. Where they overlap
                with the history they replace it, NaN excepted; steps between are missing, with a
                warning if all rows are several steps apart.
            train: train on from the present weights, on all of the history; without it the model
                stays as it is. A recalibration is kept: it was fitted to another model of the same
                kind, as :meth:`calibrate` does.
            known: what has become known of features, as in :meth:`predict`; this and the next two
                only if the model was fitted with such. Columns of a long table are found by name.
            past: likewise, of the past only.
            future: likewise, as a long table.

        Returns:
            Itself.

        Raises:
            DataError: the rows have other series, another frequency, or are of an unknown group; or
                no history was saved with the model.
        """
        predictor = self.predictor
        history = self.kept.extended(data, Features(known, past, future))
        if train:
            predictor = self.recipe.train(list(history.entries.values()), start=predictor)
        self._predictor, self.kept = predictor, history
        return self

    def _say(self, message: str) -> None:
        """Log a message, and with ``verbose`` show it, too."""
        logger.info(message)
        if self.recipe.verbose:
            print(message, file=sys.stderr)

    def history(self) -> pd.DataFrame | dict[Hashable, pd.DataFrame]:
        """The history that forecasts go on from, as a wide table, or one for each group.

        Raises:
            DataError: none was saved with the model.
        """
        _ = self.predictor  # not fitted: says so
        return self.kept.needed_by("predict").tables()

    def plot(
        self, **options: Any
    ) -> "matplotlib.figure.Figure | dict[Hashable, matplotlib.figure.Figure]":
        """Fan charts of the next horizon; see :meth:`timediff.results.Forecast.plot`.

        Returns:
            The figure; a dict of them if there are several groups.

        Raises:
            OptionError: an unknown option or series.
        """
        return self.predict().plot(**options)

    def plot_training(self) -> "matplotlib.figure.Figure":
        """The losses of training; see :func:`timediff.plot_training.plot_training`.

        Raises:
            DataError: there are none: an earlier version of timediff saved the forecaster.
        """
        from timediff.plot_training import plot_training

        return plot_training(self.predictor.curves)

    def plot_chain(self, series: Sequence[Any] | None = None) -> "matplotlib.figure.Figure":
        """The reverse chain of the first step, from noise to the law of one series, or two.

        See :func:`timediff.plot_training.plot_chain`.

        Args:
            series: one or two; the first two if None.

        Raises:
            OptionError: an unknown series, one twice, or more than two.
        """
        from timediff.plot_training import plot_chain

        predictor, history = self.predictor, self.kept.needed_by("fit")
        return plot_chain(predictor, next(iter(history.entries.values())), series)

    # -- testing -----------------------------------------------------------------------------

    def backtest(
        self,
        data: Any = None,
        *,
        windows: int = 4,
        stride: int | None = None,
        refit: bool = False,
        num_samples: int = 100,
        seed: int | None = None,
        baselines: bool = True,
        known: Any = None,
        past: Any = None,
        future: Any = None,
        static: Any = None,
    ) -> Backtest:
        """Forecast the last windows of the history as if they had not been seen.

        A model of its own is trained on what lies before the first window; the one of this
        forecaster is not changed, but its card will show these scores. Beside it stand the simple
        forecasts that every table of this project shows, as far as the history allows them.

        Args:
            data: a table, or tables; the history that was kept if None.
            windows: how many.
            stride: steps between their begins; the horizon if None.
            refit: train anew for each window, on all that lies before it.
            num_samples: joint paths of each window.
            seed: of the paths; the forecaster's own if None.
            baselines: whether simple forecasts are made, too.
            known: features of ``data``; this and the next three as in :meth:`fit`.
            past: likewise.
            future: likewise.
            static: likewise.

        Raises:
            DataError: too little history for so many windows.
            OptionError: no window, or a stride below 1.
        """
        if data is None:
            _ = self.predictor  # not fitted: says so
            history = self.kept.needed_by("backtest")
        else:  # a backtest trains its own model, of whatever series
            history = Kept.of(self.kept.reading(data, Features(known, past, future, static)))
        entries, shown = history.entries, quantile_columns()

        def drawn(
            predictor: TimeGradPredictor, known: list[Any], seed: int | None
        ) -> list[Forecast]:
            return draw(predictor, known, history.names, num_samples, seed, shown)

        result = run_backtest(
            self.recipe.train,
            drawn,
            entries,
            cut(entries, self.horizon, windows, self.horizon if stride is None else stride),
            horizon=self.horizon,
            refit=refit,
            num_samples=num_samples,
            seed=self.seed if seed is None else seed,
            baselines=baselines,
            grouped=history.grouped,
        )
        self.scores = result.scores()
        return result

    def calibrate(
        self, backtest: Backtest | None = None, *, windows: int = 20, **options: Any
    ) -> Recalibration:
        """Fit to past windows what makes the intervals hold; forecasts are mapped with it then.

        The windows are forecast by a model that was trained on what lies before them, as
        :meth:`backtest` does, not by this one, which has seen them.

        Args:
            backtest: one of this forecaster that was made already.
            windows: of the backtest that is made if None is given.
            options: of :class:`timediff.Recalibration`.

        Returns:
            The recalibration, kept as ``recalibration``, saved and loaded with the forecaster.

        Raises:
            DataError: too little history for so many windows, too few windows for a level that was
                named, or the backtest is of other series or another horizon.
            OptionError: an unknown or impossible option.

        Warns:
            DataWarning: there are too few windows for a level that is meant where none is named.
        """
        check_options(Recalibration, options, ("forecasts", "actuals"))
        if backtest is None:
            backtest = self.backtest(windows=windows, baselines=False)
        recalibration = Recalibration(backtest, **options)
        if recalibration.columns != self.columns:
            raise DataError(
                f"the backtest has the series {recalibration.columns}, the forecaster "
                f"{self.columns}"
            )
        steps = backtest.samples.shape[2]
        if steps != self.horizon:
            raise DataError(
                f"the backtest has windows of {steps} steps, the forecaster {self.horizon}"
            )
        self.recalibration = recalibration
        return recalibration

    # -- saving ------------------------------------------------------------------------------

    def save(self, path: str | Path, *, overwrite: bool = False, history: bool = True) -> Path:
        """Save as a directory: ``model.safetensors``, ``config.json``, history and a model card.

        Args:
            path: of the directory, which appears as a whole or not at all.
            overwrite: replace a forecaster that is there; anything else is left alone.
            history: whether to keep the history, without which a loaded forecaster needs
                ``predict(data)``.

        Raises:
            SavedModelError: there is something already, or the model cannot be saved.
        """
        from timediff.saved_forecaster import save_forecaster

        return save_forecaster(self, Path(path), overwrite, history)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "auto") -> "Forecaster":
        """Load what :meth:`save` wrote; runs no code and imports nothing the files name.

        Raises:
            SavedModelError: a file is missing, truncated, altered, or of a newer version.
        """
        from timediff.saved_forecaster import load_forecaster

        return load_forecaster(Path(path), device)

    @classmethod
    def from_predictor(
        cls, predictor: TimeGradPredictor, data: Any = None, **options: Any
    ) -> "Forecaster":
        """A forecaster around a predictor that was trained with GluonTS's interface.

        A backtest, or more training, is with the predictor's options.

        Args:
            predictor: the predictor.
            data: the history to forecast from, if any.
            options: ``seed`` and ``device`` of the forecaster.
        """
        spec, own = predictor.spec, vars(predictor.network.options)
        forecaster = cls(spec.prediction_length, freq=spec.freq, **{**own, **options})
        history = Kept()
        if data is not None:
            history = Kept.of(read(data, freq=spec.freq), predictor.columns)
        forecaster.take(predictor, history)
        return forecaster
