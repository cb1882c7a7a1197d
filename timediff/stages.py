"""A stage of training, with Lightning: its trainer, its best weights, and whether it helped."""

import copy
import logging
import math
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from timediff.checkpoints import BestWeights, Curves
from timediff.errors import OptionError
from timediff.lightning_module import TimeGradModule
from timediff.loader import PoolLoader, WindowLoader
from timediff.network import TimeGradNetwork
from timediff.options import Options
from timediff.validation import Source, improved, losses

logger = logging.getLogger(__name__)

Loader = WindowLoader | PoolLoader
PRECISIONS = "32-true", "16-mixed", "bf16-mixed"  # what is read and drawn is in single precision


class Stages:
    """The stages of one training, one after the other.

    Args:
        options: the model's.
        trainer_kwargs: for Lightning's ``Trainer``, over what the options say.
        scratch: folder for checkpoints.

    Attributes:
        curves: the losses of all stages so far.
        best_epochs: of each stage the last time it was trained, 0 where its start was kept.
        device: where networks are, between the stages, too.
    """

    def __init__(self, options: Options, trainer_kwargs: dict[str, Any], scratch: Path):
        self.options, self.trainer_kwargs, self.scratch = options, trainer_kwargs, scratch
        self.curves = Curves()
        self.best_epochs: dict[str, int] = {}
        callbacks = trainer_kwargs.get("callbacks") or []
        self.callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
        # as they are before they have seen anything
        self.unused = {
            id(c): copy.deepcopy(c) for c in self.callbacks if isinstance(c, EarlyStopping)
        }
        self.device = torch.device("cpu")
        if torch.cuda.is_available():  # what is done between the stages is done there, too
            root = self._trainer(validated=False, epochs=1, whole=False)[0].strategy.root_device
            self.device = root if root.type == "cuda" else self.device

    def run(
        self,
        stage: str,
        network: TimeGradNetwork,
        train: Loader,
        validation: Loader,
        held_out: Source,
        ckpt_path: str | None = None,
        again: bool = False,
        epochs: int | None = None,
    ) -> tuple[TimeGradModule, pl.Trainer]:
        """Train one stage, for the first time or again; its start is kept unless it is beaten.

        With a number of epochs it ends after so many, the learning rate as if it went on.

        Raises:
            OptionError: ``trainer_kwargs`` are not such that a stage can be trained by them.
        """
        o = self.options
        own = o.prior_epochs if stage == "prior" else o.max_epochs
        most = most_epochs(self.trainer_kwargs, own)
        validated = len(validation) > 0
        whole = stage == "diffusion" and not again
        trainer, checkpoint = self._trainer(validated, epochs or most, whole, epochs is not None)
        module = TimeGradModule(network, stage, max(1, most * len(train))).train()
        started = copy.deepcopy(module.state_dict())
        before, first = losses(module, validation), len(self.curves.rows)
        if epochs != 0:
            with warnings.catch_warnings():
                if not validated:  # on purpose
                    warnings.filterwarnings("ignore", "You defined a `validation_step` but have no")
                trainer.fit(module, train, validation if validated else None, ckpt_path=ckpt_path)
        module.to(self.device)
        if checkpoint is not None and checkpoint.best_model_path:
            best = torch.load(
                checkpoint.best_model_path, map_location=self.device, weights_only=True
            )
            Path(checkpoint.best_model_path).unlink()
            module.load_state_dict(best["state_dict"])
            after = losses(module, validation)
            self.best_epochs[stage] = best_epoch(
                [row["val_loss"] for row in self.curves.rows[first:]]
            )
            if ckpt_path is None and not improved(before, after, *held_out[1:]):
                logger.info("training the %s did not improve on its start, which is kept", stage)
                module.load_state_dict(started)
                self.best_epochs[stage] = 0
        return module, trainer

    def _trainer(
        self, validated: bool, epochs: int, whole: bool, fixed: bool = False
    ) -> tuple[pl.Trainer, ModelCheckpoint | None]:
        """A trainer that writes to the scratch folder only, and the callback that keeps the best.

        Args:
            validated: whether there are windows to validate on.
            epochs: how many.
            whole: with the user's checkpoints, and early stopping that remembers what it saw: in
                the first run of the diffusion, not of what comes before and after.
            fixed: no epoch fewer, whatever a callback says of stopping early.
        """
        o = self.options
        given = {**self.trainer_kwargs}
        given.pop("callbacks", None)
        callbacks = [*self.callbacks, self.curves]
        if fixed:
            callbacks = [c for c in callbacks if not isinstance(c, EarlyStopping)]
        if not whole:
            callbacks = [c for c in callbacks if not isinstance(c, ModelCheckpoint)]
            callbacks = [
                copy.deepcopy(self.unused[id(c)]) if id(c) in self.unused else c for c in callbacks
            ]
        checkpoint = None
        if validated and given.get("enable_checkpointing", True):
            checkpoint = BestWeights(
                dirpath=self.scratch, monitor="val_loss", mode="min", save_weights_only=True
            )
            callbacks.append(checkpoint)
            if not any(isinstance(callback, EarlyStopping) for callback in callbacks):
                callbacks.append(EarlyStopping("val_loss", patience=o.patience, strict=False))
        defaults: dict[str, Any] = {
            "accelerator": "auto",
            "devices": 1,
            "gradient_clip_val": o.gradient_clip,
            "logger": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks),
        }
        if not given.get("logger"):
            defaults["default_root_dir"] = self.scratch
        own = {"callbacks": callbacks, "max_epochs": epochs}
        trainer = _checked_trainer(**{**defaults, **given, **own})
        if validated and not trainer.limit_val_batches:
            raise OptionError(
                "trainer_kwargs: with limit_val_batches=0 nothing says when to stop: give the "
                "option validation_windows=0 in its place"
            )
        return trainer, checkpoint


def most_epochs(trainer_kwargs: dict[str, Any], own: int) -> int:
    """Epochs of a stage at most: what ``trainer_kwargs`` say, or else its own option."""
    return trainer_kwargs.get("max_epochs") or own


def _checked_trainer(**kwargs: Any) -> pl.Trainer:
    """A trainer on one device, in a precision that the networks can be trained in."""
    try:
        trainer = pl.Trainer(**kwargs)
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise OptionError(f"trainer_kwargs: {error}") from error
    if trainer.world_size > 1:
        raise OptionError(
            f"trainer_kwargs: a model is trained on one device, not {trainer.world_size}: give "
            "devices=1"
        )
    if trainer.precision not in PRECISIONS:
        raise OptionError(
            f"trainer_kwargs: precision is {trainer.precision!r}: give one of {list(PRECISIONS)}"
        )
    return trainer


def best_epoch(losses: list[float]) -> int:
    """The number of epochs after which the validation loss was least; one of NaN never was."""
    known = [math.inf if math.isnan(loss) else loss for loss in losses]
    return 1 + known.index(min(known)) if known else 0
