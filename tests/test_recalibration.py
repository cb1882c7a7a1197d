"""Recalibration: the coverage that it promises, and the dependence that it must leave alone."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import QUICK, entry
from timediff import DataError, Forecast, Forecaster, OptionError, Recalibration, TimediffError
from timediff.backtest import Backtest
from timediff.forecast_group import ForecastGroup
from timediff.scores import coverage, coverage_sum, crps, crps_sum

P, D = 6, 3


def gaussian(windows: int, rng: np.random.Generator, spread: float = 1.0, paths: int = 100):
    """Forecasts whose deviation is wrong by a factor, and what a common factor made happen."""

    def draw(*shape: int) -> np.ndarray:
        common = rng.standard_normal((*shape, P, 1))
        return (0.8 * common + 0.6 * rng.standard_normal((*shape, P, D))).cumsum(-2)

    return (spread * draw(windows, paths)).astype(np.float32), draw(windows).astype(np.float32)


def tensors(*arrays: np.ndarray) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)


def forecast(samples: np.ndarray, columns=("a", "b", "c"), **fields) -> Forecast:
    return Forecast(samples, pd.Period("2024-01-01", "h"), list(columns), **fields)


def backtest(windows: int = 12, seed: int = 0, spread: float = 0.6) -> Backtest:
    x, y = gaussian(windows, np.random.default_rng(seed), spread)
    return Backtest([forecast(paths) for paths in x], y)


@pytest.mark.parametrize("spread", [0.5, 0.7, 1.6])
def test_wrong_spreads_cover_90_per_cent_of_fresh_windows_afterwards(spread):
    rng = np.random.default_rng(1)
    recalibration = Recalibration(*gaussian(400, rng, spread))
    x, y = gaussian(400, rng, spread)
    after, (before, target) = recalibration.apply(x), tensors(x, y)
    assert abs(coverage(before, target) - 0.9) > 0.08
    assert coverage(*tensors(after, y)).item() == pytest.approx(0.9, abs=0.025)
    assert coverage_sum(*tensors(after, y)).item() == pytest.approx(0.9, abs=0.03)
    assert crps(*tensors(after, y)) < crps(before, target)
    assert crps_sum(*tensors(after, y)) < crps_sum(before, target)
    assert recalibration.factors().mean(axis=None) == pytest.approx(1 / spread, rel=0.08)


@pytest.mark.parametrize(
    ("options", "windows"),
    [
        ({"exchangeable": "windows", "pooling": 0}, 9),
        ({"exchangeable": "windows", "pooling": np.inf}, 9),
        ({"exchangeable": "windows", "pooling": np.inf}, 20),
    ],
)
def test_the_guarantee_holds_over_many_draws(options, windows):
    """Also where the values of a window are all but the same, and with the fewest windows."""
    rng, hits = np.random.default_rng(2), []
    for _ in range(400):
        shared = rng.standard_normal((windows + 1, 1, 1))
        y = shared + 0.02 * rng.standard_normal((windows + 1, P, D))
        x = 0.3 * rng.standard_normal((windows + 1, 40, 1, 1)).repeat(P, 2).repeat(D, 3)
        recalibration = Recalibration(x[:-1], y[:-1], levels=[90], **options)
        hits.append(coverage(*tensors(recalibration.apply(x[-1:]), y[-1:])).item())
    error = np.std(hits) / 20
    assert np.mean(hits) > 0.9 - 2 * error - 0.005  # of the kink at the interpolated quantile
    if windows == 9:  # with rank ceil(10 * .9) = 9 of 9, exact for values that move as one
        assert np.mean(hits) < 0.9 + 3 * error


def test_values_of_a_window_that_are_exchangeable_are_covered_as_promised_and_no_more():
    rng, hits = np.random.default_rng(3), []
    for _ in range(200):
        x, y = rng.standard_normal((5, 60, P, D)), 2 * rng.standard_normal((5, P, D))
        recalibration = Recalibration(x[:-1], y[:-1], levels=[80], pooling=np.inf)
        hits.append(coverage(*tensors(recalibration.apply(x[-1:]), y[-1:]), 0.8).item())
    assert np.mean(hits) == pytest.approx(0.8, abs=0.02)


def test_the_ranks_of_the_paths_stay():
    rng = np.random.default_rng(4)
    x, y = gaussian(20, rng, 0.5)
    after = Recalibration(x, y, step_groups=2).apply(x[0])
    assert after.dtype == x.dtype and not np.allclose(after, x[0])
    np.testing.assert_array_equal(after.argsort(0), x[0].argsort(0))


def test_a_calibrated_forecast_is_left_nearly_alone():
    rng = np.random.default_rng(5)
    x, y = gaussian(100, rng)
    after = Recalibration(x, y).apply(x)
    assert crps(*tensors(after, y)).item() == pytest.approx(crps(*tensors(x, y)).item(), rel=0.01)


def test_parts_of_the_horizon_have_factors_of_their_own():
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((40, 200, P, D)), rng.standard_normal((40, P, D))
    y[:, 3:] *= 3
    after = Recalibration(x, y, step_groups=2).apply(x)
    wider = after.std(1).mean((0, 2)) / x.std(1).mean((0, 2))
    assert wider[:3] == pytest.approx(1, abs=0.15) and wider[3:] == pytest.approx(3, abs=0.4)


def test_series_of_their_own_or_pooled():
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((30, 100, P, D)), rng.standard_normal((30, P, D))
    y[..., 0] *= 4
    own = Recalibration(x, y, pooling=0).factors().loc[90]
    mixed = Recalibration(x, y, pooling=30).factors().loc[90]
    pooled = Recalibration(x, y, pooling=np.inf).factors().loc[90]
    assert own[0] > 3 and own[1] < 1.3 and pooled.nunique() == 1
    assert mixed.to_numpy() == pytest.approx(np.sqrt(own * pooled))


def test_missing_observations_are_left_out():
    rng = np.random.default_rng(8)
    x, y = gaussian(20, rng, 0.5)
    holes = y.copy()
    holes[:5, 2:4] = np.nan
    holes[6] = np.nan
    kept = Recalibration(x, holes, step_groups=P)
    there = np.arange(20) > 6
    there[5] = True
    np.testing.assert_allclose(
        kept.ratios[there], Recalibration(x[there], y[there]).ratios, equal_nan=True
    )
    dead = y.copy()
    dead[..., 1] = np.nan
    factors = Recalibration(x, dead, pooling=0).factors()
    assert np.isfinite(factors).all(axis=None)
    pooled = Recalibration(x[..., [0, 2]], y[..., [0, 2]], pooling=np.inf).factors()
    assert factors[1].to_numpy() == pytest.approx(pooled[0].to_numpy())
    dead[3, :, 1] = 50.0  # a single window, and an odd one, against ten of all
    few = Recalibration(x, dead, pooling=10).factors()[1]
    assert (few < 3 * pooled[0]).all() and (few > pooled[0]).all()


def test_bounds_and_whole_numbers_that_all_windows_keep_are_kept():
    rng = np.random.default_rng(9)
    x = np.stack([rng.poisson(3, (20, 50, P)), rng.exponential(size=(20, 50, P))], -1) * 1.0
    y = np.stack([rng.negative_binomial(1, 0.2, (20, P)), rng.exponential(4, (20, P))], -1) * 1.0
    after = Recalibration(x, y).apply(x)
    assert (after >= 0).all() and (after[..., 0] == after[..., 0].round()).all()
    assert (after[..., 1] != after[..., 1].round()).any()
    recalibration = Recalibration(x, y).update(x[0], y[0] - 0.5)
    assert not recalibration.whole.any()
    assert recalibration.positive.tolist() == (y[0] >= 0.5).all(0).tolist()


def test_forecasts_without_width_do_no_harm():
    x, y = np.ones((10, 20, P, D)), np.ones((10, P, D))
    assert (Recalibration(x, y).apply(x) == x).all()
    y[::2] = 2
    assert (Recalibration(x, y).apply(x) == x).all()


def test_too_few_windows_are_an_error_that_says_how_many_are_needed():
    x, y = gaussian(8, np.random.default_rng(0))
    with pytest.raises(DataError, match="90 % needs 9 windows, there are 8"):
        Recalibration(x, y, levels=[50, 90], exchangeable="windows")
    with pytest.warns(UserWarning, match="8 windows, too few for the level 90 and 95 %.*19 are"):
        assert Recalibration(x, y, exchangeable="windows").levels == [20, 50, 80]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Recalibration(x, y).levels == [20, 50, 80, 90, 95]
        assert Recalibration(x, y, levels=90).levels == [90]
    with pytest.raises(DataError, match=r"99\.9 % needs 999 observed values"):
        Recalibration(x, y, levels=[99.9])


def test_wrong_input_is_named():
    tested = backtest()
    recalibration = Recalibration(tested)
    x, y = tested.samples, tested.actuals
    with pytest.raises(DataError, match="recalibrated already"):
        recalibration.apply(recalibration.apply(tested.forecasts[0]))
    with pytest.raises(DataError, match="recalibrated already"):
        Recalibration(recalibration.apply(tested))
    with pytest.raises(DataError, match=r"series \['x', 'b', 'c'\]"):
        recalibration.apply(forecast(x[0], ("x", "b", "c")))
    with pytest.raises(DataError, match="steps × series"):
        recalibration.apply(x[:, :, :4])
    with pytest.raises(DataError, match="actuals: give what was observed"):
        Recalibration(x)
    with pytest.raises(DataError, match="windows × paths"):
        Recalibration(x, y[:, :4])
    with pytest.raises(DataError, match="nothing at all was observed"):
        Recalibration(x, np.full_like(y, np.nan))
    with pytest.raises(DataError, match="give a backtest"):
        Recalibration([])
    with pytest.raises(DataError, match="differ"):
        Recalibration([tested.forecasts[0], forecast(x[1], "xyz")], y[:2])
    for options in ({"pooling": -1}, {"rate": -1}, {"latest": 0}, {"step_groups": 0}):
        with pytest.raises(OptionError):
            Recalibration(tested, **options)
    for options in ({"pooling": "a"}, {"latest": 1.5}, {"step_groups": 7}):
        with pytest.raises(OptionError, match=next(iter(options))):
            Recalibration(tested, **options)
    scenario = tested.forecasts[0].with_samples(x[0], {"given": {"values": 1}})
    with pytest.raises(DataError, match="scenario is not recalibrated"):
        recalibration.apply(scenario)
    for levels in ([], [0], [100], [0.9], "90"):
        for table in (tested.coverage, recalibration.coverage):
            if len(levels):
                with pytest.raises(OptionError, match="levels"):
                    table(levels)
        with pytest.raises(OptionError, match="levels"):
            Recalibration(tested, levels=levels)
    with pytest.raises(OptionError, match="exchangeable"):
        Recalibration(tested, exchangeable="days")
    with pytest.raises(DataError, match="no observation"):
        recalibration.update(tested.forecasts[0], np.full((P, D), np.nan))


def test_coverage_afterwards_is_that_of_windows_left_out():
    tested = backtest(40)
    recalibration = Recalibration(tested)
    table = recalibration.coverage([50, 90])
    plain = tested.coverage([50, 90])
    assert table["series before"].to_numpy() == pytest.approx(plain["series"].to_numpy())
    assert table["sum before"].to_numpy() == pytest.approx(plain["sum"].to_numpy())
    assert table.loc[90, "series before"] < 80
    assert table.loc[90, "series after"] == pytest.approx(90, abs=3)
    others = Recalibration(tested.samples[1:], tested.actuals[1:])
    np.testing.assert_allclose(
        recalibration.held_out()[0], others.apply(tested.samples[0]), rtol=1e-5, atol=1e-6
    )


def test_whatever_was_handed_in_comes_back_in_kind():
    tested = backtest()
    before = tested.samples.copy()
    recalibration = Recalibration(tested)
    one = recalibration.apply(tested.forecasts[0])
    assert isinstance(one, Forecast) and one.index.equals(tested.forecasts[0].index)
    group = recalibration.apply(ForecastGroup({"x": tested.forecasts[0]}))
    np.testing.assert_array_equal(group["x"].samples, one.samples)
    mapped = recalibration.apply(tested)
    np.testing.assert_array_equal(mapped.samples[0], one.samples)
    np.testing.assert_array_equal(recalibration.apply(tested.samples), mapped.samples)
    np.testing.assert_array_equal(tested.samples, before)
    assert mapped.scores().loc["timediff", "coverage90"] > 0.85


@pytest.mark.parametrize("options", [{"latest": 15}, {"rate": 0.3}, {"latest": 15, "rate": 0.3}])
def test_updates_follow_a_law_that_changes(options):
    rng = np.random.default_rng(10)
    x, y = gaussian(30, rng)
    fixed, rolling = Recalibration(x, y), Recalibration(x, y, **options)
    x, y = gaussian(120, rng, 0.4)
    covered = []
    for paths, observed in zip(x, y, strict=True):
        pair = [r.apply(paths[None]) for r in (fixed, rolling)]
        covered.append([coverage(*tensors(p, observed[None])).item() for p in pair])
        rolling.update(paths, observed)
    late = np.mean(covered[40:], axis=0)
    assert late[0] < 0.65 and late[1] == pytest.approx(0.9, abs=0.03)
    assert len(rolling.ratios) == options.get("latest", 150)


def test_an_update_joins_the_windows():
    tested = backtest(12)
    recalibration = Recalibration(tested.forecasts[:-1], tested.actuals[:-1])
    table = pd.DataFrame(tested.actuals[-1], tested.forecasts[-1].index, list("abc"))
    recalibration.update(tested.forecasts[-1], table)
    pd.testing.assert_frame_equal(recalibration.factors(), Recalibration(tested).factors())
    pd.testing.assert_frame_equal(recalibration.coverage(), Recalibration(tested).coverage())
    fewer = recalibration.coverage()
    recalibration.update(tested.samples[0, :50], tested.actuals[0])
    pd.testing.assert_frame_equal(recalibration.coverage(), fewer)  # of the windows that it can


def moved_alike(windows: int, rng: np.random.Generator, series: int = 4, share: float = 0.0):
    """Calibrated forecasts of series of which what happens moves as one: their sum is uncertain."""
    x = rng.standard_normal((windows, 100, P, series))
    common = rng.standard_normal((windows, P, 1))
    y = np.sqrt(0.8) * common + np.sqrt(0.2) * rng.standard_normal((windows, P, series))
    mixed = np.sqrt(share) * rng.standard_normal((windows, 100, P, 1)) + np.sqrt(1 - share) * x
    return mixed, y


def test_totals_hold_and_so_do_the_series_they_are_of():
    rng = np.random.default_rng(11)
    weights = {"all": [0, 1, 2, 3], "spread": {0: 1, 3: -1}}
    recalibration = Recalibration(*moved_alike(200, rng), totals=weights)
    x, y = moved_alike(200, rng)
    after = recalibration.apply(x)
    table = Recalibration(x, y, totals=weights).coverage(90).loc[90]
    for a, share, wrong in (([1, 1, 1, 1], 0.9, 0.7), ([1, 0, 0, -1], 0.9, 0.99)):
        total = [tensors(v @ np.array(a), y @ np.array(a)) for v in (x, after)]
        before, now = (coverage(v[..., None], w[..., None]).item() for v, w in total)
        assert abs(before - share) > 0.06 and (before < share) == (wrong < share)
        assert now == pytest.approx(share, abs=0.03)
    assert coverage(*tensors(after, y)).item() == pytest.approx(0.9, abs=0.03)
    assert crps_sum(*tensors(after, y)) < crps_sum(*tensors(x, y))
    assert list(table.index[2:]) == [
        f"{name} {when}"
        for name in ("sum", "total all", "total spread")
        for when in ("before", "after")
    ]
    assert table["total all after"] == pytest.approx(90, abs=3)
    assert table["total all before"] == pytest.approx(table["sum before"])
    assert table["total spread before"] > 96 and table["total spread after"] < 94


def test_a_total_is_what_recalibrating_its_own_forecasts_makes_of_it():
    """To the last digits, whatever moves the series: only counts are rounded after it."""
    tested = backtest(20)
    group = {"two": ["a", "c"]}
    own = [one.aggregate(group) for one in tested.forecasts]
    expected = Recalibration(own, tested.actuals[..., [0, 2]].sum(-1, keepdims=True))
    recalibration = Recalibration(tested, totals=group)
    found = recalibration.apply(tested.forecasts[3])
    np.testing.assert_allclose(
        found.aggregate(group).samples, expected.apply(own[3]).samples, rtol=1e-4, atol=1e-4
    )
    plain = Recalibration(tested).apply(tested.forecasts[3])
    # the third series moves along with them, and is as wide as it was
    assert found.samples[..., 1].std() == pytest.approx(plain.samples[..., 1].std(), rel=0.05)
    pd.testing.assert_frame_equal(
        recalibration.totals.factors(), expected.factors(), check_names=False
    )
    # of a window that joins, and of one that brings nothing of the total
    recalibration.update(tested.forecasts[0], tested.actuals[0])
    expected.update(own[0], tested.actuals[0][:, [0, 2]].sum(-1, keepdims=True))
    holes = tested.actuals[1].copy()
    holes[:, 0] = np.nan
    recalibration.update(tested.forecasts[1], holes)
    pd.testing.assert_frame_equal(
        recalibration.totals.factors(), expected.factors(), check_names=False
    )


def test_totals_of_counts_of_the_dead_and_of_the_certain():
    rng = np.random.default_rng(12)
    common = rng.gamma(2, 0.5, (20, 1, P, 1))
    x = np.concatenate([rng.poisson(3, (20, 50, P, 2)), np.ones((20, 50, P, 1))], -1) * 1.0
    y = np.concatenate(
        [rng.poisson(3 * common[:, 0] + np.zeros((20, P, 2))), np.ones((20, P, 1))], -1
    )
    after = Recalibration(x, y * 1.0, totals={"all": [0, 1, 2], "sure": [2]}).apply(x)
    assert (after >= 0).all() and (after == after.round()).all() and (after[..., 2] == 1).all()
    assert after.sum(-1).std() > 1.1 * x.sum(-1).std()
    # one of two that follow from each other, and a series that was never seen
    x, y = moved_alike(20, rng)
    twice = {"all": [0, 1], "again": {0: 2, 1: 2}}
    single = Recalibration(x, y, totals={"all": [0, 1]}).apply(x[0])
    np.testing.assert_allclose(
        Recalibration(x, y, totals=twice).apply(x[0]).sum(-1), single.sum(-1), rtol=1e-5, atol=0.3
    )
    y[..., 3] = np.nan
    with pytest.raises(DataError, match=r"total 'all' was observed at no step.*since 3 or another"):
        Recalibration(x, y, totals={"some": [0, 1], "all": [0, 1, 2, 3]})
    x[..., 3] = np.nan
    after = Recalibration(x, y, totals={"some": [0, 1]}).apply(x)
    assert np.isnan(after[..., 3]).all() and np.isfinite(after[..., :3]).all()


def test_wrong_totals_are_named():
    tested = backtest()
    with pytest.raises(OptionError, match="unknown series 'd'"):
        Recalibration(tested, totals={"x": ["a", "d"]})
    with pytest.raises(OptionError, match="totals is empty"):
        Recalibration(tested, totals={})
    with pytest.raises(OptionError, match="totals is a list"):
        Recalibration(tested, totals=["a"])
    with pytest.raises(DataError, match="weight of 'x' is not finite"):
        Recalibration(tested, totals={"x": {"a": np.inf}})


def table_of(length: int = 240) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=length, freq="h")
    return pd.DataFrame(entry(length)["target"].T, index, ["a", "b", "c"])


def test_a_forecaster_keeps_it_and_saves_it(tmp_path):
    forecaster = Forecaster(6, seed=0, **QUICK).fit(table_of())
    with pytest.raises(TimediffError, match="call calibrate"):
        forecaster.predict(calibrated=True)
    plain = forecaster.predict(num_samples=20)
    recalibration = forecaster.calibrate(windows=6, pooling=np.inf, totals={"ab": ["a", "b"]})
    assert len(recalibration.ratios) == 6
    mapped = forecaster.predict(num_samples=20)
    np.testing.assert_array_equal(mapped.samples, recalibration.apply(plain).samples)
    assert not np.array_equal(mapped.samples, plain.samples)
    again = forecaster.predict(num_samples=20, calibrated=False)
    np.testing.assert_array_equal(again.samples, plain.samples)

    forecaster.save(tmp_path / "model")
    assert "before and after recalibration" in (tmp_path / "model" / "README.md").read_text()
    loaded = Forecaster.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.predict(num_samples=20).samples, mapped.samples)
    pd.testing.assert_frame_equal(
        loaded.recalibration.coverage(), recalibration.coverage(), check_dtype=False
    )
    pd.testing.assert_frame_equal(
        loaded.recalibration.totals.coverage(), recalibration.totals.coverage(), check_dtype=False
    )
    with pytest.raises(DataError, match="not saved"):
        loaded.recalibration.held_out()
    observed = np.full((6, 3), 5.0)
    for one in (loaded.recalibration, recalibration):
        one.update(plain, observed)
    for one, other in (
        (loaded.recalibration, recalibration),
        (loaded.recalibration.totals, recalibration.totals),
    ):
        pd.testing.assert_frame_equal(one.factors(), other.factors())
    assert forecaster.fit(table_of()).recalibration is None


def test_a_backtest_of_other_series_is_refused():
    forecaster = Forecaster(6, seed=0, **QUICK).fit(table_of()[["c", "b", "a"]])
    with pytest.raises(DataError, match="the backtest has the series"):
        forecaster.calibrate(backtest())


def test_bounds_of_single_series():
    x = np.random.default_rng(0).standard_normal((50, P, D)).astype(np.float32)
    one = forecast(x).constrain(lower={"a": 0}, upper={"b": 0.5, "a": 1.5}, integer=["c", "a"])
    a, b, c = one.samples.transpose(2, 0, 1)
    assert set(np.unique(a)) == {0, 1} and b.max() == 0.5 and b.min() < -1
    assert (c == c.round()).all() and c.min() < 0 and one.samples.dtype == np.float32
    group = ForecastGroup({"x": forecast(x)}).constrain(lower=0)
    assert group["x"].samples.min() == 0
    with pytest.raises(OptionError, match="unknown series"):
        forecast(x).constrain(lower={"z": 0})
    with pytest.raises(OptionError, match="'b'"):
        forecast(x).constrain(lower={"b": 0.2}, upper=0.8, integer=True)
