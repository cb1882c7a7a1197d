"""Offsets without a period: what is closed does not exist, and what is open is counted."""

import datetime
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.split import split
from gluonts.evaluation import MultivariateEvaluator, make_evaluation_predictions
from pandas import offsets
from pandas.testing import assert_frame_equal

from tests.conftest import QUICK, series
from timediff import (
    DataError,
    Forecaster,
    OptionError,
    SavedModelError,
    TimeGradEstimator,
    from_long,
    from_wide,
    holiday_features,
    to_frame,
)
from timediff._calendars import calendar_of, describe
from timediff._frequency import text_of
from timediff._stamps import locate, stamps_of, timestamps
from timediff.entries import read_dataset
from timediff.forecast import JointForecast
from timediff.seasonality import calendar, seasons

P = 5
HOLIDAYS = ["2024-01-01", "2024-03-29", "2024-04-01", "2024-05-01", "2024-12-25", "2024-12-26"]
EXCHANGE = offsets.CustomBusinessDay(holidays=HOLIDAYS)
SUNDAYS = offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu", holidays=["2024-04-10"])
TWICE = offsets.CustomBusinessHour(
    start=["09:00", "13:00"], end=["12:00", "17:00"], holidays=HOLIDAYS
)
CALENDARS = [
    EXCHANGE,
    SUNDAYS,
    offsets.CustomBusinessDay(2, holidays=HOLIDAYS),
    offsets.CBMonthEnd(holidays=["2024-05-31"]),
    offsets.CBMonthBegin(holidays=["2024-05-01"]),
    TWICE,
    offsets.CustomBusinessHour(start="17:00", end="09:00", holidays=HOLIDAYS),
    offsets.BusinessHour(start="08:00", end="16:30"),
    offsets.SemiMonthEnd(day_of_month=10),
    offsets.FY5253(weekday=0, startingMonth=12, variation="nearest"),
    offsets.FY5253Quarter(weekday=5, startingMonth=1, qtr_with_extra_week=4, variation="last"),
    offsets.Easter(),
    *["C", "2C", "SME", "SMS", "2SMS", "WOM-2TUE", "LWOM-FRI", "bh", "2bh", "cbh", "CBME", "CBMS"],
]
GIVEN = {f"{c if isinstance(c, str) else type(c).__name__} {i}": c for i, c in enumerate(CALENDARS)}


def offset_of(freq):
    return offsets.LastWeekOfMonth(weekday=4) if freq == "LWOM-FRI" else freq


def exchange(length: int = 150, end: str = "2024-12-23", tz: str | None = None) -> pd.DataFrame:
    """Prices of an exchange; the horizon crosses Christmas, which is a holiday."""
    index = pd.date_range(end=end, periods=length, freq=EXCHANGE, tz=tz)
    return pd.DataFrame(series(length).T, index, ["a", "b", "c"])


AHEAD = pd.DatetimeIndex(["2024-12-24", "2024-12-27", "2024-12-30", "2024-12-31", "2025-01-01"])


def quick(**options) -> Forecaster:
    return Forecaster(P, **{**QUICK, "seed": 0, **options})


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    """Not to be changed."""
    return quick(freq=EXCHANGE).fit(exchange())


# -- counting --------------------------------------------------------------------------------


@pytest.mark.parametrize("freq", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("first", ["2024-02-15 08:30", "1958-11-03 13:30"])
def test_open_steps_are_counted_and_stamped_as_pandas_does(freq, first):
    text = text_of(freq)
    index = pd.date_range(first, periods=90, freq=offset_of(freq))
    start, rows, info = locate(index[:60:3], text)
    np.testing.assert_array_equal(rows, np.arange(0, 60, 3))
    assert timestamps(start, 90, info).equals(pd.DatetimeIndex(index, freq=None))
    later, _, layout = locate(index[40:], text)  # the numbers do not depend on the table
    assert (later - start).n == 40 * start.freq.n and layout == info


@pytest.mark.parametrize("freq", GIVEN.values(), ids=GIVEN)
def test_a_frequency_is_text_that_can_be_read_again(freq):
    text = text_of(freq)
    read = calendar_of(text)
    assert text_of(read.offset) == calendar_of(read.text).text == read.text
    index = pd.date_range("2024-02-15 09:00", periods=50, freq=offset_of(freq))
    assert index.equals(pd.date_range("2024-02-15 09:00", periods=50, freq=read.offset))


def test_equal_calendars_have_the_same_text():
    one = offsets.CustomBusinessDay(holidays=["2024-12-26", "2024-12-25", "2024-12-25"])
    two = offsets.CustomBusinessDay(
        weekmask="1111100", holidays=[datetime.date(2024, 12, d) for d in (25, 26)]
    )
    assert describe(one) == describe(two)
    assert json.loads(describe(one)) == {
        "offset": "CustomBusinessDay",
        "n": 1,
        "weekmask": "Mon Tue Wed Thu Fri",
        "holidays": ["2024-12-25", "2024-12-26"],
    }
    assert describe(offsets.CustomBusinessDay()) == "C" and describe(offsets.MonthEnd()) == "ME"


def test_ten_years_of_opening_hours_and_days_before_1970():
    index = pd.date_range("1962-01-01 09:00", "1972-01-01", freq="bh")
    start, rows, info = locate(index, "bh")
    assert len(rows) > 20_000 and rows[-1] == len(rows) - 1
    assert timestamps(start, len(index), info).equals(pd.DatetimeIndex(index, freq=None))


def test_the_holidays_of_a_pandas_calendar():
    from pandas.tseries.holiday import USFederalHolidayCalendar

    freq = offsets.CustomBusinessDay(calendar=USFederalHolidayCalendar())
    index = pd.date_range("2024-06-28", periods=8, freq=freq)
    (entry,) = from_wide(pd.DataFrame({"a": np.arange(8.0)}, index))
    assert entry["target"].shape == (1, 8)
    assert pd.Timestamp("2024-07-04") not in stamps_of(entry["start"], 8, entry["info"])


class Lunar(offsets.CustomBusinessDay):
    """Of a user."""


WRONG = {
    "backwards": (offsets.CustomBusinessDay(-1), "counts backwards"),
    "backwards, text": ("-1SME", "counts backwards"),
    "nothing": (json.dumps({"offset": "CustomBusinessDay", "n": 0}), "counts backwards"),
    "a class of one's own": (Lunar(), "own offsets"),
    "moved": (offsets.CustomBusinessDay(offset=datetime.timedelta(hours=2)), "own offsets"),
    "a DateOffset": (pd.DateOffset(months=1), "own offsets"),
    "no JSON": ("{", "describes no calendar"),
    "another offset": (json.dumps({"offset": "Tick"}), "describes no calendar"),
    "another part": (json.dumps({"offset": "Easter", "holidays": []}), "describes no calendar"),
    "no dates": (
        json.dumps({"offset": "CustomBusinessDay", "holidays": ["Easter"]}),
        "describes no calendar",
    ),
    "never open": (
        json.dumps({"offset": "CustomBusinessDay", "weekmask": ""}),
        "describes no calendar",
    ),
    "no day": ("LWOM-ABC", "no frequency"),
}


@pytest.mark.parametrize(("freq", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_calendar_is_an_error(freq, message):
    with pytest.raises(OptionError, match=message):
        Forecaster(P, freq=freq)


# -- reading ---------------------------------------------------------------------------------


def test_a_missing_open_step_is_nan_and_a_holiday_is_no_step():
    frame = exchange()
    gap = frame.drop(index=frame.index[[40, 41]])
    for freq in (EXCHANGE, None):
        (entry,) = from_wide(gap if freq else frame, freq=freq)
        missing = np.isnan(entry["target"]).all(0)
        assert missing.nonzero()[0].tolist() == ([40, 41] if freq else [])
        assert len(missing) == len(frame)


def test_a_row_on_a_holiday_is_an_error_that_names_it():
    frame = exchange()
    frame.loc[pd.Timestamp("2024-05-01")] = 1.0
    with pytest.raises(DataError, match=r"2024-05-01 00:00:00 is no open step of 'C': leave"):
        from_wide(frame, freq=EXCHANGE)
    hours = pd.DataFrame({"a": 1.0}, pd.date_range("2024-05-02 09:00", periods=9, freq="h"))
    with pytest.raises(DataError, match=r"2024-05-02 17:00:00 is no open step of 'bh'"):
        from_wide(hours, freq="bh")


def test_what_is_open_but_off_the_grid_is_an_error():
    index = exchange().index.to_series()
    index.iloc[7] += pd.Timedelta(hours=1)
    frame = exchange().set_axis(pd.DatetimeIndex(index))
    with pytest.raises(DataError, match="01:00:00 is not on the grid of frequency 'C'"):
        from_wide(frame, freq=EXCHANGE)
    with pytest.raises(DataError, match="is not on the grid of frequency '2C'"):
        from_wide(exchange(), freq="2C")
    with pytest.raises(DataError, match=r"periods of frequency 'D', .* says 'C': .*to_timestamp"):
        from_wide(exchange().to_period("D"), freq=EXCHANGE)


def test_the_third_friday_is_inferred():
    index = pd.date_range("2020-01-01", periods=30, freq="WOM-3FRI")
    (entry,) = from_wide(pd.DataFrame({"a": 1.0}, pd.DatetimeIndex(index, freq=None)))
    assert entry["info"]["freq"] == "WOM-3FRI" and entry["target"].shape == (1, 30)


def test_long_tables_and_groups():
    wide = exchange()
    long = wide.rename_axis("ds").melt(ignore_index=False, var_name="unique_id", value_name="y")
    (entry,), (same,) = from_long(long.reset_index(), freq=EXCHANGE), from_wide(wide)
    assert entry["start"] == same["start"] and entry["info"] == same["info"]
    np.testing.assert_array_equal(entry["target"], same["target"])
    israel = pd.date_range("2024-01-02", periods=150, freq=SUNDAYS)
    groups = {"paris": wide, "haifa": wide.set_axis(israel)}  # each with its own index.freq
    forecasts = quick().fit(groups).predict(num_samples=4)
    assert list(forecasts["paris"].index) == list(AHEAD)
    expected = pd.date_range(israel[-1], periods=P + 1, freq=SUNDAYS)[1:]
    assert list(forecasts["haifa"].index) == list(expected)


@pytest.mark.parametrize("tz", ["Europe/Berlin", "Asia/Tokyo"])
def test_calendars_run_by_the_local_clock(tz):
    for freq, first in (
        (EXCHANGE, "2024-03-25"),
        ("bh", "2024-03-27 09:00"),
        (TWICE, "2024-03-27"),
    ):
        index = pd.date_range(first, periods=40, freq=freq, tz=tz)  # over a change of the clock
        (entry,) = from_wide(pd.DataFrame({"a": np.arange(40.0)}, index), freq=freq)
        assert not np.isnan(entry["target"]).any() and entry["info"]["clock"] == "local"
        assert list(stamps_of(entry["start"], 40, entry["info"])) == list(index)


def test_known_features_on_open_days_alone():
    frame = exchange()
    index = pd.date_range(frame.index[0], periods=len(frame) + P, freq=EXCHANGE)
    known = pd.DataFrame({"x": np.arange(float(len(index)))}, index)
    (entry,) = from_wide(frame, known=known)
    np.testing.assert_array_equal(entry["feat_dynamic_real"][0], known["x"])
    closed = pd.concat([known, pd.DataFrame({"x": 0.0}, [pd.Timestamp("2024-12-25")])])
    with pytest.raises(DataError, match=r"2024-12-25 00:00:00 is no open step"):
        from_wide(frame, known=closed)
    with pytest.raises(DataError, match="is inf at 2024-05-28 00:00:00"):
        list(read_dataset([{**entry, "feat_dynamic_real": np.full((1, 160), np.inf)}], "C"))


def test_holiday_features_go_on_over_open_days():
    pytest.importorskip("holidays")
    days = holiday_features(exchange().index, "DE", periods=P)
    assert list(days.index[-P:]) == list(AHEAD)
    assert days["before_holiday"].iloc[-P] == 1 and days["holiday"].iloc[-1] == 1


# -- what the model reads --------------------------------------------------------------------


@pytest.mark.parametrize("freq", [EXCHANGE, SUNDAYS, TWICE, "SME", "WOM-2TUE", "CBME"])
def test_calendar_features_are_those_of_the_real_times(freq):
    text = text_of(freq)
    index = pd.date_range("2024-02-15", periods=60, freq=freq)
    start, _, info = locate(index, text)
    found = calendar(start, 60, text, True, info)
    angles = {
        "dayofweek": index.dayofweek / 7,
        "hour": index.hour / 24,
        "month": index.month / 12,
        "day": index.day / 31,
        "dayofyear": index.dayofyear / 366,
    }
    fields = {
        "SME": ["month", "day", "dayofyear"],
        "WOM-2TUE": ["month", "dayofyear"],
        "CBME": ["month", "dayofyear"],
        TWICE: ["hour", "dayofweek", "dayofyear"],
    }.get(freq, ["dayofweek", "dayofyear"])
    columns = [f(2 * np.pi * angles[name]) for name in fields for f in (np.sin, np.cos)]
    np.testing.assert_allclose(found, np.stack(columns, axis=1), atol=1e-6)


def test_the_store_reads_the_real_days(fitted):
    panels = read_dataset(fitted.kept.entries.values(), fitted.predictor.spec.freq)
    batch = fitted.predictor.gather(panels)
    angle = 2 * np.pi * AHEAD.dayofweek.to_numpy() / 7
    np.testing.assert_allclose(batch.calendar[0, -P:, 0], np.sin(angle), atol=1e-6)


SEASONS = {
    "C": (5,),
    text_of(offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat")): (6,),
    "2C": (),
    "bh": (8, 40),
    "2bh": (4, 20),
    text_of(TWICE): (7, 35),
    text_of(offsets.BusinessHour(start="08:00", end="16:30")): (),
    "SME": (24,),
    "2SMS": (12,),
    "WOM-2TUE": (12,),
    "LWOM-FRI": (12,),
    "CBME": (12,),
    text_of(CALENDARS[10]): (4,),
    text_of(CALENDARS[9]): (),
}


@pytest.mark.parametrize(("freq", "expected"), SEASONS.items(), ids=range(len(SEASONS)))
def test_seasons(freq, expected):
    assert seasons(freq) == expected
    TimeGradEstimator(freq, 3)


# -- the whole way ---------------------------------------------------------------------------


def test_a_horizon_is_that_many_open_days(fitted):
    forecast = fitted.predict(num_samples=8)
    assert list(forecast.index) == list(AHEAD) and forecast.cutoff == pd.Timestamp("2024-12-23")
    assert list(forecast.to_frame()["timestamp"].unique()) == list(AHEAD)
    assert_frame_equal(fitted.history(), exchange(), check_freq=False)
    joint = forecast.to_gluonts()
    assert list(joint.index) == list(AHEAD) and list(joint.mean_ts.index) == list(AHEAD)
    assert list(to_frame(joint)["timestamp"].unique()) == list(AHEAD)
    assert isinstance(joint, JointForecast)


def test_an_index_says_its_calendar_itself(fitted, tmp_path):
    other = quick().fit(exchange())
    assert other.freq is None
    np.testing.assert_array_equal(
        other.predict(num_samples=4).samples, fitted.predict(num_samples=4).samples
    )
    plain = exchange().set_axis(pd.DatetimeIndex(exchange().index, freq=None))
    assert list(other.predict(plain, num_samples=4).index) == list(AHEAD)  # the history's calendar
    bare = Forecaster.load(other.save(tmp_path / "model", history=False), "cpu")
    assert list(bare.predict(plain, num_samples=4).index) == list(AHEAD)  # the model's
    new = pd.date_range("2024-01-03", periods=150, freq="C")  # or the table's own
    assert list(other.predict(plain.set_axis(new), num_samples=4).index) == list(
        pd.date_range(new[-1], periods=P + 1, freq="C")[1:]
    )


def test_update_goes_on_over_a_holiday(fitted):
    own = quick(freq=EXCHANGE)
    own.take(fitted.predictor, fitted.kept)
    rows = pd.DataFrame(1.0, AHEAD[[0, 2]], ["a", "b", "c"])
    own.update(rows)
    tail = own.history().iloc[-4:]
    assert list(tail.index) == [pd.Timestamp("2024-12-23"), *AHEAD[:3]]
    assert tail.iloc[2].isna().all() and (tail.iloc[3] == 1).all()
    assert own.predict(num_samples=4).index[0] == AHEAD[3]
    with pytest.raises(DataError, match="2024-12-25"):
        own.update(rows.set_axis(pd.DatetimeIndex(["2024-12-25", "2024-12-30"])))
    own.update(pd.DataFrame(1.0, AHEAD[3:4], ["a", "b", "c"]), train=True)
    assert own.predict(num_samples=4).index[0] == AHEAD[4]


def test_rows_by_another_calendar_are_an_error(fitted):
    other = from_wide(exchange(), freq=offsets.CustomBusinessDay(holidays=HOLIDAYS[1:]))
    own = quick(freq=EXCHANGE)
    own.take(fitted.predictor, fitted.kept)
    with pytest.raises(DataError, match="'C', the history 'C', of other days"):
        own.update(other)
    with pytest.raises(DataError, match="frequency 'SME-15', but the model 'C'"):
        fitted.predict(
            from_wide(exchange().set_axis(pd.date_range("2000", periods=150, freq="SME")))
        )
    with pytest.raises(DataError, match="from_wide"):
        next(fitted.predictor.predict([{"start": "2024-01-02", "target": series(150)}]))


def test_backtests_scores_and_pictures(fitted):
    pytest.importorskip("matplotlib")
    backtest = fitted.backtest(windows=2, num_samples=4)
    first = backtest.forecasts[0]
    assert list(backtest.forecasts[1].index) == list(exchange().index[-P:])
    assert first.cutoff == exchange().index[-2 * P - 1]
    assert "seasonal naive (5)" in backtest.scores().index
    assert np.isfinite(first.score(exchange())["crps"])
    forecast = fitted.predict(num_samples=8)
    actuals = pd.DataFrame(0.0, AHEAD, ["a", "b", "c"])
    for figure in (
        forecast.plot(actuals, series="a"),
        forecast.plot_paths(),
        forecast.plot_total(actuals=actuals),
    ):
        assert figure.axes
    lines = {line.get_label(): line for line in forecast.plot(series="a").axes[0].lines}
    assert list(pd.DatetimeIndex(lines["median"].get_xdata())) == list(AHEAD)
    observed = pd.DatetimeIndex(lines["observed"].get_xdata())
    assert list(observed) == list(exchange().index[-3 * P :])
    assert backtest.plot().axes


def test_scenarios_and_likelihoods_are_of_open_days(fitted):
    given = pd.DataFrame({"a": [2.0]}, AHEAD[[1]])
    forecast = fitted.predict(num_samples=8, given=given)
    assert (forecast.samples[:, 1, 0] == 2).all()
    with pytest.raises(DataError, match="2024-12-25 00:00:00 is not within the horizon"):
        fitted.predict(given=given.set_axis(pd.DatetimeIndex(["2024-12-25"])))
    table = fitted.log_likelihood(last=P, flow_steps=0)
    assert list(table.index) == list(exchange().index[-P:])


def test_a_forecaster_comes_back_with_its_calendar(fitted, tmp_path):
    folder = fitted.save(tmp_path / "model")
    loaded = Forecaster.load(folder, "cpu")
    assert loaded.freq == fitted.freq == text_of(EXCHANGE)
    one, two = (f.predict(num_samples=4) for f in (fitted, loaded))
    assert list(two.index) == list(AHEAD)
    np.testing.assert_array_equal(one.samples, two.samples)
    assert "frequency `C`" in (folder / "README.md").read_text()
    loaded.update(pd.DataFrame(1.0, AHEAD[:2], ["a", "b", "c"]))
    assert loaded.predict(num_samples=4).index[0] == AHEAD[2]
    again = Forecaster.from_predictor(fitted.predictor, exchange(), seed=0)
    np.testing.assert_array_equal(again.predict(num_samples=4).samples, one.samples)
    copy = pickle.loads(pickle.dumps(fitted.predictor))
    assert copy.spec == fitted.predictor.spec


def test_a_saved_calendar_of_an_unknown_kind_is_an_error(fitted, tmp_path):
    from timediff.saving import checksum

    folder = fitted.save(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["extra"]["groups"][0]["info"]["freq"] = '{"offset": "Lunar"}'
    config["config_sha256"] = checksum(config)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SavedModelError, match="Lunar"):
        Forecaster.load(folder)


def test_features_of_the_whole_way():
    frame = exchange(tz="Europe/Paris")
    index = pd.date_range(frame.index[0], periods=len(frame) + P, freq=EXCHANGE)
    x = pd.DataFrame({"x": np.sin(np.arange(len(index)))}, index)
    forecaster = quick().fit(frame, known=x[:-P], past=x[:-P].rename(columns={"x": "y"}))
    forecast = forecaster.predict(num_samples=4, known=x[-P:])
    assert list(forecast.index) == list(AHEAD.tz_localize("Europe/Paris"))
    with pytest.raises(DataError, match="2024-12-24"):
        forecaster.predict()


@pytest.mark.parametrize("freq", ["SME", "WOM-2TUE", "LWOM-FRI", "bh", TWICE])
def test_other_calendars_from_fit_to_forecast(freq):
    index = pd.date_range("2020-02-15", periods=100 + P, freq=offset_of(freq))
    frame = pd.DataFrame(series(100).T, index[:100], ["a", "b", "c"])
    forecast = quick(freq=freq).fit(frame).predict(num_samples=4)
    assert list(forecast.index) == list(index[100:])
    assert forecast.cutoff == index[99] and np.isfinite(forecast.samples).all()


def test_the_estimator_takes_entries_of_a_calendar():
    dataset = from_wide(exchange())
    predictor = TimeGradEstimator("C", P, seed=0, **QUICK).train(dataset)
    (forecast,) = predictor.predict(dataset, num_samples=4)
    assert list(forecast.index) == list(AHEAD)
    test = split(dataset, offset=-2 * P)[1].generate_instances(P, windows=2)
    first, second = predictor.predict(test.input, num_samples=4)
    assert [*first.index, *second.index] == list(exchange().index[-2 * P :])
    forecasts, observed = make_evaluation_predictions(dataset, predictor, num_samples=4)
    scores, _ = MultivariateEvaluator(num_workers=0)(observed, forecasts)
    assert np.isfinite(scores["mean_wQuantileLoss"])


def test_groups_keep_their_own_calendars():
    day = offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri", holidays=["2024-12-20"])
    tables = {"a": exchange(), "b": exchange().set_axis(pd.date_range("2024-01-02", periods=150))}
    tables["b"].index = pd.date_range(end="2024-12-23", periods=150, freq=day)
    forecaster = quick().fit(tables)
    plain = {
        key: table.set_axis(pd.DatetimeIndex(table.index, freq=None))
        for key, table in tables.items()
    }
    for data in (None, tables, plain, {"a": plain["a"], "b": tables["b"]}):
        found = forecaster.predict(data, num_samples=2)
        assert found["a"].index.equals(AHEAD)
        assert "2024-12-25" in found["b"].index
    forecaster.update({"b": exchange(1).set_axis(pd.DatetimeIndex(["2024-12-25"]))})
    assert forecaster.predict(num_samples=2)["b"].cutoff == pd.Timestamp("2024-12-25")


def test_a_table_of_another_rhythm_is_an_error(fitted):
    six = offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat")
    table = exchange().set_axis(pd.date_range(end="2024-12-23", periods=150, freq=six))
    with pytest.raises(DataError, match="has frequency 'C', but the model 'C', open at other"):
        next(fitted.predictor.predict(from_wide(table, freq=six), num_samples=2))


def test_the_last_friday_is_inferred():
    fridays = pd.date_range("2000-01-01", periods=60, freq=offsets.LastWeekOfMonth(weekday=4))
    (entry,) = from_wide(pd.DataFrame({"a": range(60)}, pd.DatetimeIndex(fridays, freq=None)))
    assert entry["info"]["freq"] == "LWOM-FRI"


@pytest.mark.parametrize(("freq", "kept"), [("2B", True), ("2B", False), ("3B", True)])
def test_several_business_days_are_no_days(freq, kept):
    index = pd.date_range("2024-01-01", periods=62, freq=freq)
    table = pd.DataFrame({"a": range(60)}, index[:60] if kept else index[:60].to_numpy())
    (entry,) = from_wide(table)
    assert entry["info"]["freq"] == freq and entry["target"].shape == (1, 60)
    assert stamps_of(entry["start"], 62, entry["info"]).equals(pd.DatetimeIndex(index))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("old", "new"), [("BH", "bh"), ("SM", "SME-15"), ("CBM", "CBME")])
def test_names_that_pandas_still_reads(old, new):
    assert calendar_of(old).text == new


def test_the_estimator_takes_an_offset():
    estimator = TimeGradEstimator(EXCHANGE, P, **QUICK)
    assert estimator.freq == text_of(EXCHANGE)
