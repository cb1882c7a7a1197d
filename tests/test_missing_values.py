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


def test_a_series_that_was_never_observed_is_named(forecaster):
    with pytest.raises(DataError, match=r"'late' .* has no observation .* leave it out"):
        forecaster.predict(table().assign(late=np.nan))
    with pytest.raises(DataError, match=r"'dead' .* has no observation .* leave it out"):
        Forecaster(P, seed=0, **QUICK).fit(table().assign(dead=np.nan))


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
