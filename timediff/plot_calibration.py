"""Pictures of calibration: do intervals hold, and where do observations fall in their forecast?"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from timediff.plot import FAINT, MEDIAN, OBSERVED, OUTSIDE
from timediff.scores import pit, reliability
from timediff.scores.combination import summed
from timediff.types import Tensor

if TYPE_CHECKING:
    import matplotlib.figure

    from timediff.backtest import Backtest
    from timediff.recalibration import Recalibration

LEVELS = tuple(i / 20 for i in range(1, 20))
BINS = 10
TINT = "#8fc1de"


def plot_calibration(
    backtest: "Backtest", recalibration: "Recalibration | None" = None
) -> "matplotlib.figure.Figure":
    r"""Reliability and PIT histogram of the single series and of their sum.

    Above, the share of observations inside central intervals against their level: right is the
    diagonal, below it a forecast is too certain. The band holds 95 % of the curves that a right
    forecast would give if the steps of a window moved as one, so that each window counts once.
    Below, where the observations fall among the paths: right is flat, a U is too certain, a hill
    too uncertain, a slope too low or too high.

    Args:
        backtest: past windows and what was observed.
        recalibration: draws the curves after it, too. Windows that it was fitted to are mapped
            with what the others say.

    Returns:
        The figure, made without pyplot.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot_calibration needs matplotlib: pip install matplotlib") from error
    target = torch.from_numpy(backtest.actuals)
    drawn = {"before" if recalibration else "forecast": torch.from_numpy(backtest.samples)}
    if recalibration is not None:
        drawn["after"] = torch.from_numpy(recalibration.after(backtest))
    figure = Figure(figsize=(8.0, 6.4), layout="constrained")
    axes: Any = figure.subplots(2, 2, height_ratios=[1.5, 1])
    for (above, below), name in zip(axes.T, ("each series", "the sum"), strict=True):
        pairs = {
            label: (x, target) if name == "each series" else summed(x, target)
            for label, x in drawn.items()
        }
        _reliability(above, pairs, len(target))
        _histogram(below, pairs)
        above.set_title(name, loc="left", fontsize="medium")
    axes[0, 0].set_ylabel("observed inside, %")
    axes[1, 0].set_ylabel("frequency, 1 is right")
    axes[0, 0].legend(loc="upper left", frameon=False, fontsize="small")
    return figure


def _styles(labels: list[str]) -> dict[str, dict[str, Any]]:
    """Before a recalibration dashed, so that it differs from after without colour, too."""
    if len(labels) == 1:
        return {labels[0]: {"color": MEDIAN, "ls": "-"}}
    return {labels[0]: {"color": OUTSIDE, "ls": (0, (4, 2))}, labels[1]: {"color": MEDIAN}}


def _reliability(ax: Any, pairs: dict[str, tuple[Tensor, Tensor]], windows: int) -> None:
    levels = np.array([0, *LEVELS, 1])
    spread = 1.96 * np.sqrt(levels * (1 - levels) / windows)
    low, high = np.clip(levels - spread, 0, 1), np.clip(levels + spread, 0, 1)
    label = f"chance, {windows} windows"
    ax.fill_between(
        100 * levels, 100 * low, 100 * high, color="#ececec", lw=0, zorder=0, label=label
    )
    ax.plot([0, 100], [0, 100], color=FAINT, lw=1, zorder=1)
    for label, style in _styles(list(pairs)).items():
        shares = reliability(*pairs[label], LEVELS).numpy()
        ax.plot(100 * np.array(LEVELS), 100 * shares, lw=1.6, label=label, **style)
        at = int(np.argmin(np.abs(np.array(LEVELS) - 0.9)))
        ax.plot(90, 100 * shares[at], "o", ms=4.5, color=style["color"], zorder=3)
    ticks = [0, 25, 50, 75, 100]
    ax.set(xlim=(0, 100), ylim=(0, 100), xticks=ticks, yticks=ticks, aspect="equal")
    ax.set_xlabel("level of the central interval, %")
    ax.spines[["top", "right"]].set_visible(False)


def _histogram(ax: Any, pairs: dict[str, tuple[Tensor, Tensor]]) -> None:
    generator = torch.Generator().manual_seed(
        0
    )  # breaks ties: without it whole numbers make spikes
    edges = np.linspace(0, 1, BINS + 1)
    for i, (label, style) in enumerate(_styles(list(pairs)).items()):
        ranks = pit(*pairs[label], generator).flatten()
        share, _ = np.histogram(ranks[~ranks.isnan()].numpy(), edges, density=True)
        if i == len(pairs) - 1:
            ax.stairs(share, edges, fill=True, color=TINT)
        ax.stairs(share, edges, lw=1.4, **style, zorder=3)
    ax.axhline(1, color=OBSERVED, lw=0.8, ls=(0, (2, 2)), zorder=4)
    ax.set(xlim=(0, 1), xlabel="rank of the observation among the paths")
    ax.set_ylim(bottom=0)
    ax.spines[["top", "right"]].set_visible(False)
