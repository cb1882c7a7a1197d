"""How the network is trained: the optimizer, and the average of weights that is kept."""

import logging
import math
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from timediff.errors import TimediffError
from timediff.network import TimeGradNetwork, TrainingBatch

logger = logging.getLogger(__name__)

VALIDATION_SEED = 0  # of the noise in the validation loss: the same for every epoch
MOST_ROLLBACKS = 5  # before training is given up


class TrainingError(TimediffError):
    """Training went wrong in a way that more of it would not mend."""


class TimeGradModule(pl.LightningModule):
    """A :class:`TimeGradNetwork` in training.

    The exponential moving average of the weights is a submodule, so that it is in every
    checkpoint; validation is of the average, and ``trained`` is what a predictor is made of.

    When the loss is not finite, the weights go back to the end of the last epoch that was, and the
    learning rate is halved from there on.

    Args:
        network: what is trained.
        stage: which part of it: ``"prior"`` or ``"diffusion"``.
        total_steps: batches in all, for the course of the learning rate.
    """

    def __init__(self, network: TimeGradNetwork, stage: str, total_steps: int):
        super().__init__()
        self.network, self.stage, self.total_steps = network, stage, total_steps
        self.rollbacks = 0
        self._good: dict[str, Tensor] = {}
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
        """Adam; one cycle up to ``max_lr``, or a short rise to ``lr`` and a cosine down to 0."""
        o = self.network.options
        lr = o.prior_lr if self.stage == "prior" else o.lr
        optimizer = torch.optim.Adam(
            self.network.stage_parameters(self.stage), lr=lr, weight_decay=o.weight_decay
        )
        course: torch.optim.lr_scheduler.LRScheduler
        if o.max_lr is not None:
            course = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, max_lr=o.max_lr, total_steps=self.total_steps + 1
            )
        else:
            rise = max(1, self.total_steps // 20)

            def factor(step: int) -> float:
                fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / (self.total_steps + 1))))
                return min(1.0, (step + 1) / rise) * fall

            course = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": course, "interval": "step"},
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """The next learning rate of the course, halved for every time that training went astray."""
        scheduler.step()
        for group in scheduler.optimizer.param_groups:
            group["lr"] *= 0.5**self.rollbacks

    def on_train_start(self) -> None:
        """Remember the weights to go back to."""
        self._remember()

    def on_train_epoch_end(self) -> None:
        """Remember the weights, if they are good."""
        if all(torch.isfinite(p).all() for p in self.network.parameters()):
            self._remember()

    def _remember(self) -> None:
        self._good = {name: value.clone() for name, value in self.state_dict().items()}

    def training_step(self, batch: TrainingBatch, index: int) -> Tensor | None:
        """Mean loss of a batch; None, which skips the batch, when it made a rollback necessary.

        Raises:
            TrainingError: it is not finite even so.
        """
        losses = self.network.loss(batch)
        loss = losses.mean()
        if not torch.isfinite(loss):
            where = f"in epoch {self.current_epoch}, batch {index}"
            if self.rollbacks == MOST_ROLLBACKS:
                raise TrainingError(
                    f"the loss became {loss.item()} {where}, after {self.rollbacks} attempts with "
                    "smaller learning rates: lower lr (or max_lr), or set gradient_clip"
                )
            self.rollbacks += 1
            logger.warning(
                "the loss became %s %s: back to the last good weights, at half the learning rate",
                loss.item(),
                where,
            )
            self.load_state_dict(self._good)
            optimizer = self.optimizers()
            assert isinstance(optimizer, LightningOptimizer)
            optimizer.optimizer.state.clear()
            return None
        self.log(
            "train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(losses)
        )
        return loss

    def on_train_batch_end(self, *args: Any) -> None:
        """Let the average follow the weights."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def validation_step(self, batch: TrainingBatch, index: int) -> None:
        """Mean loss of a validation batch, with the same noise every time."""
        losses = self.validation_losses(batch, index)
        self.log("val_loss", losses.mean(), on_epoch=True, prog_bar=True, batch_size=len(losses))

    def validation_losses(self, batch: TrainingBatch, index: int) -> Tensor:
        """Losses of a validation batch."""
        device = next(self.parameters()).device
        generator = torch.Generator(device).manual_seed(VALIDATION_SEED + index)
        return self.trained.loss(batch, generator)
