"""How a forecaster trains its models: what the user chose, as an estimator of GluonTS."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from timediff._frequency import model_frequency
from timediff.estimator import TimeGradEstimator
from timediff.histories import Entry
from timediff.predictor import TimeGradPredictor


@dataclass
class Recipe:
    """What all trainings of a forecaster have in common.

    Attributes:
        horizon: steps to forecast.
        preset: name of the preset.
        seed: of the training; None for a fresh one each time.
        verbose: show the progress.
        options: any of :class:`timediff.Options`, and ``trainer_kwargs``.
        callbacks: Lightning's, of every training.
    """

    horizon: int
    preset: str
    seed: int | None
    verbose: bool
    options: dict[str, Any]
    callbacks: list[Any] = field(default_factory=list)

    def estimator(self, freq: str) -> TimeGradEstimator:
        """The estimator for data of this frequency.

        Raises:
            OptionError: an unknown or impossible option.
        """
        options = dict(self.options)
        trainer = {
            "enable_progress_bar": self.verbose,
            **(options.pop("trainer_kwargs", None) or {}),
        }
        if self.callbacks:
            own = trainer.get("callbacks") or []
            trainer["callbacks"] = [*(own if isinstance(own, list) else [own]), *self.callbacks]
        return TimeGradEstimator(
            freq,
            self.horizon,
            preset=self.preset,
            seed=self.seed,
            trainer_kwargs=trainer,
            **options,
        )

    def train(
        self, entries: list[Entry], start: TimeGradPredictor | None = None
    ) -> TimeGradPredictor:
        """Train a model of these entries, on from the weights of another one if it is given."""
        estimator = self.estimator(model_frequency(entries[0]))
        with _quiet(not self.verbose):
            if start is not None:
                return estimator.train_from(start, entries)
            return estimator.train(entries)


@contextlib.contextmanager
def _quiet(wanted: bool) -> Iterator[None]:
    """Without Lightning's lines on hardware; how it was set before is set again."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    try:
        if wanted:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        logger.setLevel(level)
