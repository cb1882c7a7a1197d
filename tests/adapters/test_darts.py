"""Darts: joint samples keep their places, stamps and names; a model that forecasts as ours does."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import timediff
from tests.conftest import QUICK
from timediff import DataError, Forecast, Forecaster, OptionError, SavedModelError
from timediff.reading import read

pytest.importorskip("darts")

from darts import TimeSeries, metrics
from darts.models.forecasting.forecasting_model import ForecastingModel

from timediff.adapters.darts import TimeDiffModel, from_darts, to_darts

LEAST = {"num_batches_per_epoch": 1, "validation_windows": 0}
OPEN = pd.offsets.CustomBusinessDay(holidays=["2024-01-15"])
HOURS = pd.offsets.CustomBusinessHour(start="08:00", end="20:00", holidays=["2024-01-15"])
FREQS = ["ME", "W-SUN", "B", "15min", "2D", "QS-OCT", "bh", OPEN, HOURS]


def tiny(**options) -> TimeDiffModel:
    return TimeDiffModel(6, seed=0, **{**QUICK, **options})


@pytest.fixture(scope="module")
def series(table) -> TimeSeries:
    return TimeSeries.from_dataframe(table)


@pytest.fixture(scope="module")
def model(series) -> TimeDiffModel:
    """Fitted to the table, six hours ahead. Not to be changed."""
    return tiny().fit(series)


def beside(name: str, length: int = 246, seed: int = 1) -> TimeSeries:
    """A covariate over the table and its horizon: ones and zeros."""
    index = pd.date_range("2024-01-01", periods=length, freq="h")
    values = (np.random.default_rng(seed).random(length) < 0.4) * 1.0
    return TimeSeries.from_dataframe(pd.DataFrame({name: values}, index))


@pytest.fixture(scope="module")
def promoted(table) -> tuple[TimeSeries, TimeSeries, TimeSeries]:
    """Series that a promotion raises by 4, what is known of the past, and the promotion."""
    future = beside("promo")
    raised = TimeSeries.from_dataframe(table + 4 * future.values()[:240])
    return raised, beside("wind", seed=2), future


@pytest.fixture(scope="module")
def covered(promoted) -> TimeDiffModel:
    return tiny(**LEAST).fit(*promoted)


def forecast_of(index: pd.Index, steps: int = 3) -> Forecast:
    """What follows a table with this index: five paths of two series."""
    table = pd.DataFrame(np.zeros((len(index), 2)), index, ["a", "b"])
    (entry,) = read(table).entries.values()
    samples = np.random.default_rng(0).random((5, steps, 2))
    start = entry["start"] + entry["target"].shape[1]
    return Forecast(samples, start, ["a", "b"], info=entry["info"])


# -- conversions ---------------------------------------------------------------------------------


def test_a_forecast_is_a_stochastic_series(forecaster):
    forecast = forecaster.predict(num_samples=7)
    series = to_darts(forecast)
    assert (series.n_timesteps, series.n_components, series.n_samples) == (6, 3, 7)
    assert list(series.components) == ["a", "b", "c"]
    np.testing.assert_array_equal(series.all_values()[2, 1], forecast.samples[:, 2, 1])
    pd.testing.assert_index_equal(series.time_index, forecast.index, check_names=False)
    total = series.sum(axis=1).all_values()[:, 0]  # Darts' own joint sum
    np.testing.assert_allclose(total, forecast.samples.sum(2).T, rtol=1e-6)


def test_a_series_forecasts_like_its_table(forecaster, table, series):
    pd.testing.assert_frame_equal(from_darts(series), table, check_names=False)
    assert series.dtype == np.float32 and np.isnan(series.values()).sum() == 4
    ours, theirs = (forecaster.predict(data, num_samples=2) for data in (table, from_darts(series)))
    np.testing.assert_array_equal(ours.samples, theirs.samples)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("freq", FREQS, ids=str)
def test_every_frequency_goes_there_and_back(freq, steps):
    index = pd.date_range("2024-01-01 12:00", periods=40 + steps, freq=freq)
    series = to_darts(forecast_of(index[:40], steps))
    assert series.freq == index.freq
    pd.testing.assert_index_equal(series.time_index, index[40:], check_names=False)
    one = from_darts(series.quantile(0.5))
    assert one.index.freq == index.freq and len(one) == steps


@pytest.mark.parametrize(
    ("freq", "wanted"),
    [("M", "MS"), ("W-SUN", "W-MON"), ("B", "B"), ("Q-DEC", "QS-OCT"), ("2h", "2h")],
)
def test_periods_are_stamped_with_their_begins(freq, wanted):
    periods = pd.period_range("2024-01-01", periods=30, freq=freq)
    series = to_darts(forecast_of(periods, 1))
    assert series.freq == pd.tseries.frequencies.to_offset(wanted)
    assert series.start_time() == (periods[-1] + periods.freq).start_time


def test_stamps_with_a_zone_become_those_of_utc(table):
    zoned = table.tz_localize("UTC").tz_convert("Europe/Berlin")
    forecast = Forecaster(1, seed=0, **QUICK).fit(zoned).predict(num_samples=2)
    series = to_darts(forecast)
    assert len(series) == 1 and series.start_time() == pd.Timestamp("2024-01-11 00:00")


def test_days_keep_the_local_clock():
    index = pd.date_range("2024-03-10", periods=20, freq="D", tz="Europe/Berlin")
    series = to_darts(forecast_of(index, 4))  # the clocks change on the 31st of March
    assert list(series.time_index.strftime("%d %H")) == ["30 00", "31 00", "01 00", "02 00"]


def test_what_is_no_history_is_an_error(forecaster):
    with pytest.raises(DataError, match="7 samples"):
        from_darts(to_darts(forecaster.predict(num_samples=7)))
    with pytest.raises(DataError, match="whole numbers"):
        from_darts(TimeSeries.from_values(np.zeros((5, 1))))


# -- the model -----------------------------------------------------------------------------------


def test_it_forecasts_what_the_forecaster_does(model, forecaster, series):
    wanted = forecaster.predict(num_samples=5)
    got = model.predict(6, num_samples=5)
    assert got == to_darts(wanted)
    np.testing.assert_array_equal(got.all_values(), wanted.samples.transpose(1, 2, 0))
    assert model.predict(4, num_samples=5) == got[:4]
    assert model.predict(6, series, num_samples=5) == got
    other = model.predict(6, num_samples=5, random_state=3)
    np.testing.assert_array_equal(
        other.all_values(), forecaster.predict(num_samples=5, seed=3).samples.transpose(1, 2, 0)
    )
    assert not np.array_equal(other.all_values(), got.all_values())


def test_another_history_is_forecast_without_fitting(model, forecaster, table, series):
    wanted = forecaster.predict(table[:-30], num_samples=3).samples.transpose(1, 2, 0)
    got = model.predict(6, series[:-30], num_samples=3)
    np.testing.assert_array_equal(got.all_values(), wanted)
    assert got.start_time() == table.index[-30]
    turned = model.predict(6, series[:-30][["c", "a", "b"]], num_samples=3)
    assert turned == got[["c", "a", "b"]]
    named = series[:-30].with_columns_renamed(["a", "b", "c"], ["x", "y", "z"])
    renamed = model.predict(6, named, num_samples=3)
    assert list(renamed.components) == ["x", "y", "z"]
    np.testing.assert_array_equal(renamed.all_values(), wanted)
    assert model.predict(2, series[:1]).start_time() == table.index[1]


def test_samples_are_joint_paths(model, forecaster):
    paths, ours = model.predict(6, num_samples=9), forecaster.predict(num_samples=9)
    total = ours.aggregate({"all": ["a", "b", "c"]}).samples[:, :, 0]
    np.testing.assert_allclose(paths.sum(axis=1).all_values()[:, 0], total.T, rtol=1e-6)
    peak = ours.samples.max((1, 2))  # of a path over all series and times
    np.testing.assert_array_equal(paths.max(axis=1).max(axis=0).all_values()[0, 0], peak)


@pytest.mark.parametrize("freq", ["ME", "B", OPEN], ids=str)
def test_forecasts_go_on_by_the_frequency_of_the_series(freq):
    index = pd.date_range("2024-01-01", periods=44, freq=freq)
    values = np.random.default_rng(0).random((40, 2))  # float64
    series = TimeSeries.from_times_and_values(index[:40], values, columns=["a", "b"])
    model = tiny(**LEAST).fit(series)
    forecast = model.predict(4, num_samples=2)
    pd.testing.assert_index_equal(forecast.time_index, index[40:], check_names=False)
    assert forecast.dtype == np.float64
    assert model.predict(1, series[:4]).start_time() == index[4]  # too few to tell a frequency


def test_several_series_are_groups(series, table):
    other = series.with_columns_renamed(["a", "b", "c"], ["x", "y", "z"]) + 1
    model = tiny(**LEAST).fit([series, other])
    first, second = model.predict(3, [series[:-10], other], num_samples=4)
    wanted = Forecaster(6, seed=0, **QUICK | LEAST).fit({0: table, 1: table + 1})
    wanted = wanted.predict({0: table[:-10], 1: table + 1}, num_samples=4)
    np.testing.assert_array_equal(first.all_values().transpose(2, 0, 1), wanted[0].samples[:, :3])
    np.testing.assert_allclose(
        second.all_values().transpose(2, 0, 1), wanted[1].samples[:, :3], rtol=1e-5
    )
    assert list(second.components) == ["x", "y", "z"]
    with pytest.raises(DataError, match="give series="):
        model.predict(3)


def test_covariates_are_known_and_past_features(covered, promoted):
    series, past, future = promoted
    wanted = Forecaster(6, seed=0, **QUICK | LEAST).fit(
        from_darts(series), past=from_darts(past), known=from_darts(future)
    )
    got = covered.predict(6, num_samples=4)
    np.testing.assert_array_equal(
        got.all_values(), wanted.predict(num_samples=4).samples.transpose(1, 2, 0)
    )
    on, off = (future[:-6].append_values(np.full((6, 1), value)) for value in (1.0, 0.0))
    raised = covered.predict(6, series, past, on) - covered.predict(6, series, past, off)
    assert (raised.values() > 2).all() and (raised.values() < 6).all()
    assert covered.predict(6, [series], num_samples=4) == [got]  # those of the training


def test_past_covariates_are_not_seen_ahead(promoted):
    series, past, _ = promoted
    sizes = {"denoiser_options": {"layers": 2, "channels": 2}}  # its RNN reads the latest value
    model = tiny(preset="paper", **sizes).fit(series, past)
    forecast = model.predict(6, series[:-20], past, num_samples=2)
    ahead = past[:-26].append_values(past.values()[-26:] + 5)
    assert model.predict(6, series[:-20], ahead, num_samples=2) == forecast
    seen = past[:-27].append_values(past.values()[-27:] + 5)
    assert model.predict(6, series[:-20], seen, num_samples=2) != forecast


def test_static_covariates_are_read(series):
    both = pd.DataFrame({"size": [1.0, 2.0, 3.0], "kind": ["u", "v", "u"]}, index=list("abc"))
    model = tiny(**LEAST).fit(series.with_static_covariates(both))
    (entry,) = model.forecaster.kept.entries.values()
    np.testing.assert_array_equal(entry["feat_static_real"], [[1, 2, 3]])
    np.testing.assert_array_equal(entry["feat_static_cat"], [[0, 1, 0]])
    assert list(model.predict(2).static_covariates["kind"]) == ["u", "v", "u"]
    with pytest.raises(ValueError, match="trained with static covariates"):
        model.predict(2, series)
    of_all = series.with_static_covariates(pd.DataFrame({"size": [7.0]}))
    static = model._tables(model.forecaster, of_all, None, None)["static"]
    assert static["size"].to_dict() == {"a": 7, "b": 7, "c": 7}
    without = tiny(use_static_covariates=False)
    assert "static" not in without._tables(model.forecaster, of_all, None, None)


def test_encoders_make_covariates_of_the_times(series):
    from darts.dataprocessing.transformers import Scaler

    encoders = {
        "cyclic": {"future": ["hour"], "past": ["dayofweek"]},
        "position": {"future": ["relative"]},
        "transformer": Scaler(),
    }
    model = tiny(add_encoders=encoders, **LEAST).fit(series, future_covariates=beside("promo"))
    (entry,) = model.forecaster.kept.entries.values()
    assert len(entry["feat_dynamic_real"]) == 4 and entry["feat_dynamic_real"].shape[1] == 246
    assert not np.isnan(entry["past_feat_dynamic_real"]).any()
    forecast = model.predict(6, num_samples=3)
    assert model.predict(6, series, num_samples=3) == forecast
    assert model.predict(2, series[:1], future_covariates=beside("promo")).n_timesteps == 2
    few = model.historical_forecasts(
        series, future_covariates=beside("promo"), start=0.9, stride=12, retrain=False
    )
    assert list(few.time_index) == list(series.time_index[[-25, -13, -1]])


def test_historical_forecasts_are_those_of_each_history(model, series):
    windows = model.historical_forecasts(
        series,
        start=-24,
        start_format="position",
        forecast_horizon=6,
        stride=9,
        num_samples=3,
        retrain=False,
        last_points_only=False,
    )
    assert [w.start_time() for w in windows] == list(series.time_index[[-24, -15, -6]])
    assert windows[1] == model.predict(6, series[:-15], num_samples=3)
    first = model.historical_forecasts(series, stride=50, retrain=False).start_time()
    assert first == series.time_index[1]  # one step of the past is enough


def test_it_is_trained_anew_for_each_window(series):
    forecasts = tiny(**LEAST).historical_forecasts(series[:8], num_samples=2, retrain=True)
    assert list(forecasts.time_index) == [series.time_index[7]]  # seven steps train six
    wanted = tiny(**LEAST).fit(series[:7]).predict(1, num_samples=2)
    np.testing.assert_array_equal(forecasts.all_values(), wanted.all_values())


def test_backtest_and_residuals_take_the_metrics_of_darts(model, series):
    filled = series[-60:]
    options = {"start": 0.5, "forecast_horizon": 6, "stride": 12, "num_samples": 20}
    windows = model.historical_forecasts(filled, **options, retrain=False, last_points_only=False)
    scores = model.backtest(filled, **options, retrain=False, metric=[metrics.mae, metrics.mql])
    absolute = [abs(filled.slice_intersect(w).values() - w.quantile(0.5).values()) for w in windows]
    assert scores[0] == pytest.approx(np.mean(absolute), rel=1e-5)
    residuals = model.residuals(filled, **options, retrain=False, last_points_only=False)
    assert [r.start_time() for r in residuals] == [w.start_time() for w in windows]
    np.testing.assert_allclose(abs(residuals[0].values()), absolute[0], rtol=1e-5, atol=1e-6)


def test_a_saved_model_forecasts_as_before(covered, tmp_path):
    wanted = covered.predict(6, num_samples=3)
    covered.save(tmp_path / "model.pkl")
    loaded = TimeDiffModel.load(tmp_path / "model.pkl")  # safely, since Darts 0.48
    assert isinstance(loaded, TimeDiffModel) and loaded.predict(6, num_samples=3) == wanted
    assert loaded.forecaster.predict(num_samples=3).samples.shape == (3, 6, 3)
    assert copy.deepcopy(covered).predict(6, num_samples=3) == wanted
    assert b"timediff.forecaster" not in (tmp_path / "model.pkl").read_bytes()


def test_a_clean_model_holds_no_history(model, series, tmp_path):
    model.save(tmp_path / "clean.pkl", clean=True)
    loaded = ForecastingModel.load(tmp_path / "clean.pkl")
    assert not loaded.forecaster.kept.entries
    with pytest.raises(DataError, match="give series="):
        loaded.predict(6)
    assert loaded.predict(6, series, num_samples=2) == model.predict(6, num_samples=2)
    assert model.forecaster.kept.entries  # it keeps its own


def test_a_damaged_file_is_refused(model):
    state = model.__getstate__()
    weights = state["forecaster"]["model.safetensors"]
    state["forecaster"]["model.safetensors"] = weights[:-4] + b"abcd"
    with pytest.raises(SavedModelError):
        TimeDiffModel.__new__(TimeDiffModel).__setstate__(state)


def test_a_file_writes_nowhere_else(model, tmp_path):
    state = model.__getstate__()
    outside = tmp_path / "outside.txt"
    state["forecaster"][str(outside)] = b"text"
    other = TimeDiffModel.__new__(TimeDiffModel)
    other.__setstate__(state)
    assert not outside.exists() and other.predict(1) == model.predict(1)


def test_an_untrained_copy_has_the_same_parameters(model, series):
    fresh = model.untrained_model()
    assert dict(fresh.model_params) == dict(model.model_params) and fresh.forecaster is None
    with pytest.raises(ValueError, match="must be fit"):
        fresh.predict(2)
    fresh = pickle.loads(pickle.dumps(fresh))
    assert fresh.fit(series).predict(6, num_samples=2) == model.predict(6, num_samples=2)
    assert "seed=0" in str(fresh) and fresh.output_chunk_length == 6


def test_fitting_again_forgets_the_covariates(covered, series):
    again = copy.deepcopy(covered)
    assert again.uses_past_covariates and again.uses_future_covariates
    again.fit(series)
    assert not again.uses_past_covariates and not again.uses_future_covariates
    assert again.predict(2, num_samples=2) == again.predict(2, series, num_samples=2)


def test_a_failed_fit_leaves_the_model_as_it_was(model, series):
    again = copy.deepcopy(model)
    with pytest.raises(DataError):
        again.fit(series[:3])
    assert again.predict(2, num_samples=2) == model.predict(2, num_samples=2)


def test_mistakes_are_named(model, covered, promoted, series):
    _, past, future = promoted
    with pytest.raises(OptionError, match=r"n is 7, .* 6 steps: .*output_chunk_length=7"):
        model.predict(7)
    with pytest.raises(OptionError, match="n is 0"):
        model.predict(0)
    with pytest.raises(OptionError, match="did you mean 'max_epochs'"):
        tiny(max_epoch=3)
    with pytest.raises(OptionError, match="horizon is 0"):
        TimeDiffModel(0)
    with pytest.raises(DataError, match="no series 'c'"):
        model.predict(2, series[["a", "b"]])
    with pytest.raises(DataError, match="unknown series 'z'"):
        model.predict(2, series.with_columns_renamed("a", "z"))
    with pytest.raises(DataError, match="series 0 has the frequency '2h', not 'h'"):
        model.predict(2, series.resample("2h"))
    with pytest.raises(DataError, match="6 steps: training takes more"):
        tiny().fit(series[:6])
    with pytest.raises(DataError, match="whole numbers"):
        tiny().fit(TimeSeries.from_values(np.zeros((50, 2))))
    for nothing in ([], from_darts(series)):
        with pytest.raises(DataError, match="give a TimeSeries of Darts"):
            tiny().fit(nothing)
    with pytest.raises(DataError, match=r"'promo'.* no value at 2024-01-11 05:00"):
        covered.predict(2, series, past, future[:-1])
    with pytest.raises(DataError, match=r"past has no row at 2024-01-09 08:00:00 for \['wind'\]"):
        covered.predict(2, series, past[:200], future)
    with pytest.raises(DataError, match="no features of group 1"):
        covered.predict(2, [series] * 2, [past], [future] * 2)
    with pytest.raises(DataError, match="trained with 0"):
        model.predict(2, series, future_covariates=future)


def test_nothing_else_imports_darts():
    package = Path(timediff.__file__).parent
    own = package / "adapters" / "darts.py"
    assert own.is_file()
    assert not [p for p in package.rglob("*.py") if p != own and "darts" in p.read_text()]
