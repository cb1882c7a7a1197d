"""What held-out windows say: whether a stage helped, and which of several runs draws best."""

import math
from typing import Any, NamedTuple

import torch

from timediff.lightning_module import TimeGradModule
from timediff.loader import PoolLoader, WindowLoader
from timediff.network import Batch, TimeGradNetwork
from timediff.scores import energy_score
from timediff.store import SeriesStore
from timediff.types import Float, Tensor

ENERGY_SAMPLES, ENERGY_WINDOWS, ENERGY_BATCH = 50, 64, 8  # paths, windows at most, at a time


class Source(NamedTuple):
    """Data and the windows of it, of which so many begin within one horizon."""

    store: SeriesStore
    windows: Tensor
    overlap: float = 1.0

    def batches(self, size: int, **kwargs: Any) -> WindowLoader:
        """Windows in order, or at random; see :class:`WindowLoader`."""
        return WindowLoader(self.store, self.windows, size, **kwargs)

    def thinned(self, most: int) -> "Source":
        """At most so many of the windows, two of those that begin within a horizon."""
        windows = self.windows[:: max(1, round(self.overlap / 2))]  # the others say little more
        return self._replace(windows=windows[:: max(1, -(-len(windows) // most))])


def losses(module: TimeGradModule, validation: WindowLoader | PoolLoader) -> Tensor:
    """The validation loss of each window or row."""
    training = module.training
    module.eval()
    with torch.no_grad():
        found = [module.validation_losses(batch, i) for i, batch in enumerate(validation)]
    module.train(training)
    return torch.cat(found) if found else torch.empty(0)


def improved(before: Tensor, after: Tensor, windows: Tensor, overlap: float = 1.0) -> bool:
    """Whether the loss fell by more than the standard error of its fall.

    Args:
        before: losses of the windows, or of the rows of each of them, one window after another.
        after: the same later, with the same noise.
        windows: the windows.
        overlap: how many of them begin within one horizon, of which only one counts.
    """
    number = len(windows)
    fall = (before - after).reshape(number, -1).mean(1)
    error = fall.std() * math.sqrt(overlap / number) if number > 1 else 0.0
    return bool(fall.mean() > error)


def path_energy(network: TimeGradNetwork, held_out: Source, unit: Float[Tensor, " d"]) -> float:
    """The mean energy score of whole paths of the held-out windows.

    The paths are not kept within any bounds, so that it shows where they go astray; infinite where
    they are not finite, or where nothing was observed. The noise is the same in every call.

    Args:
        network: draws the paths.
        held_out: the windows; where they overlap, some of them.
        unit: of each series; in these all series count alike.
    """
    training, p = network.training, network.prediction_length
    network.eval()
    scores: list[Tensor] = []
    for i, batch in enumerate(held_out.thinned(ENERGY_WINDOWS).batches(ENERGY_BATCH)):
        assert isinstance(batch, Batch)
        seeds = i * ENERGY_BATCH + torch.arange(len(batch.target))
        paths = network.sample(batch, ENERGY_SAMPLES, seeds) / unit
        if not paths.isfinite().all():
            scores = []
            break
        target = torch.where(batch.observed, batch.target, torch.nan)[:, -p:] / unit
        known = batch.observed[:, -p:].any((1, 2))
        if known.any():
            paths, target = paths[known], target[known]
            scores.append(energy_score(paths, target, fair=True, over="path", reduction="none"))
    network.train(training)
    return float(torch.cat(scores).mean()) if scores else math.inf
