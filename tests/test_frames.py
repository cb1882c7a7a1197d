"""Tables in, tables out.

What GluonTS's own converters get wrong, and the test that it is right here:

==============================================  =================================================
PandasDataset has no long -> multivariate       test_long_tables_become_one_multivariate_entry
PandasDataset loses the column names            test_column_labels_are_kept
PandasDataset: a gap is an AssertionError       test_a_gap_becomes_nan
PandasDataset: ME, QE, YE and others fail       test_calendar_frequencies_go_there_and_back
PandasDataset changes the caller's frame        test_the_argument_is_never_changed
MultivariateGrouper fills starts with zeros     test_group_series_fills_nothing
MultivariateGrouper fills gaps with the mean    test_group_series_fills_nothing
==============================================  =================================================
"""

import decimal
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from gluonts.model.forecast import QuantileForecast, SampleForecast

from timediff._stamps import stamps_of
from timediff.errors import DataError, DataWarning, OptionError
from timediff.frames import from_long, from_wide, group_series, to_frame, to_wide
from timediff.histories import extended, with_features
from timediff.plot import fan_chart

FREQUENCIES = {
    # offset alias: period alias
    "s": "s", "30s": "30s", "min": "min", "15min": "15min", "90min": "90min",
    "h": "h", "2h": "2h", "36h": "36h", "D": "D", "3D": "3D", "B": "B", "W-SUN": "W-SUN",
    "W-WED": "W-WED", "MS": "M", "ME": "M", "BMS": "M", "BME": "M", "QS": "Q-DEC", "QE": "Q-DEC",
    "QS-FEB": "Q-OCT", "QE-NOV": "Q-NOV", "BQE": "Q-DEC", "YS": "Y-DEC", "YE": "Y-DEC",
    "YS-JUL": "Y-JUN", "YE-JUN": "Y-JUN", "BYE": "Y-DEC",
}  # fmt: skip
MULTIPLES = {"2MS": "2M", "2ME": "2M", "2QE": "2Q-DEC", "2W-SUN": "2W-SUN", "2B": "2B"}
GAPS = [5, 6, 17, 30]


def table(freq="h", length=40, start="2021-03-04", tz=None):
    index = pd.date_range(start, periods=length, freq=freq, tz=tz)
    values = np.arange(2.0 * length).reshape(length, 2)
    return pd.DataFrame(values, index=index, columns=["north", "south"])


def forecast(entry, length=None, num_samples=3, **changes):
    """A forecast whose paths are the entry's own values, shifted by 0, 1, 2, ..."""
    values = np.nan_to_num(entry["target"].T[:length].astype(float))
    paths = values + np.arange(num_samples)[:, None, None]
    info = {"start_date": entry["start"], "item_id": entry["item_id"], "info": entry["info"]}
    return SampleForecast(paths, **(info | changes))


# wide tables


def test_a_wide_table_becomes_one_multivariate_entry():
    frame = table()
    (entry,) = from_wide(frame, item_id="grid")
    assert entry["start"] == pd.Period("2021-03-04 00:00", "h")
    assert entry["target"].dtype == np.float32
    np.testing.assert_array_equal(entry["target"], frame.to_numpy().T)
    assert entry["item_id"] == "grid"


@pytest.mark.parametrize("columns", [["b", "a"], [3, 1], [("x", 1), ("x", 2)]])
def test_column_labels_are_kept(columns):
    frame = table().set_axis(pd.Index(columns, tupleize_cols=False), axis=1)
    (entry,) = from_wide(frame)
    assert entry["info"]["columns"] == columns
    assert to_frame(forecast(entry)).series.unique().tolist() == columns


@pytest.mark.parametrize("freq", FREQUENCIES)
@pytest.mark.parametrize("given", [True, False], ids=["given", "inferred"])
def test_calendar_frequencies_go_there_and_back(freq, given):
    """Also with gaps and at an odd time of the day: every timestamp comes back as it was."""
    for phase in (pd.Timedelta(0), pd.Timedelta(minutes=7, seconds=30)):
        full = table(freq).shift(freq=phase) if phase else table(freq)
        for frame in (full, full.drop(index=full.index[GAPS])):
            (entry,) = from_wide(frame, freq=freq if given else None)
            assert entry["start"].freqstr == FREQUENCIES[freq]
            assert entry["target"].shape == (2, len(full))
            expected = full.reindex(frame.index).reindex(full.index).to_numpy().T
            np.testing.assert_array_equal(entry["target"], expected)
            back = to_frame(forecast(entry)).timestamp
            assert back[: len(full)].tolist() == full.index.tolist()


@pytest.mark.parametrize("freq", MULTIPLES)
def test_multiples_of_calendar_frequencies(freq):
    frame = table(freq).drop(index=table(freq).index[GAPS])
    (entry,) = from_wide(frame, freq=freq)
    assert entry["start"].freqstr == MULTIPLES[freq]
    assert np.isnan(entry["target"][0]).nonzero()[0].tolist() == GAPS
    assert to_frame(forecast(entry)).timestamp[:40].tolist() == table(freq).index.tolist()


@pytest.mark.parametrize(
    ("alias", "stamped"), [("M", "MS"), ("M", "ME"), ("M", "BME"), ("Q", "QE"), ("Q-DEC", "QS"),
                           ("A", "YS"), ("Y-JUN", "YE-JUN"), ("H", "h"), ("15T", "15min")],
)  # fmt: skip
def test_period_and_old_aliases_take_the_stamps_as_they_are(alias, stamped):
    (entry,) = from_wide(table(stamped), freq=alias)
    assert entry["start"].freqstr == FREQUENCIES[stamped]
    assert to_frame(forecast(entry)).timestamp[:40].tolist() == table(stamped).index.tolist()


@pytest.mark.parametrize("freq", ["M", "W-SUN", "Q-NOV", "h", "2M"])
def test_a_period_index_is_stamped_at_its_starts(freq):
    index = pd.period_range("2021-03-04", periods=9, freq=freq)
    frame = pd.DataFrame({"a": np.arange(9.0)}, index=index).drop(index=index[[3]])
    (entry,) = from_wide(frame)
    assert entry["start"] == index[0]
    np.testing.assert_array_equal(entry["target"], [[0, 1, 2, np.nan, 4, 5, 6, 7, 8]])
    assert to_frame(forecast(entry)).timestamp.tolist() == index.start_time.tolist()
    with pytest.raises(DataError, match="index has periods of frequency"):
        from_wide(frame, freq="D")


def monthly(day: int, length: int = 40, start: str = "2021-03", months: int = 1) -> pd.DataFrame:
    """Months that are stamped with a day, or their last where they do not have it, at 07:30."""
    firsts = pd.date_range(start, periods=length, freq=f"{months}MS")
    days = np.minimum(day, firsts.days_in_month) - 1
    index = firsts + pd.to_timedelta(days, unit="D") + pd.Timedelta("07:30:00")
    return pd.DataFrame({"a": np.arange(float(length)), "b": 1.0}, index)


@pytest.mark.parametrize("months", [1, 2, 3])
@pytest.mark.parametrize("day", [28, 29, 30])
def test_months_by_a_day_that_not_all_of_them_have(day, months):
    full = monthly(day, 60, months=months)
    for frame in (full[:40], full[:40].drop(index=full.index[GAPS])):
        (entry,) = from_wide(frame, freq=None if months == 1 else f"{months}MS")
        assert entry["start"].freqstr == ("M" if months == 1 else f"{months}M")
        assert entry["target"].shape == (2, 40)
        assert stamps_of(entry["start"], 60, entry["info"]).tolist() == full.index.tolist()
    known = full[["b"]].rename(columns={"b": "price"})
    for begin in (0, 3):  # of the short tables all are of February
        (entry,) = from_wide(full[begin:40], known=known, freq=f"{months}MS")
        assert entry["feat_dynamic_real"].shape == (1, 60 - begin)


def test_a_february_goes_on_after_other_months():
    full = monthly(30, 48)
    (history,) = from_wide(full[:35])
    (new,) = from_wide(full[35:36], freq="MS")  # 2024-02-29
    joined = extended(history, new)
    assert stamps_of(joined["start"], 36, joined["info"]).tolist() == full.index[:36].tolist()
    later = full[["b"]][35:36]
    assert with_features(history, later)["feat_dynamic_real"].shape == (1, 36)
    (other,) = from_wide(monthly(28, 48)[36:38], freq="MS")
    with pytest.raises(DataError, match="between the steps of the history, which ends at"):
        extended(history, other)
    forecast_of = SampleForecast(np.zeros((2, 3, 2)), history["start"] + 34, info=history["info"])
    drawn = fan_chart(forecast_of).axes[0].lines[0].get_xdata()
    assert [str(x)[:10] for x in drawn] == ["2024-01-30", "2024-02-29", "2024-03-30"]


def test_ends_of_months_are_no_days_of_them():
    frame = monthly(31)
    assert from_wide(frame)[0]["info"]["freq"] == "ME"
    with pytest.raises(DataError, match="not on the grid of frequency 'MS'"):
        from_wide(frame, freq="MS")
    some = frame[frame.index.day == 30]  # all ends of months of 30 days
    assert from_wide(some, freq="M")[0]["info"]["freq"] == "ME"
    assert from_wide(monthly(30), freq="M")[0]["info"]["phase"] == "29 days 07:30:00"
    days = monthly(30).index + pd.to_timedelta(np.arange(40) % 2, unit="D")
    with pytest.raises(DataError, match="not on the grid"):
        from_wide(frame.set_axis(days, axis=0), freq="MS")


def test_a_gap_becomes_nan():
    frame = table()
    (entry,) = from_wide(frame.drop(index=frame.index[10:14]))
    assert entry["target"].shape == (2, 40)
    assert np.isnan(entry["target"]).all(axis=0).nonzero()[0].tolist() == [10, 11, 12, 13]


def test_business_days_are_recognised_behind_a_holiday():
    frame = table("B").drop(index=table("B").index[[7]])
    (entry,) = from_wide(frame)
    assert entry["start"].freqstr == "B"
    assert entry["target"].shape == (2, 40)


def test_days_without_weekends_in_sight_are_days():
    frame = table("D", length=5, start="2021-03-01")
    (entry,) = from_wide(frame.drop(index=frame.index[3]))
    assert entry["start"].freqstr == "D"


def test_business_hours_are_hours_where_nothing_says_otherwise():
    frame = table("bh", start="2021-03-04 09:00")
    (entry,) = from_wide(frame.set_axis(pd.DatetimeIndex(frame.index, freq=None)))
    assert entry["start"].freqstr == "h"
    assert entry["target"].shape == (2, 6 * 24 + 8)


def test_rows_in_any_order():
    frame = table()
    (shuffled,) = from_wide(frame.sample(frac=1, random_state=0))
    np.testing.assert_array_equal(shuffled["target"], frame.to_numpy().T)


def test_the_argument_is_never_changed():
    wide = table().sample(frac=1, random_state=0).drop(index=table().index[3])
    wide["south"] = wide["south"].astype(object)
    long = wide.reset_index(names="ds").melt("ds", var_name="unique_id", value_name="y")
    long["ds"] = long["ds"].astype(str)
    for function, frame in ((from_wide, wide), (from_long, long)):
        before = frame.copy(deep=True)
        (entry,) = function(frame)
        entry["target"][:] = -1
        pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "values",
    [
        pd.array([1, None, 3], dtype="Int64"),
        pd.array([1.0, None, 3.0], dtype="Float32"),
        pd.array([1, None, 3], dtype=pd.ArrowDtype(pa.int64())),
        pd.array([1.0, None, 3.0], dtype=pd.ArrowDtype(pa.float64())),
        pd.array(["1", None, "3"], dtype="string"),
        pd.Categorical(["1", None, "3"]),
        [decimal.Decimal(1), None, decimal.Decimal(3)],
        ["1", None, 3],
    ],
    ids=lambda values: str(getattr(values, "dtype", type(values[0]).__name__)),
)
def test_every_kind_of_number_is_read(values):
    frame = pd.DataFrame({"a": values}, index=pd.date_range("2024", periods=3, freq="D"))
    np.testing.assert_array_equal(from_wide(frame)[0]["target"], [[1, np.nan, 3]])


def test_booleans_are_numbers():
    frame = pd.DataFrame({"a": [True, False]}, index=pd.date_range("2024", periods=2, freq="D"))
    np.testing.assert_array_equal(from_wide(frame)[0]["target"], [[1, 0]])


@pytest.mark.parametrize(
    "values",
    [
        [1.0, "n/a", "?"],
        pd.array(["1", "n/a", "?"], dtype="string"),
        [1, pd.Timestamp("2024"), 2],
        [1, 2j, 3],
    ],
    ids=["object", "string", "timestamp", "complex"],
)
def test_a_value_that_is_no_number_is_named(values):
    frame = table(length=3)
    frame["south"] = values
    with pytest.raises(DataError, match=r"'south' at 2021-03-04 0[01]:00:00: .* is no number"):
        from_wide(frame)


@pytest.mark.parametrize("values", [pd.to_datetime(["2024"] * 3), pd.to_timedelta([1, 2, 3])])
def test_times_are_no_numbers(values):
    frame = table(length=3)
    frame["south"] = values
    with pytest.raises(DataError, match="'south' at 2021-03-04 00:00:00"):
        from_wide(frame)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_an_infinite_value_is_named(value):
    frame = table()
    frame.loc[["2021-03-05 04:00", "2021-03-04 07:00"], "south"] = value
    with pytest.raises(DataError, match="'south' at 2021-03-04 07:00:00"):
        from_wide(frame.sample(frac=1, random_state=0))


def test_a_row_for_less_than_half_of_the_steps_is_a_warning():
    shop = pd.date_range("2024-01-01 09:00", periods=200, freq="bh")
    early = pd.date_range("2024-01-01", periods=200, freq=pd.offsets.BusinessHour(start="07:00"))
    own = r"pd\.offsets\.BusinessHour\(start='07:00', end='17:00'\)"
    for index, freq in ((shop, "'bh'"), (early, own)):
        frame = pd.DataFrame({"a": np.arange(200.0)}, pd.DatetimeIndex(index, freq=None))
        for rows, missing in ((frame, 0), (frame.drop(index[[5, 50]]), 2)):
            message = f"of the .* steps .* frequency 'h' .* freq={freq}, by which {missing} are"
            with pytest.warns(DataWarning, match=message):
                from_wide(rows)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            from_wide(frame, freq="h")
            from_wide(frame.set_axis(index))
    with pytest.warns(DataWarning, match="190 of the 200 steps of 'shop' have no row.*give freq=$"):
        from_wide(table(length=200).iloc[[*range(9), 199]], item_id="shop")


def test_a_duplicated_timestamp_is_named():
    frame = pd.concat([table(), table().iloc[[20, 9]]])
    with pytest.raises(DataError, match=r"2021-03-04 09:00:00 appears more than once: keep.*mean"):
        from_wide(frame)


@pytest.mark.parametrize("freq", [None, "h"])
def test_a_timestamp_off_the_grid_is_named(freq):
    index = table().index.to_series()
    index.iloc[[7, 12]] += pd.Timedelta(minutes=1)
    frame = table().set_axis(pd.DatetimeIndex(index))
    with pytest.raises(DataError, match="2021-03-04 07:01:00 is not on the grid of frequency 'h'"):
        from_wide(frame, freq=freq)


@pytest.mark.parametrize(
    ("freq", "stamp"),
    [("W-SUN", "2021-03-04"), ("ME", "2021-03-04"), ("B", "2021-03-06"), ("2D", "2021-03-05")],
)
def test_a_frequency_that_does_not_fit_is_an_error(freq, stamp):
    with pytest.raises(DataError, match=f"{stamp} 00:00:00 is not on the grid of .*'{freq}'"):
        from_wide(table("D"), freq=freq)


DAYS_OF_MONTHS = [
    ("2024-01-15 08:00", pd.DateOffset(months=1), "MS"),
    ("2024-01-28", pd.DateOffset(months=1), "MS"),
    ("2024-01-15", pd.DateOffset(months=3), "QS-OCT"),
    ("2000-06-15", pd.DateOffset(years=1), "YS-JUN"),
    ("2024-01-01", "SMS", "SMS-15"),
    ("2024-01-01", "SME", "SME-15"),
]


@pytest.mark.parametrize(("start", "step", "freq"), DAYS_OF_MONTHS)
def test_any_day_of_a_month_is_found(start, step, freq):
    index = pd.DatetimeIndex(pd.date_range(start, periods=30, freq=step), freq=None)
    frame = pd.DataFrame({"a": np.arange(24.0)}, index[:24])
    for rows in (frame, frame.drop(index[[5, 9]])):
        (entry,) = from_wide(rows)
        assert entry["info"]["freq"] == freq and entry["target"].shape == (1, 24)
        assert stamps_of(entry["start"] + 24, 6, entry["info"]).equals(index[24:])
    moved = frame.index.where(frame.index != index[7], index[7] + pd.Timedelta(days=1))
    with pytest.raises(DataError, match=r"is not on the grid|is no open step"):
        from_wide(frame.set_axis(moved), freq=freq)


def test_what_is_there_twice_when_clocks_are_put_back_has_a_way_out():
    index = pd.date_range("2024-10-26", periods=48, freq="h", tz="Europe/Berlin").tz_localize(None)
    frame = pd.DataFrame({"a": np.arange(48.0)}, index)
    for rows in (frame, frame.rename_axis("ds").reset_index().assign(unique_id=1, y=1.0)):
        read = from_wide if rows is frame else from_long
        with pytest.raises(DataError, match=r"2024-10-27 02:00:00.*ambiguous=.*UTC"):
            read(rows)
    with pytest.raises(DataError, match="give id_column= and target_column="):
        from_wide(pd.concat([table(), table()]).assign(place="x"))


def test_months_between_those_of_a_multiple_are_an_error():
    with pytest.raises(DataError, match=r"2021-05-01 00:00:00 is not on the grid of .*'2MS'"):
        from_wide(
            table("2MS", length=6).rename({pd.Timestamp("2021-06-01"): pd.Timestamp("2021-05-01")}),
            freq="2MS",
        )


def test_one_wrong_year_does_not_fill_the_memory():
    index = table("s", length=3000).index.to_series()
    index.iloc[-1] = pd.Timestamp("2201-01-01")
    frame = pd.DataFrame({"a": 0.0}, index=pd.DatetimeIndex(index))
    with pytest.raises(DataError, match="nothing between 2021-03-04 00:49:58 and 2201-01-01"):
        from_wide(frame, freq="s")


@pytest.mark.parametrize("freq", ["fortnight", "", "LWOM-XYZ", "-1B", "SMX-3"])
def test_an_unusable_frequency_is_an_error(freq):
    with pytest.raises(OptionError, match="freq="):
        from_wide(table(), freq=freq)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (table().iloc[:0], "empty: 0 rows"),
        (table()[[]], "empty: 40 rows × 0 series"),
        (table().reset_index(drop=True), "index holds int64, not timestamps"),
        (table().set_axis(["a", "a"], axis=1), "column 'a' is twice"),
        (table().set_axis([pd.NaT, *table().index[1:]]), "row 0 has no timestamp: .*notna"),
        (table().iloc[:1], "give freq="),
    ],
    ids=["no rows", "no columns", "no timestamps", "twice", "NaT", "one row"],
)
def test_a_table_that_cannot_be_read_says_why(frame, message):
    with pytest.raises(DataError, match=message):
        from_wide(frame)


def test_one_row_is_enough_with_a_frequency():
    assert from_wide(table().iloc[:1], freq="h")[0]["target"].shape == (2, 1)


# time zones


@pytest.mark.parametrize("tz", ["Europe/Berlin", "UTC", "+05:30"])
@pytest.mark.parametrize("freq", ["h", None], ids=["given", "inferred"])
def test_hours_are_counted_in_utc(tz, freq):
    """Through the night on which the clocks go forward, and the one on which they go back."""
    for night in ("2024-03-30 12:00", "2024-10-26 12:00"):
        frame = table(start=night, tz=tz)
        (entry,) = from_wide(frame, freq=freq)
        first = frame.index[0].tz_convert("UTC").tz_localize(None)
        assert entry["start"].to_timestamp() == first.floor("h")
        np.testing.assert_array_equal(entry["target"], frame.to_numpy().T)
        back = to_frame(forecast(entry)).timestamp[:40]
        assert back.tolist() == frame.index.tolist()
        assert str(back.dt.tz) == str(frame.index.tz)


@pytest.mark.parametrize("freq", ["D", "B", "W-SUN", "MS", "ME"])
@pytest.mark.parametrize("given", [True, False], ids=["given", "inferred"])
def test_days_are_counted_by_the_local_calendar(freq, given):
    frame = table(freq, start="2024-02-01", tz="Europe/Berlin")
    (entry,) = from_wide(frame, freq=freq if given else None)
    assert entry["start"].freqstr == FREQUENCIES[freq]
    assert entry["info"]["tz"] == "Europe/Berlin"
    np.testing.assert_array_equal(entry["target"], frame.to_numpy().T)
    assert to_frame(forecast(entry)).timestamp[:40].tolist() == frame.index.tolist()


def test_a_day_of_23_hours_is_a_day():
    (entry,) = from_wide(table("D", length=2, start="2024-03-31", tz="Europe/Berlin"))
    assert entry["start"] == pd.Period("2024-03-31", "D")


def test_days_at_an_hour_that_comes_twice():
    """A forecast takes the first of the two; a table cannot have both on one day."""
    naive = table("D", start="2024-10-20 02:30")
    first = naive.tz_localize("Europe/Berlin", ambiguous=np.ones(40, bool))
    (entry,) = from_wide(first)
    assert to_frame(forecast(entry)).timestamp[:40].tolist() == first.index.tolist()
    second = naive.tz_localize("Europe/Berlin", ambiguous=np.zeros(40, bool))
    with pytest.raises(DataError, match=r"2024-10-27 02:30:00\+01:00 appears more than once"):
        from_wide(pd.concat([first, second.loc["2024-10-27":"2024-10-27"]]), freq="D")


# long tables


def long_table(names=("unique_id", "ds", "y")):
    ids, time, target = names
    return table().reset_index(names=time).melt(time, var_name=ids, value_name=target)


@pytest.mark.parametrize(
    "names", [("unique_id", "ds", "y"), ("item_id", "timestamp", "target"), ("a", "b", "c")]
)
def test_long_tables_become_one_multivariate_entry(names):
    roles = ("id_column", "time_column", "target_column")
    given = dict(zip(roles, names, strict=True)) if names[0] == "a" else {}
    (long,), (wide,) = from_long(long_table(names), **given), from_wide(table())
    assert long["start"] == wide["start"]
    assert long["info"] == wide["info"]
    np.testing.assert_array_equal(long["target"], wide["target"])


def test_series_keep_the_order_of_their_first_rows():
    frame = pd.concat([long_table().query("unique_id == 'south'"), long_table()]).drop_duplicates()
    assert from_long(frame)[0]["info"]["columns"] == ["south", "north"]


def test_ragged_long_series_become_nan():
    frame = long_table()
    late = (frame.unique_id == "south") & (frame.ds < "2021-03-04 10:00")
    (entry,) = from_long(frame[~late])
    assert np.isnan(entry["target"][1]).nonzero()[0].tolist() == list(range(10))
    assert not np.isnan(entry["target"][0]).any()


@pytest.mark.parametrize("dtype", ["category", "string", pd.ArrowDtype(pa.string())])
def test_ids_and_times_of_every_type(dtype):
    frame = long_table()
    frame["unique_id"] = frame["unique_id"].astype(dtype)
    frame["ds"] = frame["ds"].astype(str)
    (entry,) = from_long(frame)
    assert entry["info"]["columns"] == ["north", "south"]
    np.testing.assert_array_equal(entry["target"], table().to_numpy().T)


def test_a_duplicated_pair_names_series_and_timestamp():
    frame = long_table()
    with pytest.raises(DataError, match="'south' has more than one value at 2021-03-04 05:00:00"):
        from_long(pd.concat([frame, frame.iloc[[45]]]))


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (long_table().drop(columns="y"), {}, "target_column: the table has no such column"),
        (long_table(), {"time_column": "date"}, "expected 'date'"),
        (long_table().assign(item_id=1), {}, "has both 'unique_id' and 'item_id'"),
        (long_table().assign(ds=1), {}, "'ds' holds int64, not timestamps"),
        (long_table().assign(ds="soon"), {}, "'north': 'soon' in column 'ds', row 0, is no time"),
        (long_table().assign(unique_id=None), {}, "row 0 has no 'unique_id': .*dropna"),
        (long_table().replace({"y": {3.0: np.inf}}), {}, "'south' at 2021-03-04 01:00:00"),
    ],
    ids=["no column", "wrong name", "ambiguous", "integers", "text", "no id", "infinite"],
)
def test_a_long_table_that_cannot_be_read_says_why(frame, options, message):
    with pytest.raises(DataError, match=message):
        from_long(frame, **options)


# univariate GluonTS entries


def univariate(start, values, freq="D", **fields):
    return {"start": pd.Period(start, freq), "target": np.array(values, np.float32), **fields}


def test_group_series_fills_nothing():
    entries = [
        univariate("2024-01-03", [1, np.nan, 3], item_id="late"),
        univariate("2024-01-01", [5, 6], item_id="short"),
    ]
    (entry,) = group_series(entries, item_id="both")
    nan = np.nan
    assert entry["start"] == pd.Period("2024-01-01", "D")
    np.testing.assert_array_equal(entry["target"], [[nan, nan, 1, nan, 3], [5, 6, nan, nan, nan]])
    assert entry["target"].dtype == np.float32
    assert entry["info"]["columns"] == ["late", "short"]
    assert entry["item_id"] == "both"


def test_group_series_counts_in_multiples_of_a_period():
    entries = [univariate("2024-01", [1, 2], "2M"), univariate("2024-05", [3], "2M")]
    np.testing.assert_array_equal(
        group_series(entries)[0]["target"], [[1, 2, np.nan], [np.nan, np.nan, 3]]
    )
    with pytest.raises(DataError, match="'1' starts at 2024-04, between the steps from 2024-01"):
        group_series([entries[0], univariate("2024-04", [3], "2M")])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "no series"),
        ([univariate("2024", [1]), univariate("2024", [1], "h")], "'1' has frequency 'h'.*'D'"),
        ([univariate("2024", [[1], [2]])], r"'0': target has shape \(2, 1\)"),
        ([univariate("2024", [])], r"'0': target has shape \(0,\)"),
        ([univariate("2024", [1], item_id="a")] * 2, "two series have the item_id 'a'"),
        ([univariate("2024", [1, np.inf], item_id="a")], "'a' at 2024-01-02"),
        ([{"start": "2024", "target": [1.0]}], "start is a str, not a pd.Period"),
    ],
    ids=["none", "frequency", "multivariate", "empty", "twice", "infinite", "start"],
)
def test_group_series_says_what_is_wrong(entries, message):
    with pytest.raises(DataError, match=message):
        group_series(entries)


# forecasts


def test_to_frame_is_long_and_has_gluonts_numbers():
    (entry,) = from_wide(table())
    prediction = forecast(entry, length=5, num_samples=101)
    frame = to_frame(prediction, quantiles=[0.05, 0.5, 0.975])
    assert frame.columns.tolist() == ["series", "timestamp", "mean", "0.05", "0.5", "0.975"]
    assert frame.series.tolist() == ["north"] * 5 + ["south"] * 5
    assert frame.timestamp.tolist() == table().index[:5].tolist() * 2
    south = frame[frame.series == "south"]
    np.testing.assert_allclose(south["mean"], prediction.mean[:, 1])
    np.testing.assert_allclose(south["0.975"], prediction.quantile(0.975)[:, 1])
    np.testing.assert_allclose(frame["0.05"] + 45, frame["0.5"])  # shifts 0 … 100: 5 and 50


def test_to_frame_gives_whole_paths():
    (entry,) = from_wide(table())
    prediction = forecast(entry, length=5, num_samples=4)
    frame = to_frame(prediction, samples=True)
    assert frame.columns.tolist() == ["series", "timestamp", "sample", "value"]
    paths = frame.set_index(["sample", "timestamp", "series"]).value.unstack("series")
    np.testing.assert_array_equal(paths.to_numpy().reshape(4, 5, 2), prediction.samples)


@pytest.mark.parametrize("samples", [True, False])
def test_to_frame_of_a_univariate_forecast(samples):
    prediction = SampleForecast(np.arange(6.0).reshape(2, 3), pd.Period("2024-01", "M"), "x")
    frame = to_frame(prediction, samples=samples)
    assert frame.series.unique().tolist() == ["x"]
    assert frame.timestamp.drop_duplicates().tolist() == [
        pd.Timestamp(2024, month, 1) for month in (1, 2, 3)
    ]
    assert frame["value" if samples else "mean"].tolist() == (
        [0, 3, 1, 4, 2, 5] if samples else [1.5, 2.5, 3.5]
    )


def test_to_frame_without_column_names_numbers_the_series():
    (entry,) = from_wide(table())
    assert to_frame(forecast(entry, info=None)).series.unique().tolist() == ["0", "1"]


def test_to_frame_says_what_is_wrong():
    (entry,) = from_wide(table())
    with pytest.raises(DataError, match="2 series, info\\['columns'\\] 3 names"):
        to_frame(forecast(entry, info={"columns": ["a", "b", "c"]}))
    with pytest.raises(OptionError, match=r"1\.5 is not in \[0, 1\]"):
        to_frame(forecast(entry), quantiles=[0.5, 1.5])
    quantiles = QuantileForecast(np.zeros((2, 3)), entry["start"], ["0.5", "mean"])
    with pytest.raises(DataError, match="QuantileForecast has no sample paths"):
        to_frame(quantiles, samples=True)


@pytest.mark.parametrize(
    ("index", "first"),
    [
        (np.array(["2020-01-01", "1500-06-01", "2020-01-03"], "datetime64[s]"), "1500-06-01"),
        (np.array(["2020-01-01", "2020-01-02", "9999-12-31"], "datetime64[us]"), "9999-12-31"),
        (pd.period_range("1500-01", periods=3, freq="M"), "1500-01"),
    ],
)
def test_a_timestamp_that_nanoseconds_do_not_reach(index, first):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, pd.Index(index))
    with pytest.raises(DataError, match=f"timestamp {first}.* is not between 1678 and 2261"):
        from_wide(frame)


@pytest.mark.parametrize("label", [np.nan, pd.NaT, pd.NA])
def test_a_column_without_a_name(label):
    index = pd.date_range("2024-01-01", periods=3)
    frame = pd.DataFrame([[1.0, 2.0]] * 3, index, pd.Index(["a", label], dtype=object))
    with pytest.raises(DataError, match="column 1 has no name: rename it"):
        from_wide(frame)


@pytest.mark.parametrize("zone", ["Africa/Cairo", "Asia/Beirut", "America/Santiago"])
def test_days_whose_midnight_clocks_skip(zone):
    """The clocks go from 00:00 to 01:00, where such a day is then stamped."""
    days = pd.date_range("2023-03-01", periods=300).tz_localize(zone, nonexistent="shift_forward")
    (skipped,) = np.flatnonzero(days.hour == 1)
    table = pd.DataFrame({"a": np.arange(300, dtype=np.float32)}, days)
    (entry,) = from_wide(table)
    pd.testing.assert_frame_equal(to_wide(entry), table, check_freq=False)
    for begin in (skipped, skipped - 1):  # it is the first of new rows, or the last
        (history,), (rows,) = (
            from_wide(part, freq="D") for part in (table[:begin], table[begin : skipped + 1])
        )
        joined = extended(history, rows)
        pd.testing.assert_frame_equal(to_wide(joined), table[: skipped + 1], check_freq=False)
