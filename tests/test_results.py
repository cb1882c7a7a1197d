"""What a forecast says in tables: checked against the paths themselves."""

import numpy as np
import pandas as pd
import pytest
import xarray
from pandas.testing import assert_frame_equal

from timediff import Forecast
from timediff.errors import DataError, OptionError
from timediff.forecast_group import ForecastGroup
from timediff.reading import Names, read
from timediff.results import quantile_columns

S, P, D = 200, 4, 3
COLUMNS = ["a", "b", "c"]


def paths() -> np.ndarray:
    rng = np.random.default_rng(0)
    common = rng.standard_normal((S, P, 1))
    return (10 + common + 0.3 * rng.standard_normal((S, P, D))).astype(np.float32)


def table(length: int = 30, tz: str | None = None) -> pd.DataFrame:
    index = pd.date_range("2024-03-29 22:00", periods=length, freq="h", tz=tz)
    return pd.DataFrame(np.arange(3.0 * length).reshape(length, 3), index, COLUMNS)


def forecast(tz: str | None = "Europe/Berlin", names: Names | None = None) -> Forecast:
    history = read(table(tz=tz)).entries["frame"]
    start = history["start"] + history["target"].shape[1]
    return Forecast(paths(), start, COLUMNS, info=history["info"], names=names, history=history)


def test_it_is_stamped_as_the_history_goes_on():
    made = forecast()
    expected = pd.date_range("2024-03-31 05:00", periods=P, freq="h", tz="Europe/Berlin")
    assert list(made.index) == list(expected)  # the clocks went forward at two
    assert made.cutoff == pd.Timestamp("2024-03-31 04:00", tz="Europe/Berlin")
    assert "200 paths × 4 steps" in repr(made)


def test_moments_and_quantiles_are_those_of_the_paths():
    made, x = forecast(), paths().astype(float)
    for got, expected in (
        (made.mean(), x.mean(0)),
        (made.std(), x.std(0)),
        (made.median(), np.median(x, axis=0)),
        (made.quantile(0.3), np.quantile(x, 0.3, axis=0)),
        (made.interval(80)[1], np.quantile(x, 0.9, axis=0)),
    ):
        assert list(got.columns) == COLUMNS and got.index.equals(made.index)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_the_long_table_has_the_names_of_the_caller():
    made = forecast(names=Names("unique_id", "ds", "y"))
    frame = made.to_frame(quantiles=[0.5], level=[80, 95])
    assert list(frame) == [
        "unique_id", "ds", "mean", "0.5", "lo-80", "hi-80", "lo-95", "hi-95",
    ]  # fmt: skip
    assert frame.unique_id.tolist() == np.repeat(COLUMNS, P).tolist()
    row = frame.iloc[P + 2]
    x = paths()[:, 2, 1].astype(float)
    assert row.ds == made.index[2] and row["0.5"] == pytest.approx(np.median(x))
    assert [row["lo-80"], row["hi-95"]] == pytest.approx(np.quantile(x, [0.1, 0.975]).tolist())
    assert list(made.to_frame()) == ["unique_id", "ds", "mean", "0.05", "0.5", "0.95"]


def test_the_long_table_of_paths():
    frame = forecast(names=Names("unique_id", "ds", "y")).to_frame(samples=True)
    assert list(frame) == ["unique_id", "ds", "sample", "y"] and len(frame) == S * P * D
    back = frame.y.to_numpy().reshape(D, P, S).transpose(2, 1, 0)
    assert np.array_equal(back, paths())
    assert frame["sample"].tolist()[: S + 1] == [*range(S), 0]


def test_aggregates_are_of_the_paths_not_of_the_quantiles():
    made, x = forecast(), paths().astype(float)
    weights = {"ab": ["a", "b"], "spread": {"a": 1, "c": -1}}
    both = made.aggregate(weights)
    assert both.columns == ["ab", "spread"]
    np.testing.assert_allclose(both.samples[..., 0], x[..., 0] + x[..., 1], rtol=1e-6)
    np.testing.assert_allclose(both.samples[..., 1], x[..., 0] - x[..., 2], atol=1e-5)
    # a common factor moves the sum: its spread is nearly twice, not sqrt(2) times, one series'
    assert (both.std()["ab"] > 1.8 * made.std()["a"]).all()
    assert (both.std()["spread"] < 0.6 * made.std()["a"]).all()
    frame = pd.DataFrame({"a": [1, 1], "b": [1, 0], "c": [0, -1]}, ["ab", "spread"])
    assert np.array_equal(made.aggregate(frame).samples, both.samples)
    known = both.plain_history()
    assert known is not None and known["ab"].tolist() == (table().a + table().b).tolist()


def test_a_total_is_known_where_a_series_outside_of_it_is_not():
    x = paths()
    x[..., 2] = np.nan
    made = Forecast(x, pd.Period("2024-01-01", "h"), COLUMNS)
    both = made.aggregate({"ab": ["a", "b"], "bc": ["b", "c"]})
    np.testing.assert_allclose(both.samples[..., 0], x[..., :2].sum(-1), rtol=1e-6)
    assert np.isnan(both.samples[..., 1]).all()


def test_a_table_of_weights_with_a_name_twice():
    weights = pd.DataFrame(np.eye(2, 3), ["total", "total"], COLUMNS)
    with pytest.raises(OptionError, match="groups has two rows called 'total': rename one"):
        forecast().aggregate(weights)


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (Names("sample", "ds", "y"), {"samples": True}),
        (Names("unique_id", "ds", "sample"), {"samples": True}),
        (Names("mean", "ds", "y"), {}),
        (Names("unique_id", "0.5", "y"), {"quantiles": [0.5]}),
        (Names("time", "time", "y"), {}),
    ],
)
def test_no_column_of_a_table_hides_another(names, options):
    with pytest.raises(DataError, match="two columns of the table would be called"):
        forecast(names=names).to_frame(**options)


def test_no_column_of_a_table_hides_the_groups():
    names = Names("unique_id", "ds", "y", group="mean")
    group = ForecastGroup({"one": forecast(names=names)})
    with pytest.raises(DataError, match="two columns of the table would be called 'mean'"):
        group.to_frame()


def test_a_single_observation_needs_no_frequency():
    made = forecast()
    seen = pd.DataFrame([[9.0, 10.0, 11.0]], made.index[1:2], COLUMNS)
    assert made["b"].score(seen["b"]) == made["b"].score(seen)


@pytest.mark.parametrize("labels", [["a", "b", "ab"], [1, 2, 3], [("a", "b"), "a", "b"]])
def test_one_series_is_not_a_list_of_its_letters(labels):
    """Where several are taken, a label alone is that series."""
    made = Forecast(paths(), pd.Period("2024-01-01", "h"), labels)
    for i, label in enumerate(labels):
        total = made.aggregate({"total": label})
        assert np.array_equal(total.samples[..., 0], made.samples[..., i])
        rounded = made.constrain(integer=label).samples == made.samples.round()
        assert rounded.all((0, 1)).tolist() == [i == j for j in range(3)]
        assert len(made.plot_paths(series=label).axes) == 1
    with pytest.raises(OptionError, match="unknown series 'bc'"):
        made.aggregate({"total": "bc"})


def test_one_quantile_is_one_column():
    assert list(forecast().to_frame(quantiles=0.5))[2:] == ["mean", "0.5"]
    assert list(forecast().to_frame(quantiles=np.array([0.1, 0.9]), level=np.int64(80)))[3:] == [
        "0.1", "0.9", "lo-80", "hi-80",
    ]  # fmt: skip


def test_a_part_is_the_part():
    made = forecast()
    assert np.array_equal(made["b"].samples[..., 0], paths()[..., 1])
    part = made[["c", "a"]]
    assert part.columns == ["c", "a"] and np.array_equal(part.samples, paths()[..., [2, 0]])
    known = part.plain_history()
    assert known is not None and known["c"].tolist() == table().c.tolist()


def test_constraints():
    made = forecast()
    cut = made.constrain(lower=9.5, upper=10.4, integer=True)
    assert np.unique(cut.samples).tolist() == [10.0]
    cut = made.constrain(lower=9.5)
    assert cut.samples.min() == 9.5 and cut.samples.max() == paths().max()
    assert made.samples.min() < 9.5
    with pytest.raises(OptionError, match="above"):
        made.constrain(lower=2, upper=1)


def test_scores_are_of_the_horizon_by_name_and_by_time():
    from timediff.scores import crps

    made = forecast()
    observed = table(tz="Europe/Berlin", length=60)[["c", "b", "a"]]
    observed.iloc[31, 0] = np.nan
    got = made.score(observed)
    target = observed[COLUMNS].iloc[30:34].to_numpy(np.float32)
    import torch

    expected = crps(torch.from_numpy(paths()), torch.from_numpy(target)).item()
    assert got["crps"] == pytest.approx(expected)
    long = observed.rename_axis("ds").rename_axis("unique_id", axis=1).stack().rename("y")
    assert made.score(long.reset_index()) == pytest.approx(got)
    with pytest.raises(DataError, match="no observation between 2024-03-31 05:00"):
        made.score(observed[:20])
    with pytest.raises(DataError, match="no series 'a'"):
        made.score(observed[["b", "c"]])
    assert made.score(observed.assign(more=1.0)) == got == made.score(target)
    assert made["b"].score(observed) == made["b"].score(observed[["b"]])
    assert made["b"].plot(observed).axes
    with pytest.raises(DataError, match=r"shape \(3, 4\).*give steps × series, \(4, 3\)"):
        made.score(target.T)
    with pytest.warns(UserWarning, match="all that was observed is 0: crps is NaN"):
        assert np.isnan(made.score(np.zeros((P, D)))["crps"])
    with pytest.raises(DataError, match="time zone"):
        made.score(observed.tz_localize(None))


def test_xarray_and_gluonts_hold_the_same_paths():
    made = forecast()
    array = made.to_xarray()
    assert isinstance(array, xarray.DataArray) and array.dims == ("sample", "time", "series")
    assert np.array_equal(array.sel(series="b").to_numpy(), paths()[..., 1])
    assert array.attrs["time_zone"] == "Europe/Berlin"
    assert pd.Timestamp(array.time[0].item()) == pd.Timestamp("2024-03-31 03:00")
    other = made.to_gluonts()
    assert np.array_equal(other.samples, paths()) and other.columns == COLUMNS
    assert other.start_date == made.start


def test_pictures():
    made = forecast()
    observed = table(tz="Europe/Berlin", length=60)
    figure = made.plot(observed)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [*COLUMNS, "sum of all 3 series"]
    line = next(line for line in figure.axes[0].lines if line.get_label() == "observed")
    assert line.get_ydata()[-P:].tolist() == observed.a[30:34].tolist()
    assert forecast(tz=None).aggregate({"ab": ["a", "b"]}).plot() is not None


def test_groups():
    group = ForecastGroup({"n": forecast(), "s": forecast()})
    frame = group.to_frame(level=90)
    assert list(frame) == ["group", "series", "timestamp", "mean", "lo-90", "hi-90"]
    assert frame.group.tolist() == ["n"] * P * D + ["s"] * P * D
    assert_frame_equal(frame[: P * D].drop(columns="group"), forecast().to_frame(level=90))
    observed = table(tz="Europe/Berlin", length=60)
    assert_frame_equal(group.mean().loc["n"], forecast().mean(), check_freq=False)
    assert_frame_equal(group.quantile(0.1).loc["s"], forecast().quantile(0.1), check_freq=False)
    assert_frame_equal(group.median().loc["n"], forecast().median(), check_freq=False)
    assert_frame_equal(group.std().loc["n"], forecast().std(), check_freq=False)
    assert group.mean().index.names == ["group", "timestamp"]
    totals = group.aggregate({"all": COLUMNS})
    assert isinstance(totals, ForecastGroup) and totals["s"].columns == ["all"]
    assert np.array_equal(totals["n"].samples, forecast().aggregate({"all": COLUMNS}).samples)
    scores = group.score({"n": observed, "s": observed})
    assert scores.loc["n", "crps"] == forecast().score(observed)["crps"]
    with pytest.raises(DataError, match="'s'"):
        group.score({"n": observed})
    with pytest.raises(DataError, match="with the column 'group'"):
        group.score(observed)
    figures = group.plot({"n": observed}, series=["a"], total=False)
    drawn = {key: len(figure.axes[0].lines) for key, figure in figures.items()}
    assert drawn["n"] == drawn["s"] + 1


def test_mistakes():
    made = forecast()
    with pytest.raises(OptionError, match="unknown series 'd'"):
        made["d"]
    with pytest.raises(OptionError, match=r"'bb'.*'b'"):
        made.aggregate({"x": ["a", "bb"]})
    with pytest.raises(OptionError, match="groups is empty: give a name"):
        made.aggregate({})
    with pytest.raises(DataError, match="not finite"):
        made.aggregate({"x": {"a": np.nan}})
    with pytest.raises(OptionError, match="weight of 'a' in 'x': 'y' is no number"):
        made.aggregate({"x": {"a": "y"}})
    with pytest.raises(OptionError, match="groups is a list: give names"):
        made.aggregate(["a", "b"])
    with pytest.raises(OptionError, match=r"level: 0\.9 is below one per cent: did you mean 90"):
        made.interval(0.9)
    with pytest.raises(OptionError, match="lower and upper: 'x' is no number"):
        made.constrain(lower="x")
    with pytest.raises(OptionError, match="the bound of 'a': None is no number"):
        made.constrain(upper={"a": None})
    for plot in (made.plot, made.plot_paths):
        with pytest.raises(OptionError, match="unknown option 'sereis': did you mean 'series'"):
            plot(sereis=["a"])
    with pytest.raises(OptionError, match="level: 100"):
        quantile_columns(level=[100])
    with pytest.raises(OptionError, match="quantiles: 2"):
        made.quantile(2)
    with pytest.raises(DataError, match="expected paths"):
        Forecast(paths(), made.start, ["a"])


@pytest.mark.parametrize("keys", [[("n", 1), ("s", 2)], [("n",), ("n", "s")], [1, 2]])
def test_keys_of_groups_may_be_tuples_as_groupby_makes_them(keys):
    group = ForecastGroup(dict.fromkeys(keys, forecast()))
    frame = group.to_frame()
    assert list(frame)[:3] == ["group", "series", "timestamp"]
    assert frame.group.tolist() == [key for key in keys for _ in range(P * D)]
    mean = group.mean()
    assert mean.index.names == ["group", "timestamp"] and mean.columns.name == "series"
    assert [key for key, _ in mean.index] == [key for key in keys for _ in range(P)]
    assert np.array_equal(mean[-P:].to_numpy(), forecast().mean().to_numpy())


def test_bounds_and_whole_numbers_of_some_series_may_be_a_series_of_pandas():
    made = forecast()
    kept = made.constrain(lower=pd.Series({"a": 10.5}), integer={"b": True, "c": False})
    expected = made.constrain(lower={"a": 10.5}, integer=["b"])
    assert np.array_equal(kept.samples, expected.samples)
    assert made["c"].samples.min() < 10.5  # no bound of it
    assert np.array_equal(kept["c"].samples, made["c"].samples)
    with pytest.raises(OptionError, match="is no number"):
        made.constrain(lower=np.array([10.5]))
    group = ForecastGroup({"n": made}).constrain(10.5)
    assert group["n"].samples.min() == 10.5


def test_what_is_rounded_to_zero_has_no_sign():
    made = forecast()
    small = made.with_samples(-0.1 * np.ones_like(made.samples)).constrain(integer=True)
    assert (small.samples == 0).all() and not np.signbit(small.samples).any()


def test_a_total_of_nothing_or_of_one_series_twice_is_an_error():
    made = forecast()
    with pytest.raises(OptionError, match="'x' has no series"):
        made.aggregate({"x": []})
    with pytest.raises(OptionError, match=r"'x' has 'a' twice: give weights, such as {'a': 2}"):
        made.aggregate({"x": ["a", "b", "a"]})


def test_series_may_be_picked_by_what_lists_them():
    made = forecast()
    for picked in (pd.Index(["a", "c"]), np.array(["a", "c"]), ("a", "c")):
        assert made[picked].columns == ["a", "c"]
        assert np.array_equal(made[picked].samples, paths()[:, :, [0, 2]])
