"""Every form of table becomes the same entry."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from tests.conftest import entry, series
from timediff._stamps import stamps_of
from timediff.errors import DataError
from timediff.frames import from_long
from timediff.histories import aligned, extended
from timediff.reading import Features, Names, read


def table(length: int = 60) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=length, freq="h")
    return pd.DataFrame(series(length).T, index, ["a", "b", "c"])


def long(names=("unique_id", "ds", "y"), **options) -> pd.DataFrame:
    frame = table(**options).rename_axis(names[1]).rename_axis(names[0], axis=1)
    return frame.stack().rename(names[2]).reset_index()[list(names)]


def only(data, **options):
    (found,) = read(data, **options).entries.values()
    return found


WIDE = table()
LONG = long()
PERIOD = pd.Period("2024-01-01", "h")
FORMS = {
    "wide": WIDE,
    "periods": WIDE.to_period("h"),
    "times in a column": WIDE.rename_axis("when").reset_index(),
    "text in a column": WIDE.rename_axis("Date").reset_index().astype({"Date": str}),
    "dates as objects": WIDE.rename_axis("when").reset_index().astype({"when": object}),
    "arrow index": WIDE.set_axis(WIDE.index.astype("timestamp[ns][pyarrow]")),
    "text as the index": WIDE.set_axis(WIDE.index.strftime("%Y-%m-%d %H:%M")),
    "text, the day first": WIDE.set_axis(WIDE.index.strftime("%d.%m.%Y %H:%M")),
    "text, the month first": WIDE.set_axis(WIDE.index.strftime("%m/%d/%y %I:%M %p")),
    "long, the day first": LONG.assign(ds=LONG.ds.dt.strftime("%d.%m.%Y %H:%M")),
    "long, series and times as the index": LONG.set_index(["unique_id", "ds"]),
    "a series of the same": LONG.set_index(["unique_id", "ds"])["y"],
    "long, the series as the index": LONG.set_index("unique_id"),
    "long, the times as the index": LONG.set_index("ds"),
    "the other dialect as the index": long(("item_id", "timestamp", "target")).set_index(
        ["item_id", "timestamp"]
    ),
    "unsorted": WIDE.sample(frac=1, random_state=0),
    "long": LONG,
    "long, unsorted": LONG.sample(frac=1, random_state=0).sort_values("unique_id"),
    "long, the other dialect": long(("item_id", "timestamp", "target")),
    "long, nullable": LONG.convert_dtypes(),
    "long, arrow": LONG.convert_dtypes(dtype_backend="pyarrow"),
    "long, categories": LONG.astype({"unique_id": "category"}),
    "objects with numbers": WIDE.astype(object),
    "polars wide": pl.from_pandas(WIDE.rename_axis("when").reset_index()),
    "polars long": pl.from_pandas(LONG),
    "polars lazy": pl.from_pandas(LONG).lazy(),
    "pyarrow": pa.Table.from_pandas(LONG, preserve_index=False),
    "a dict of one": {"frame": WIDE},
    "entries": [{"start": pd.Period("2024-01-01", "h"), "target": series(60),
                 "info": {"columns": ["a", "b", "c"]}}],
    "one entry": {"start": pd.Period("2024-01-01", "h"), "target": series(60),
                  "info": {"columns": ["a", "b", "c"]}},
    "univariate entries": [
        {"start": pd.Period("2024-01-01", "h"), "target": row, "item_id": name}
        for row, name in zip(series(60), "abc", strict=True)
    ],
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_alike(form):
    found = only(FORMS[form])
    assert found["start"] == pd.Period("2024-01-01", "h")
    assert found["info"]["columns"] == ["a", "b", "c"]
    assert np.array_equal(found["target"], series(60))


def test_any_column_names_will_do():
    frame = long(("sensor", "at", "load")).assign(note="x")
    reading = read(frame, id_column="sensor", time_column="at", target_column="load")
    assert reading.names == Names("sensor", "at", "load")
    assert np.array_equal(next(iter(reading.entries.values()))["target"], series(60))


def test_columns_that_are_named_may_be_in_the_index():
    names = {"id_column": "sensor", "time_column": "at", "target_column": "load"}
    frame = long(tuple(names.values()))
    for levels in (["sensor", "at"], "sensor", "at"):
        reading = read(frame.set_index(levels), **names)
        assert reading.names == Names("sensor", "at", "load")
        assert np.array_equal(reading.entries["frame"]["target"], series(60))
    found = only(WIDE.rename_axis("at"), time_column="at")
    assert np.array_equal(found["target"], series(60))
    reading = read(LONG.assign(area="x").set_index(["area", "ds"]), group_column="area")
    assert np.array_equal(reading.entries["x"]["target"], series(60))
    with pytest.raises(DataError, match=r"the levels \['sensor', 'at'\].* give all of id_column="):
        read(frame.set_index(["sensor", "at"]))


@pytest.mark.parametrize("as_index", [True, False])
def test_the_order_of_day_and_month_is_that_of_all_rows(as_index):
    def texts(index: pd.DatetimeIndex, layout: str = "%d.%m.%Y"):
        frame = pd.DataFrame({"a": np.arange(float(len(index)))}, index.strftime(layout))
        return frame if as_index else frame.rename_axis("ds").reset_index()

    hours = pd.date_range("2024-01-01 08:00", periods=190, freq="h")
    assert only(texts(hours, "%d.%m.%Y %H:%M"))["target"].shape == (1, 190)
    days = pd.date_range("2024-01-01", periods=40)
    assert only(texts(days))["target"].shape == (1, 40)
    assert only(texts(days.delete([0, 20]), "%m/%d/%Y"))["target"].shape == (1, 39)
    months = pd.date_range("2023-01-01", periods=14, freq="MS")
    assert only(texts(months))["info"]["freq"] == "MS"
    assert only(texts(months, "%m-%d-%y"))["info"]["freq"] == "MS"
    for either in (months[:12], days[:12], hours.delete(50)):
        with pytest.raises(DataError, match=r"'0[12]\.0[12]\..* is not certain.*dayfirst=True"):
            read(texts(either))
    mixed = texts(days).iloc[[0, 13]]
    mixed = pd.concat([mixed, texts(days, "%m.%d.%Y").iloc[[13]]])
    with pytest.raises(DataError, match=r"day first in '14\.01\.2024', the month first in '01\.14"):
        read(mixed)


@pytest.mark.parametrize("layout", ["%Y-%m-%d %H:%M:%S%z", "%d.%m.%Y %H:%M%z"])
def test_offsets_of_summer_and_winter_are_read_in_utc(layout):
    hours = pd.date_range("2024-03-25", periods=400, freq="h", tz="Europe/Berlin")
    texts = pd.Series(hours.strftime(layout), name="ds")
    wide = pd.DataFrame({"ds": texts, "a": 1.0})
    rows = pd.DataFrame({"unique_id": "a", "ds": texts, "y": 1.0})
    for frame in (wide, rows, wide.set_index("ds")):
        found = only(frame)
        assert found["info"]["tz"] == "UTC" and found["target"].shape == (1, 400)
        assert stamps_of(found["start"], 1, found["info"])[0] == hours[0]
        bad = frame.reset_index() if "ds" not in frame else frame
        bad = bad.assign(ds=bad["ds"].mask(bad["ds"].index == 7, "2024-03-25 09:00"))
        with pytest.raises(DataError, match="'ds': '2024-03-25 09:00' has no offset"):
            read(bad)


@pytest.mark.parametrize("day_first", [True, False])
def test_a_known_order_of_day_and_month_is_taken_where_the_text_allows_both(day_first):
    stamps = pd.DatetimeIndex(["2024-05-01", "2024-05-02"])
    layout = "%d.%m.%Y" if day_first else "%m/%d/%Y"
    wide = pd.DataFrame({"a": [1.0, 2.0]}, stamps.strftime(layout))
    found = only(wide, freq="D", day_first=day_first)
    assert found["start"] == pd.Period("2024-05-01", "D") and found["target"].shape == (1, 2)
    assert found["info"]["day_first"] is day_first
    rows = wide.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
    (same,) = from_long(rows, freq="D", day_first=day_first)
    assert same["start"] == found["start"] and same["info"]["day_first"] is day_first
    days = pd.DatetimeIndex(["2024-05-13", "2024-05-14"])  # no month
    told = pd.DataFrame({"a": [1.0, 2.0]}, days.strftime(layout))
    found = only(told, freq="D", day_first=not day_first)
    assert found["start"] == pd.Period("2024-05-13", "D")
    assert found["info"]["day_first"] is day_first
    assert "day_first" not in only(WIDE)["info"]


def test_what_stands_beside_a_table_is_read_in_its_order():
    days = pd.date_range("2024-01-01", periods=40)
    texts = days.strftime("%d.%m.%Y")
    rows = pd.DataFrame({"unique_id": "a", "ds": texts, "y": 1.0, "price": 2.0})
    ahead = pd.DataFrame({"unique_id": "a", "ds": ["10.02.2024", "11.02.2024"], "price": 3.0})
    (entry,) = from_long(rows, known=["price"], future=ahead)
    assert entry["feat_dynamic_real"].shape == (1, 1, 42)
    short = pd.DataFrame({"ds": ["10.02.2024", "11.02.2024"], "price": 3.0})
    for table in (rows[["unique_id", "ds", "y"]], pd.DataFrame({"a": 1.0}, texts)):
        found = only(table, features=Features(known=pd.concat([rows[["ds", "price"]], short])))
        assert found["feat_dynamic_real"].shape == (1, 42)


def test_dates_as_objects_may_have_a_time_zone():
    hours = pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin")
    found = only(WIDE.set_axis(hours.astype(object)))
    assert found["info"]["tz"] == "Europe/Berlin" and found["target"].shape == (3, 60)
    objects = [stamp.tz_convert(f"Etc/GMT-{i % 2}") for i, stamp in enumerate(hours)]
    found = only(WIDE.set_axis(pd.Index(objects, dtype=object)))
    assert found["info"]["tz"] == "UTC" and found["target"].shape == (3, 60)
    with pytest.raises(DataError, match="some times of the index have a time zone"):
        read(WIDE.set_axis(pd.Index([*hours[:59], pd.Timestamp("2024-05-01")], dtype=object)))


@pytest.mark.parametrize(
    ("freq", "first"),
    [("YE", "1960-12-31"), ("YS", "1960-01-01"), ("Y", "1960-01-01"), ("YE-JUN", "1960-06-30")],
)
def test_integers_are_years_where_the_frequency_says_so(freq, first):
    years = pd.RangeIndex(1960, 2020)
    column = WIDE.assign(year=years)
    rows = LONG.assign(ds=LONG["ds"].map(dict(zip(WIDE.index, years, strict=True))))
    for found in (
        only(WIDE.set_axis(years), freq=freq),
        only(column, freq=freq, time_column="year"),
        only(rows, freq=freq),
    ):
        assert np.array_equal(found["target"], series(60))
        assert stamps_of(found["start"], 1, found["info"])[0] == pd.Timestamp(first)


def test_a_table_of_what_does_not_change_may_name_its_series_as_usual():
    static = pd.DataFrame({"item_id": ["c", "b", "a"], "size": [3.0, 2.0, 1.0]})
    rows = long(("sensor", "at", "load"))
    names = {"id_column": "sensor", "time_column": "at", "target_column": "load"}
    for found in (
        only(WIDE, features=Features(static=static)),
        only(rows, features=Features(static=static), **names),
    ):
        assert found["feat_static_real"].tolist() == [[1.0, 2.0, 3.0]]


def test_names_of_the_axes_are_kept():
    assert read(WIDE).names == Names("series", "timestamp", "value")
    named = WIDE.rename_axis("hour").rename_axis("sensor", axis=1)
    assert read(named).names == Names("sensor", "hour", "value")
    assert read(LONG).names == Names("unique_id", "ds", "y")


def test_groups_keep_their_keys_and_their_order():
    reading = read({"south": WIDE, ("north", 1): WIDE[20:]})
    assert reading.grouped and list(reading.entries) == ["south", ("north", 1)]
    assert reading.entries["north", 1]["target"].shape == (3, 40)
    reading = read([entry(), {**entry(), "item_id": "b"}])
    assert reading.grouped and list(reading.entries) == ["a", "b"]


@pytest.mark.parametrize("name", FORMS)
def test_nothing_that_is_handed_in_is_changed(name):
    data = FORMS[name]
    if isinstance(data, pd.DataFrame):
        before = data.copy(deep=True)
        only(data)["target"][:] = 0
        assert_frame_equal(data, before)


def test_a_series_is_a_table_of_one():
    found = only(WIDE["b"])
    assert found["info"]["columns"] == ["b"] and found["target"].shape == (1, 60)
    assert only(WIDE["b"].rename(None))["info"]["columns"] == ["value"]


def test_ragged_starts_gaps_and_holes():
    frame = LONG.drop(index=LONG.index[(LONG.unique_id == "b") & (LONG.ds < "2024-01-02")])
    frame = frame[frame.ds.dt.hour != 5]
    found = only(frame)
    target, late = found["target"], found["info"]["columns"].index("b")
    assert target.shape == (3, 60)
    assert np.isnan(target[late, :24]).all() and np.isnan(target[:, [5, 29, 53]]).all()
    assert np.isnan(target).sum() == 24 + 3 * 3 - 1


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata"])
def test_time_zones_and_the_change_of_clocks(zone):
    index = pd.date_range("2024-03-25", periods=250, freq="h", tz=zone)
    found = only(pd.DataFrame({"a": np.arange(240.0)}, index[:240]))
    assert found["target"].shape == (1, 240)
    assert list(stamps_of(found["start"] + 240, 10, found["info"])) == list(index[240:])


ALIASES = [
    "ME", "MS", "BME", "BMS", "QE", "QS", "BQE", "QE-JAN", "QS-FEB", "YE", "YS", "YE-JUN", "BYE",
    "W", "W-SUN", "W-WED", "2W", "4W", "B", "C", "CBME", "CBMS", "D", "2D", "h", "6h", "15min",
    "min", "30s", "s", "ms", "us", "90min", "36h", "2ME", "2QE", "SME", "SMS", "WOM-3FRI", "bh",
]  # fmt: skip


@pytest.mark.parametrize("freq", ALIASES)
@pytest.mark.parametrize("given", [True, False])
def test_every_frequency_goes_on_where_it_stopped(freq, given):
    index = pd.date_range("2020-01-01", periods=44, freq=freq)
    found = only(pd.DataFrame({"a": np.arange(40.0)}, index[:40]), freq=freq if given else None)
    assert found["target"].shape == (1, 40) and not np.isnan(found["target"]).any()
    assert list(stamps_of(found["start"] + 40, 4, found["info"])) == list(index[40:])


WRONG = {
    "no DataFrame": (object(), "is no table"),
    "nothing": ({}, "empty"),
    "no entries": ([], "no entries"),
    "entries without a start": ([{"target": [1.0]}], "no start"),
    "no times": (WIDE.reset_index(drop=True), "no column holds times"),
    "two times": (WIDE.rename_axis("x").reset_index().assign(y=WIDE.index), "all hold times"),
    "the same entry twice": ([entry(), entry()], "item_id 'a'"),
    "a timestamp twice": (pd.concat([WIDE, WIDE[:1]]), "2024-01-01 00:00:00 appears more"),
    "twice, long": (pd.concat([LONG, LONG[:1]]), "'a' has more than one value at 2024-01-01"),
    "text": (
        WIDE.astype(object).mask(WIDE.iloc[3, 1] == WIDE, "n/a"),
        "'b' at 2024-01-01 03:00.*n/a",
    ),
    "an infinite number": (WIDE.replace(WIDE.iloc[3, 1], np.inf), "'b' at 2024-01-01 03:00"),
    "no number of time": (WIDE.rename_axis("ds").reset_index().assign(ds=1), "not timestamps"),
    "Unix time": (WIDE.set_axis(range(1704067200, 1704067260)), "to_datetime.*unit='s'"),
    "Unix time, ms": (
        WIDE.assign(ds=WIDE.index.asi8 // 10**6).reset_index(drop=True),
        "to_datetime.*unit='ms'",
    ),
    "years": (WIDE.set_axis(range(1960, 2020)), "years, give freq='YE' or 'YS'"),
    "dates as numbers": (
        WIDE.set_axis([20240101 + 100 * (i // 28) + i % 28 for i in range(60)]),
        "dates, give pd.to_datetime.*format='%Y%m%d'",
    ),
    "months as numbers": (
        WIDE.set_axis([202001 + 100 * (i // 12) + i % 12 for i in range(60)]),
        "dates, give pd.to_datetime.*format='%Y%m'",
    ),
    "no time in a row": (
        LONG.assign(ds=LONG["ds"].mask(LONG.index == 20)),
        "row 20 of column 'ds' has no timestamp: .*dropna",
    ),
    "only hours": (WIDE.rename_axis("ds").reset_index().assign(ds="10:00"), "'10:00'.* no time"),
    "text as the index": (
        WIDE.set_axis([*WIDE.index[:-1].astype(str), "soon"]),
        "'soon' in the index, row 59",
    ),
    "no time": (WIDE.rename_axis("ds").reset_index().assign(ds="soon"), "'soon'.* row 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_named(case):
    data, message = WRONG[case]
    with pytest.raises(DataError, match=message):
        read(data)


def test_a_wrong_name_of_a_column_is_named():
    with pytest.raises(DataError, match="'sensor'"):
        read(LONG, id_column="sensor")
    with pytest.raises(DataError, match="no column 'at'"):
        read(WIDE.reset_index(), time_column="at")


def test_series_in_another_order_are_put_in_order():
    found = aligned(only(WIDE[["c", "a", "b"]]), ["a", "b", "c"], "frame")
    assert found["info"]["columns"] == ["a", "b", "c"]
    assert np.array_equal(found["target"], series(60))
    with pytest.raises(DataError, match="'d'"):
        aligned(only(WIDE.assign(d=1.0)), ["a", "b", "c"], "frame")
    with pytest.raises(DataError, match="no series 'c'"):
        aligned(only(WIDE[["a", "b"]]), ["a", "b", "c"], "frame")


def test_new_rows_extend_the_history():
    old, new = WIDE[:40], WIDE[30:] + 1
    new.iloc[0, 0] = np.nan
    target = extended(only(old), only(new))["target"]
    expected = pd.concat([old[:30], new])
    expected.iloc[30, 0] = old.iloc[30, 0]
    assert np.array_equal(target, expected.to_numpy(np.float32).T)
    late = extended(only(WIDE[:20]), only(WIDE[50:]))["target"]
    assert late.shape == (3, 60) and np.isnan(late[:, 20:50]).all()
    early = extended(only(WIDE[20:]), only(WIDE[:30]))
    assert early["start"] == pd.Period("2024-01-01", "h")
    assert np.array_equal(early["target"], series(60))


def test_new_rows_of_another_clock_are_refused():
    with pytest.raises(DataError, match="frequency"):
        extended(only(WIDE), only(WIDE[::2]))
    with pytest.raises(DataError, match="between the steps"):
        extended(only(WIDE), only(WIDE.shift(freq="30min")))
    with pytest.raises(DataError, match="time zone"):
        extended(only(WIDE), only(WIDE.tz_localize("UTC")))


def test_dates_without_a_time():
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=i) for i in range(30)]
    found = only(pd.DataFrame({"day": days, "a": np.arange(30.0)}))
    assert found["start"] == pd.Period("2024-01-01", "D")


def test_what_is_no_table_and_columns_without_a_name_are_told_the_way_out():
    for wrong in ("load.csv", np.zeros((9, 2))):
        with pytest.raises(DataError, match="is no table: give a DataFrame"):
            read(wrong)
    long = pd.DataFrame([["a", "2024-01-01", 1.0], ["a", "2024-01-02", 2.0]])
    with pytest.raises(DataError, match=r"id_column=0 is no text: name the columns first"):
        read(long, id_column=0, time_column=1, target_column=2)


@pytest.mark.parametrize("start", ["2024-01-01", pd.Timestamp("2024-01-01"), PERIOD])
@pytest.mark.parametrize("values", [series(60), series(60)[0]], ids=["joint", "single"])
def test_entries_start_where_they_say_if_the_frequency_is_known(start, values):
    (found,) = read([{"start": start, "target": values}], freq="h").entries.values()
    assert found["start"] == PERIOD and found["start"].freq == PERIOD.freq
    with pytest.raises(DataError, match="entry number 0 has frequency 'h', but the model 'D'"):
        read([{"start": PERIOD, "target": values}], freq="D")


@pytest.mark.parametrize(
    ("start", "freq", "message"),
    [
        ("2024-01-01", None, "entry number 0 starts at '2024-01-01', which tells no freq.*freq="),
        (None, "h", "the start of entry number 0, None, is not a point in time"),
        ("noon", "h", "the start of entry number 0, 'noon', is not a point in time"),
    ],
)
def test_entries_that_start_nowhere_are_named(start, freq, message):
    with pytest.raises(DataError, match=message):
        read([{"start": start, "target": series(60)}], freq=freq)
