"""Pictures of the joint law: bundles of paths, and what a total may come to."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from timediff._arguments import listed, whole
from timediff.errors import OptionError
from timediff.plot import BANDS, MEDIAN, OBSERVED, drawn_at, fan_chart, tidy, title

if TYPE_CHECKING:
    import matplotlib.figure

    from timediff.results import Forecast

# Okabe & Ito's, in an order that rises in brightness, so that it differs in a grey copy too
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
BUNDLE = "#d9d9d9"
MAX_BUNDLE, MAX_SERIES = 200, 3


def plot_paths(
    forecast: "Forecast",
    n: int = 3,
    series: Any = None,
    history_length: int | None = None,
) -> "matplotlib.figure.Figure":
    """The bundle of paths, with some of them in the same colour in every panel.

    So one sees which high of one series comes with which of another. The paths in colour are those
    whose total over series and horizon lies at even quantiles of all totals: of three the
    sixth from below, the middle one and the sixth from above.

    Args:
        forecast: the forecast.
        n: how many are drawn in colour, six at most.
        series: the series to draw, one or several; the first three, and the sum of all, if None.
        history_length: steps of the history to draw; one horizon if None.

    Returns:
        The figure, made without pyplot.

    Raises:
        ImportError: matplotlib is not installed.
        OptionError: an unknown series, or too many paths.
    """
    count, p, d = forecast.samples.shape
    if whole("n", n, 1) > min(len(COLORS), count):
        raise OptionError(f"n is {n}: give 1 to {min(len(COLORS), count)} paths")
    chosen = forecast.columns[:MAX_SERIES] if series is None else listed(series, forecast.columns)
    panels = [(str(name), forecast[name]) for name in chosen]
    if series is None and d > 1:
        members = {"sum": forecast.columns}
        panels.append((f"sum of all {d} series", forecast.aggregate(members)))
    order = forecast.samples.sum((1, 2), dtype=np.float64).argsort()
    picks = order[((np.arange(n) + 0.5) / n * count).astype(int)]
    figure, axes = _figure(len(panels), 1, "plot_paths")
    for ax, (name, part) in zip(axes[:, 0], panels, strict=True):
        time, past = _times(part, p if history_length is None else history_length)
        if past is not None:
            stamps = drawn_at(past.index, part.info)
            ax.plot(stamps, past.iloc[:, 0], color=OBSERVED, lw=1.1, zorder=4)
        paths = part.samples[..., 0]
        ax.plot(time, paths[:MAX_BUNDLE].T, color=BUNDLE, lw=0.5, zorder=1)
        for pick, color, style in zip(
            picks, COLORS, ("-", "--", "-.", "-", "--", "-."), strict=False
        ):
            ax.plot(time, paths[pick], style, color=color, lw=1.6, zorder=3)
        title(ax, name, 100)
        tidy(ax, part.info)
    return figure


def plot_total(
    forecast: "Forecast",
    groups: Mapping[Any, Any] | pd.DataFrame | None = None,
    actuals: Any = None,
) -> "matplotlib.figure.Figure":
    """What totals may come to: a fan over the horizon, and the distribution of the whole of it.

    Both are of totals path by path, so that they hold what series and steps have in common.

    Args:
        forecast: the forecast.
        groups: as of :meth:`timediff.Forecast.aggregate`; the sum of all series if None.
        actuals: what was observed, a table.

    Returns:
        The figure, made without pyplot; a row for each group.

    Raises:
        ImportError: matplotlib is not installed.
        OptionError: an unknown series.
    """
    total = forecast.aggregate(
        {"sum of all series": forecast.columns} if groups is None else groups
    )
    target = None
    if actuals is not None:
        alone = forecast.with_samples(np.repeat(forecast.actuals(actuals)[None], 2, 0))
        target = alone.aggregate({"": forecast.columns} if groups is None else groups).samples[0]
    figure, axes = _figure(len(total.columns), 2, "plot_total")
    stamps = total.plain_index
    for i, (name, row) in enumerate(zip(total.columns, axes, strict=True)):
        part = total[name]
        observed = None if target is None else pd.DataFrame(target[:, [i]], stamps, [name])
        fan_chart(part.to_gluonts(), part.plain_history(), observed, axes=row[0])
        title(row[0], name, 62)
        whole = part.samples[..., 0].sum(1, dtype=np.float64)
        _distribution(row[1], whole, None if target is None else float(target[:, i].sum()))
        title(row[1], f"total of the {len(stamps)} steps", 32)
    return figure


def _distribution(ax: Any, values: np.ndarray, observed: float | None) -> None:
    """A histogram before its 90 % band, the median and what was observed."""
    if not np.isfinite(values).all():  # of a series that was never observed
        ax.text(0.5, 0.5, "not known", ha="center", va="center", transform=ax.transAxes)
        ax.set_axis_off()
        return
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95])
    edges = np.histogram_bin_edges(values, min(30, max(8, len(values) // 8)))
    heights, _ = np.histogram(values, edges)
    ax.axvspan(low, high, color=BANDS[0.9], lw=0, label="90% band", zorder=1)
    ax.stairs(heights, edges, fill=True, color=BANDS[0.5], zorder=2)
    ax.axvline(median, color=MEDIAN, lw=1.4, label="median", zorder=3)
    if observed is not None and np.isfinite(observed):
        style: dict[str, Any] = {"ls": (0, (4, 2)), "label": "observed", "zorder": 4}
        ax.axvline(observed, color=OBSERVED, lw=1.4, **style)
    ax.legend(frameon=False, fontsize="small")
    ax.set(yticks=[])
    ax.margins(x=0.02)
    ax.set_ylim(0, 1.35 * heights.max())  # room for the legend
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.xaxis.get_major_locator().set_params(nbins=4)


def _figure(rows: int, columns: int, what: str) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{what} needs matplotlib: pip install matplotlib") from error
    figure = Figure(
        figsize=(9.0, 0.6 + (1.7 if columns == 1 else 2.4) * rows), layout="constrained"
    )
    ratios = [1] if columns == 1 else [2, 1]
    sharing: Any = "col" if columns == 1 else "none"
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharing, width_ratios=ratios)
    return figure, axes


def _times(forecast: "Forecast", length: int) -> tuple[np.ndarray, pd.DataFrame | None]:
    """Stamps of the horizon, and the end of the history, by the clock of its periods."""
    past = forecast.plain_history()
    return (
        drawn_at(forecast.plain_index, forecast.info),
        None if past is None or not length else past.iloc[-length:],
    )
