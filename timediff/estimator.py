"""TimeGrad as a GluonTS estimator."""

import dataclasses
import tempfile
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd
import torch
from gluonts.model.predictor import Predictor
from gluonts.torch.model.estimator import PyTorchLightningEstimator, TrainOutput
from gluonts.transform import Identity, Transformation

from timediff import seasonality
from timediff._arguments import whole
from timediff._calendars import named
from timediff._frequency import text_of
from timediff.checkpoints import check_checkpoint, load_weights
from timediff.device import best_device
from timediff.entries import Panel, check_names, names_of, read_dataset
from timediff.errors import DataError, OptionError
from timediff.feature_spec import FeatureSpec
from timediff.lightning_module import TimeGradModule
from timediff.options import Options
from timediff.predictor import TimeGradPredictor
from timediff.splits import last_windows, split_windows, window_spec
from timediff.stages import most_epochs
from timediff.store import SeriesStore
from timediff.training import Training
from timediff.validation import Source
from timediff.windows import WindowSpec, build_network

LARGEST_SEED = 2**64 - 1  # that torch's generators take


class TimeGradEstimator(PyTorchLightningEstimator):
    """Trains TimeGrad on multivariate series.

    Args:
        freq: pandas frequency of the data, such as ``"h"``, ``"D"``, ``"B"``, ``"15min"``; or an
            offset.
        prediction_length: P, steps to forecast.
        preset: ``"default"``; ``"fast"`` with less training; ``"best"`` with more of it
            and more priors; or ``"paper"``: TimeGrad exactly as published.
        seed: of the weights, the windows and the noise: the same seed gives the same model. None
            takes what torch's global generator holds. The global generator is not changed by a
            seed.
        trainer_kwargs: for Lightning's ``Trainer``, over what the options say. Nothing is written
            to the working directory unless a ``logger`` or a ``default_root_dir`` is given here.
        options: any of :class:`timediff.options.Options`.

    Raises:
        OptionError: an unknown or impossible option.

    Example:
        >>> estimator = TimeGradEstimator("h", 24, max_epochs=1, hidden_size=32)
        >>> estimator.options.hidden_size
        32
    """

    def __init__(
        self,
        freq: str | pd.offsets.BaseOffset,
        prediction_length: int,
        *,
        preset: str = "default",
        seed: int | None = None,
        trainer_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(trainer_kwargs=dict(trainer_kwargs or {}))
        if self.trainer_kwargs.get("max_epochs") is not None:
            whole("max_epochs in trainer_kwargs", self.trainer_kwargs["max_epochs"], 1)
        prediction_length = whole("prediction_length", prediction_length, 1)
        freq = text_of(freq)
        seasonality.seasons(freq)  # raises for a frequency that is not known
        self.freq, self.prediction_length = freq, prediction_length
        self.preset = preset
        self.seed = None if seed is None else whole("seed", seed, 0, LARGEST_SEED)
        self.options = Options.from_preset(preset, **options)

    # -- what GluonTS expects of an estimator ------------------------------------------------

    def create_transformation(self) -> Transformation:
        """Nothing: entries go to the window loader as they are."""
        return Identity()

    def create_predictor(  # type: ignore[override]
        self, transformation: Transformation, module: TimeGradModule, **kwargs: Any
    ) -> TimeGradPredictor:
        """The predictor of a trained module."""
        return TimeGradPredictor(module.trained, **kwargs)

    def train(  # type: ignore[override]
        self,
        training_data: Iterable[Any],
        validation_data: Iterable[Any] | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | None = None,
        **kwargs: Any,
    ) -> TimeGradPredictor:
        """Train on a dataset.

        Args:
            training_data: entries with ``start`` and ``target`` ``(D, T)`` (or ``(T,)``), NaN where
                missing; several entries of different lengths are welcome; a generator will do.
                Features in GluonTS's fields are read, see ``docs/covariates.md``.
            validation_data: entries whose last ``prediction_length`` steps decide when to stop and
                which weights to keep. Without them the end of the training data is held out, see
                ``validation_windows``.
            shuffle_buffer_length: not used: windows are always drawn at random from memory.
            cache_data: not used: the data are always in memory.
            ckpt_path: a full checkpoint of Lightning's to go on from.
            kwargs: not used; GluonTS passes some.

        Raises:
            DataError: see :func:`timediff.entries.read_dataset`; or too little history; or the
                entries do not all have the same features.
            TrainingError: the loss became infinite or NaN. Whatever else is raised in training is
                raised here, too.
        """
        return self.train_model(training_data, validation_data, ckpt_path=ckpt_path).predictor

    def train_from(  # type: ignore[override]
        self,
        predictor: Predictor,
        training_data: Iterable[Any],
        validation_data: Iterable[Any] | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | None = None,
    ) -> TimeGradPredictor:
        """Train on, from the weights of a predictor; windows are as they were for it.

        Raises:
            OptionError: the predictor is of another kind, or its frequency, horizon or sizes are
                not this estimator's.
        """
        return self.train_model(
            training_data, validation_data, from_predictor=predictor, ckpt_path=ckpt_path
        ).predictor

    def train_model(  # type: ignore[override]
        self,
        training_data: Iterable[Any],
        validation_data: Iterable[Any] | None = None,
        from_predictor: Predictor | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | None = None,
        **kwargs: Any,
    ) -> TrainOutput:
        """As :meth:`train`, and returns the Lightning trainer and module, too."""
        panels = self._read(training_data)
        for panel in panels:
            panel.check_observed()
            panel.warn_of_dead()
            panel.warn_of_absurd()
        held_out = None
        if validation_data is not None:
            held_out = self._read(validation_data)
            if held_out[0].values.shape[1] != panels[0].values.shape[1]:
                raise DataError("the validation data have another number of series")
            check_names(held_out, names_of(panels), "the training data have")
        if ckpt_path is not None:
            check_checkpoint(ckpt_path, most_epochs(self.trainer_kwargs, self.options.max_epochs))
        if from_predictor is None:
            spec = self._spec(max(len(panel.values) for panel in panels))
            spec = dataclasses.replace(spec, features=FeatureSpec.of(panels))
        elif isinstance(from_predictor, TimeGradPredictor):
            spec = from_predictor.spec
            if (spec.freq, spec.prediction_length) != (self.freq, self.prediction_length):
                raise OptionError(
                    f"the predictor forecasts {spec.prediction_length} steps of "
                    f"{named(spec.freq)!r}, this estimator {self.prediction_length} of "
                    f"{named(self.freq)!r}"
                )
            check_names([*panels, *(held_out or [])], from_predictor.columns, "the predictor has")
        else:
            raise OptionError(f"train_from takes a TimeGradPredictor, not {from_predictor!r}")
        panels = [spec.features.in_order(panel) for panel in panels]
        held_out = held_out and [spec.features.in_order(panel) for panel in held_out]
        for panel in [*panels, *(held_out or [])]:
            spec.features.check(panel)
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        fork = torch.random.fork_rng(devices) if self.seed is not None else nullcontext()
        with fork, tempfile.TemporaryDirectory() as scratch:
            if self.seed is not None:
                torch.manual_seed(self.seed)
            module, trainer, training = self._fit(
                panels, held_out, spec, from_predictor, ckpt_path, Path(scratch)
            )
        predictor = self.create_predictor(
            Identity(),
            module,
            spec=training.train.store.spec,
            columns=names_of(panels),
            # on the kind of device that it was trained on
            device=best_device(trainer.strategy.root_device),
            curves=pd.DataFrame(training.stages.curves.rows),
        )
        return TrainOutput(Identity(), module, trainer, predictor)

    # -- how it is done ----------------------------------------------------------------------

    def _read(self, dataset: Iterable[Any]) -> list[Panel]:
        """The entries; what diffuses levels is given them as they are."""
        panels = read_dataset(dataset, self.freq)
        return panels if self.options.prior else [panel.absolute() for panel in panels]

    def _fit(
        self,
        panels: list[Panel],
        held_out: list[Panel] | None,
        spec: WindowSpec,
        from_predictor: TimeGradPredictor | None,
        ckpt_path: str | None,
        scratch: Path,
    ) -> tuple[TimeGradModule, pl.Trainer, Training]:
        o = self.options
        network = build_network(o, spec, panels[0].values.shape[1])
        if from_predictor is not None:
            load_weights(network, from_predictor.network.state_dict(), "the predictor")
        store = SeriesStore(panels, spec)
        kept = o.validation_windows if held_out is None else 0
        windows, held, overlap = split_windows(panels, spec, kept)
        validation = Source(store, held, overlap)
        everything = None
        if o.refit is not None and len(held):
            everything = Source(store, split_windows(panels, spec, 0)[0])
        if held_out is not None:
            other = SeriesStore(held_out, spec)
            validation = Source(other, last_windows(other.lengths, spec.prediction_length))
        training = self._training(scratch, Source(store, windows), validation, everything)
        return *training.fit(network, from_predictor is None, ckpt_path), training

    def _spec(self, history: int) -> WindowSpec:
        return window_spec(self.options, self.freq, self.prediction_length, history)

    def _training(
        self, scratch: Path, train: Source, held_out: Source, everything: Source | None
    ) -> Training:
        return Training(self.options, self.trainer_kwargs, scratch, train, held_out, everything)
