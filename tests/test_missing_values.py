"""Late and ended series, single gaps and blocks go through the front door."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import missing
from tests.conftest import QUICK, series
from timediff import DataError, Forecaster, Recalibration

P, LENGTH = 6, 240
COLUMNS = ["whole", "late", "ended", "gaps", "blocks"]


def table() -> pd.DataFrame:
    """Five series, four of which lack something."""
    index = pd.date_range("2024-01-01", periods=LENGTH, freq="h")
    frame = pd.DataFrame(series(LENGTH, len(COLUMNS)).T, index, COLUMNS)
    frame.loc[index[: LENGTH // 2], "late"] = np.nan
    frame.loc[index[-60:], "ended"] = np.nan
    frame.loc[np.random.default_rng(0).random(LENGTH) < 0.3, "gaps"] = np.nan
    for start in (20, 90, 150):
        frame.loc[index[start : start + 30], "blocks"] = np.nan
    return frame


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return Forecaster(P, seed=0, **QUICK).fit(table())


def test_a_forecast_is_finite_and_knows_the_level_of_what_was_seen(forecaster):
    forecast = forecaster.predict(num_samples=30)
    assert forecast.columns == COLUMNS and np.isfinite(forecast.samples).all()
    for column in COLUMNS:
        seen = table()[column].dropna()
        drawn = forecast[column].samples
        assert abs(np.median(drawn) - seen.mean()) < 4 * seen.std()
        assert 0.1 < drawn.std() / seen.std() < 10


def test_a_new_history_may_miss_other_values(forecaster):
    other = table()
    other.iloc[-20:, 0] = np.nan
    other.iloc[100:140] = np.nan  # all of them at once
    before = other.copy()
    forecast = forecaster.predict(other.drop(other.index[100:140]), num_samples=10)
    assert np.isfinite(forecast.samples).all()
    same = forecaster.predict(other, num_samples=10)
    np.testing.assert_array_equal(forecast.samples, same.samples)
    pd.testing.assert_frame_equal(other, before)


def test_a_backtest_scores_what_was_observed_and_can_be_recalibrated(forecaster):
    backtest = forecaster.backtest(windows=3, num_samples=20)
    assert np.isnan(backtest.actuals[:, :, 2]).all()
    scores = backtest.scores()
    assert scores.index[0] == "timediff" and np.isfinite(scores.to_numpy()).all()
    each = backtest.by_series()
    assert each["crps"].isna().tolist() == [False, False, True, False, False]
    recalibration = Recalibration(backtest)
    assert np.isfinite(recalibration.factors().to_numpy()).all()
    assert np.isfinite(recalibration.coverage().to_numpy()).all()
    assert np.isfinite(recalibration.apply(backtest).samples).all()
    assert backtest.plot_calibration(recalibration).axes


def test_of_a_series_that_was_never_observed_the_forecast_is_nan_and_it_is_named(forecaster):
    with pytest.warns(UserWarning, match=r"'late' .* no observation from 2024-01-01 00:00 .* NaN"):
        forecast = forecaster.predict(table().assign(late=np.nan), num_samples=10)
    assert np.isnan(forecast.samples).all((0, 1)).tolist() == [c == "late" for c in COLUMNS]
    assert np.isnan(forecast.samples).sum() == 10 * P
    with pytest.raises(DataError, match="no observation in any series"):
        forecaster.predict(table() * np.nan)


@pytest.mark.filterwarnings("ignore:.*has no observation")
def test_a_dead_series_disturbs_no_other():
    dead = table().assign(dead=np.nan)[["dead", *COLUMNS]]
    forecaster = Forecaster(P, seed=0, **QUICK).fit({"one": dead, "two": dead.assign(dead=1.0)})
    forecasts = forecaster.predict(num_samples=10)
    assert np.isnan(forecasts["one"]["dead"].samples).all()
    assert np.isfinite(forecasts["one"][COLUMNS].samples).all()
    assert np.isfinite(forecasts["two"].samples).all()
    later = dead.set_axis(dead.index + pd.Timedelta(f"{LENGTH}h")).assign(dead=1.0, ended=5.0)
    scores = forecasts["one"].score(later)  # of a series that has come to life nothing was known
    assert scores == pytest.approx(forecasts["one"][COLUMNS].score(later[COLUMNS]))
    with pytest.raises(DataError, match=r"'dead' of 'one' has no observation: nothing"):
        forecaster.predict(given={"one": forecasts["two"].mean()[["dead"]]})
    backtest = forecaster.backtest(windows=2, num_samples=20)
    assert np.isfinite(backtest.scores().to_numpy()).all() and len(backtest.scores()) > 3
    assert np.isnan(backtest.actuals[:2, :, 0]).all()
    assert np.isfinite(backtest.actuals[2:, :, 0]).all()
    applied = Recalibration(backtest).apply(forecasts["one"])
    assert np.isfinite(applied[COLUMNS].samples).all()
    assert np.isfinite(forecaster.log_likelihood(last=P)["one"]["bound"][-P:]).all()


@pytest.mark.parametrize("level", [1e9, -1e9, 3e12])
def test_small_changes_of_a_large_level_are_forecast(level):
    """In single precision there are no steps below 64 at a level of a thousand million."""
    frame = table().astype(float)
    later = frame[-P:].shift(P, freq="h").fillna(10.0)
    plain = Forecaster(P, seed=0, **QUICK).fit(frame)
    forecaster = Forecaster(P, seed=0, **QUICK).fit(frame + level)
    pd.testing.assert_frame_equal(forecaster.history(), frame + level, check_freq=False)
    forecast, expected = (f.predict(num_samples=20) for f in (forecaster, plain))
    assert forecast.samples.dtype == np.float64
    np.testing.assert_allclose(forecast.samples - level, expected.samples, atol=2e-3)
    # the rest of the score is a share of the level
    assert forecast.score(later + level)["energy_score"] == pytest.approx(
        expected.score(later)["energy_score"], rel=1e-3
    )
    given = expected.mean()[["late"]] + level
    scenario = forecaster.predict(given=given, num_samples=4)
    np.testing.assert_allclose(scenario["late"].samples[0, :, 0], given["late"], atol=2e-3)
    total = {"both": ["late", "gaps"]}
    given = expected.mean()[["late", "gaps"]].sum(axis=1).to_frame("both") + 2 * level
    scenario = forecaster.predict(given=given, totals=total, num_samples=4)
    sums = scenario.aggregate(total).samples[..., 0]
    np.testing.assert_allclose(sums, np.tile(given["both"], (4, 1)), atol=4e-3)
    forecaster.update(later + level)
    assert np.abs(forecaster.history()[-P:] - later - level).max().max() < 1e-3
    backtest = forecaster.backtest(windows=1, num_samples=8)
    assert np.isfinite(backtest.scores().to_numpy()).all() and backtest.actuals.dtype == np.float64


def test_counts_of_a_meter_stay_counts(tmp_path):
    frame = pd.DataFrame({"meter": 300_000_001.0 + 7 * np.arange(LENGTH)}, table().index)
    forecaster = Forecaster(P, seed=0, **QUICK).fit(frame)
    samples = forecaster.predict(num_samples=10).samples
    assert (samples == samples.round()).all() and len(np.unique(samples % 32)) > 4
    loaded = Forecaster.load(forecaster.save(tmp_path / "meter"))
    pd.testing.assert_frame_equal(loaded.history(), frame, check_freq=False)
    np.testing.assert_array_equal(loaded.predict(num_samples=10).samples, samples)


@pytest.mark.parametrize("kind", ["at random", "in blocks"])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_benchmark_takes_out_the_share_that_it_says(kind, share):
    out = missing.removed((20, 10_000), kind, share, 0)
    assert out.mean(1) == pytest.approx(share, abs=0.03)
    runs = np.diff(np.flatnonzero(np.diff(out[0].astype(int))))[::2]
    assert (np.median(runs) < 4) == (kind == "at random")
    np.testing.assert_array_equal(out, missing.removed((20, 10_000), kind, share, 0))


def test_the_benchmark_leaves_the_windows_whole():
    data = missing.load_dataset("traffic")
    thinned = missing.thin(data, "in blocks", 0.3, 0)
    assert np.isnan(thinned.train[0]["target"]).mean() == pytest.approx(0.3, abs=0.02)
    last, first = thinned.test[-1]["target"], thinned.test[0]["target"]
    np.testing.assert_array_equal(last[:, : first.shape[1]], first)  # the same gaps in all
    assert not np.isnan(data.test[0]["target"]).any()
