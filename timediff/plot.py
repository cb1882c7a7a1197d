"""Fan charts of forecasts. Needs matplotlib, which is imported only when something is drawn."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from gluonts.model.forecast import SampleForecast

from timediff._arguments import listed
from timediff._stamps import clock_info, shifted, timestamps
from timediff.errors import DataError, OptionError
from timediff.registry import unknown_name

if TYPE_CHECKING:
    import matplotlib.figure

# Okabe & Ito's colour-blind-safe blue with two solid tints (no alpha: they survive print), and
# their vermilion, which differs from the blue in a grey copy too.
BANDS = {0.9: "#cfe4f1", 0.5: "#8fc1de"}
MEDIAN, OBSERVED, OUTSIDE, FAINT = "#0072b2", "#222222", "#d55e00", "#b0b0b0"
MAX_SERIES = 3


def fan_chart(
    forecast: SampleForecast | Sequence[SampleForecast],
    history: pd.DataFrame | pd.Series | None = None,
    target: pd.DataFrame | pd.Series | None = None,
    series: Iterable[str | int] | str | int | None = None,
    columns: Sequence[Any] | None = None,
    total: bool = True,
    history_length: int | None = None,
    axes: Any = None,
) -> "matplotlib.figure.Figure":
    r"""Draw the median and the 50 % and 90 % bands of forecasts, one panel a series and their sum.

    .. math:: [\hat y_{(1-c)/2},\ \hat y_{(1+c)/2}], \quad c = 0.5,\ 0.9

    with quantiles of the samples, linearly interpolated as in
    :func:`timediff.scores.coverage`; those of the sum are quantiles of the summed sample paths.
    Observations outside the 90 % band are marked: of a calibrated forecast, about one in ten.

    Args:
        forecast: one forecast, or several in the order of time (as of a backtest), which are drawn
            one after another. Samples are ``(S, P, D)`` or ``(S, P)``.
        history: what was observed before: a wide table (time × series) with a DatetimeIndex or
            PeriodIndex. Only what lies before the first forecast is drawn.
        target: what was observed during the forecasts, in the same form; a longer table is cut.
        series: names or positions of the series to draw; the first three if None.
        columns: names of the D series; from ``forecast.info["columns"]``, else the columns of
            target or history, if None.
        total: whether the last panel is the sum over all D series (never for D = 1).
        history_length: steps of the history to draw; three horizons if None.
        axes: matplotlib axes to draw on, as many as panels; a new figure if None.

    Returns:
        The figure, made without pyplot: nothing is shown and no global state changes. Save it
        with ``figure.savefig("fan.png")``. Values are in the units of the data.

    Raises:
        ImportError: matplotlib is not installed.
        DataError: there is no forecast, or a table does not fit the forecasts.
        OptionError: an unknown series, or the wrong number of axes.
    """
    forecasts = [forecast] if isinstance(forecast, SampleForecast) else list(forecast)
    if not forecasts:
        raise DataError("there is no forecast to draw")
    paths = [f.samples if f.samples.ndim == 3 else f.samples[..., None] for f in forecasts]
    names = _names(forecasts[0], paths[0].shape[2], columns, target, history)
    if any(path.shape[2] != len(names) for path in paths):
        raise DataError(f"the forecasts differ in their series, the first has {len(names)}")
    chosen = range(min(MAX_SERIES, len(names))) if series is None else listed(series)
    picks = [_position(s, names) for s in chosen]
    panels = [(names[i], [i]) for i in picks]
    if total and len(names) > 1:
        panels.append((f"sum of all {len(names)} series", list(range(len(names)))))
    if not panels:
        raise OptionError("there is nothing to draw: name a series, or leave total=True")
    figure, panel_axes = _axes(axes, len(panels))
    length = 3 * forecasts[0].prediction_length if history_length is None else history_length
    observed = _observed(forecasts, history, target, names, length)
    info = forecasts[0].info
    for ax, (name, members) in zip(panel_axes, panels, strict=True):
        _panel(
            ax,
            forecasts,
            [path[:, :, members].sum(2) for path in paths],
            None if observed is None else observed.iloc[:, members].sum(axis=1, skipna=False),
        )
        title(ax, name, 100 if len(panels) <= 4 else 45)
        tidy(ax, info)
    if axes is None:
        entries = [ax.get_legend_handles_labels() for ax in panel_axes]
        unique = {
            label: handle
            for handles, labels in entries
            for handle, label in zip(handles, labels, strict=True)
        }
        figure.legend(
            unique.values(),
            unique.keys(),
            loc="outside upper right",
            ncols=len(unique),
            frameon=False,
            fontsize="small",
        )
    return figure


def _names(forecast: SampleForecast, count: int, columns: Any, *tables: Any) -> list[str]:
    if columns is None:
        columns = (forecast.info or {}).get("columns")
    for table in tables:
        if columns is None and isinstance(table, pd.DataFrame) and table.shape[1] == count:
            columns = table.columns
        elif columns is None and isinstance(table, pd.Series) and table.name is not None:
            columns = [table.name]
    if columns is None:
        columns = [f"series {i}" for i in range(count)]
    if len(columns) != count:
        raise DataError(f"columns has {len(columns)} names, the forecast {count} series")
    return [str(name) for name in columns]


def _position(series: str | int, names: list[str]) -> int:
    if isinstance(series, str):
        if series not in names:
            raise unknown_name("series", series, names)
        return names.index(series)
    if not -len(names) <= series < len(names):
        raise OptionError(f"series {series} is out of range: there are {len(names)}")
    return series % len(names)


def _observed(
    forecasts: list[SampleForecast], history: Any, target: Any, names: list[str], length: int
) -> pd.DataFrame | None:
    """What was observed, ``(time, D)``, from shortly before the first forecast to the last."""
    first, last = _times(forecasts[0])[0], max(_times(f)[-1] for f in forecasts)
    parts = []
    if history is not None:
        table = _table(history, names, "history", forecasts[0])
        parts.append(table[table.index < first].iloc[-length:] if length else table[:0])
    if target is not None:
        table = _table(target, names, "target", forecasts[0])
        parts.append(table[(table.index >= first) & (table.index <= last)])
        if parts[-1].empty:
            raise DataError(f"target has no time between {first} and {last}, the forecasts' span")
    return pd.concat(parts) if parts else None


def _times(forecast: SampleForecast, length: int | None = None) -> pd.DatetimeIndex:
    """Where the steps of a forecast, or so many from its first on, are drawn."""
    length = forecast.prediction_length if length is None else length
    return timestamps(forecast.start_date, length, clock_info(forecast.info))


def _table(table: Any, names: list[str], role: str, forecast: SampleForecast) -> pd.DataFrame:
    frame = table.to_frame() if isinstance(table, pd.Series) else table
    labels = [str(name) for name in frame.columns]
    if set(names) <= set(labels):
        frame = frame.iloc[:, [labels.index(name) for name in names]]
    elif len(labels) != len(names):
        raise DataError(f"{role} has {len(labels)} columns, the forecast {len(names)} series")
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex | pd.PeriodIndex):
        raise DataError(f"{role} needs a DatetimeIndex or PeriodIndex, not {type(index).__name__}")
    if isinstance(index, pd.DatetimeIndex):
        if index.tz is not None and _zone(forecast.info) is not None:
            index = index.tz_convert("UTC")  # by which its periods count
        index = index.tz_localize(None)
        if not clock_info(forecast.info):  # by period: a month is the same by its start or end
            index = index.to_period(forecast.freq)
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    return frame.set_axis(names, axis=1).set_axis(index).sort_index()


def _axes(axes: Any, count: int) -> tuple[Any, list[Any]]:
    if axes is not None:
        given = list(np.ravel(axes))
        if len(given) != count:
            raise OptionError(f"axes has {len(given)} axes, there are {count} panels to draw")
        return given[0].figure, given
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("fan_chart needs matplotlib: pip install matplotlib") from error
    columns = 1 if count <= 4 else 2
    rows = -(-count // columns)
    figure = Figure(figsize=(9.0, 0.7 + 1.7 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, sharex=True, squeeze=False).ravel())
    for ax in grid[count:]:
        ax.remove()
    return figure, grid[:count]


def _panel(
    ax: Any, forecasts: list[SampleForecast], paths: list[np.ndarray], observed: Any
) -> None:
    if observed is not None:
        ax.plot(
            drawn_at(observed.index, forecasts[0].info),
            observed.to_numpy(),
            color=OBSERVED,
            lw=1.1,
            label="observed",
            zorder=4,
        )
    for forecast, samples in zip(forecasts, paths, strict=True):
        index = _times(forecast)
        stamps = drawn_at(index, forecast.info)
        time, drawn = stamps, samples
        if len(time) == 1:  # a single step has no width: give it two thirds of one
            third = np.diff(_times(forecast, 2).to_numpy())[0] / 3
            time, drawn = time[0] + np.array([-1, 1]) * third, samples.repeat(2, axis=1)
        for level, color in BANDS.items():
            low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
            ax.fill_between(time, low, high, color=color, lw=0, label=f"{level:.0%} band", zorder=2)
        ax.plot(time, np.median(drawn, axis=0), color=MEDIAN, lw=1.4, label="median", zorder=3)
        if len(forecasts) > 1 or observed is not None:
            ax.axvline(stamps[0], color=FAINT, lw=0.6, ls=(0, (2, 2)), zorder=1)
        if observed is not None:
            low, high = np.quantile(samples, [0.05, 0.95], axis=0)
            y = observed.reindex(index).to_numpy()
            outside = (y < low) | (y > high)
            if outside.any():
                style = {"color": OUTSIDE, "ms": 4.5, "label": "outside the 90% band"}
                ax.plot(stamps[outside], y[outside], ".", zorder=5, **style)


def drawn_at(index: pd.DatetimeIndex, info: Mapping[str, Any] | None) -> np.ndarray:
    """Where steps are drawn: the begins of their periods, and as far behind as the table has them.

    Args:
        index: by the clock that periods count, see :func:`timediff._stamps.clock_info`.
        info: of the forecast.
    """
    phase = None if clock_info(info) else (info or {}).get("phase")
    return shifted(index, phase or 0).to_numpy()


def _zone(info: Mapping[str, Any] | None) -> Any:
    """The time zone to show times in that are counted in UTC; None if they are shown as counted."""
    info = info or {}
    if "tz" not in info or info.get("clock") == "local":
        return None
    return pd.Timestamp(0, tz=info["tz"]).tz


def title(ax: Any, text: Any, width: int) -> None:
    """A title at the left, broken where it is longer than the panel."""
    ax.set_title(textwrap.fill(str(text), width), loc="left", fontsize="medium")


def tidy(ax: Any, info: Mapping[str, Any] | None = None) -> None:
    """The look that all pictures over time have.

    Args:
        ax: with times as :func:`drawn_at` has them.
        info: of a forecast: the axis shows the time zone of its table, and names it.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    zone, place = _zone(info), ax.get_subplotspec()
    locator = AutoDateLocator(maxticks=9, tz=zone)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))
    if "tz" in (info or {}) and (place is None or place.is_last_row()):
        ax.set_xlabel(str((info or {})["tz"]), fontsize="small")
    # as many ticks whatever the height: labels that appear after the layout would be cut off
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.margins(x=0.01)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#e6e6e6", lw=0.6)
    ax.set_axisbelow(True)
