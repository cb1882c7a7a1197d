"""How the network is trained: the optimizer, and the average of weights that is kept."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from timediff.errors import TimediffError
from timediff.network import Batch, TimeGradNetwork

VALIDATION_SEED = 0  # of the noise in the validation loss: the same for every epoch


class TrainingError(TimediffError):
    """Training went wrong in a way that more of it would not mend."""


class TimeGradModule(pl.LightningModule):
    """A :class:`TimeGradNetwork` in training.

    The exponential moving average of the weights is a submodule, so that it is in every
    checkpoint; validation is of the average, and ``trained`` is what a predictor is made of.

    Args:
        network: what is trained.
        total_steps: batches in all, for the course of the learning rate.
    """

    def __init__(self, network: TimeGradNetwork, total_steps: int):
        super().__init__()
        self.network, self.total_steps = network, total_steps
        decay = network.options.ema_decay
        self.average: AveragedModel | None = None
        if decay is not None:

            def follow(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
                """The first steps count for less, or the initial weights would stay for long."""
                kept = min(decay, (1.0 + float(count)) / (10.0 + float(count)))
                return average + (1.0 - kept) * (current - average)

            self.average = AveragedModel(network, avg_fn=follow)

    @property
    def trained(self) -> TimeGradNetwork:
        """The average of weights if there is one, else the weights."""
        return self.network if self.average is None else self.average.module  # type: ignore

    def configure_optimizers(self) -> Any:
        """Adam; one cycle up to ``max_lr``, or from ``lr`` down to 0 along a cosine."""
        o = self.network.options
        optimizer = torch.optim.Adam(
            self.network.parameters(), lr=o.lr, weight_decay=o.weight_decay
        )
        course: torch.optim.lr_scheduler.LRScheduler
        if o.max_lr is not None:
            course = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, max_lr=o.max_lr, total_steps=self.total_steps + 1
            )
        else:
            course = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.total_steps + 1)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": course, "interval": "step"},
        }

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Mean loss of a batch.

        Raises:
            TrainingError: it is not finite.
        """
        loss = self.network.loss(batch).mean()
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss.item()} in epoch {self.current_epoch}, batch {index}: "
                "lower lr (or max_lr), or set gradient_clip"
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def on_train_batch_end(self, *args: Any) -> None:
        """Let the average follow the weights."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Mean loss of a validation batch, with the same noise every time."""
        generator = torch.Generator(self.device).manual_seed(VALIDATION_SEED + index)
        loss = self.trained.loss(batch, generator).mean()
        self.log("val_loss", loss, on_epoch=True, prog_bar=True, batch_size=len(batch.target))
