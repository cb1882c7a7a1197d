"""Fan charts: what is drawn is what was forecast."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import SampleForecast

from timediff import Forecast
from timediff.errors import DataError, OptionError
from timediff.plot import fan_chart
from timediff.reading import read

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

NAMES = ["a", "b", "c", "d", "e"]
FIRST = pd.Timestamp("2024-03-04")


def forecasts(count=1, steps=24, series=5, info=True):
    rng = np.random.default_rng(0)
    return [
        SampleForecast(
            rng.normal(size=(60, steps, series)).astype(np.float32),
            start_date=pd.Period(FIRST, freq="h") + steps * i,
            info={"columns": NAMES} if info else None,
        )
        for i in range(count)
    ]


def observed(steps=24 * 7 + 200):
    """A table that starts 200 hours before the forecasts."""
    index = pd.date_range(FIRST - pd.Timedelta(hours=200), periods=steps, freq="h")
    values = np.random.default_rng(1).normal(size=(steps, 5))
    return pd.DataFrame(values, index=index, columns=NAMES)


def lines(ax, label):
    return [line for line in ax.get_lines() if line.get_label() == label]


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


def test_panels_are_the_first_series_and_the_sum():
    figure = fan_chart(forecasts())
    assert isinstance(figure, Figure)
    assert titles(figure) == ["a", "b", "c", "sum of all 5 series"]


def test_series_are_chosen_by_name_or_position():
    assert titles(fan_chart(forecasts(), series=["d", 0, -1], total=False)) == ["d", "a", "e"]
    assert titles(fan_chart(forecasts(), series="b", total=False)) == ["b"]
    assert titles(fan_chart(forecasts(), series=[])) == ["sum of all 5 series"]
    assert titles(fan_chart(forecasts(), columns=list("vwxyz"), series=["w"]))[0] == "w"
    assert len(fan_chart(forecasts(), series=NAMES).axes) == 6


def test_names_come_from_the_table_where_the_forecast_has_none():
    assert titles(fan_chart(forecasts(info=False)))[0] == "series 0"
    assert titles(fan_chart(forecasts(info=False), history=observed()))[0] == "a"


def test_a_univariate_forecast_has_one_panel_and_no_sum():
    forecast = SampleForecast(
        np.random.default_rng(0).normal(size=(60, 24)), pd.Period(FIRST, freq="h")
    )
    figure = fan_chart(forecast, history=observed()["a"])
    assert titles(figure) == ["a"]
    assert titles(fan_chart(forecast)) == ["series 0"]
    np.testing.assert_allclose(
        lines(figure.axes[0], "median")[0].get_ydata(), np.median(forecast.samples, axis=0)
    )


@pytest.mark.parametrize("panel, members", [(0, [0]), (3, [0, 1, 2, 3, 4])])
def test_median_and_bands_are_quantiles_of_the_samples(panel, members):
    (forecast,) = forecasts()
    ax = fan_chart(forecast).axes[panel]
    samples = forecast.samples[:, :, members].sum(2)
    (median,) = lines(ax, "median")
    np.testing.assert_allclose(median.get_ydata(), np.median(samples, axis=0), rtol=1e-6)
    assert pd.DatetimeIndex(median.get_xdata()).equals(forecast.index.to_timestamp())
    bands = {band.get_label(): band for band in ax.collections}
    assert set(bands) == {"90% band", "50% band"}
    for label, level in [("90% band", 0.9), ("50% band", 0.5)]:
        edges = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
        drawn = bands[label].get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose(np.unique(drawn.round(6)), np.unique(edges.round(6)), atol=2e-6)


def test_observations_are_cut_to_history_and_forecasts():
    table = observed()
    figure = fan_chart(forecasts(2), history=table, target=table, history_length=10)
    (line,) = lines(figure.axes[1], "observed")
    expected = table.loc[FIRST - pd.Timedelta(hours=10) :, "b"].iloc[: 10 + 48]
    np.testing.assert_array_equal(line.get_ydata(), expected)
    (line,) = lines(figure.axes[3], "observed")
    np.testing.assert_allclose(line.get_ydata(), table.sum(axis=1).loc[expected.index])


def test_history_is_three_horizons_long_and_may_be_none():
    (line,) = lines(fan_chart(forecasts(), history=observed()).axes[0], "observed")
    assert len(line.get_ydata()) == 72
    chart = fan_chart(forecasts(), history=observed(), target=observed(), history_length=0)
    assert len(lines(chart.axes[0], "observed")[0].get_ydata()) == 24


def test_columns_are_matched_by_name_and_periods_are_read():
    table = observed()
    shuffled = table[NAMES[::-1]].to_period("h")
    line, same = (
        lines(fan_chart(forecasts(), target=t).axes[0], "observed")[0] for t in (table, shuffled)
    )
    np.testing.assert_array_equal(line.get_ydata(), same.get_ydata())
    assert list(shuffled.columns) == NAMES[::-1]


def test_months_match_by_start_or_end():
    start = pd.Period("2024-03", freq="M")
    forecast = SampleForecast(np.random.default_rng(0).normal(size=(60, 6, 1)), start)
    for freq in ("MS", "ME"):
        index = pd.date_range("2023-01-01", periods=24, freq=freq, tz="Europe/Berlin")
        table = pd.DataFrame({"a": np.arange(24.0)}, index=index)
        ax = fan_chart(forecast, history=table, target=table, history_length=2).axes[0]
        np.testing.assert_array_equal(lines(ax, "observed")[0].get_ydata(), np.arange(12.0, 20))


def test_observations_outside_the_band_are_marked():
    (forecast,) = forecasts()
    table = observed()
    figure = fan_chart(forecast, target=table)
    low, high = np.quantile(forecast.samples[:, :, 0], [0.05, 0.95], axis=0)
    y = table["a"].loc[FIRST:].to_numpy()[:24]
    (marks,) = lines(figure.axes[0], "outside the 90% band")
    np.testing.assert_array_equal(marks.get_ydata(), y[(y < low) | (y > high)])


def test_consecutive_forecasts_are_drawn_one_after_another():
    several = forecasts(7)
    ax = fan_chart(several, target=observed()).axes[0]
    medians = lines(ax, "median")
    assert [pd.Timestamp(line.get_xdata()[0]) for line in medians] == [
        f.start_date.to_timestamp() for f in several
    ]
    assert len(ax.collections) == 14


def test_a_forecast_of_one_step_has_a_width():
    ax = fan_chart(forecasts(steps=1)).axes[0]
    for band in ax.collections:
        assert np.ptp(band.get_paths()[0].vertices[:, 0]) * 24 == pytest.approx(2 / 3, rel=1e-3)


def test_axes_may_be_given():
    figure = Figure()
    axes = figure.subplots(2, 2)
    assert fan_chart(forecasts(), axes=axes) is figure
    assert titles(figure)[3] == "sum of all 5 series"
    with pytest.raises(OptionError, match=r"2 axes.*4 panels"):
        fan_chart(forecasts(), axes=axes[0])


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_figure_can_be_written(suffix, tmp_path: Path):
    path = tmp_path / f"fan.{suffix}"
    fan_chart(forecasts(2), history=observed(), target=observed()).savefig(path)
    assert path.stat().st_size > 10_000


def test_missing_observations_leave_a_gap():
    table = observed()
    table.iloc[205, 0] = np.nan
    figure = fan_chart(forecasts(), target=table)
    assert np.isnan(lines(figure.axes[0], "observed")[0].get_ydata()[5])
    assert np.isnan(lines(figure.axes[3], "observed")[0].get_ydata()[5])
    assert not np.isnan(lines(figure.axes[1], "observed")[0].get_ydata()).any()


def test_pyplot_is_not_touched(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    fan_chart(forecasts(), history=observed())
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        fan_chart(forecasts())


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="no forecast"):
        fan_chart([])
    with pytest.raises(OptionError, match=r"series 'aa'.*did you mean 'a'"):
        fan_chart(forecasts(), series=["aa"])
    with pytest.raises(OptionError, match="out of range"):
        fan_chart(forecasts(), series=[5])
    with pytest.raises(OptionError, match="nothing to draw"):
        fan_chart(forecasts(), series=[], total=False)
    with pytest.raises(DataError, match="2 names"):
        fan_chart(forecasts(), columns=["a", "b"])
    with pytest.raises(DataError, match="2 columns"):
        fan_chart(forecasts(), target=observed()[["a", "b"]])
    with pytest.raises(DataError, match="RangeIndex"):
        fan_chart(forecasts(), target=observed().reset_index(drop=True))
    with pytest.raises(DataError, match="no time between"):
        fan_chart(forecasts(), target=observed().iloc[:100])


@pytest.mark.parametrize("scale", [0.035, 0.4, 40.0, 5e4])
def test_the_height_of_a_panel_does_not_add_labels_that_the_layout_has_not_seen(scale):
    drawn = forecasts(count=3)
    for forecast in drawn:
        forecast.samples = scale * np.abs(forecast.samples) / 3
    figure = fan_chart(drawn, history=scale * observed().abs() / 3)
    ticks = [ax.get_yticks().tolist() for ax in figure.axes]
    figure.set_size_inches(9, 40)
    figure.draw_without_rendering()
    assert [ax.get_yticks().tolist() for ax in figure.axes] == ticks


@pytest.mark.parametrize(
    ("start", "tz"),
    [("2024-03-08", "America/New_York"), ("2024-11-01", "Europe/Berlin"), (FIRST, "Asia/Kolkata")],
)
@pytest.mark.parametrize("joint", [False, True])
def test_times_with_a_zone_are_drawn_in_it(start, tz, joint):
    """The first two change their clocks within the picture; the third is off by half an hour."""
    from matplotlib.dates import date2num, num2date

    index = pd.date_range(start, periods=96, freq="h", tz=tz)
    table = pd.DataFrame(np.arange(192.0).reshape(96, 2), index, ["a", "b"])
    history = read(table[:72]).entries["frame"]
    paths = np.random.default_rng(0).normal(size=(60, 24, 2))
    info = history["info"]
    made = Forecast(paths, history["start"] + 72, ["a", "b"], info=info, history=history)
    figure = made.plot_paths(history_length=72) if joint else made.plot(table)
    figure.draw_without_rendering()
    *upper, ax = figure.axes
    assert ax.get_xlabel() == tz and not any(other.get_xlabel() for other in upper)
    drawn = date2num(ax.get_lines()[0].get_xdata())
    expected = date2num(index.tz_convert("UTC").tz_localize(None).to_numpy())
    np.testing.assert_allclose(drawn, expected[: len(drawn)])  # an hour is an hour
    shown = [num2date(tick, tz=index.tz) for tick in ax.get_xticks()]
    assert {time.hour % 6 for time in shown} == {0} and {time.minute for time in shown} == {0}
    texts = [label.get_text() for label in ax.get_xticklabels()]
    assert [bool(text.count(":")) for text in texts] == [time.hour != 0 for time in shown]
    if not joint:  # the tables that fan_chart takes are of the same times
        again = fan_chart(made.to_gluonts(), history=table, target=table)
        (line,) = lines(again.axes[0], "observed")
        np.testing.assert_allclose(date2num(line.get_xdata()), expected)
        np.testing.assert_array_equal(line.get_ydata(), table["a"])


def test_a_long_name_stays_within_its_panel():
    name = "the whole of the northern region with its substations and the islands " * 2
    index = pd.date_range(FIRST, periods=24, freq="h")
    history = read(pd.DataFrame({"a": np.arange(24.0)}, index)).entries["frame"]
    paths = np.random.default_rng(0).normal(size=(60, 24, 1))
    made = Forecast(paths, history["start"] + 24, ["a"], info=history["info"], history=history)
    figure = made.plot_total({name: ["a"]})
    figure.draw_without_rendering()
    left, right = (ax._left_title.get_window_extent() for ax in figure.axes)
    assert left.x1 < right.x0
