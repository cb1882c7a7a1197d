"""sktime: its own checks, and what they do not look at."""

import numpy as np
import pandas as pd
import pytest

from timediff import OptionError

pytest.importorskip("sktime")

from sktime.forecasting.base import ForecastingHorizon
from sktime.utils.estimator_checks import check_estimator

from timediff.adapters.sktime import TimeDiffForecaster

SMALL = TimeDiffForecaster.get_test_params()[0]
SOME = [
    "test_constructor",
    "test_clone",
    "test_set_params_sklearn",
    "test_get_test_params",
    "test_predict_series_name_preserved",
]


def table(index: pd.Index, dim: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.standard_normal((len(index), dim)) + 5, index, list("abcd")[:dim])


INDEXES = {
    "datetime": pd.date_range("2024-01-01", periods=40, freq="D"),
    "no freq": pd.DatetimeIndex(pd.date_range("2024-01-01", periods=40, freq="D").to_numpy()),
    "period": pd.period_range("2020-01", periods=40, freq="M"),
    "range": pd.RangeIndex(3, 43),
    "int": pd.Index(np.arange(-5, 35)),
}


def test_some_checks_of_sktime_pass():
    results = check_estimator(TimeDiffForecaster, tests_to_run=SOME, verbose=False)
    assert len(results) > 5 and set(results.values()) == {"PASSED"}


@pytest.mark.slow
def test_all_checks_of_sktime_pass():
    results = check_estimator(TimeDiffForecaster, raise_exceptions=True, verbose=False)
    assert len(results) > 500 and set(results.values()) == {"PASSED"}


@pytest.mark.parametrize("name", INDEXES)
def test_horizons_relative_and_absolute(name):
    y = table(INDEXES[name])
    y.iloc[10:13, 0] = np.nan
    forecaster = TimeDiffForecaster(**SMALL).fit(y, fh=[1, 3])
    relative = forecaster.predict()
    absolute = ForecastingHorizon([1, 3], is_relative=True).to_absolute(forecaster.cutoff)
    again = TimeDiffForecaster(**SMALL).fit(y, fh=absolute).predict()
    pd.testing.assert_frame_equal(relative, again)
    assert list(relative.columns) == ["a", "b"] and len(relative) == 2
    step = y.index[1] - y.index[0]
    assert list(relative.index) == [y.index[-1] + step, y.index[-1] + 3 * step]


def test_open_days_are_stamped_alone():
    days = pd.offsets.CustomBusinessDay(holidays=["2024-12-25", "2024-12-26"])
    y = table(pd.date_range(end="2024-12-23", periods=40, freq=days))
    forecaster = TimeDiffForecaster(**SMALL).fit(y, fh=[1, 3])
    assert list(forecaster.predict().index.strftime("%m-%d")) == ["12-24", "12-30"]
    new = y.iloc[:1].set_axis(pd.date_range("2024-12-24", periods=1, freq=days))
    forecaster.update(new, update_params=False)
    assert list(forecaster.predict().index.strftime("%m-%d")) == ["12-27", "12-31"]
    bare = y.set_axis(pd.DatetimeIndex(y.index, freq=None))
    absolute = pd.DatetimeIndex(["2024-12-24", "2024-12-30"], freq="4B")
    text = '{"offset": "CustomBusinessDay", "holidays": ["2024-12-25", "2024-12-26"]}'
    other = TimeDiffForecaster(**SMALL, freq=text).fit(bare, fh=absolute)
    with pytest.raises(OptionError, match="give fh in steps"):
        other.predict()


def test_quantiles_intervals_and_moments_are_of_the_same_paths():
    y = table(INDEXES["datetime"])
    forecaster = TimeDiffForecaster(**SMALL).fit(y, fh=[1, 2, 4])
    inner = forecaster.forecaster_.predict(num_samples=SMALL["num_samples"], seed=0)
    paths = inner.samples[:, [0, 1, 3]].astype(float)
    np.testing.assert_allclose(forecaster.predict(), paths.mean(0), rtol=1e-6)
    np.testing.assert_allclose(forecaster.predict_var(), paths.var(0), rtol=1e-6)
    quantiles = forecaster.predict_quantiles(alpha=[0.1, 0.9])
    np.testing.assert_allclose(quantiles["b"][0.9], np.quantile(paths[:, :, 1], 0.9, axis=0))
    interval = forecaster.predict_interval(coverage=0.8)
    np.testing.assert_allclose(interval["b"][0.8]["upper"], quantiles["b"][0.9])
    covariance = forecaster.predict_var(cov=True)
    wanted = np.cov(paths[:, :, 1].T, bias=True)
    np.testing.assert_allclose(covariance["b"], wanted, rtol=1e-5)


def test_the_distribution_holds_joint_samples():
    pytest.importorskip("skpro")
    y = table(INDEXES["period"])
    forecaster = TimeDiffForecaster(**SMALL).fit(y, fh=[1, 2])
    inner = forecaster.forecaster_.predict(num_samples=SMALL["num_samples"], seed=0)
    law = forecaster.predict_proba(marginal=False)
    np.testing.assert_allclose(law.spl.to_numpy().reshape(-1, 2, 2), inner.samples)
    np.testing.assert_allclose(law.mean(), forecaster.predict(), rtol=1e-5)


@pytest.mark.parametrize("name", ["datetime", "range"])
def test_an_update_moves_on_and_trains_only_if_told(name):
    y = table(INDEXES[name])
    forecaster = TimeDiffForecaster(**SMALL).fit(y.iloc[:30], fh=[1, 2])
    before = forecaster.forecaster_.predictor
    forecaster.update(y.iloc[30:31], update_params=False)
    assert forecaster.forecaster_.predictor is before
    step = y.index[1] - y.index[0]
    assert list(forecaster.predict().index) == [y.index[30] + step, y.index[30] + 2 * step]
    whole = forecaster.forecaster_.predict(num_samples=SMALL["num_samples"], seed=0)
    np.testing.assert_allclose(forecaster.predict(), whole.samples.astype(float).mean(0))
    forecaster.update(y.iloc[31:], update_params=True)
    assert forecaster.forecaster_.predictor is not before


def test_a_horizon_that_the_model_does_not_reach_is_an_error():
    y = table(INDEXES["range"])
    fh = ForecastingHorizon([43, 44], is_relative=False)
    forecaster = TimeDiffForecaster(**SMALL).fit(y, fh=fh)
    assert list(forecaster.predict().index) == [43, 44]
    early = forecaster.clone().fit(y.iloc[:-3], fh=ForecastingHorizon([40], is_relative=False))
    with pytest.raises(OptionError, match="give horizon="):
        early._paths(ForecastingHorizon([44], is_relative=False))
