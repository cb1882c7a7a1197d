"""sktime: its own checks, and what they do not look at."""

import numpy as np
import pandas as pd
import pytest

from timediff import DataError, OptionError

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


def promoted(index: pd.Index) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two series that a promotion raises by 4, and the promotions."""
    rng = np.random.default_rng(1)
    X = pd.DataFrame({"promo": (rng.random(len(index)) < 0.4) * 1.0, "noise": 0.0}, index)
    X["noise"] = rng.standard_normal(len(index))
    return table(index) * 0.2 + 4 * X[["promo"]].to_numpy(), X


OPEN = pd.offsets.CustomBusinessDay(holidays=["2024-02-20"])
INDEXES_OF_X = {name: INDEXES[name] for name in ("datetime", "no freq", "period", "range", "int")}
INDEXES_OF_X["calendar"] = pd.date_range("2024-01-01", periods=40, freq=OPEN)


@pytest.mark.parametrize("name", INDEXES_OF_X)
def test_what_is_known_ahead_is_used(name):
    y, X = promoted(INDEXES_OF_X[name])
    forecaster = TimeDiffForecaster(**SMALL).fit(y.iloc[:36], X=X, fh=[1, 2, 3])
    with_X = forecaster.predict(X=X)  # more than the horizon
    pd.testing.assert_frame_equal(with_X, forecaster.predict())  # fit saw it already
    ahead = X.iloc[36:39]
    pd.testing.assert_frame_equal(with_X, forecaster.predict(X=ahead[["noise", "promo"]]))
    on, off = ahead.assign(promo=1.0), ahead.assign(promo=0.0)
    raised = (forecaster.predict(X=on) - forecaster.predict(X=off)).to_numpy()
    assert (raised > 2).all() and (raised < 6).all()
    medians = [forecaster.predict_quantiles(X=x, alpha=[0.5])["a"][0.5] for x in (on, off)]
    assert (medians[0] - medians[1] > 2).all()


@pytest.mark.parametrize("name", INDEXES_OF_X)
def test_what_is_not_known_is_named(name):
    y, X = promoted(INDEXES_OF_X[name])
    forecaster = TimeDiffForecaster(**SMALL).fit(y.iloc[:36], X=X.iloc[:36], fh=[1, 3])
    with pytest.raises(
        DataError, match=rf"value of 'promo' at {X.index[36]}, .* up to {X.index[38]}"
    ):
        forecaster.predict()
    gap = X.iloc[36:39].copy()
    gap.loc[gap.index[1], "noise"] = np.nan
    with pytest.raises(
        DataError, match=f"value of 'noise' at {X.index[37]}, which is to be forecast"
    ):
        forecaster.predict(X=gap)
    with pytest.raises(DataError, match=r"are \['promo'\], .* \['promo', 'noise'\]"):
        forecaster.predict(X=X[["promo"]])
    with pytest.raises((DataError, ValueError)):
        forecaster.clone().fit(y, X=X.iloc[1:], fh=[1])
    without = TimeDiffForecaster(**SMALL).fit(y.iloc[:36], fh=[1, 3])
    with pytest.raises(DataError, match="but the model was trained with 0"):
        without.predict(X=X)


def test_the_last_row_goes_on_where_the_model_reaches_further():
    y, X = promoted(INDEXES["range"])
    forecaster = TimeDiffForecaster(**SMALL, horizon=4).fit(y.iloc[:36], X=X.iloc[:36], fh=[1, 2])
    ahead = X.iloc[36:38]
    longer = pd.concat([ahead, ahead.iloc[[1, 1]].set_axis(pd.RangeIndex(41, 43), axis=0)])
    pd.testing.assert_frame_equal(forecaster.predict(X=ahead), forecaster.predict(X=longer))


@pytest.mark.parametrize("update_params", [False, True])
def test_an_update_takes_what_is_known(update_params):
    y, X = promoted(INDEXES["datetime"])
    forecaster = TimeDiffForecaster(**SMALL).fit(y.iloc[:34], X=X.iloc[:34], fh=[1, 2])
    forecaster.update(y.iloc[34:36], X=X.iloc[34:], update_params=update_params)
    known = forecaster.forecaster_.kept.entries["frame"]["feat_dynamic_real"]
    np.testing.assert_array_equal(known, X.to_numpy().T)
    assert list(forecaster.predict().index) == list(y.index[36:38])  # known since the update
    forecaster.update(y.iloc[36:37], update_params=False)
    assert forecaster.predict().index[0] == y.index[37]
