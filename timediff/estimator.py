"""TimeGrad as a GluonTS estimator."""

import copy
import itertools
import logging
import math
import tempfile
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from gluonts.model.predictor import Predictor
from gluonts.torch.model.estimator import PyTorchLightningEstimator, TrainOutput
from gluonts.transform import Identity, Transformation
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from timediff import seasonality
from timediff.entries import Panel, read_dataset
from timediff.errors import DataError, OptionError
from timediff.lightning_module import TimeGradModule
from timediff.loader import PoolLoader, SeriesStore, WindowLoader, WindowSpec
from timediff.network import Batch, Innovations, ResidualNetwork, RowBatch, TimeGradNetwork
from timediff.options import Options
from timediff.predictor import TimeGradPredictor, best_device, build_network

logger = logging.getLogger(__name__)

MAX_VALIDATION_WINDOWS = 512
VALIDATION_OVERLAP = 4  # windows that begin within one horizon
START_ROWS = 4096  # from which the constants of the prior are computed
POOL_ROWS = 600_000  # pasts whose innovations the diffusion is trained on


class TimeGradEstimator(PyTorchLightningEstimator):
    """Trains TimeGrad on multivariate series.

    Args:
        freq: pandas frequency of the data, such as ``"h"``, ``"D"``, ``"B"``, ``"15min"``.
        prediction_length: P, steps to forecast.
        preset: ``"default"``, or ``"paper"``: TimeGrad exactly as published.
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
        freq: str,
        prediction_length: int,
        *,
        preset: str = "default",
        seed: int | None = None,
        trainer_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(trainer_kwargs=dict(trainer_kwargs or {}))
        if prediction_length < 1:
            raise OptionError(f"prediction_length is {prediction_length}: forecast at least 1 step")
        seasonality.seasons(freq)  # raises for a frequency that is not known
        self.freq, self.prediction_length = freq, prediction_length
        self.preset, self.seed = preset, seed
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
            validation_data: entries whose last ``prediction_length`` steps decide when to stop and
                which weights to keep. Without them the end of the training data is held out, see
                ``validation_windows``.
            shuffle_buffer_length: not used: windows are always drawn at random from memory.
            cache_data: not used: the data are always in memory.
            ckpt_path: a full checkpoint of Lightning's to go on from.
            kwargs: not used; GluonTS passes some.

        Raises:
            DataError: see :func:`timediff.entries.read_dataset`; or too little history.
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
            OptionError: the predictor is of another kind, or its sizes are not this estimator's.
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
        panels = read_dataset(training_data, self.freq)
        for panel in panels:
            panel.check_observed()
        held_out = None
        if validation_data is not None:
            held_out = read_dataset(validation_data, self.freq)
            if held_out[0].values.shape[1] != panels[0].values.shape[1]:
                raise DataError("the validation data have another number of series")
        if ckpt_path is not None:
            _check_checkpoint(ckpt_path)
        if from_predictor is None:
            spec = self._spec(max(len(panel.values) for panel in panels))
        elif isinstance(from_predictor, TimeGradPredictor):
            spec = from_predictor.spec
        else:
            raise OptionError(f"train_from takes a TimeGradPredictor, not {from_predictor!r}")
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        fork = torch.random.fork_rng(devices) if self.seed is not None else nullcontext()
        with fork, tempfile.TemporaryDirectory() as scratch:
            if self.seed is not None:
                torch.manual_seed(self.seed)
            module, trainer = self._fit(
                panels, held_out, spec, from_predictor, ckpt_path, Path(scratch)
            )
        predictor = self.create_predictor(
            Identity(),
            module,
            spec=spec,
            columns=(panels[0].info or {}).get("columns"),
            device=self._device(trainer),
        )
        return TrainOutput(Identity(), module, trainer, predictor)

    # -- how it is done ----------------------------------------------------------------------

    def _spec(self, history: int) -> WindowSpec:
        """What a window holds, from the options, the frequency and the longest history."""
        o, p = self.options, self.prediction_length
        season = seasonality.filling_season(self.freq, history, p)
        context = o.context_length or p
        if o.prior:
            lookback = o.lookback or seasonality.default_lookback(self.freq, history, p)
            if o.lookback and lookback > history - p - 1:
                raise OptionError(
                    f"lookback {lookback} is longer than the longest history, {history} steps, "
                    "leaves: leave lookback to the library, or give a shorter one"
                )
            return WindowSpec(
                freq=self.freq,
                prediction_length=p,
                context_length=p * -(-context // p),
                season=season,
                lookback=lookback,
                seasonal=seasonality.seasonal_offsets(self.freq, history, p, o.seasonal_values),
                level=min(lookback, seasonality.level_span(self.freq, p)),
                yearly=seasonality.knows_years(self.freq, history),
            )
        if o.lags is None:
            lags = seasonality.default_lags(self.freq, history, p)
        elif o.lags == "published":
            lags = seasonality.published_lags(self.freq, history, p)
        else:
            lags = tuple(int(lag) for lag in o.lags)
            if max(lags) > history - p - 1:
                raise OptionError(
                    f"lag {max(lags)} reaches beyond the longest history, {history} steps: "
                    "leave lags to the library, or give shorter ones"
                )
        return WindowSpec(
            freq=self.freq,
            prediction_length=p,
            context_length=context,
            season=season,
            lags=lags,
            scaling=o.scaling,
            scale_window=o.scale_window,
        )

    def _windows(
        self, panels: list[Panel], spec: WindowSpec, hold_out: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Entry and start of the horizon of the windows to train on, and of those held out."""
        p = spec.prediction_length
        train, validation = [], []
        for i, panel in enumerate(panels):
            length = len(panel.values)
            if length <= p:
                raise DataError(
                    f"{panel.title} has {length} steps: training takes more than the prediction "
                    f"length of {p}; leave it out, or forecast fewer steps"
                )
            kept = min(self.options.validation_windows, length // (10 * p)) if hold_out else 0
            end = length - kept * p
            first = max(1, min(spec.pad, (end - p) // 2))
            train += [(i, start) for start in range(first, end - p + 1)]
            stride = max(1, p // VALIDATION_OVERLAP)
            validation += [(i, start) for start in range(end, length - p + 1, stride)]
        stride = -(-len(validation) // MAX_VALIDATION_WINDOWS) or 1
        return _table(train), _table(validation[::stride])

    def _fit(
        self,
        panels: list[Panel],
        held_out: list[Panel] | None,
        spec: WindowSpec,
        from_predictor: TimeGradPredictor | None,
        ckpt_path: str | None,
        scratch: Path,
    ) -> tuple[TimeGradModule, pl.Trainer]:
        o = self.options
        network = build_network(o, spec, panels[0].values.shape[1])
        if from_predictor is not None:
            try:
                network.load_state_dict(from_predictor.network.state_dict())
            except RuntimeError as error:
                raise OptionError(
                    f"the predictor's network is not this estimator's: {error}"
                ) from error
        store = SeriesStore(panels, spec)
        train_windows, val_windows = self._windows(panels, spec, hold_out=held_out is None)
        val_store = store
        if held_out is not None:
            p = spec.prediction_length
            val_store = SeriesStore(held_out, spec)
            val_windows = _table(
                [(i, length - p) for i, length in enumerate(val_store.lengths) if length > p]
            )
            if not len(val_windows):
                raise DataError(f"no validation entry is longer than {p} steps")
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        steps = sum(len(panel.values) for panel in panels)
        horizons = steps / spec.prediction_length

        def batches(passes: float | None, items: float, size: int, epochs: int) -> int:
            """Batches of an epoch, so that all epochs together go over the items so often."""
            if passes is None or not epochs:
                return o.num_batches_per_epoch
            wanted = round(passes * items / (size * epochs))
            return min(o.num_batches_per_epoch, max(2, wanted))

        if isinstance(network, ResidualNetwork):
            if ckpt_path is None:
                if from_predictor is None:
                    start = WindowLoader(store, train_windows, START_ROWS, 1, generator, rows=True)
                    network.start(next(b for b in start if isinstance(b, RowBatch)))
                if o.prior_epochs:
                    rows = horizons * network.target_dim
                    number = batches(o.prior_passes, rows, o.prior_rows, o.prior_epochs)
                    module, trainer = self._fit_stage(
                        "prior",
                        network,
                        WindowLoader(
                            store, train_windows, o.prior_rows, number, generator, rows=True
                        ),
                        WindowLoader(val_store, val_windows, o.prior_rows, rows=True),
                        len(val_windows),
                        None,
                        scratch,
                    )
                    network = module.trained
                    assert isinstance(network, ResidualNetwork)
            if ckpt_path is not None:
                network.load_state_dict(_weights(ckpt_path))
            network.eval()
            number = batches(o.passes, horizons, o.batch_size, o.max_epochs)
            count = max(o.batch_size, POOL_ROWS // (len(spec.blocks) * network.target_dim))
            pick = torch.randperm(len(train_windows), generator=generator)[:count]
            whole = WindowLoader(store, train_windows[pick], o.batch_size)
            pool = network.pool(
                (b for b in whole if isinstance(b, Batch)),
                None if ckpt_path is not None else steps,
            )
            train: Any = PoolLoader(pool, o.batch_size, number, generator)
            validation: Any = WindowLoader(val_store, val_windows, o.batch_size)
            held = [network.innovations(b) for b in validation if isinstance(b, Batch)]
            if held:
                joined = (torch.cat(part) for part in zip(*held, strict=True))
                validation = PoolLoader(Innovations(*joined), o.batch_size)
        else:
            number = batches(o.passes, horizons, o.batch_size, o.max_epochs)
            train = WindowLoader(store, train_windows, o.batch_size, number, generator)
            validation = WindowLoader(val_store, val_windows, o.batch_size)
        module, trainer = self._fit_stage(
            "diffusion", network, train, validation, len(val_windows), ckpt_path, scratch
        )
        network = module.trained
        network.requires_grad_(False).eval()
        if o.bound_samples:
            for batch in itertools.islice(train, 50):
                network.widen_bounds(
                    batch.w if isinstance(batch, Innovations) else network.diffused(batch)
                )
        return module, trainer

    def _fit_stage(
        self,
        stage: str,
        network: TimeGradNetwork,
        train: WindowLoader | PoolLoader,
        validation: WindowLoader | PoolLoader,
        windows: int,
        ckpt_path: str | None,
        scratch: Path,
    ) -> tuple[TimeGradModule, pl.Trainer]:
        """Train one stage; the module's ``trained`` network has the best weights."""
        o = self.options
        epochs = o.prior_epochs if stage == "prior" else o.max_epochs
        validated = len(validation) > 0
        trainer, checkpoint = self._trainer(scratch, validated, epochs)
        epochs = trainer.max_epochs or epochs
        module = TimeGradModule(network, stage, max(1, epochs * len(train))).train()
        started = copy.deepcopy(module.state_dict())
        before = _losses(module, validation)
        trainer.fit(module, train, validation if validated else None, ckpt_path=ckpt_path)
        if checkpoint is not None and checkpoint.best_model_path:
            best = torch.load(checkpoint.best_model_path, map_location="cpu", weights_only=True)
            Path(checkpoint.best_model_path).unlink()
            module.to("cpu").load_state_dict(best["state_dict"])
            after = _losses(module, validation)
            if ckpt_path is None and not _improved(before, after, windows):
                logger.info("training the %s did not improve on its start, which is kept", stage)
                module.load_state_dict(started)
        module.to("cpu")
        return module, trainer

    def _trainer(
        self, scratch: Path, validated: bool, epochs: int
    ) -> tuple[pl.Trainer, ModelCheckpoint | None]:
        """A trainer that writes to ``scratch`` only, and the callback that keeps the best."""
        o = self.options
        given = {**self.trainer_kwargs}
        callbacks = given.pop("callbacks", None) or []
        callbacks = copy.copy(callbacks) if isinstance(callbacks, list) else [callbacks]
        checkpoint = None
        if validated and given.get("enable_checkpointing", True):
            checkpoint = ModelCheckpoint(
                dirpath=scratch, monitor="val_loss", mode="min", save_weights_only=True
            )
            callbacks.append(checkpoint)
            if not any(isinstance(callback, EarlyStopping) for callback in callbacks):
                callbacks.append(EarlyStopping("val_loss", patience=o.patience))
        defaults: dict[str, Any] = {
            "accelerator": "auto",
            "devices": 1,
            "max_epochs": epochs,
            "gradient_clip_val": o.gradient_clip,
            "logger": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks),
        }
        if not given.get("logger"):
            defaults["default_root_dir"] = scratch
        return pl.Trainer(**{**defaults, **given, "callbacks": callbacks}), checkpoint

    def _device(self, trainer: pl.Trainer) -> torch.device:
        """Where the predictor draws: on the kind of device that it was trained on."""
        return best_device(trainer.strategy.root_device)


def _table(windows: list[tuple[int, int]]) -> torch.Tensor:
    """``(n, 2)``: entry and start of the horizon."""
    return torch.tensor(windows, dtype=torch.long).reshape(-1, 2)


def _losses(module: TimeGradModule, validation: WindowLoader | PoolLoader) -> torch.Tensor:
    """The validation loss of each window or row."""
    training = module.training
    module.eval()
    with torch.no_grad():
        losses = [module.validation_losses(batch, i) for i, batch in enumerate(validation)]
    module.train(training)
    return torch.cat(losses) if losses else torch.empty(0)


def _improved(before: torch.Tensor, after: torch.Tensor, windows: int) -> bool:
    """Whether the loss fell by more than the standard error of its fall.

    Args:
        before: losses of the windows, or of the rows of each of them, one window after another.
        after: the same later, with the same noise.
        windows: how many there are; of those that overlap only one in each horizon counts.
    """
    fall = (before - after).reshape(windows, -1).mean(1)
    error = fall.std() * math.sqrt(VALIDATION_OVERLAP / windows) if windows > 1 else 0.0
    return bool(fall.mean() > error)


def _weights(path: str) -> dict[str, torch.Tensor]:
    """The network in a checkpoint of Lightning's."""
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "network."
    return {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}


def _check_checkpoint(path: str) -> None:
    """Raise unless Lightning can go on from this file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise OptionError(f"ckpt_path {path!r} cannot be read: {error}") from error
    if "optimizer_states" not in state:
        raise OptionError(
            f"ckpt_path {path!r} holds weights only, so training cannot go on from it: save one "
            "with ModelCheckpoint(save_weights_only=False), or use train_from(predictor)"
        )
