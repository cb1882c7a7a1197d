"""The front door: what comes out is what GluonTS's classes give, with the table's own names."""

import datetime
import json
import subprocess
import sys
from pathlib import Path

import dateutil.tz
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import pytz
from pandas.testing import assert_frame_equal

from tests.conftest import QUICK, series
from timediff import (
    DataError,
    DataWarning,
    Forecast,
    Forecaster,
    OptionError,
    SavedModelError,
    TimediffError,
    TimeGradEstimator,
    from_wide,
)
from timediff.forecast_group import ForecastGroup

P = 6


def table(length: int = 240, tz: str | None = "Europe/Berlin") -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=length, freq="h", tz=tz)
    return pd.DataFrame(series(260)[:, :length].T, index, ["a", "b", "c"])


def long(frame: pd.DataFrame) -> pd.DataFrame:
    stacked = frame.rename_axis("ds").rename_axis("unique_id", axis=1).stack()
    return stacked.rename("y").reset_index()[["unique_id", "ds", "y"]]


def quick(**options) -> Forecaster:
    return Forecaster(P, **{**QUICK, "seed": 0, **options})


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    """Not to be changed."""
    return quick().fit(table())


@pytest.fixture
def own(fitted) -> Forecaster:
    """The same, to be changed."""
    other = quick()
    other.take(fitted.predictor, fitted.kept)
    return other


def test_it_forecasts_what_the_estimator_does(fitted):
    estimator = TimeGradEstimator("h", P, seed=0, **QUICK)
    dataset = from_wide(table())
    expected = next(estimator.train(dataset).predict(dataset, num_samples=8, seed=5)).samples
    forecast = fitted.predict(num_samples=8, seed=5)
    assert isinstance(forecast, Forecast) and np.array_equal(forecast.samples, expected)
    assert forecast.index[0] == pd.Timestamp("2024-01-11", tz="Europe/Berlin")


def test_a_long_table_gives_the_same_under_its_own_names(fitted):
    forecaster = quick().fit(long(table()).rename(columns={"y": "load"}), target_column="load")
    forecast = forecaster.predict(num_samples=8, level=90)
    assert np.array_equal(forecast.samples, fitted.predict(num_samples=8).samples)
    assert list(forecast.to_frame()) == ["unique_id", "ds", "mean", "lo-90", "hi-90"]
    assert list(forecast.to_frame(samples=True)) == ["unique_id", "ds", "sample", "load"]
    rows = long(table(250)[-10:]).rename(columns={"y": "load"})
    updated = forecaster.update(rows)  # read by the names of fit
    assert_frame_equal(updated.history(), table(250), check_freq=False, check_names=False)
    other = updated.predict(long(table()).rename(columns={"y": "load"}), num_samples=8)
    assert np.array_equal(other.samples, forecast.samples)


def test_seeds_batches_and_quantiles(fitted):
    first = fitted.predict(num_samples=4)
    assert np.array_equal(first.samples, fitted.predict(num_samples=4).samples)
    assert not np.array_equal(first.samples, fitted.predict(num_samples=4, seed=1).samples)
    again = fitted.predict(num_samples=4, batch_size=1, device="cpu")
    assert np.array_equal(first.samples, again.samples)
    columns = list(fitted.predict(num_samples=4, quantiles=[0.1], level=[50]).to_frame())
    assert columns[2:] == ["mean", "0.1", "lo-50", "hi-50"]


def test_another_history_may_have_its_series_in_another_order(fitted):
    other = fitted.predict(table()[["c", "a", "b"]], num_samples=4)
    assert other.columns == ["a", "b", "c"]
    assert np.array_equal(other.samples, fitted.predict(num_samples=4).samples)
    with pytest.raises(DataError, match="no series 'c'"):
        fitted.predict(table()[["a", "b"]])
    with pytest.raises(DataError, match="frequency"):
        fitted.predict(table().resample("2h").mean())


def test_nothing_that_is_handed_in_is_changed():
    frame, rows = table(), table(250)[-10:]
    before, kept = frame.copy(deep=True), rows.copy(deep=True)
    forecaster = quick().fit(frame)
    forecaster.update(rows).predict(frame, num_samples=2)
    assert_frame_equal(frame, before)
    assert_frame_equal(rows, kept)


def test_groups_go_in_and_come_out_by_their_keys():
    data = {"north": table(), 7: table(200) * 2}
    forecaster = quick().fit(data)
    forecasts = forecaster.predict(num_samples=4)
    assert isinstance(forecasts, ForecastGroup) and list(forecasts) == ["north", 7]
    assert forecasts[7].index[0] == pd.Timestamp("2024-01-09 08:00", tz="Europe/Berlin")
    forecaster.update({7: table(210)[-10:] * 2})
    assert forecaster.predict(num_samples=4)[7].index[0].hour == 18
    assert len(forecaster.history()[7]) == 210
    with pytest.raises(DataError, match="no group 'south'"):
        forecaster.update({"south": table()})
    message = r"groups, \['north', 7\]: the new rows must be a dict .* the column 'group'"
    with pytest.raises(DataError, match=message):
        forecaster.update(table(210)[-10:])
    assert list(forecaster.plot()) == ["north", 7]
    with pytest.raises(DataError, match="known: there is no group 'south': groups are"):
        quick().fit(data, known={"north": None, 7: None, "south": known()})
    result = forecaster.backtest(windows=2, num_samples=4, baselines=False)
    assert result.by_window().index.get_level_values("group").tolist() == ["north"] * 2 + [7] * 2


@pytest.mark.parametrize("long", [False, True])
def test_groups_may_be_told_by_a_column(long):
    parts = {"north": table(), 7: table(200) * 2}
    rows = pd.concat(parts, names=["area", "timestamp"]).reset_index("area")
    later = rows.groupby("area").tail(10)
    if long:
        melt = {"id_vars": ["area", "at"], "var_name": "unique_id", "value_name": "y"}
        rows, later = (t.rename_axis("at").reset_index().melt(**melt) for t in (rows, later))
    forecaster = quick().fit(rows, group_column="area", time_column="at" if long else None)
    forecasts, expected = forecaster.predict(), quick().fit(parts).predict()
    assert list(forecasts) == ["north", 7] and forecasts.to_frame().columns[0] == "area"
    for key, forecast in forecasts.items():
        np.testing.assert_array_equal(forecast.samples, expected[key].samples)
    other = forecaster.predict(later if long else later.copy(), num_samples=2)
    assert list(other) == ["north", 7] and other.to_frame().columns[0] == "area"
    given = forecasts[7].mean()[["a"]].assign(area=7)
    scenario = forecaster.predict(given=given, num_samples=8)
    np.testing.assert_allclose(scenario[7]["a"].samples.std(0), 0, atol=1e-5)
    assert (scenario["north"]["a"].samples.std(0) > 0).all()
    forecaster.update(later)  # as it is there already
    assert len(forecaster.history()[7]) == 200
    windows = forecaster.backtest(windows=2, num_samples=2, baselines=False)
    assert windows.by_window().index.names == ["area", "start"]
    assert windows.to_frame()["area"].unique().tolist() == ["north", 7]
    with pytest.raises(DataError, match="no column 'place'"):
        quick().fit(rows, group_column="place")
    rows.loc[rows.index[3], "area"] = None
    with pytest.raises(DataError, match="no group"):
        quick().fit(rows, group_column="area")


def dated(days: pd.DatetimeIndex, layout: str | None = "%d.%m.%Y") -> pd.DataFrame:
    """Series over days that are written so."""
    frame = pd.DataFrame(series(len(days)).T, days, list("abc"))
    return frame if layout is None else frame.set_axis(frame.index.strftime(layout))


@pytest.mark.parametrize("told", ["by the dates", "by an argument", "by an update"])
def test_the_order_of_day_and_month_is_remembered(told, tmp_path):
    """In what is short, the dates themselves do not tell it."""
    days = pd.date_range("2023-09-01", "2024-01-04")
    if told == "by an update":
        forecaster = quick().fit(dated(days, None)).update(dated(days[-40:]))
    else:
        order = {"day_first": True} if told == "by an argument" else {}
        forecaster = quick().fit(dated(days, "%d.%m.%Y" if not order else None), **order)
    for history in (True, False):
        forecaster.save(tmp_path / "model", history=history, overwrite=True)
        assert Forecaster.load(tmp_path / "model").kept.day_first is True
    forecaster.save(tmp_path / "model", overwrite=True)
    forecaster = Forecaster.load(tmp_path / "model")
    forecaster.update(dated(pd.DatetimeIndex(["2024-01-05"])))
    assert forecaster.history().index[-1] == pd.Timestamp("2024-01-05")
    ahead = pd.date_range("2024-01-06", periods=P)
    given = forecaster.predict(num_samples=4, given=dated(ahead)[["a"]])
    np.testing.assert_allclose(given.samples[0, :, 0], dated(ahead)["a"], rtol=1e-5)
    forecast = forecaster.predict(num_samples=4)
    np.testing.assert_array_equal(forecast.actuals(dated(ahead)), dated(ahead).to_numpy())
    rows = dated(ahead).rename_axis("ds").reset_index().melt("ds", var_name="unique_id")
    rows = rows.rename(columns={"value": "y"})
    np.testing.assert_array_equal(forecast.actuals(rows), dated(ahead).to_numpy())


def test_a_table_of_known_features_is_read_in_the_remembered_order():
    days = pd.date_range("2023-09-01", "2024-01-04")
    known = pd.DataFrame(
        {"warm": np.arange(len(days) + P)}, pd.date_range(days[0], periods=len(days) + P)
    )
    forecaster = quick().fit(dated(days), known=known[: len(days)])
    late = known[-P:].set_axis(known[-P:].index.strftime("%d.%m.%Y"))
    expected = forecaster.predict(num_samples=4, known=known)
    got = forecaster.predict(num_samples=4, known=late)
    np.testing.assert_array_equal(got.samples, expected.samples)


@pytest.mark.parametrize("long_table", [False, True])
def test_periods_come_back_as_periods(long_table, tmp_path):
    frame = table(tz=None).to_period("h")
    ahead = pd.period_range(
        frame.index[-1] + 1, periods=P, freq="h", name="ds" if long_table else "timestamp"
    )
    forecaster = quick().fit(long(frame) if long_table else frame)
    forecaster = Forecaster.load(forecaster.save(tmp_path / "model"))
    forecast = forecaster.predict(num_samples=4)
    for times in (forecast.index, forecast.mean().index, forecast.quantile(0.1).index):
        pd.testing.assert_index_equal(times, ahead)
    for tidy in (forecast.to_frame(), forecast.to_frame(samples=True)):
        assert tidy[ahead.name].dtype == "period[h]" and list(tidy[ahead.name].unique()) == list(
            ahead
        )
    assert forecast.cutoff == frame.index[-1]
    assert_frame_equal(forecaster.history(), frame, check_names=False)
    xarray = forecast.to_xarray()
    assert list(xarray["time"].to_index()) == list(ahead.start_time)
    forecaster.update(frame.set_axis(frame.index + 3)[-3:].to_timestamp())  # of either kind
    assert forecaster.predict(num_samples=2).index[0] == ahead[3]
    assert forecaster.predict(table(tz=None), num_samples=2).index[0] == ahead.start_time[0]
    observed = table(260, tz=None)
    np.testing.assert_array_equal(
        forecast.actuals(observed), forecast.actuals(observed.to_period("h"))
    )
    given = forecast.mean()[["a"]]
    again = forecaster.predict(frame, num_samples=4, given=given)
    np.testing.assert_allclose(again.samples[1, :, 0], given["a"], rtol=1e-5)
    assert forecast.plot(observed).axes
    score = forecaster.backtest(windows=2, num_samples=4, baselines=False)
    assert score.to_frame()["cutoff"].dtype == "period[h]"


def test_actuals_may_be_stamped_by_periods_where_the_table_was_by_month_ends():
    index = pd.date_range("2010-01-31", periods=120, freq="ME")
    frame = pd.DataFrame(series(120).T, index, list("abc"))
    forecast = quick().fit(frame[:-P]).predict(num_samples=4)
    for actuals in (frame, frame.to_period("M")):
        np.testing.assert_array_equal(forecast.actuals(actuals), frame[-P:].to_numpy())
    periods = quick().fit(frame[:-P].to_period("M")).predict(num_samples=4)
    for actuals in (frame, frame.to_period("M")):
        np.testing.assert_array_equal(periods.actuals(actuals), frame[-P:].to_numpy())


def test_rows_of_another_rhythm_or_far_away_are_noticed(own):
    rows = table(250)[-10:]
    with pytest.warns(DataWarning, match=r"from 2024-01-11 00:00.* on, are 2 steps of 'h' apart"):
        own.update(rows.resample("2h").mean())
    assert len(own.history()) == 249
    with pytest.raises(DataError, match=r"from 2078-.* ends at 2024-.*480\d+ steps .* wrong"):
        own.update(rows[-1:].shift(20_000 * 24, freq="h"))


def test_all_tables_have_a_time_zone_or_none(fitted):
    with pytest.raises(DataError, match=r"the table have no time zone.*Europe/Berlin.*localize"):
        fitted.predict(table(tz=None))
    with pytest.raises(DataError, match=r"group 'b' have no time zone.*group 'a'.*Europe/Berlin"):
        quick().fit({"a": table(), "b": table(tz=None)})


def test_update_appends_and_can_train_on(own):
    frame = table(252)
    before = own.predict(num_samples=4)
    own.update(frame[240:])
    assert_frame_equal(own.history(), frame, check_freq=False)
    after = own.predict(num_samples=4)
    assert after.index[0] == frame.index[-1] + pd.Timedelta(hours=1)
    assert np.array_equal(after.samples, own.predict(frame, num_samples=4).samples)
    own.update({"frame": frame[-1:]})
    with pytest.raises(DataError, match="fitted without features of this kind, feat_dynamic_real"):
        own.update(frame[-1:], known=frame[["a"]])
    with pytest.raises(DataError, match="there are no groups: give a table"):
        own.update({"north": frame[-1:]})
    own.update(frame[-1:])  # a single row
    before, weights = own.predict(num_samples=4), own.predictor.network.state_dict()
    own.update(frame[-1:], train=True)
    trained = own.predictor.network.state_dict()
    assert weights.keys() == trained.keys()
    assert not all(np.array_equal(weights[key], trained[key]) for key in weights)
    assert not np.array_equal(before.samples, own.predict(num_samples=4).samples)


def test_a_backtest_sees_nothing_of_its_windows(fitted):
    frame = table()
    spoiled = frame.copy()
    spoiled.iloc[-2 * P :] = 1e6
    one = fitted.backtest(frame, windows=2, num_samples=4, baselines=False)
    two = fitted.backtest(spoiled, windows=2, num_samples=4, baselines=False)
    assert np.array_equal(one.samples[0], two.samples[0])
    assert not np.array_equal(one.samples[1], two.samples[1])  # the second one's history differs
    assert [f.index[0] for f in one.forecasts] == [frame.index[-12], frame.index[-6]]
    np.testing.assert_array_equal(one.actuals.reshape(-1, 3), frame[-12:].to_numpy())
    expected = TimeGradEstimator("h", P, seed=0, **QUICK).train(from_wide(frame[:-12]))
    paths = next(expected.predict(from_wide(frame[:-12]), num_samples=4, seed=0)).samples
    assert np.array_equal(one.samples[0], paths)


def test_a_group_of_a_backtest_may_have_any_name(fitted):
    frame = fitted.history()
    both = fitted.backtest({"frame": frame, "x": frame}, windows=1, num_samples=4, baselines=False)
    assert both.to_frame()["group"].unique().tolist() == ["frame", "x"]
    alone = fitted.backtest(frame, windows=1, num_samples=4, baselines=False)
    assert "group" not in alone.to_frame()


def test_a_backtest_with_a_model_for_each_window(fitted):
    frame = table()
    result = fitted.backtest(frame, windows=2, num_samples=4, refit=True, baselines=False)
    train = from_wide(frame[:-P])
    expected = TimeGradEstimator("h", P, seed=0, **QUICK).train(train)
    paths = [f.samples for f in expected.predict([train[0], train[0]], num_samples=4, seed=0)]
    assert np.array_equal(result.samples[1], paths[0])
    assert result.scores().index.tolist() == ["timediff"]


def test_tables_of_a_backtest(fitted):
    result = fitted.backtest(windows=3, stride=12, num_samples=20)
    scores = result.scores()
    assert scores.index[0] == "timediff" and "seasonal naive (24)" in scores.index
    assert scores.crps[1:].is_monotonic_increasing and np.isfinite(scores).all().all()
    parts = result.by_series()
    assert parts.index.tolist() == ["a", "b", "c"] and (parts["best simple"] > 0).all()
    windows = result.by_window()
    assert len(windows) == 3 and windows.crps.mean() == pytest.approx(scores.crps.iloc[0], rel=0.1)
    cover = result.coverage([50, 90])
    assert cover.loc[90, "series"] == pytest.approx(100 * scores.coverage90.iloc[0])
    assert cover.loc[50, "sum"] <= cover.loc[90, "sum"]
    frame = result.to_frame(level=90)
    assert list(frame) == [
        "series", "timestamp", "cutoff", "actual value", "mean", "lo-90", "hi-90",
    ]  # fmt: skip
    hourly = table().rename_axis("timestamp").rename_axis("series", axis=1).stack()
    keys = pd.MultiIndex.from_frame(frame[["timestamp", "series"]])
    np.testing.assert_array_equal(frame["actual value"], hourly.reindex(keys))
    assert (frame.timestamp > frame.cutoff).all()
    assert len(result.plot().axes) == 4
    with pytest.raises(DataError, match="leave 0 to train on"):
        fitted.backtest(windows=50)
    with pytest.raises(OptionError, match="stride"):
        fitted.backtest(stride=-1)
    with pytest.raises(OptionError, match="levels"):
        result.coverage([150])


def test_missing_values_anywhere():
    frame = table()
    frame.iloc[:100, 0] = np.nan  # late
    frame.iloc[150:, 1] = np.nan  # dead
    frame.iloc[200:230, 2] = np.nan
    forecaster = quick().fit(frame)
    forecast = forecaster.predict(num_samples=10)
    assert np.isfinite(forecast.samples).all()
    history = forecaster.history()
    assert_frame_equal(history, frame, check_freq=False)
    assert np.isfinite(forecaster.backtest(windows=1, num_samples=4).scores().crps).all()


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e9])
def test_the_unit_does_not_matter(fitted, scale):
    forecast = quick().fit(table() * scale).predict(num_samples=50)
    expected = fitted.predict(num_samples=50)
    np.testing.assert_allclose(forecast.mean() / scale, expected.mean(), rtol=0.02)
    np.testing.assert_allclose(forecast.std() / scale, expected.std(), rtol=0.1)


def test_counts_constants_zeros_and_negative_values():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "count": rng.poisson(1, 240),
            "zero": np.zeros(240),
            "constant": np.full(240, 7.5),
            "negative": -series(260)[0, :240],
        },
        table().index,
    )
    forecast = quick().fit(frame).predict(num_samples=50)
    counts = forecast["count"].samples
    assert (counts >= 0).all() and np.array_equal(counts, counts.round())
    assert not np.signbit(counts).any()  # no -0
    assert np.abs(forecast["zero"].samples).max() < 1e-3
    assert np.abs(forecast["constant"].samples - 7.5).max() < 0.1
    assert (forecast["negative"].mean() < -2).all().all()


# -- saving --------------------------------------------------------------------------------------

LOAD = """
import sys, numpy as np
from timediff import Forecaster
np.save(sys.argv[2], Forecaster.load(sys.argv[1]).predict(num_samples=4).samples)
"""


def test_saved_and_loaded_in_another_process_it_is_the_same(fitted, tmp_path):
    folder = fitted.save(tmp_path / "model")
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors", "config.json", "history.safetensors", "README.md",
    }  # fmt: skip
    out = tmp_path / "paths.npy"
    subprocess.run([sys.executable, "-c", LOAD, str(folder), str(out)], check=True)
    assert np.array_equal(np.load(out), fitted.predict(num_samples=4).samples)
    loaded = Forecaster.load(folder)
    assert_frame_equal(loaded.history(), fitted.history())
    assert loaded.recipe == fitted.recipe and repr(loaded) == repr(fitted)
    loaded.update(table(250)[-10:]).save(folder, overwrite=True)
    assert len(Forecaster.load(folder).history()) == 250
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["model"]


def test_the_card_tells_what_it_is(own, tmp_path):
    own.backtest(windows=2, num_samples=4)
    place = own.save(tmp_path / "model") / "README.md"
    card = place.read_text()
    place.write_text(card + "Not for the summer.\n")  # it is for people, who may
    assert Forecaster.load(place.parent).columns == ["a", "b", "c"]
    assert "240 steps, 2024-01-01 00:00:00+01:00 to 2024-01-10 23:00:00+01:00, 0.0% missing" in card
    assert "| b | 240 |" in card and "| seasonal naive (24) |" in card


@pytest.mark.parametrize(
    "labels",
    [
        ["x", 3, ("n", 1)],
        [datetime.date(2024, 1, 31), pd.Timestamp("2024-02-01"), (datetime.date(2024, 1, 1), "n")],
        [pd.Period("2024-01", "M"), pd.Period("2024-02", "M"), pd.Period("2024Q1", "Q-DEC")],
        [pd.Interval(0, 1), pd.Interval(1.5, 2, "both"), pd.Interval(*pd.to_datetime([0, 1]))],
    ],
)
def test_labels_and_groups_survive(labels, tmp_path):
    frame = table()
    frame.columns = pd.Index(labels, dtype=object, tupleize_cols=False)
    forecaster = quick().fit({"u": frame, labels[0]: frame[:200]})
    loaded = Forecaster.load(forecaster.save(tmp_path / "model"))
    assert loaded.columns == labels and list(loaded.kept.entries) == ["u", labels[0]]
    assert [*map(type, loaded.columns)] == [*map(type, labels)]
    one, two = forecaster.predict(num_samples=3), loaded.predict(num_samples=3)
    assert np.array_equal(one[labels[0]].samples, two[labels[0]].samples)


@pytest.mark.parametrize(
    "zone",
    [
        datetime.timezone(datetime.timedelta(hours=5, minutes=30), "here"),
        pytz.FixedOffset(-120),
        dateutil.tz.tzoffset("X", 3600),
        datetime.UTC,
    ],
)
def test_a_constant_offset_survives(zone, tmp_path):
    forecaster = quick().fit(table(tz=zone))
    loaded = Forecaster.load(forecaster.save(tmp_path / "model"))
    first = loaded.predict(num_samples=2).index[0]
    assert first == pd.Timestamp("2024-01-11", tz=zone)
    assert first.utcoffset() == zone.utcoffset(None)


def test_tables_of_other_libraries_are_read_by_every_method(fitted):
    """A pyarrow table says its columns otherwise than pandas does."""
    rows = long(table())
    later = long(table(250)[-10:])
    arrow = pa.Table.from_pandas(rows, preserve_index=False)
    forecaster = quick().fit(arrow)
    expected = fitted.predict(num_samples=4).samples
    assert np.array_equal(forecaster.predict(arrow, num_samples=4).samples, expected)
    forecast = forecaster.predict(num_samples=4)
    assert forecast.score(pa.Table.from_pandas(later)) == forecast.score(later)
    given = later[later["unique_id"] == "a"][:3]
    scenario = forecaster.predict(num_samples=4, given=pa.Table.from_pandas(given))
    samples = scenario["a"].samples[:, :3, 0]
    np.testing.assert_allclose(samples, np.tile(given["y"], (4, 1)), rtol=1e-5)
    forecaster.update(pa.Table.from_pandas(later))
    assert len(forecaster.history()) == 250
    grouped = pa.Table.from_pandas(rows.assign(area="n"), preserve_index=False)
    areas = quick().fit(grouped, group_column="area")
    assert np.array_equal(areas.predict(num_samples=4)["n"].samples, expected)
    assert list(areas.predict(grouped, num_samples=2)) == ["n"]


def test_few_rows_have_the_frequency_of_the_history(fitted):
    for rows, count in ((table()[:2], 2), (table()[:1], 1), (long(table()[:2]), 2)):
        forecast = fitted.predict(rows, num_samples=3)
        assert forecast.index[0] == table().index[count] and np.isfinite(forecast.samples).all()


def test_text_beside_the_series_is_left_out_of_actuals(fitted):
    forecast = fitted.predict(num_samples=4)
    actual = table(246)[-6:]
    beside = actual.assign(weather="fine", weekday=4, price=np.inf)
    assert forecast.score(beside) == forecast.score(actual)
    assert forecast.score(beside.rename_axis("date").reset_index()) == forecast.score(actual)


def test_without_history_it_needs_data(fitted, tmp_path):
    loaded = Forecaster.load(fitted.save(tmp_path / "model", history=False))
    with pytest.raises(DataError, match=r"no history.*predict\(data\)"):
        loaded.predict()
    for needs in (loaded.history, loaded.plot, loaded.plot_chain, lambda: loaded.update(table())):
        with pytest.raises(DataError, match=r"there is no history: give one with"):
            needs()
    for needs in (loaded.backtest, loaded.calibrate):
        with pytest.raises(DataError, match=r"no history.*backtest\(data\)"):
            needs()
    with pytest.raises(TimediffError, match="not fitted"):
        quick().history()
    expected = fitted.predict(num_samples=3).samples
    assert np.array_equal(loaded.predict(table(), num_samples=3).samples, expected)


def test_nothing_is_overwritten(fitted, tmp_path):
    folder = fitted.save(tmp_path / "model")
    with pytest.raises(SavedModelError, match="overwrite=True"):
        fitted.save(folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years")
    with pytest.raises(SavedModelError, match="left alone"):
        fitted.save(other, overwrite=True)
    assert (other / "thesis.txt").read_text() == "years"


def damaged(folder: Path, name: str, change) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(change(content))


@pytest.mark.parametrize("name", ["model.safetensors", "history.safetensors", "config.json"])
@pytest.mark.parametrize(
    "change", [lambda b: b[:-20], lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:], lambda b: b""]
)
def test_what_is_truncated_or_altered_is_refused(fitted, tmp_path, name, change):
    folder = fitted.save(tmp_path / "model")
    damaged(folder, name, change)
    with pytest.raises(SavedModelError, match=r"altered|no readable|reads 4"):
        Forecaster.load(folder)
    (folder / name).unlink()
    with pytest.raises(SavedModelError):
        Forecaster.load(folder)


def test_a_newer_version_and_a_mere_predictor_are_told_apart(fitted, tmp_path):
    folder = fitted.save(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(SavedModelError, match="upgrade timediff"):
        Forecaster.load(folder)
    plain = tmp_path / "plain"
    plain.mkdir()
    fitted.to_gluonts().serialize(plain)
    with pytest.raises(SavedModelError, match="from_predictor"):
        Forecaster.load(plain)


def test_around_a_predictor(fitted):
    other = Forecaster.from_predictor(fitted.to_gluonts(), table(), seed=0)
    expected = fitted.predict(num_samples=3).samples
    assert np.array_equal(other.predict(num_samples=3).samples, expected)
    bare = Forecaster.from_predictor(fitted.predictor, seed=0)
    assert np.array_equal(bare.predict(table(), num_samples=3).samples, expected)


# -- mistakes ------------------------------------------------------------------------------------


def test_mistakes_are_named_before_any_work():
    for horizon in (0, 2.5, "a"):
        with pytest.raises(OptionError, match=r"horizon is .*: give a whole number, 1 or more"):
            Forecaster(horizon)
    for device in ("gpu0", "cuda:99"):
        with pytest.raises(OptionError, match=f"device '{device}' cannot be used here"):
            Forecaster(24, device=device)
    with pytest.raises(OptionError, match="seed is 'a'"):
        Forecaster(24, seed="a")
    with pytest.raises(OptionError, match="hiden_size"):
        Forecaster(24, hiden_size=3)
    with pytest.raises(OptionError, match="preset"):
        Forecaster(24, preset="nope")
    with pytest.raises(OptionError, match="freq"):
        Forecaster(24, freq="fortnight")
    for call in (lambda f: f.predict(), lambda f: f.save("x"), lambda f: f.backtest()):
        with pytest.raises(TimediffError, match="not fitted"):
            call(quick())


@pytest.mark.parametrize("freq", ["ms", "us", "ns", "1500ms"])
def test_steps_of_no_whole_second_are_refused(freq):
    with pytest.raises(OptionError, match="finer than a second"):
        quick(freq=freq)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0: give a whole number, 1 or more"),
        ({"num_samples": 2.5}, "num_samples is 2.5: give a whole number"),
        ({"num_samples": True}, "num_samples is True"),
        ({"seed": "a"}, "seed is 'a': give a whole number, 0 or more"),
        ({"seed": -1}, "seed is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"device": "gpu0"}, "device 'gpu0' cannot be used here"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used here"),
        ({"level": [120]}, "level: 120 is not between"),
        ({"level": "90"}, "level: '90' is no number"),
        ({"level": 0.8}, r"level: 0\.8 is below one per cent: did you mean 80\?"),
        ({"quantiles": ["0.1"]}, r"quantiles: '0\.1' is no number"),
    ],
)
def test_impossible_arguments(fitted, options, message):
    with pytest.raises(OptionError, match=message):
        fitted.predict(**options)


def test_impossible_arguments_of_other_methods(fitted, own):
    for stride in (0, 1.5):
        with pytest.raises(OptionError, match=f"stride is {stride}"):
            fitted.backtest(stride=stride)
    with pytest.raises(OptionError, match="windows is 0"):
        fitted.backtest(windows=0)
    with pytest.raises(OptionError, match="unknown option 'pool': did you mean 'pooling'"):
        own.calibrate(pool=3)
    with pytest.raises(OptionError, match="unknown option 'draw': did you mean 'draws'"):
        fitted.log_likelihood(draw=3)
    with pytest.raises(OptionError, match="unknown option 'sereis': did you mean 'series'"):
        fitted.plot(sereis=["a"])
    with pytest.raises(OptionError, match="unknown series 'ab'"):
        fitted.plot_chain("ab")


def test_a_missing_device_is_no_fault_of_the_files(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    with pytest.raises(OptionError, match="device 'cuda:99' cannot be used here"):
        Forecaster.load(tmp_path / "model", device="cuda:99")


def test_verbose_says_the_frequency_and_quiet_says_nothing(capfd):
    quick(verbose=True, trainer_kwargs={"accelerator": "cpu"}).fit(table())
    assert "the frequency is 'h'" in capfd.readouterr().err
    quick(trainer_kwargs={"accelerator": "cpu"}).fit(table())
    assert capfd.readouterr() == ("", "")


# -- features and scenarios ----------------------------------------------------------------------


def known(length: int = 260) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame({"promotion": rng.random(length) < 0.3}, table(260).index[:length]) * 1.0


@pytest.fixture(scope="module")
def with_known() -> Forecaster:
    """Fitted with a feature that is known two days ahead. Not to be changed."""
    effect = table() + 4 * known(240).to_numpy()
    return quick().fit(effect, known=known())


def test_features_of_a_table_are_those_of_the_entry(with_known):
    effect = table() + 4 * known(240).to_numpy()
    dataset = from_wide(effect, known=known())
    expected = TimeGradEstimator("h", P, seed=0, **QUICK).train(dataset)
    paths = next(expected.predict(dataset, num_samples=4, seed=0)).samples
    forecast = with_known.predict(num_samples=4)
    assert np.array_equal(forecast.samples, paths)
    lift = known()["promotion"].iloc[240 : 240 + P].to_numpy()
    assert (forecast.mean()["a"][lift == 1].min()) > forecast.mean()["a"][lift == 0].max()


def test_features_of_series_without_a_season():
    years = pd.date_range("1960", periods=60 + P, freq="YS")
    tax = pd.DataFrame({"tax": np.random.default_rng(1).random(60 + P) < 0.4}, years) * 1.0
    frame = pd.DataFrame(series(60).T, years[:60], list("abc")) + 4 * tax[:60].to_numpy()
    forecaster = quick().fit(frame, known=tax)
    assert not forecaster.predictor.spec.profiles
    on, off = (forecaster.predict(known=0 * tax[-P:] + x).mean() for x in (1, 0))
    assert (on - off > 2).all().all()


def test_what_becomes_known_later_is_used(with_known):
    other = known()
    other.iloc[240:246] = 1 - other.iloc[240:246]
    changed = with_known.predict(num_samples=4, known=other[240:246])
    assert np.array_equal(changed.samples, with_known.predict(num_samples=4, known=other).samples)
    assert (np.abs(changed.mean() - with_known.predict(num_samples=4).mean()) > 2).all().all()
    with pytest.raises(DataError, match="'price'"):
        with_known.predict(known=other.rename(columns={"promotion": "price"}))
    with pytest.raises(DataError, match=r"'promotion'.*2024-01-11 0\d:00"):
        with_known.predict(table(), known=known(240))


def test_features_are_kept_updated_and_saved(with_known, tmp_path):
    loaded = Forecaster.load(with_known.save(tmp_path / "model"))
    first = with_known.predict(num_samples=4).samples
    assert np.array_equal(loaded.predict(num_samples=4).samples, first)
    rows = table(252)[240:] + 4 * known()[240:252].to_numpy()
    loaded.update(rows)
    whole = pd.concat([table() + 4 * known(240).to_numpy(), rows])
    expected = with_known.predict(whole, known=known(), num_samples=4)
    assert np.array_equal(loaded.predict(num_samples=4).samples, expected.samples)
    loaded.update(table(256)[252:])
    with pytest.raises(DataError, match=r"no value at 2024-01-11 20:00"):
        loaded.predict()
    longer = pd.DataFrame({"promotion": 0.0}, pd.date_range(known().index[-1], periods=9, freq="h"))
    assert np.isfinite(loaded.update(table(256)[254:], known=longer).predict().samples).all()


def test_something_may_become_known_of_some_groups_only():
    groups = {"north": table() + 4 * known(240).to_numpy(), "south": table()}
    forecaster = quick().fit(groups, known=dict.fromkeys(groups, known()))
    first, other = forecaster.predict(num_samples=4), known()
    other.iloc[240:246] = 1 - other.iloc[240:246]
    got = forecaster.predict(num_samples=4, known={"south": other})
    assert np.array_equal(got["north"].samples, first["north"].samples)
    assert not np.array_equal(got["south"].samples, first["south"].samples)
    with pytest.raises(DataError, match=r"known: there is no group 'west': .*'north', 'south'"):
        forecaster.predict(known={"west": other})


def test_a_backtest_with_features(with_known):
    result = with_known.backtest(windows=2, num_samples=4, baselines=False)
    assert [f.index[0] for f in result.forecasts] == [table().index[-12], table().index[-6]]
    assert np.isfinite(result.scores()).all().all()


def test_features_of_a_long_table():
    frame = long(table()).merge(
        known(240).rename_axis("ds").reset_index(), on="ds"
    ).assign(weight=1.5)  # fmt: skip
    future = pd.DataFrame(
        {"unique_id": np.repeat(["a", "b", "c"], P), "ds": [*known().index[240:246]] * 3}
    ).merge(known().rename_axis("ds").reset_index(), on="ds")
    static = pd.DataFrame({"size": [1.0, 2.0, 3.0], "kind": ["x", "y", "x"]}, ["a", "b", "c"])
    forecaster = quick().fit(frame, known=["promotion"], static=static)
    with pytest.raises(DataError, match=r"'promotion'.*2024-01-11 00:00"):
        forecaster.predict()
    first = forecaster.predict(num_samples=4, future=future)
    again = forecaster.predict(frame, num_samples=4, future=future, static=static)
    assert np.array_equal(first.samples, again.samples)
    rows = long(table(242)[240:]).merge(known().rename_axis("ds").reset_index(), on="ds")
    forecaster.update(rows, future=future[future.ds > rows.ds.max()])
    assert forecaster.history().shape == (242, 3)


def test_a_scenario_is_given_as_a_table(fitted):
    plain = fitted.predict(num_samples=50)
    frame = 1.1 * plain.mean()[["b"]]
    scenario = fitted.predict(num_samples=50, given=frame)
    np.testing.assert_allclose(scenario["b"].samples[..., 0], frame[["b"]].to_numpy().T[[0] * 50])
    assert 0 < scenario.info["given"]["effective_paths"] <= 50
    total = (1.05 * plain.mean()[["a", "c"]].sum(axis=1)).to_frame("north")
    scenario = fitted.predict(num_samples=50, given=total, totals={"north": ["a", "c"]})
    north = scenario.aggregate({"north": ["a", "c"]})
    np.testing.assert_allclose(north.samples[..., 0], total.to_numpy().T[[0] * 50], rtol=1e-5)
    with pytest.raises(DataError, match="'d' is no series"):
        fitted.predict(given=frame.rename(columns={"b": "d"}))


def test_a_scenario_may_be_a_long_table(fitted):
    frame = fitted.predict(num_samples=20).mean()[["b"]] + 0.1
    frame.iloc[2] = np.nan
    rows = long(frame).dropna()
    wide = fitted.predict(num_samples=20, given=frame).samples
    for given in (
        rows,
        rows.set_index(["unique_id", "ds"]),
        rows.rename(columns={"unique_id": "item_id", "ds": "timestamp", "y": "target"}),
        rows.rename(columns={"unique_id": "series", "ds": "timestamp", "y": "value"}),
    ):
        np.testing.assert_array_equal(fitted.predict(num_samples=20, given=given).samples, wide)
    with pytest.raises(DataError, match="'b' has more than one value at 2024-01-11"):
        fitted.predict(given=pd.concat([rows, rows]))


def test_rows_may_have_their_series_in_the_index(own):
    names = {"y": "load"}
    rows = long(table(250)[-10:]).set_index(["unique_id", "ds"])
    assert_frame_equal(own.update(rows).history(), table(250), check_freq=False, check_names=False)
    history = long(table()).rename(columns=names).set_index("ds")
    forecaster = quick().fit(history, target_column="load")
    forecaster.update(rows.rename(columns=names))
    assert forecaster.kept.names.target == "load"
    assert_frame_equal(forecaster.history(), own.history(), check_freq=False, check_names=False)


def test_later_rows_of_features_may_be_text(own):
    rows = long(table(240, None)).assign(price=1.0)
    forecaster = quick().fit(rows.assign(ds=rows["ds"].astype(str)), known="price")
    ahead = pd.date_range("2024-01-11", periods=P, freq="h")
    future = pd.DataFrame({"unique_id": np.repeat(["a", "b", "c"], P), "ds": [*ahead] * 3})
    future = future.assign(price=2.0)
    expected = forecaster.predict(future=future, num_samples=4).samples
    texts = future.assign(ds=future["ds"].astype(str))
    np.testing.assert_array_equal(forecaster.predict(future=texts, num_samples=4).samples, expected)
    with pytest.raises(DataError, match="series 'a': 'soon' in column 'ds', row 0"):
        forecaster.predict(future=future.assign(ds="soon"))


def test_scenarios_of_groups():
    forecaster = quick().fit({"n": table(), "s": table(200)})
    plain = forecaster.predict(num_samples=20)
    given = {"s": plain["s"].mean()[["a"]]}
    both = forecaster.predict(num_samples=20, given=given)
    assert np.array_equal(both["n"].samples, plain["n"].samples)
    assert np.ptp(both["s"]["a"].samples, axis=0).max() == 0
    with pytest.raises(DataError, match="dict of tables"):
        forecaster.predict(given=given["s"])
    with pytest.raises(DataError, match="group 'x'"):
        forecaster.predict(given={"x": given["s"]})


def test_what_is_given_is_no_dict_where_there_are_no_groups_and_totals_need_it(fitted):
    with pytest.raises(DataError, match="there are no groups: what is given must be a table"):
        fitted.predict(given={"a": 1.0})
    with pytest.raises(OptionError, match="totals= names columns of given="):
        fitted.predict(totals={"ab": ["a", "b"]})
    given = pd.DataFrame({"ab": 9.0}, fitted.predict(num_samples=2).index)
    weights = pd.Series({"a": 1.0, "b": 1.0})
    scenario = fitted.predict(given=given, totals={"ab": weights}, num_samples=4)
    np.testing.assert_allclose(scenario.aggregate({"ab": weights}).samples, 9, rtol=1e-5)


@pytest.mark.filterwarnings("error:Period with BDay freq")
def test_business_days_are_no_reason_for_a_warning(tmp_path):
    days = pd.DataFrame(series(80).T, pd.date_range("2024-01-01", periods=80, freq="B"))
    forecaster = quick().fit(days[:60]).update(days[60:70])
    forecast = forecaster.predict(num_samples=3)
    assert forecast.cutoff == days.index[69] and forecast.score(days)["crps"] > 0
    forecaster.predict(given=forecast.mean()[[0]], num_samples=3)
    forecaster.backtest(windows=1, num_samples=3)
    forecaster.save(tmp_path / "model")
    again = Forecaster.load(tmp_path / "model")
    assert np.array_equal(again.predict(num_samples=3).samples, forecast.samples)
