"""Pictures of how a model came about, and of how it draws. Needs matplotlib."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from timediff._arguments import listed
from timediff.diffusion import SAMPLERS, Sampler
from timediff.diffusion.samplers.base import Chain
from timediff.errors import DataError, OptionError
from timediff.plot import FAINT, MEDIAN, OBSERVED, OUTSIDE
from timediff.registry import unknown_name
from timediff.types import Float, Tensor

if TYPE_CHECKING:
    import matplotlib.figure

    from timediff.predictor import TimeGradPredictor

SNAPSHOTS, LINES, PATHS = 5, 40, 400


def plot_training(curves: pd.DataFrame | None) -> "matplotlib.figure.Figure":
    """The losses of each stage of training, epoch by epoch: of training and of held-out windows.

    The diffusion's validation loss is that of the averaged weights with the same noise every time.
    A dot marks the epoch whose weights were taken.

    Args:
        curves: columns ``stage, run, epoch, train_loss, val_loss``, as
            :attr:`timediff.TimeGradPredictor.curves` holds them.

    Returns:
        The figure, made without pyplot; a panel for each stage.

    Raises:
        DataError: there are none, as of a model whose network was made by hand.
        ImportError: matplotlib is not installed.
    """
    if curves is None or curves.empty:
        raise DataError("there are no curves: an earlier version of timediff saved the model")
    from matplotlib.ticker import MaxNLocator

    stages = list(curves["stage"].unique())
    figure = _figure((4.5 * len(stages), 3.0))
    for ax, stage in zip(figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True):
        own = curves[curves["stage"] == stage]
        checked = own["run"].isin(own.loc[own["val_loss"].notna(), "run"])
        again, own = own[~checked], own[checked]
        if own.empty:
            again, own = own, again
        for run, part in own.groupby("run"):
            first = run == 0
            style: dict[str, Any] = {"lw": 1.4 if first else 0.9, "zorder": 3 if first else 2}
            label = {"label": "training"} if first else {}
            ax.plot(part["epoch"], part["train_loss"], "--", color=FAINT, **style, **label)
            label = {"label": "held-out windows"} if first else {}
            ax.plot(part["epoch"], part["val_loss"], color=MEDIAN, **style, **label)
            if part["val_loss"].notna().any():
                best = part.loc[part["val_loss"].idxmin()]
                ax.plot(best["epoch"], best["val_loss"], "o", color=OUTSIDE, ms=4, zorder=4)
        if len(again):
            label = {"label": "training again, on all"}
            ax.plot(again["epoch"], again["train_loss"], ":", color=OBSERVED, lw=1.4, **label)
        runs = own["run"].nunique()
        ax.set_title(stage + (f", {runs} runs" if runs > 1 else ""), loc="left", fontsize="medium")
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        ax.legend(frameon=False, fontsize="small")
        _tidy(ax)
    return figure


def plot_chain(
    predictor: "TimeGradPredictor",
    entry: dict[str, Any],
    series: Sequence[Any] | None = None,
    sampler: str = "ddpm",
    seed: int = 0,
) -> "matplotlib.figure.Figure":
    """The reverse chain of the first step of a forecast, from noise to the law of two series.

    Of one series its density is drawn, in place of the points. What is drawn is what the diffusion
    models: in the default white innovations, which the rest of the model makes values of.

    Args:
        predictor: the model.
        entry: a GluonTS entry, after whose end is forecast.
        series: two series, or one, by name, or by number if they have none; the first two if None.
        sampler: name of a sampler, which takes all steps of the schedule.
        seed: of the noise.

    Returns:
        The figure, made without pyplot.

    Raises:
        OptionError: an unknown series, one twice, or more than two.
        ImportError: matplotlib is not installed.
    """
    network = predictor.network
    known = list(predictor.columns or range(network.target_dim))
    names = known[:2] if series is None else listed(series, known)
    for name in names:
        if name not in known:
            raise unknown_name("series", name, [str(column) for column in known])
    if len(names) != len(set(names)) or len(names) not in (1, 2):
        raise OptionError(f"the chain is drawn of one series, or two, not of {names}")
    recorder = Recorder(SAMPLERS.build(sampler))
    next(predictor.predict([entry], num_samples=PATHS, seed=seed, sampler=recorder))
    steps, x = recorder.chain()
    x = x[:, :PATHS, [known.index(name) for name in names]]
    figure = _figure((9.0, 4.6))
    grid = figure.add_gridspec(2, SNAPSHOTS, height_ratios=[1, 1.2])
    shown = np.linspace(0, len(steps) - 1, SNAPSHOTS).round().astype(int)
    limit = 1.05 * np.abs(x).max()
    for column, i in enumerate(shown):
        ax = figure.add_subplot(grid[0, column])
        if len(names) == 1:
            ax.hist(x[i, :, 0], bins=30, range=(-limit, limit), density=True, color=MEDIAN)
        else:
            ax.plot(x[i, :, 0], x[i, :, 1], ".", color=MEDIAN, ms=2.5, alpha=0.6)
            ax.set_ylim(-limit, limit)
        ax.set(xlim=(-limit, limit), xlabel=str(names[0]))
        ax.set_ylabel(str([*names, "density"][1]) if column == 0 else "")
        ax.set_title(f"step {steps[i]}", loc="left", fontsize="medium")
        ax.set_box_aspect(1)
        _tidy(ax)
    ax = figure.add_subplot(grid[1, :])
    ax.plot(steps, x[:, :LINES, 0], color=FAINT, lw=0.5)
    ax.plot(steps, x[:, 0, 0], color=MEDIAN, lw=1.6)
    ax.plot(steps[-1:], x[-1, :1, 0], "o", color=OUTSIDE, ms=5)
    ax.invert_xaxis()
    ax.set(xlabel="step of the reverse chain", ylabel=str(names[0]))
    _tidy(ax)
    return figure


class Recorder(Sampler):
    """A sampler that remembers the first chain that it draws.

    Args:
        inner: what draws.
    """

    def __init__(self, inner: Sampler):
        super().__init__(inner.steps, inner.spacing)
        self.inner, self.seen = inner, list[tuple[int, Tensor]]()

    def step(self, chain: Chain, x: Float[Tensor, "*b d"], k: int, j: int) -> Float[Tensor, "*b d"]:
        """As the other does it."""
        after = self.inner.step(chain, x, k, j)
        if not self.seen:
            self.seen.append((k, x.clone()))
        if self.seen[-1][0] == k > j:  # not another chain
            self.seen.append((j, after.clone()))
        return after

    def chain(self) -> tuple[list[int], np.ndarray]:
        """The steps, falling, and x at each: ``(steps, paths, D)``."""
        return [k for k, _ in self.seen], torch.stack([x for _, x in self.seen]).cpu().numpy()


def _figure(size: tuple[float, float]) -> "matplotlib.figure.Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install matplotlib") from error
    return Figure(figsize=size, layout="constrained")


def _tidy(ax: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(colors=OBSERVED)
