"""Features from tables: known ahead, of the past only, static; and holidays."""

import builtins

import numpy as np
import pandas as pd
import pytest

from tests.test_frames import table
from timediff import DataError, OptionError, from_long, from_wide, holiday_features
from timediff._calendars import describe
from timediff.entries import read_entry


def features(length: int = 46, names: tuple = ("price", "promo"), **kwargs) -> pd.DataFrame:
    """As :func:`tests.test_frames.table`, six steps longer."""
    index = table(length=length, **kwargs).index
    values = np.arange(float(length * len(names))).reshape(length, -1)
    return pd.DataFrame(values, index=index, columns=list(names))


def own(length: int = 46) -> pd.DataFrame:
    """Features of each series, the series in another order than in the table."""
    names = [(f, s) for f in ("price", "promo") for s in ("south", "north")]
    return features(length, tuple(names)).set_axis(pd.MultiIndex.from_tuples(names), axis=1)


STATIC = pd.DataFrame(
    {"size": [2.0, 1.0], "kind": ["small", "large"], "coast": [True, False]},
    index=["south", "north"],
)


def test_features_of_the_group_reach_beyond_the_end():
    known, past = features(), features(46, ("wind",))
    (entry,) = from_wide(table(), known=known.iloc[::-1], past=past["wind"])
    np.testing.assert_array_equal(entry["feat_dynamic_real"], known.to_numpy().T)
    np.testing.assert_array_equal(entry["past_feat_dynamic_real"], past.to_numpy()[:40].T)
    assert entry["info"]["features"] == {
        "feat_dynamic_real": ["price", "promo"],
        "past_feat_dynamic_real": ["wind"],
    }
    assert entry["target"].shape == (2, 40)


def test_features_of_each_series_are_in_the_order_of_the_series():
    (entry,) = from_wide(table(), known=own())
    values = entry["feat_dynamic_real"]
    assert values.shape == (2, 2, 46)
    np.testing.assert_array_equal(values[1, 0], own()["promo", "north"])


def test_what_does_not_change_is_numbers_or_categories():
    (entry,) = from_wide(table(), static=STATIC)
    np.testing.assert_array_equal(entry["feat_static_real"], [[1.0, 2.0]])
    np.testing.assert_array_equal(entry["feat_static_cat"], [[0, 1], [0, 1]])
    assert entry["info"]["features"] == {
        "feat_static_real": ["size"],
        "feat_static_cat": ["kind", "coast"],
        "categories": [["large", "small"], [False, True]],
    }
    panel = read_entry(entry, 0, "h")
    assert panel.features.category.tolist() == [["large", False], ["small", True]]


def test_earlier_rows_and_gaps_that_the_table_has_too_are_no_error():
    frame, known = table().drop(table().index[[5, 6]]), features(50, start="2021-03-03 22:00")
    (entry,) = from_wide(frame, known=known.drop(frame.index[0] + pd.Timedelta(hours=5)))
    assert np.isnan(entry["feat_dynamic_real"][0, 5])
    np.testing.assert_array_equal(entry["feat_dynamic_real"][0, :3], [4.0, 6.0, 8.0])
    assert entry["feat_dynamic_real"].shape == (2, 48)


def changed(frame: pd.DataFrame, row: int, column: str, value: float) -> pd.DataFrame:
    frame = frame.copy()
    frame.loc[frame.index[row], column] = value
    return frame


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"known": features().drop(features().index[7])}, "known has no row at 2021-03-04 07:00"),
        ({"known": features(39)}, r"known has no row at 2021-03-05 15:00:00 for \['price', 'promo"),
        ({"past": features(30)}, "past has no row at 2021-03-05 06:00"),
        (
            {"known": changed(features(), 3, "promo", np.inf)},
            "known feature 'promo' at 2021-03-04 03:00:00: inf is infinite",
        ),
        (
            {"past": features().assign(promo="sunny")},
            "past feature 'promo' at .*: 'sunny' is no number; make .*pd.get_dummies",
        ),
        ({"known": own().iloc[:, :3]}, r"known has no column \('promo', 'north'\)"),
        (
            {"past": own().rename(columns={"south": "east"}, level=1)},
            "past: there is no series 'east', only",
        ),
        ({"static": STATIC.iloc[:1]}, "static has no row for series 'north'"),
        ({"static": STATIC.rename({"north": "east"})}, "static: there is no series 'east'"),
        ({"static": changed(STATIC, 1, "size", np.nan)}, "'size' of series 'north' is missing"),
        ({"known": features(tz="UTC")}, r"series its zone, too \(tz_localize\), or known none"),
        ({"known": features().reset_index()}, "the index of known holds"),
        (
            {"known": features().resample("30min").ffill()},
            "known: timestamp 2021-03-04 00:30:00 is not on the grid of frequency 'h'",
        ),
    ],
)
def test_tables_that_do_not_fit_are_named(given, message):
    with pytest.raises(DataError, match=message):
        from_wide(table(), **given)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (
            features(),
            r"its own time zone \(tz_localize\), then .* \(tz_convert\('Europe/Berlin'\)\)",
        ),
        (features(tz="UTC"), r"give known that of .* \(tz_convert\('Europe/Berlin'\)\)"),
    ],
)
def test_a_table_of_another_zone_is_told_the_way_out(known, message):
    with pytest.raises(DataError, match=message):
        from_wide(table(tz="Europe/Berlin"), known=known)


def test_periods_beside_timestamps_are_told_the_way_out():
    frame, known = table(), features()
    with pytest.raises(DataError, match=r"both periods \(.to_period\)"):
        from_wide(frame.to_period("h"), known=known)
    (entry,) = from_wide(frame.to_period("h"), known=known.to_period("h"))
    assert entry["feat_dynamic_real"].shape == (2, len(known))


def test_time_zones_that_agree_are_no_trouble():
    frame = table(tz="Europe/Berlin", start="2021-03-27")  # the clocks go forward
    known = features(tz="Europe/Berlin", start="2021-03-27")
    (entry,) = from_wide(frame, known=known)
    np.testing.assert_array_equal(entry["feat_dynamic_real"], known.to_numpy().T)


def long() -> pd.DataFrame:
    rows = table(length=10).rename_axis("ds").reset_index()
    frame = rows.melt("ds", var_name="unique_id", value_name="y")
    return frame.assign(price=np.arange(20.0), wind=-np.arange(20.0))


def test_features_of_a_long_table():
    ahead = pd.DataFrame(
        {
            "unique_id": ["south", "north"],
            "ds": pd.Timestamp("2021-03-04 10:00"),
            "price": [101.0, 100.0],
        }
    )
    (entry,) = from_long(long(), known=["price"], past=["wind"], future=ahead, static=STATIC)
    known = entry["feat_dynamic_real"]
    assert known.shape == (1, 2, 11) and entry["past_feat_dynamic_real"].shape == (1, 2, 10)
    np.testing.assert_array_equal(known[0, 1], [*range(10, 20), 101.0])
    assert entry["feat_static_cat"].tolist() == [[0, 1], [0, 1]]
    with pytest.raises(DataError, match="the table has no column 'cost'"):
        from_long(long(), known=["cost"])
    with pytest.raises(DataError, match="future: there is no series 'east'"):
        from_long(long(), known=["price"], future=ahead.assign(unique_id="east"))
    with pytest.raises(DataError, match="'south' has more than one value at 2021-03-04 10:00"):
        from_long(long(), known=["price"], future=pd.concat([ahead, ahead]))


def test_holidays_and_the_days_around_them():
    index = pd.date_range("2024-12-24", periods=48, freq="h", tz="Europe/Berlin")
    days = holiday_features(index, "DE", periods=24)
    assert len(days) == 72 and str(days.index.tz) == "Europe/Berlin"
    daily = days.iloc[::24]
    assert daily["holiday"].tolist() == [0.0, 1.0, 1.0]
    assert daily["before_holiday"].tolist() == [1.0, 1.0, 0.0]
    assert daily["after_holiday"].tolist() == [0.0, 0.0, 1.0]
    corpus_christi = pd.PeriodIndex(["2024-05-30"], freq="D")
    assert holiday_features(corpus_christi, "DE", "BY")["holiday"].item() == 1
    assert holiday_features(corpus_christi, "DE", "BE")["holiday"].item() == 0
    read = pd.DatetimeIndex(["2024-12-23", "2024-12-25", "2024-12-26"])  # a gap, as of a file
    days = holiday_features(read, "DE", periods=2, freq="D")
    assert days.index[-1] == pd.Timestamp("2024-12-28") and days["holiday"].sum() == 2
    frame = table(start="2024-12-24")
    (entry,) = from_wide(frame, known=holiday_features(frame.index, "DE", periods=24))
    assert entry["feat_dynamic_real"].shape == (3, 64)


CLOSED = pd.offsets.CustomBusinessDay(holidays=["2024-12-27"])
FREQS = {
    "alias": ("B", ["2024-12-26", "2024-12-27"]),
    "offset": (CLOSED, ["2024-12-26", "2024-12-30"]),
    "JSON": (describe(CLOSED), ["2024-12-26", "2024-12-30"]),
    "hours": (pd.offsets.CustomBusinessHour(), ["2024-12-25 09:00", "2024-12-25 10:00"]),
    "old alias": ("T", ["2024-12-25 00:01", "2024-12-25 00:02"]),
    "one day": ("1D", ["2024-12-26", "2024-12-27"]),
}


@pytest.mark.parametrize("name", FREQS)
def test_holidays_take_every_frequency(name):
    freq, ahead = FREQS[name]
    days = holiday_features(pd.DatetimeIndex(["2024-12-25"]), "DE", periods=2, freq=freq)
    assert list(days.index[1:]) == [pd.Timestamp(stamp) for stamp in ahead]


def test_a_last_stamp_that_is_closed_costs_no_step():
    sunday = pd.DatetimeIndex(["2024-12-29"])
    days = holiday_features(sunday, "DE", periods=2, freq="B")
    assert list(days.index[1:].strftime("%d")) == ["30", "31"]


def test_holidays_that_cannot_be_known(monkeypatch):
    index = table().index
    with pytest.raises(OptionError, match="no holidays are known of 'XX'"):
        holiday_features(index, "XX")
    with pytest.raises(OptionError, match="subdiv is called subdivision here"):
        holiday_features(index, "US", subdiv="CA")
    with pytest.raises(OptionError, match="option 'yeers'"):
        holiday_features(index, "DE", yeers=[2024])
    with pytest.raises(OptionError, match="option 'years'"):
        holiday_features(index, "DE", years=[2024])
    with pytest.raises(OptionError, match="'hourly' is no frequency"):
        holiday_features(index, "DE", freq="hourly")
    with pytest.raises(OptionError, match="periods is -1"):
        holiday_features(index, "DE", periods=-1)
    with pytest.raises(OptionError, match="longer than a day"):
        holiday_features(pd.date_range("2024-01-01", periods=5, freq="MS"), "DE")
    with pytest.raises(DataError, match="holds no timestamps"):
        holiday_features(pd.RangeIndex(3), "DE")
    usual = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "holidays":
            raise ImportError(name)
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'timediff\[holidays\]'"):
        holiday_features(index, "DE")
