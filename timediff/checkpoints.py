"""What is kept of training: the best weights of a stage, its losses, files to go on from."""

import math
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from timediff.errors import OptionError, warn
from timediff.types import Tensor


class BestWeights(ModelCheckpoint):
    """The callback that keeps the best weights, beside any checkpoint of the user's."""

    @property
    def state_key(self) -> str:
        """Another one than the user's checkpoints have."""
        return "timediff-best-weights"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing: the best weights of the run that a checkpoint is of are gone with its folder."""


class Curves(pl.Callback):
    """The losses of all epochs of all stages.

    Attributes:
        rows: ``stage, run, epoch, train_loss, val_loss`` of each epoch.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.run = 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Count the runs of a stage."""
        self.run = 1 + max((r["run"] for r in self.rows if r["stage"] == module.stage), default=-1)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Note the losses."""
        losses = trainer.callback_metrics
        row: dict[str, Any] = {"stage": module.stage, "run": self.run}
        row["epoch"] = trainer.current_epoch + 1
        for name in ("train_loss", "val_loss"):
            row[name] = float(losses.get(name, math.nan))
        self.rows.append(row)


def weights(path: str) -> dict[str, Tensor]:
    """The network in a checkpoint of Lightning's."""
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "network."
    return {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}


def load_weights(network: nn.Module, state: dict[str, Tensor], whose: str) -> None:
    """Give a network these weights.

    Args:
        network: what to load them into.
        state: the weights, by their names.
        whose: they are, for the message.

    Raises:
        OptionError: they are of another network.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        _, first, *_ = [*str(error).splitlines(), ""]
        raise OptionError(
            f"{whose} is of another network: the number of series, the horizon, or an option such "
            f"as hidden_size differs ({first.strip()})"
        ) from error


def check_checkpoint(path: str, epochs: int) -> None:
    """Raise unless Lightning can go on from this file, up to so many epochs.

    Raises:
        OptionError: it cannot be read, or holds weights only.

    Warns:
        DataWarning: it has as many epochs already.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise OptionError(f"ckpt_path {path!r} cannot be read: {error}") from error
    if "optimizer_states" not in state:
        raise OptionError(
            f"ckpt_path {path!r} holds weights only, so training cannot go on from it: save one "
            "with ModelCheckpoint(save_weights_only=False), or use train_from(predictor)"
        )
    done = state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if done >= epochs:
        warn(
            f"ckpt_path {path!r} has {done} epochs already, so nothing more is trained: give "
            f"max_epochs more than {done}"
        )
