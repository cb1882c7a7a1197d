"""One picture per data set: accuracy against time, calibration, the sum, and two fan charts."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import torch
from gluonts.model.forecast import SampleForecast
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from benchmarks.common import targets
from timediff.datasets import ForecastDataset, load_dataset
from timediff.plot import fan_chart
from timediff.scores import combine, pit, reliability

# Okabe & Ito's palette, safe for the colour-blind, in an order that also differs in grey
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
MARKERS = {"timediff": "o", "simple": "s", "peer": "^", "optimum": "*"}
INK, FAINT = "#222222", "#b0b0b0"
BINS = 20
# of a name beside its point, in the order in which they are tried
PLACES = [(x, y) for y in (3, -9, 13, -19, 23) for x in (6, -6)]


def overview(name: str, means: pd.DataFrame, drawn: dict[str, torch.Tensor]) -> Figure:
    """The picture of one data set.

    Args:
        name: of the data set.
        means: a row per model, the means over its seeds.
        drawn: sample paths ``(W, S, P, D)`` of the models to look at closely.
    """
    data = load_dataset(name)
    y = targets(data)
    colors = dict(zip(drawn, COLORS, strict=False))
    with matplotlib.rc_context({"font.size": 9, "axes.titlesize": 10}):
        figure = Figure(figsize=(14, 13), layout="constrained")
        grid = figure.add_gridspec(4, 4, height_ratios=[1.25, 0.8, 1, 1])
        plane = figure.add_subplot(grid[0, :2])
        accuracy_against_time(plane, means, colors)
        reliability_curves(figure.add_subplot(grid[0, 2]), drawn, y, colors, "of each series")
        total = {model: combine(x, y, torch.ones(y.shape[-1])) for model, x in drawn.items()}
        sums = {model: x for model, (x, _) in total.items()}
        y_sum = next(iter(total.values()))[1]
        reliability_curves(figure.add_subplot(grid[0, 3]), sums, y_sum, colors, "of the sum")
        shown = list(drawn)[:4]
        columns = max(2, len(shown))  # no empty place where few are drawn
        upper, lower = (grid[row, :].subgridspec(1, columns) for row in (1, 2))
        for column, model in enumerate(shown):
            axes = figure.add_subplot(upper[0, column])
            pit_histogram(axes, drawn[model], sums[model], y, y_sum, model, colors[model])
        step = data.prediction_length // 2
        beside = None
        for column, model in enumerate(shown):
            axes = beside = figure.add_subplot(lower[0, column], sharex=beside)
            of_the_sum(axes, sums[model][0, :, step, 0], y_sum[0, step, 0], colors[model])
            axes.set_title(f"sum, window 1, step {step + 1}: {model}")
        model = "default" if "default" in drawn else next(iter(drawn))
        fans(figure, grid[3, :].subgridspec(1, 2), data, drawn[model])
        figure.suptitle(f"{name}; fan charts: {model}", fontsize=12)
        figure.draw_without_rendering()  # from here on all is where it will be
        name_points(plane, means)
    return figure


def accuracy_against_time(axes: Axes, means: pd.DataFrame, colors: dict[str, str]) -> None:
    """CRPS-sum against all seconds spent: up to the left is worse and quicker."""
    seconds = seconds_of(means)
    for kind, part in means.groupby("kind"):
        paint = [colors.get(str(model), FAINT) for model in part.index]
        axes.scatter(
            seconds[part.index],
            part["crps_sum"],
            c=paint,
            label=str(kind),
            marker=MARKERS[str(kind)],
            s=42,
            edgecolors=INK,
            linewidths=0.5,
        )
    axes.set(xscale="log", yscale="log", title="accuracy against time")
    axes.margins(0.1)
    axes.set(xlabel="training and prediction, seconds", ylabel="CRPS-sum (lower is better)")
    for handle in axes.legend(frameon=False, fontsize=8).legend_handles:
        handle.set_facecolor(FAINT)  # type: ignore[union-attr]
    tidy(axes)


def seconds_of(means: pd.DataFrame) -> pd.Series:
    """All seconds spent by each model."""
    return (means["train_seconds"] + means["predict_seconds"]).clip(lower=0.01)


def name_points(axes: Axes, means: pd.DataFrame) -> None:
    """Write the model beside each point, where no other name or point is."""
    points = pd.concat([seconds_of(means), means["crps_sum"]], axis=1).to_numpy()
    spots = axes.transData.transform(points)
    taken = [Bbox([spot - 5, spot + 5]) for spot in spots]
    names = list(zip(means.index, points, strict=True))
    for model, point in sorted(names, key=lambda named: named[1][1]):
        label = axes.annotate(model, point, (0, 0), textcoords="offset points", fontsize=7.5)
        label.set_in_layout(False)
        for x, y in [*PLACES, PLACES[0]]:
            label.set(position=(x, y), ha="left" if x > 0 else "right")
            box = label.get_window_extent()
            inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1
            if inside and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


def reliability_curves(
    axes: Axes,
    drawn: dict[str, torch.Tensor],
    y: torch.Tensor,
    colors: dict[str, str],
    title: str,
) -> None:
    """Share of observations inside central intervals against their level; the diagonal is right."""
    levels = [i / 20 for i in range(1, 20)]
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=(0, (4, 3)))
    for model, x in drawn.items():
        axes.plot(levels, reliability(x, y, levels), color=colors[model], lw=1.5, label=model)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=f"reliability {title}")
    axes.set(xlabel="level of the interval", ylabel="observed inside")
    axes.legend(frameon=False, fontsize=7.5)
    tidy(axes)


def pit_histogram(
    axes: Axes,
    x: torch.Tensor,
    x_sum: torch.Tensor,
    y: torch.Tensor,
    y_sum: torch.Tensor,
    model: str,
    color: str,
) -> None:
    """Where the observations fall in their forecast; flat is right, a U is too certain."""
    edges = [i / BINS for i in range(BINS + 1)]
    each = pit(x, y).flatten()
    axes.hist(each[~each.isnan()], edges, density=True, color=color, alpha=0.45, label="series")
    whole = pit(x_sum, y_sum).flatten()
    whole = whole[~whole.isnan()]
    axes.hist(whole, edges, density=True, histtype="step", color=INK, lw=1.2, label="sum")
    axes.axhline(1, color=INK, lw=0.8, ls=(0, (4, 3)))
    axes.set(xlim=(0, 1), title=f"PIT: {model}", xlabel="rank of the observation", yticks=[0, 1, 2])
    axes.legend(frameon=False, fontsize=7.5)
    tidy(axes)


def of_the_sum(axes: Axes, x: torch.Tensor, y: torch.Tensor, color: str) -> None:
    """The distribution of the sum at one step, and what was observed."""
    axes.hist(x, 20, density=True, color=color, alpha=0.6)
    axes.axvline(float(y), color=INK, lw=1.5, label="observed")
    axes.set(yticks=[], xlabel="sum of all series")
    axes.legend(frameon=False, fontsize=7.5)
    tidy(axes)


def fans(figure: Figure, grid: object, data: ForecastDataset, samples: torch.Tensor) -> None:
    """The first series and the sum, over up to seven windows."""
    forecasts = [
        SampleForecast(
            x.numpy(),
            entry["start"] + entry["target"].shape[1] - data.prediction_length,
            info=entry["info"],
        )
        for x, entry in zip(samples[:7], data.test[:7], strict=False)
    ]
    axes = [figure.add_subplot(cell) for cell in grid]  # type: ignore[attr-defined]
    fan_chart(forecasts, data.train_frame, data.frame, series=[0], axes=np.array(axes))


def tidy(axes: Axes) -> None:
    """No frame but the two axes."""
    axes.spines[["top", "right"]].set_visible(False)


def reduce_colours(path: Path) -> None:
    """A PNG of 128 colours: a third of the size, and no difference to be seen."""
    with Image.open(path) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
