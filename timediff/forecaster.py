"""The front door: tables in, forecasts with the tables' names and stamps out."""

import contextlib
import copy
import logging
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from timediff.backtest import Backtest, cut, run_backtest
from timediff.errors import DataError, OptionError, TimediffError
from timediff.estimator import TimeGradEstimator
from timediff.frames import to_wide
from timediff.predictor import TimeGradPredictor
from timediff.reading import Entry, Names, Reading, aligned, extended, read
from timediff.recalibration import Recalibration
from timediff.results import Forecast, ForecastGroup, quantile_columns

if TYPE_CHECKING:
    import matplotlib.figure


class Forecaster:
    """Fits timediff's model to tables and forecasts them, jointly.

    Args:
        horizon: steps to forecast.
        freq: pandas frequency of the data; inferred from their timestamps if None.
        preset: ``"default"``, ``"fast"``, ``"best"`` or ``"paper"``.
        seed: of the training, and of the paths unless ``predict`` is told another; the same seed
            gives the same numbers. None for fresh ones each time.
        device: to forecast on: ``"auto"``, ``"cpu"``, ``"cuda"``, ... Training takes the GPU if
            there is one, unless ``trainer_kwargs`` says something else.
        verbose: show the progress of training.
        options: any of :class:`timediff.Options`, and ``trainer_kwargs`` of
            :class:`timediff.TimeGradEstimator`.

    Raises:
        OptionError: an unknown or impossible option.

    Example:
        >>> forecaster = Forecaster(24, seed=0).fit(table)
        >>> forecaster.predict().to_frame(level=[80, 95])
    """

    def __init__(
        self,
        horizon: int,
        *,
        freq: str | None = None,
        preset: str = "default",
        seed: int | None = None,
        device: str | torch.device = "auto",
        verbose: bool = False,
        **options: Any,
    ):
        if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer):
            raise OptionError(f"horizon is {horizon!r}: give the number of steps to forecast")
        self.horizon, self.freq, self.preset, self.seed = int(horizon), freq, preset, seed
        self.device, self.verbose, self.options = device, verbose, options
        self._estimator(freq or "h")  # a wrong option is an error now, not after reading the data
        self._predictor: TimeGradPredictor | None = None
        self.entries: dict[Hashable, Entry] = {}
        self.names, self.grouped = Names(), False
        self.scores: pd.DataFrame | None = None  # of the last backtest, for the model card
        self.recalibration: Recalibration | None = None

    def __repr__(self) -> str:
        known = f"fitted to {len(self.columns)} series" if self._predictor else "not fitted"
        return f"<Forecaster of {self.horizon} steps, preset {self.preset!r}, {known}>"

    # -- fitting -----------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        *,
        id_column: str | None = None,
        time_column: str | None = None,
        target_column: str | None = None,
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

        Returns:
            Itself.

        Raises:
            DataError: the data cannot be read, or are too short; names series and timestamp.
            TrainingError: the training diverged.
        """
        reading = self._read(
            data, id_column=id_column, time_column=time_column, target_column=target_column
        )
        first = next(iter(reading.entries.values()))
        columns = first["info"]["columns"]
        history = {name: aligned(e, columns, name) for name, e in reading.entries.items()}
        predictor = self._train(list(history.values()))
        self.take(predictor, history, reading.names, reading.grouped)
        self.recalibration = None  # it was another model's
        return self

    def take(
        self,
        predictor: TimeGradPredictor,
        history: dict[Hashable, Entry],
        names: Names,
        grouped: bool,
    ) -> None:
        """Forecast with this predictor, from these entries on."""
        self._predictor, self.entries = predictor, history
        self.names, self.grouped = names, grouped
        if self.device != "auto":
            self._predictor = self._on(self.device, None)

    def _estimator(self, freq: str) -> TimeGradEstimator:
        options = dict(self.options)
        trainer = {
            "enable_progress_bar": self.verbose,
            **(options.pop("trainer_kwargs", None) or {}),
        }
        return TimeGradEstimator(
            freq,
            self.horizon,
            preset=self.preset,
            seed=self.seed,
            trainer_kwargs=trainer,
            **options,
        )

    def _train(
        self, entries: list[Entry], start: TimeGradPredictor | None = None
    ) -> TimeGradPredictor:
        estimator = self._estimator(entries[0]["start"].freqstr)
        with quiet(not self.verbose):
            if start is not None:
                return estimator.train_from(start, entries)
            return estimator.train(entries)

    def _read(self, data: Any, **columns: str | None) -> Reading:
        return read(data, freq=self.freq, **columns)

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
        quantiles: Sequence[float] | None = None,
        level: float | Sequence[float] | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        device: str | torch.device | None = None,
        calibrated: bool | None = None,
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
            calibrated: whether the paths are recalibrated; if :meth:`calibrate` was called, if
                None.

        Returns:
            The forecast; for a dict of tables, or several entries, a dict of them.

        Raises:
            DataError: the series are not those of the model.
            OptionError: an impossible argument.
            TimediffError: the forecaster is not fitted, or not calibrated.
        """
        if calibrated and self.recalibration is None:
            raise TimediffError("the forecaster is not calibrated: call calibrate() first")
        predictor = self._on(device, batch_size)
        history, names, grouped = self.entries, self.names, self.grouped
        if data is not None:
            reading = self._read(data, **self._columns_of(data))
            names, grouped = reading.names, reading.grouped
            history = {k: aligned(e, self.columns, k) for k, e in reading.entries.items()}
        shown = quantile_columns(quantiles, level)
        drawn = self._draw(
            predictor,
            list(history.items()),
            names,
            num_samples,
            self.seed if seed is None else seed,
            shown,
        )
        if self.recalibration is not None and calibrated is not False:
            drawn = [self.recalibration.apply(forecast) for forecast in drawn]
        forecasts = ForecastGroup(zip(history, drawn, strict=True))
        return forecasts if grouped else drawn[0]

    @staticmethod
    def _draw(
        predictor: TimeGradPredictor,
        known: list[tuple[Hashable, Entry]],
        names: Names,
        num_samples: int,
        seed: int | None,
        shown: dict[str, float],
    ) -> list[Forecast]:
        """The forecasts after these entries, each with the key of its group."""
        drawn = predictor.predict([entry for _, entry in known], num_samples, seed)
        return [
            Forecast(
                forecast.samples,
                forecast.start_date,
                entry["info"]["columns"],
                info=entry["info"],
                name=key,
                names=names,
                history=entry,
                shown=shown,
            )
            for (key, entry), forecast in zip(known, drawn, strict=True)
        ]

    def _on(self, device: str | torch.device | None, batch_size: int | None) -> TimeGradPredictor:
        """The predictor, or a copy that draws there and so many groups at a time."""
        predictor, network = self.predictor, self.predictor.network
        if device is not None and torch.device(device) != predictor.device:
            network = copy.deepcopy(network)
        elif batch_size is None:
            return predictor
        device = predictor.device if device is None else device
        other = TimeGradPredictor(network, predictor.spec, predictor.columns, device)
        if batch_size is not None:
            if batch_size < 1:
                raise OptionError(f"batch_size is {batch_size}: draw at least one at a time")
            other.batch_size = batch_size
        return other

    def _columns_of(self, data: Any) -> dict[str, str | None]:
        """The names of a long table's columns, if this one has those that were fitted to."""
        tables = list(data.values()) if isinstance(data, Mapping) else [data]
        own = {"id_column": self.names.id, "target_column": self.names.target}
        found = [set(own.values()) <= set(getattr(table, "columns", ())) for table in tables]
        return {**own, "time_column": self.names.time} if found and all(found) else {}

    def update(self, data: Any, *, train: bool = False) -> "Forecaster":
        """Append what has been observed since; the next forecast goes on from there.

        Args:
            data: rows of the same series, in any form that :meth:`fit` takes. Where they overlap
                with the history they replace it, NaN excepted; steps between are missing.
            train: train on from the present weights, on all of the history; without it the model
                stays as it is.

        Returns:
            Itself.

        Raises:
            DataError: the rows have other series, another frequency, or are of an unknown group.
        """
        predictor = self.predictor
        freq = self.freq or self._freq()  # a single row has none of its own
        reading = read(data, freq=freq, **self._columns_of(data))
        history = dict(self.entries)
        keys = list(history)
        for key, entry in reading.entries.items():
            key = keys[0] if not self.grouped and not reading.grouped else key
            if key not in history:
                raise DataError(f"there is no group {key!r}: groups are {keys}")
            history[key] = extended(history[key], aligned(entry, self.columns, key))
        if train:
            predictor = self._train(list(history.values()), start=predictor)
        self._predictor, self.entries = predictor, history
        return self

    def _freq(self) -> str:
        entry = next(iter(self.entries.values()))
        return str(entry["info"].get("freq", entry["start"].freqstr))

    def history(self) -> pd.DataFrame | dict[Hashable, pd.DataFrame]:
        """The history that forecasts go on from, as a wide table, or one for each group."""
        tables = {key: to_wide(entry) for key, entry in self.entries.items()}
        return tables if self.grouped else next(iter(tables.values()))

    def plot(self, **options: Any) -> "matplotlib.figure.Figure":
        """Fan charts of the next horizon; see :meth:`timediff.results.Forecast.plot`.

        Raises:
            OptionError: there are several groups.
        """
        forecast = self.predict()
        if isinstance(forecast, ForecastGroup):
            raise OptionError("there are several groups: plot one of predict()'s forecasts")
        return forecast.plot(**options)

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
    ) -> Backtest:
        """Forecast the last windows of the history as if they had not been seen.

        A model of its own is trained on what lies before the first window; this forecaster is not
        changed. Beside it stand the simple forecasts that every table of this project shows.

        Args:
            data: a table, or tables; the history that was kept if None.
            windows: how many.
            stride: steps between their begins; the horizon if None.
            refit: train anew for each window, on all that lies before it.
            num_samples: joint paths of each window.
            seed: of the paths; the forecaster's own if None.
            baselines: whether simple forecasts are made, too.

        Raises:
            DataError: too little history for so many windows.
        """
        if data is None:
            _ = self.predictor  # not fitted: says so
            reading = Reading(self.entries, self.names, self.grouped)
        else:
            reading = self._read(data, **self._columns_of(data))
        columns = next(iter(reading.entries.values()))["info"]["columns"]
        entries = {key: aligned(e, columns, key) for key, e in reading.entries.items()}
        shown = quantile_columns()

        def draw(
            predictor: TimeGradPredictor, known: list[Any], seed: int | None
        ) -> list[Forecast]:
            return self._draw(predictor, known, reading.names, num_samples, seed, shown)

        result = run_backtest(
            self._train,
            draw,
            entries,
            cut(entries, self.horizon, windows, stride or self.horizon),
            horizon=self.horizon,
            refit=refit,
            num_samples=num_samples,
            seed=self.seed if seed is None else seed,
            baselines=baselines,
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
            DataError: too little history for so many windows, too few windows for a level, or the
                backtest is of other series.
        """
        if backtest is None:
            backtest = self.backtest(windows=windows, baselines=False)
        recalibration = Recalibration(backtest, **options)
        if recalibration.columns != self.columns:
            raise DataError(
                f"the backtest has the series {recalibration.columns}, the forecaster "
                f"{self.columns}"
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

        Args:
            predictor: the predictor.
            data: the history to forecast from, if any.
            options: ``seed`` and ``device`` of the forecaster.
        """
        spec = predictor.spec
        forecaster = cls(spec.prediction_length, freq=spec.freq, **options)
        forecaster._predictor = predictor
        if data is not None:
            reading = read(data, freq=spec.freq)
            columns = predictor.columns or next(iter(reading.entries.values()))["info"]["columns"]
            history = {key: aligned(e, columns, key) for key, e in reading.entries.items()}
            forecaster.take(predictor, history, reading.names, reading.grouped)
        return forecaster


@contextlib.contextmanager
def quiet(wanted: bool) -> Iterator[None]:
    """Without Lightning's lines on hardware; how it was set before is set again."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    try:
        if wanted:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        logger.setLevel(level)
