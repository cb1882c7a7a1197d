"""The progress of a training on stderr, by a callback of Lightning's.

Lightning's own bars write to stdout, which is for results.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Bars(Callback):
    """A bar for each stage of the training, or a line for each epoch.

    Args:
        progress: where the bars are drawn; None writes lines.
        console: where lines are written.
    """

    def __init__(self, progress: Progress | None, console: Console):
        self.progress, self.console = progress, console
        self.task: TaskID | None = None
        self.stages = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "Bars":
        """Itself: there is one screen."""
        return self

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a bar."""
        self.stages += 1
        self.name = f"{self.stages}. {getattr(pl_module, 'stage', 'training')}"
        if self.progress is not None:
            total = (trainer.max_epochs or 1) * trainer.num_training_batches
            self.task = self.progress.add_task(self.name, total=total)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Go on."""
        if self.progress is not None and self.task is not None:
            self.progress.advance(self.task)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a line, if there are no bars."""
        if self.progress is None:
            losses = {k: v for k, v in trainer.callback_metrics.items() if k.endswith("loss")}
            shown = ", ".join(f"{name} {float(value):.4g}" for name, value in losses.items())
            epoch = f"epoch {trainer.current_epoch + 1} of at most {trainer.max_epochs}"
            self.console.print(f"{self.name}: {epoch}: {shown}", highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fill the bar: it may have stopped early."""
        if self.progress is not None and self.task is not None:
            total = self.progress.tasks[self.progress.task_ids.index(self.task)].total
            self.progress.update(self.task, completed=total or 0)


@contextlib.contextmanager
def progress_callback(lines: bool) -> Iterator[Bars]:
    """A callback that shows the training, and the screen it needs.

    Args:
        lines: write lines, which a file can hold, in place of bars.
    """
    console = Console(stderr=True)
    if lines:
        yield Bars(None, console)
        return
    parts = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*parts, console=console) as progress:
        yield Bars(progress, console)
