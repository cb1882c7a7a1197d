"""The forecasters that the suite compares, each behind the same two calls: train, then predict.

A forecaster is ``train(data, seed) -> predictor``; the predictor is called as those of timediff
are: ``predict(entries, num_samples=..., seed=...)``. All see the training data only when they
train, and each window's history, up to its first step, when they predict.
"""

import copy
import dataclasses
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from gluonts.model.forecast import SampleForecast
from lightning import seed_everything

from timediff import TimeGradEstimator
from timediff.baselines import simple_forecasts
from timediff.datasets import ForecastDataset
from timediff.errors import OptionError
from timediff.options import PRESETS, Options
from timediff.registry import unknown_name
from timediff.seasonality import seasons

QUIET = {"enable_progress_bar": False, "enable_model_summary": False}
ETS_STEPS = 1344  # of history that AutoETS is fitted to: eight weeks of hours, five years of days


class Model(NamedTuple):
    """One forecaster, ready to be trained on a data set."""

    kind: str  # "timediff", "simple", "peer" or "optimum"
    settings: dict[str, Any]  # everything it was told; with these and the seed it can be repeated
    train: Callable[[ForecastDataset, int], Any]


def models(data: ForecastDataset) -> dict[str, Model]:
    """All forecasters for a data set by name, in the order of the tables."""
    found = {name: preset(name) for name in PRESETS}
    history = data.train[0]["target"].shape[1]
    simple = simple_forecasts(data.freq, data.prediction_length, history)
    for name, predictor in simple.items():
        found[name] = Model("simple", _arguments(predictor), lambda *_, p=predictor: p)
    found["AutoETS"] = Model("peer", _ets_settings(data), _train_ets)
    found["DeepAR"] = Model("peer", {"gluonts": "DeepAREstimator, its defaults"}, _train_deepar)
    found["iTransformer"] = Model(
        "peer", {"gluonts": "ITransformerEstimator, its defaults"}, _train_itransformer
    )
    oracle = getattr(data, "oracle", None)
    if oracle is not None:
        found["true law"] = Model("optimum", {}, lambda *_: oracle)
    return found


def select(names: Iterable[str], data: ForecastDataset) -> dict[str, Model]:
    """The forecasters of these names; ``simple``, ``peers`` and ``all`` stand for groups.

    Raises:
        OptionError: an unknown name.
    """
    known = models(data)
    chosen: dict[str, Model] = {}
    for name in names:
        kind = {"simple": "simple", "peers": "peer"}.get(name)
        if name == "all":
            chosen |= known
        elif kind:
            chosen |= {key: model for key, model in known.items() if model.kind == kind}
        elif name in known:
            chosen[name] = known[name]
        elif name != "true law":  # there is one for generated data only
            raise unknown_name("model", name, [*known, "simple", "peers", "all"])
    return chosen


def _arguments(predictor: Any) -> dict[str, Any]:
    return {"class": type(predictor).__name__, **predictor.__init_args__}


# -- timediff --------------------------------------------------------------------------------


def preset(name: str, **changes: Any) -> Model:
    """A preset, some of its options changed."""
    options = dataclasses.asdict(Options.from_preset(name, **changes))

    def train(data: ForecastDataset, seed: int) -> Any:
        estimator = TimeGradEstimator(
            data.freq,
            data.prediction_length,
            preset=name,
            seed=seed,
            trainer_kwargs=QUIET,
            **changes,
        )
        return estimator.train(data.train)

    return Model("timediff", {"preset": name, **options}, train)


# -- peers -----------------------------------------------------------------------------------


class _PerSeries:
    """A GluonTS predictor of single series as a forecast of all: independent paths."""

    def __init__(self, predictor: Any):
        self.predictor = predictor

    def predict(
        self, entries: Iterable[dict[str, Any]], num_samples: int, seed: int
    ) -> Iterator[SampleForecast]:
        seed_everything(seed, verbose=False)  # GluonTS draws from the global generators
        for entry in entries:
            parts = list(self.predictor.predict(_single(entry), num_samples=num_samples))
            samples = np.stack([part.samples for part in parts], axis=-1)
            yield SampleForecast(samples, parts[0].start_date, entry.get("item_id"))


class _Joint:
    """A GluonTS predictor of all series at once."""

    def __init__(self, predictor: Any):
        self.predictor = predictor

    def predict(
        self, entries: Iterable[dict[str, Any]], num_samples: int, seed: int
    ) -> Iterator[SampleForecast]:
        seed_everything(seed, verbose=False)
        yield from self.predictor.predict(list(entries), num_samples=num_samples)


def _single(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"start": entry["start"], "target": series, "item_id": str(i)}
        for i, series in enumerate(entry["target"])
    ]


def _train_deepar(data: ForecastDataset, seed: int, **options: Any) -> Any:
    from gluonts.torch import DeepAREstimator

    trainer = QUIET | _scratch() | options.pop("trainer_kwargs", {})
    estimator = DeepAREstimator(
        data.freq, data.prediction_length, trainer_kwargs=trainer, **options
    )
    seed_everything(seed, verbose=False)
    return _PerSeries(estimator.train(_single(data.train[0]), cache_data=True))


def _train_itransformer(data: ForecastDataset, seed: int, **options: Any) -> Any:
    from gluonts.torch.model.i_transformer import ITransformerEstimator

    trainer = QUIET | _scratch() | options.pop("trainer_kwargs", {})
    estimator = ITransformerEstimator(data.prediction_length, trainer_kwargs=trainer, **options)
    seed_everything(seed, verbose=False)
    return _Joint(estimator.train(data.train, cache_data=True))


def _scratch() -> dict[str, Any]:
    """A folder for the checkpoints and logs that GluonTS leaves in the working directory."""
    return {"default_root_dir": tempfile.mkdtemp(prefix="timediff-suite-")}


def _ets_settings(data: ForecastDataset) -> dict[str, Any]:
    season = min([s for s in seasons(data.freq) if s <= 24], default=1)
    return {"statsforecast": "AutoETS", "season_length": season, "last_steps": ETS_STEPS}


class _Ets:
    """Fitted once to the end of each training series, then carried on from there to each window.

    Args:
        fitted: a model per series.
        start: where in the history the steps begin that they were fitted to: from there, where
            their initial states belong, they are filtered up to each window with their parameters.
        prediction_length: P.
    """

    def __init__(self, fitted: list[Any], start: int, prediction_length: int):
        self.fitted, self.start, self.prediction_length = fitted, start, prediction_length

    def predict(
        self, entries: Iterable[dict[str, Any]], num_samples: int, seed: int
    ) -> Iterator[SampleForecast]:
        from statsforecast.ets import forward_ets

        for number, entry in enumerate(entries):
            paths = []
            for i, (model, series) in enumerate(zip(self.fitted, entry["target"], strict=True)):
                current = copy.copy(model)
                current.model_ = forward_ets(model.model_, y=_filled(series[self.start :]))
                draw = (seed * 1000 + number) * 10000 + i
                paths.append(current.simulate(self.prediction_length, num_samples, seed=draw))
            samples = np.stack(paths, axis=-1).astype(np.float32)
            start = entry["start"] + entry["target"].shape[1]
            yield SampleForecast(samples, start, entry.get("item_id"))


def _filled(series: np.ndarray) -> np.ndarray:
    """A series with its gaps filled by the last value before them."""
    y = series.astype(float)
    at = np.maximum.accumulate(np.where(np.isnan(y), 0, np.arange(len(y))))
    return np.nan_to_num(y[at])


def _train_ets(data: ForecastDataset, seed: int) -> Any:
    try:
        from statsforecast.models import AutoETS
    except ImportError as error:
        raise OptionError(
            "AutoETS needs the package statsforecast: pip install timediff[peers]"
        ) from error
    season = _ets_settings(data)["season_length"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = data.train[0]["target"]
        start = max(0, target.shape[1] - ETS_STEPS)
        fitted = [AutoETS(season_length=season).fit(_filled(y)) for y in target[:, start:]]
    return _Ets(fitted, start, data.prediction_length)
