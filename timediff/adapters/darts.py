"""A forecasting model of Darts; forecasts and tables as Darts knows them.

>>> from timediff.adapters.darts import TimeDiffModel, from_darts, to_darts
>>> TimeDiffModel(output_chunk_length=24, seed=0).fit(series).predict(24, num_samples=100)
>>> to_darts(Forecaster(24).fit(from_darts(series)).predict())
"""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

try:
    from darts import TimeSeries
    from darts.models.forecasting.forecasting_model import GlobalForecastingModel
except ImportError as error:
    raise ImportError("this adapter needs Darts: pip install 'timediff[darts]'") from error

from timediff._arguments import whole
from timediff._calendars import named
from timediff._frequency import offset_of, text_of
from timediff._inferred import infer
from timediff._stamps import timestamps
from timediff.errors import DataError, OptionError
from timediff.forecaster import Forecaster
from timediff.results import Forecast

Many: TypeAlias = TimeSeries | Sequence[TimeSeries]


def to_darts(forecast: Forecast) -> TimeSeries:
    """The joint paths as a stochastic series: time × component × sample.

    Sample s of every component and time belongs to the same path. Darts knows no time zones: stamps
    that have one become those of UTC; of days and longer steps, which begin by the local clock, the
    zone is left out. Periods are stamped with their begins.

    Args:
        forecast: of one group.
    """
    index, info = forecast.stamps, forecast.info
    if index.tz is not None:
        local = info.get("clock") == "local"
        index = (index if local else index.tz_convert("UTC")).tz_localize(None)
    freq = info.get("freq") or infer(timestamps(forecast.start, 10, info))  # periods say none
    return TimeSeries.from_times_and_values(
        pd.DatetimeIndex(index),
        np.ascontiguousarray(forecast.samples.transpose(1, 2, 0)),
        columns=[str(column) for column in forecast.columns],
        freq=offset_of(freq),
    )


def from_darts(series: TimeSeries) -> Any:
    """A deterministic series as a wide table, for ``Forecaster.fit`` and ``predict``.

    Args:
        series: indexed by time; its components become the series.

    Raises:
        DataError: the series has samples, or is indexed by whole numbers.
    """
    _check_history(series)
    return pd.DataFrame(series.values(), series.time_index, [str(c) for c in series.components])


def _check_history(series: TimeSeries) -> None:
    if series.n_samples > 1:
        raise DataError(f"the series has {series.n_samples} samples: give what was observed")
    if not series.has_datetime_index:
        raise DataError("the series is indexed by whole numbers: give one with timestamps")


class TimeDiffModel(GlobalForecastingModel):
    """Joint probabilistic forecasts of all components of a series, by diffusion.

    Sample s of every component and time of a forecast is one path, so sums and maxima over
    components and times are right path by path. NaN is a missing value. Of a list of series, which
    are the same components elsewhere or at other times, one model is fitted. Components go by their
    names, or, if no name is the same, by their places.

    Args:
        output_chunk_length: steps that the model forecasts; ``predict`` gives as many or fewer.
        preset: ``"default"``, ``"fast"``, ``"best"`` or ``"paper"``; see ``timediff.Forecaster``.
        seed: of the training, and of the paths unless ``random_state`` is given; the same seed
            gives the same paths. None for fresh ones each time.
        use_static_covariates: read static covariates of the series, numbers and categories.
        add_encoders: past and future covariates made from the times; see Darts.
        options: further arguments of ``timediff.Forecaster``, such as ``max_epochs``.

    Attributes:
        forecaster: the fitted ``timediff.Forecaster``, with all it can do; None before. Its
            messages call past covariates ``past``, future ones ``known``.

    Raises:
        OptionError: an unknown or impossible option.
    """

    def __init__(
        self,
        output_chunk_length: int,
        *,
        preset: str = "default",
        seed: int | None = None,
        use_static_covariates: bool = True,
        add_encoders: dict[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(add_encoders=add_encoders)
        self._options = {"horizon": output_chunk_length, "preset": preset, "seed": seed, **options}
        self._considers_static_covariates = use_static_covariates
        self.forecaster: Forecaster | None = None
        Forecaster(freq=None, verbose=False, **self._options)  # so that a wrong option is an error

    # -- fitting and forecasting -------------------------------------------------------------

    def fit(
        self,
        series: Many,
        past_covariates: Many | None = None,
        future_covariates: Many | None = None,
        verbose: bool | None = None,
    ) -> "TimeDiffModel":
        """Train a model.

        Args:
            series: one, or a list, with timestamps; each longer than ``output_chunk_length``.
            past_covariates: of each series, what is known of the past only; from its first step on.
            future_covariates: likewise, what is known ahead.
            verbose: show the progress of training.

        Returns:
            Itself.

        Raises:
            DataError: series or covariates cannot be used; names component and timestamp.
            TrainingError: the training diverged.
        """
        first = _listed(series)[0]
        _check_history(first)
        forecaster = Forecaster(freq=text_of(first.freq), verbose=bool(verbose), **self._options)
        self.encoders = self.initialize_encoders()
        past, future = self._encoded(series, past_covariates, future_covariates)
        self.forecaster = forecaster.fit(**self._tables(forecaster, series, past, future))
        self.training_series = self.past_covariate_series = self.future_covariate_series = None
        self._uses_past_covariates = self._uses_future_covariates = False
        self.static_covariates, self._uses_static_covariates = None, False
        super().fit(series, past, future)
        return self

    def predict(
        self,
        n: int,
        series: Many | None = None,
        past_covariates: Many | None = None,
        future_covariates: Many | None = None,
        num_samples: int = 1,
        verbose: bool | None = None,
        predict_likelihood_parameters: bool = False,
        show_warnings: bool = True,
        random_state: int | None = None,
    ) -> Any:
        """Draw joint paths of the ``n`` steps after the end of a series.

        Args:
            n: steps, ``output_chunk_length`` at most.
            series: one, or a list; the one of the training if None.
            past_covariates: of each series; those of the training if None.
            future_covariates: likewise, to ``output_chunk_length`` steps beyond it, whatever ``n``.
            num_samples: joint paths. One is a single path, not the mean.
            verbose: not used, nor is ``show_warnings``.
            predict_likelihood_parameters: there are none to predict.
            show_warnings: not used.
            random_state: seed of the paths; the model's own if None.

        Returns:
            A stochastic series, time × component × sample; for a list, a list of them.

        Raises:
            DataError: the series are not those of the model, a covariate is not known over the
                horizon, or there is no series.
            OptionError: ``n`` is beyond what the model forecasts.
        """
        if whole("n", n, 1) > self.output_chunk_length:
            raise OptionError(
                f"n is {n}, but the model forecasts {self.output_chunk_length} steps: fit one with "
                f"output_chunk_length={n}"
            )
        past, future = past_covariates, future_covariates
        if self._fit_called:
            series = self.training_series if series is None else series
            if series is None:
                raise DataError("no series was kept from the training: give series=")
            kept = (self.past_covariate_series, self.future_covariate_series)
            past, future = (
                [own] * len(_listed(series)) if given is None and own is not None else given
                for given, own in zip((past, future), kept, strict=True)
            )
            past, future = self._encoded(series, past, future)
        super().predict(
            n=n,
            series=series,
            past_covariates=past,
            future_covariates=future,
            num_samples=num_samples,
            predict_likelihood_parameters=predict_likelihood_parameters,
        )  # raises if the model is not fitted, or was fitted with other kinds of covariates
        assert self.forecaster is not None and series is not None
        parts = self._tables(self.forecaster, series, past, future)
        drawn: Any = self.forecaster.predict(**parts, num_samples=num_samples, seed=random_state)
        if isinstance(series, TimeSeries):
            return self._going_on(series, parts["data"], drawn, n)
        return [self._going_on(s, parts["data"][i], drawn[i], n) for i, s in enumerate(series)]

    def _going_on(self, series: TimeSeries, table: Any, forecast: Forecast, n: int) -> TimeSeries:
        """The first steps of a forecast, stamped and named as this series goes on."""
        order = [forecast.columns.index(column) for column in table.columns]
        paths = forecast.samples[:, :n, order].transpose(1, 2, 0)
        paths = np.ascontiguousarray(paths, dtype=series.dtype)
        return self._build_forecast_series(paths, input_series=series)

    def _encoded(self, series: Many, past: Many | None, future: Many | None) -> tuple[Any, Any]:
        """The covariates with what the encoders make of all of the series and the horizon."""
        if not self.encoders.encoding_available:
            return past, future
        return self.generate_fit_predict_encodings(self.output_chunk_length, series, past, future)

    def _tables(
        self, forecaster: Forecaster, series: Many, past: Many | None, future: Many | None
    ) -> dict[str, Any]:
        """Arguments of a forecaster: tables for a single series, for a list dicts by its places."""
        many, freq = _listed(series), str(forecaster.freq)
        tables = [from_darts(one) for one in many]
        columns = forecaster.kept.columns or list(tables[0].columns)
        parts: dict[str, dict[int, Any]] = {"data": dict(enumerate(tables)), "static": {}}
        for i, (one, table) in enumerate(zip(many, tables, strict=True)):
            if text_of(one.freq) != freq:
                raise DataError(
                    f"series {i} has the frequency {named(text_of(one.freq))!r}, not "
                    f"{named(freq)!r}: resample it"
                )
            if len(columns) == len(table.columns) and not set(columns) & set(table.columns):
                table.columns = columns  # other names in the same places
            static = one.static_covariates
            if static is not None and self.considers_static_covariates:
                rows = np.arange(len(columns)) % len(static)  # one of each component, or of all
                parts["static"][i] = static.iloc[rows].set_axis(table.columns, axis=0)
        for name, given in {"past": past, "known": future}.items():
            if given is not None:
                parts[name] = {i: from_darts(one) for i, one in enumerate(_listed(given))}
        single = isinstance(series, TimeSeries)
        return {name: part[0] if single else part for name, part in parts.items() if part}

    # -- saving ------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """The state to pickle: of the forecaster the files that it saves, which hold no code."""
        state = dict(self.__dict__)
        if self.forecaster is not None:
            with tempfile.TemporaryDirectory() as scratch:
                history = self.training_series is not None
                folder = self.forecaster.save(Path(scratch) / "model", history=history)
                state["forecaster"] = {file.name: file.read_bytes() for file in folder.iterdir()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if state["forecaster"] is not None:
            with tempfile.TemporaryDirectory() as scratch:
                for name, content in state["forecaster"].items():
                    (Path(scratch) / Path(name).name).write_bytes(content)  # nowhere else
                self.forecaster = Forecaster.load(scratch)

    # -- what Darts asks of a model ----------------------------------------------------------

    output_chunk_length = property(lambda self: self._options["horizon"])
    min_train_samples = property(lambda self: 1)
    _target_window_lengths = property(lambda self: (1, self.output_chunk_length))
    # no chunks: encodings are of each step of the series
    _model_encoder_settings = property(lambda self: (1, 0, True, True, None, None))
    supports_multivariate = supports_probabilistic_prediction = property(lambda self: True)
    supports_past_covariates = supports_future_covariates = property(lambda self: True)
    supports_static_covariates = property(lambda self: True)
    supports_sample_weight = supports_optimized_historical_forecasts = property(lambda self: False)

    @property
    def extreme_lags(self) -> tuple[int | None, ...]:
        """One step of the past is enough; future covariates reach to the end of the horizon."""
        last = self.output_chunk_length - 1
        return -1, last, -1, -1, -1, last, 0


with contextlib.suppress(ImportError):  # Darts 0.48 and later load only what is registered
    from darts.utils.serialization import add_safe_globals

    add_safe_globals([TimeDiffModel])


def _listed(series: Many) -> list[TimeSeries]:
    """The series as a list, also a single one."""
    found = [series] if isinstance(series, TimeSeries) else list(series)
    if not found or not all(isinstance(one, TimeSeries) for one in found):
        raise DataError("there is no series: give a TimeSeries of Darts, or a list of them")
    return found
