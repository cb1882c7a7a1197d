"""What is given of a horizon: read, checked, kept to the last digit, and reported."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest

from tests.conftest import entry, quick_estimator, series
from timediff import DataError, Forecast, Given, OptionError, Total, from_wide, to_frame
from timediff.diffusion import Sampler
from timediff.sampling import align
from timediff.scenarios import SCENARIO

P, D = 6, 3
FREE = np.full((P, D), np.nan)


def with_value(value, step=2, number=1) -> Given:
    values = FREE.copy()
    values[step, number] = value
    return Given(values)


def draw(predictor, data, given, count=20, seed=1, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(predictor.predict(data, count, seed, given=given, **options))


def test_nothing_given_is_what_it_was(predictor):
    data = [entry(240), entry(200)]
    plain = [f.samples for f in predictor.predict(data, 9, 1)]
    for given in (None, [None, None], Given(FREE), [None, Given(FREE)]):
        for a, f in zip(plain, draw(predictor, data, given, 9), strict=True):
            assert np.array_equal(a, f.samples)
            assert "given" not in (f.info or {})


def test_values_and_totals_are_kept():
    predictor = quick_estimator(prior_members=2, diffusion_runs=3).train([entry()])
    values = FREE.copy()
    values[:, 0] = np.linspace(4, 6, P)
    values[1, 1] = 4.9
    late = np.full(P, np.nan)
    late[3:] = 1.5
    totals = [(np.ones(D), np.linspace(14, 16, P)), Total([0.0, 1.0, -2.0], late, "spread")]
    (forecast,) = draw(predictor, [entry()], Given(values, totals))
    x = forecast.samples
    assert (x[:, :, 0] == values[:, 0].astype("f4")).all() and (x[:, 1, 1] == np.float32(4.9)).all()
    np.testing.assert_allclose(x.sum(2), np.tile(np.linspace(14, 16, P), (20, 1)), rtol=1e-6)
    np.testing.assert_allclose(x[:, 3:] @ [0, 1, -2], 1.5, rtol=1e-5)
    assert len(np.unique(x[:, 0, 1])) > 10
    report = forecast.info["given"]
    assert (report["values"], report["totals"]) == (7, 9)
    assert 0 < report["effective_paths"] <= 20 and report["distance"] > 0


def test_the_other_series_follow(predictor):
    """The series have a common factor."""
    plain = next(predictor.predict([entry()], 400, 1)).samples
    values = FREE.copy()
    values[:, 0] = plain[:, :, 0].mean(0) + 2 * plain[:, :, 0].std(0)
    (forecast,) = draw(predictor, [entry()], Given(values), 400)
    moved = (forecast.samples.mean(0) - plain.mean(0)) / plain.std(0)
    assert moved[0, 1:].min() > 0.5


def test_the_same_seed_gives_the_same_scenario_whatever_the_batch(predictor):
    data = [entry(240 - i) for i in range(4)]
    given = [with_value(5.0), None, Given(totals=[(np.ones(D), np.full(P, 15.0))]), with_value(6.0)]
    together = draw(predictor, data, given)
    small = copy.deepcopy(predictor)
    small.batch_size = 1
    for a, b in zip(together, draw(small, (e for e in data), given), strict=True):
        assert np.array_equal(a.samples, b.samples)
    (other,) = draw(predictor, data[:1], given[0], seed=2)
    assert not np.array_equal(other.samples, together[0].samples)


@pytest.mark.parametrize("sampler", ["adams", "dpm_solver", "ddim", "ddpm"])
def test_every_sampler(predictor, sampler):
    given = Given(totals=[(np.ones(D), np.full(P, 15.0))])
    (forecast,) = draw(predictor, [entry()], given, sampler=sampler, steps=5)
    np.testing.assert_allclose(forecast.samples.sum(2), 15.0, rtol=1e-6)


def test_a_sampler_that_cannot_says_so(predictor):
    class Own(Sampler):
        def step(self, chain, x, k, j):
            return x

        def sample(self, model, h, noise, start=None):
            return noise()

    draw(predictor, [entry()], None, sampler=Own())
    with pytest.raises(OptionError, match="takes no project="):
        draw(predictor, [entry()], with_value(5.0), sampler=Own())


@pytest.mark.parametrize("options", [{"preset": "paper", "diff_steps": 10}, {"prior": False}])
def test_a_network_of_levels(options):
    predictor = quick_estimator(**options).train([entry()])
    values = FREE.copy()
    values[:, 0] = 5.0
    given = Given(values, [(np.ones(D), np.full(P, 15.0))])
    (forecast,) = draw(predictor, [entry()], given)
    assert (forecast.samples[:, :, 0] == 5.0).all()
    np.testing.assert_allclose(forecast.samples.sum(2), 15.0, rtol=1e-6)
    assert forecast.info["given"]["distance"] is None


@pytest.mark.parametrize("value", [1e6, -1e6, 40.0])
def test_what_is_far_outside_is_kept_and_warned_of(predictor, value):
    with pytest.warns(UserWarning, match="far outside of what the model holds possible") as found:
        (forecast,) = predictor.predict([entry()], 20, 1, given=with_value(value))
    assert {warning.filename for warning in found} == {__file__}  # the caller's line
    assert (forecast.samples[:, 2, 1] == value).all()
    assert np.isfinite(forecast.samples).all()
    with pytest.warns(UserWarning, match="far outside"):
        given = Given(totals=[(np.ones(D), np.full(P, value))])
        (forecast,) = predictor.predict([entry()], 20, 1, given=given)
    np.testing.assert_allclose(forecast.samples.sum(2), value, rtol=1e-5)


def test_counts_that_are_given():
    """Free series stay whole and above 0, except in a total: that holds."""
    data = entry()
    data["target"] = np.random.default_rng(0).poisson(1.0, data["target"].shape).astype("f4")
    predictor = quick_estimator().train([data])
    values, total = FREE.copy(), np.full(P, np.nan)
    values[0, 0], values[1, 0], total[3], total[4] = 2.5, -1.0, 0.5, 7.0
    (forecast,) = draw(predictor, [data], Given(values, [(np.array([0.0, 1, 1]), total)]), 50)
    x = forecast.samples
    assert (x[:, 0, 0] == 2.5).all() and (x[:, 1, 0] == -1.0).all()
    np.testing.assert_allclose(x[:, 3:5, 1:].sum(2), np.tile([0.5, 7.0], (50, 1)), rtol=1e-5)
    assert x[:, 3:5].min() >= 0.0
    free = x[:, [0, 1, 2, 5], 1:]
    assert (free == free.round()).all() and free.min() >= 0.0


def test_one_axis():
    rows = [{"start": pd.Period("2024-01-01", "h"), "target": row} for row in series()]
    predictor = quick_estimator().train(rows)
    values = np.full(P, np.nan)
    values[3] = 5.0
    forecasts = draw(predictor, rows, Given(values))
    assert len(forecasts) == 3
    assert all((f.samples[:, 3] == 5.0).all() and f.samples.shape == (20, P) for f in forecasts)


def test_what_does_not_fit_the_entries(predictor):
    with pytest.raises(DataError, match=r"for 'a' has shape \(4, 3\), its forecast \(6, 3\)"):
        draw(predictor, [entry()], Given(np.ones((4, 3))))
    with pytest.raises(DataError, match="given has 1 elements, the dataset more"):
        draw(predictor, [entry(), entry()], [with_value(5.0)])
    with pytest.raises(DataError, match="given is a str"):
        next(align("x"))
    with pytest.raises(DataError, match=r"given\[0\] is a int"):
        next(align([1]))


# -- reading and checking --------------------------------------------------------------------------


def table(length=240, tz=None, freq="h"):
    index = pd.date_range("2024-01-01", periods=length, freq=freq, tz=tz)
    return pd.DataFrame(series(length).T, index=index, columns=["north", "south", "west"])


def frame_of(history, columns, rows=P, start=0):
    step = history.index[1] - history.index[0]
    index = history.index[-1] + step * (1 + np.arange(start, start + rows))
    return pd.DataFrame({c: np.linspace(5, 6, rows) for c in columns}, index=index)


@pytest.mark.parametrize("tz", [None, "UTC", "Europe/Berlin"])
def test_a_frame_becomes_what_is_given(tz):
    history = table(tz=tz)
    (own,) = from_wide(history)
    frame = frame_of(history, ["west", "all"], 3, 1)
    frame.iloc[0, 0] = np.nan
    before = frame.copy()
    given = Given.from_frame(frame, own, P, totals={"all": ["north", "south"]})
    pd.testing.assert_frame_equal(frame, before)
    assert np.isnan(given.values).sum() == P * D - 2
    np.testing.assert_allclose(given.values[2:4, 2], [5.5, 6.0])
    (total,) = given.totals
    assert total.name == "all" and total.weights.tolist() == [1.0, 1.0, 0.0]
    np.testing.assert_allclose(total.values, [np.nan, 5.0, 5.5, 6.0, np.nan, np.nan])
    if tz:  # the same instants in another zone
        other = Given.from_frame(frame.tz_convert("US/Pacific"), own, P, {"all": {"north": 2.0}})
        np.testing.assert_array_equal(other.values, given.values)
        assert other.totals[0].weights.tolist() == [2.0, 0.0, 0.0]


def test_a_frame_of_periods_and_of_shuffled_rows():
    history = table().to_period()
    (own,) = from_wide(history)
    index = pd.period_range(history.index[-1] + 1, periods=P, freq="h")
    frame = pd.DataFrame({"south": np.arange(P)}, index=index)
    given = Given.from_frame(frame.sample(frac=1, random_state=0), own, P)
    assert given.values[:, 1].tolist() == list(range(P))


def test_days_in_a_zone_with_summer_time():
    index = pd.date_range("2024-01-01", "2024-03-29", freq="D", tz="Europe/Berlin")
    history = pd.DataFrame({"a": np.arange(len(index), dtype=float)}, index=index)
    (own,) = from_wide(history)
    days = pd.date_range("2024-03-30", periods=3, freq="D", tz="Europe/Berlin")
    given = Given.from_frame(pd.DataFrame({"a": [1.0, 2, 3]}, index=days), own, 3)
    assert given.values[:, 0].tolist() == [1.0, 2.0, 3.0]


def wrong(columns=("west",), rows=P, start=0, tz=None, totals=None, change=None, **options):
    history = table()
    (own,) = from_wide(history)
    frame = frame_of(history, columns, rows, start)
    if tz:
        frame = frame.tz_localize(tz)
    if change:
        frame = change(frame)
    return Given.from_frame(frame, own, P, totals)


def cell(column, row, value):
    def change(frame):
        frame.loc[frame.index[row], column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"columns": ["wset"]}, "column 'wset' is no series: did you mean 'west'"),
        ({"columns": ["qqq"]}, "column 'qqq' is no series: the series are 'north', 'south'"),
        ({"start": 3}, "column 'west' at 2024-01-11 06:00:00 is not within the horizon.*05:00:00"),
        ({"start": -1}, "column 'west' at 2024-01-10 23:00:00 is not within the horizon"),
        ({"tz": "UTC"}, "it has a time zone, the forecast has none; use tz_localize"),
        ({"change": cell("west", 2, np.inf)}, "series 'west' at 2024-01-11 02:00:00: inf is inf"),
        ({"change": lambda f: f.reset_index(drop=True)}, "holds int64, not timestamps"),
        (
            {"change": lambda f: pd.concat([f, f[:1]])},
            "00:00:00 of what is given.*twice",
        ),
        ({"change": lambda f: pd.concat([f, f], axis=1)}, "column 'west' of what is given.*twice"),
        ({"totals": {"west": ["north"]}}, "total 'west' has the name of a series"),
        ({"totals": {"all": ["north"]}}, "total 'all' has no column"),
        ({"columns": ["all"], "totals": {"all": ["nroth"]}}, "'nroth' in total 'all' is.*'north'"),
        ({"columns": ["all"], "totals": {"all": np.ones(2)}}, "total 'all' has weights"),
        ({"columns": ["all"], "totals": {"all": {"north": 0.0}}}, "not finite, or all 0"),
        (
            {"columns": ["west", "all"], "totals": {"all": {"west": 2.0}}},
            "total 'all' at 2024-01-11 00:00:00 is given as 5, but.*sum to 10: leave",
        ),
        (
            {
                "columns": ["all", "more"],
                "totals": {"all": ["north", "south"], "more": {"north": 2.0, "south": 2.0}},
            },
            "total 'more' at 2024-01-11 00:00:00 contradicts 'all'",
        ),
    ],
)
def test_a_frame_that_does_not_fit(case, message):
    with pytest.raises(DataError, match=message):
        wrong(**case)


def test_arrays_that_do_not_fit():
    with pytest.raises(DataError, match="nothing is given"):
        Given()
    with pytest.raises(DataError, match="series number 1 at step 2 of the horizon is given as inf"):
        with_value(np.inf)
    with pytest.raises(DataError, match=r"'total' has weights \(2,\) and values \(6,\)"):
        Given(FREE, [(np.ones(2), np.ones(6))])
    with pytest.raises(DataError, match="total 'total' at step 0 of the horizon is given as inf"):
        Given(FREE, [(np.ones(3), np.full(6, np.inf))])
    with pytest.raises(DataError, match="shape"):
        Given(np.ones((2, 2, 2)))


def test_a_scenario_comes_back_as_a_frame(predictor):
    history = table()
    data = from_wide(history)
    given = Given.from_frame(frame_of(history, ["north"]), data[0], P)
    (forecast,) = draw(predictor, data, given)
    frame = to_frame(forecast)
    np.testing.assert_allclose(
        frame[frame["series"] == "north"]["mean"], np.linspace(5, 6, P), rtol=1e-6
    )
    assert "given" not in data[0]["info"]


# -- constraints afterwards ------------------------------------------------------------------------


def scenario(values, totals=(), paths=None) -> Forecast:
    """Two paths of two series in which this is given."""
    start = pd.Period("2024-01-01", "h")
    given = Given(values, totals, ["a", "b"], pd.date_range("2024-01-01", periods=2, freq="h"))
    paths = (
        np.array([[[1.5, -2.0], [3.0, 4.5]], [[1.5, 0.5], [3.0, 2.25]]]) if paths is None else paths
    )
    return Forecast(paths, start, ["a", "b"], info={"given": {}, SCENARIO: given})


FIRST = [[1.5, np.nan], [3.0, np.nan]]
NONE = [[np.nan, np.nan], [np.nan, np.nan]]
SUM = [Total([1.0, 1.0], [np.nan, 7.5], "north")]
TWO = np.array([[[1.0, 2.0], [3.0, 4.5]], [[1.0, 2.0], [5.25, 2.25]]])


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ((FIRST,), {"lower": 2}, "series 'a' at 2024-01-01 00:00:00 is given as 1.5, .* it 2: lea"),
        ((FIRST,), {"upper": {"a": 1}}, "series 'a' at 2024-01-01 00:00:00 is given as 1.5"),
        ((FIRST,), {"integer": "a"}, "series 'a' at 2024-01-01 00:00:00 is given as 1.5"),
        (
            (NONE, SUM, TWO),
            {"lower": {"b": 4}},
            "total 'north' at 2024-01-01 01:00:00 is given as 7.5, .* paths have 7.5 to 9.25",
        ),
    ],
)
def test_a_constraint_does_not_break_what_is_given(given, options, message):
    made = scenario(*given)
    with pytest.raises(OptionError, match=message):
        made.constrain(**options)
    if len(given) == 1:  # the same of a part of it, and of what is made of it
        with pytest.raises(OptionError, match="series 'a' at"):
            made[["b", "a"]].constrain(**options)
        with pytest.raises(OptionError, match="series 'more' at"):
            made.aggregate({"more": {"a": 1.1}}).constrain(integer=True)


def test_a_constraint_that_breaks_nothing_is_kept():
    made = scenario(FIRST)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert made.constrain(lower={"b": 0}, integer="b").samples[0, 0].tolist() == [1.5, 0.0]
        assert made["b"].constrain(lower=0).samples.min() == 0
        assert made.aggregate({"all": ["a", "b"]}).constrain(lower=0).samples.min() == 0
        assert made.aggregate({"a": "b"}).constrain(lower=0).samples.min() == 0
        assert scenario(NONE, SUM, TWO).constrain(lower={"b": 0}, upper=9).samples.max() == 5.25


def test_rounding_that_moves_a_total_is_a_warning():
    made = scenario(NONE, SUM, TWO)
    message = "total 'north' at 2024-01-01 01:00:00 is given as 7.5, .* whole numbers have 7 to 7"
    for one, integer in ((made, True), (made[["b", "a"]], ["a", "b"])):
        with pytest.warns(UserWarning, match=message):
            one.constrain(integer=integer)
    with pytest.raises(OptionError, match=r"series 'sum' at .* is given as 7\.5"):
        made.aggregate({"sum": ["a", "b"]}).constrain(integer=True)


def test_a_total_of_one_series_is_of_this_one(unchecked):
    given = wrong(columns=["all"], totals={"all": "north"})
    assert given.totals[0].weights.tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(OptionError, match="weight of 'north' in total 'all': 'x' is no number"):
        wrong(columns=["all"], totals={"all": {"north": "x"}})
