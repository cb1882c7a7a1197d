"""Checkpoints of Lightning's: the best weights of a stage, and files to go on from."""

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from timediff.errors import OptionError
from timediff.types import Tensor


class BestWeights(ModelCheckpoint):
    """The callback that keeps the best weights, beside any checkpoint of the user's."""

    @property
    def state_key(self) -> str:
        """Another one than the user's checkpoints have."""
        return "timediff-best-weights"


def weights(path: str) -> dict[str, Tensor]:
    """The network in a checkpoint of Lightning's."""
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "network."
    return {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}


def check_checkpoint(path: str) -> None:
    """Raise unless Lightning can go on from this file.

    Raises:
        OptionError: it cannot be read, or holds weights only.
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
