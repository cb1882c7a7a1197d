"""Entries as users give them: what cannot be meant is said, what is missing is missing."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from tests.conftest import QUICK, entry, quick_estimator, series
from timediff import DataError, DataWarning, Forecaster, Given, SavedModelError
from timediff.entries import absurd, read_dataset, read_entry
from timediff.plot import fan_chart

START = pd.Period("2024-01-01", "h")


def named(*columns: str) -> dict:
    return entry(dim=len(columns), item_id=columns[0], info={"columns": list(columns)})


def test_what_is_no_entry_is_told_how_to_become_one(unchecked, predictor):
    table = pd.DataFrame(series(100).T)
    for given in (table, [series(100)], ["a"]):
        with pytest.raises(DataError, match=r"entry number 0 is a .*timediff\.from_wide"):
            quick_estimator().train(given)
    with pytest.raises(DataError, match=r"entry number 0 is a str.*put a single one in a list"):
        list(predictor.predict(entry()))
    with pytest.raises(DataError, match=r"feat_static_cat of .* has shape \(\)"):
        read_entry({**entry(), "feat_static_cat": 0}, 0, "h")


def test_series_go_by_position_so_their_names_must_too():
    x, y = named("x", "y"), named("y", "x")
    message = r"column 0 of 'y' is 'y', but {} 'x' there: give the .* order \['x', 'y'\]"
    with pytest.raises(DataError, match=message.format("the first entry has")):
        read_dataset([x, entry(dim=2), y], "h")
    estimator = quick_estimator()
    with pytest.raises(DataError, match=message.format("the training data have")):
        estimator.train([x], validation_data=[y])
    trained = estimator.train([entry(dim=2), x])
    assert trained.columns == ["x", "y"]
    with pytest.raises(DataError, match=message.format("the predictor has")):
        estimator.train_from(trained, [y])


def test_what_is_masked_or_marked_is_missing():
    values = series(50).astype(float)
    hidden = np.ma.masked_greater(values, 1.0)
    panel = read_entry({"start": START, "target": hidden}, 0, "h")
    np.testing.assert_array_equal(np.isnan(panel.values.T), hidden.mask)
    counts = np.ma.masked_equal(np.arange(50), 3)
    assert np.isnan(read_entry({"start": START, "target": counts}, 0, "h").values).sum() == 1
    marks = np.ones_like(values)
    marks[0, :2] = 0, np.nan
    read = read_entry({"start": START, "target": values, "observed_values": marks}, 0, "h")
    assert np.isnan(read.values).sum() == 2


def test_codes_of_categories_are_whole_numbers_of_any_size():
    codes = [2**24, 2**24 + 1, 20240001]
    read = read_entry({**entry(), "feat_static_cat": np.array([codes]).T.repeat(3, 1)}, 0, "h")
    assert sorted(read.features.category.ravel().tolist()) == sorted(3 * codes)


def test_values_whose_squares_are_beyond_single_precision_are_forecast():
    index = pd.date_range("2024-01-01", periods=240, freq="h")
    means = []
    for scale in (1.0, 1e22, 1e30):
        table = pd.DataFrame(series(240).T * scale, index, list("abc"))
        forecaster = Forecaster(6, seed=0, **QUICK).fit(table)
        means.append(forecaster.predict(num_samples=50).mean() / scale)
    for mean in means[1:]:
        np.testing.assert_allclose(mean, means[0], rtol=0.02)


def test_a_scenario_too_many_is_an_error(predictor):
    (wide,) = predictor.predict([entry()], num_samples=2)
    given = Given(np.full(wide.samples.shape[1:], np.nan))
    forecasts = predictor.predict([entry()], num_samples=2, given=[given, None])
    with pytest.raises(DataError, match="given has 2 elements, the dataset 1"):
        list(forecasts)
    assert len(list(predictor.predict([entry()] * 2, num_samples=2, given=[given, None]))) == 2


def test_a_predictor_keeps_its_batch_size(predictor):
    small = predictor.on(batch_size=3)
    for other in (
        small.with_sampler("ddim", 3),
        small.compiled(),
        copy.deepcopy(small),
        pickle.loads(pickle.dumps(small)),
    ):
        assert other.batch_size == 3
    assert predictor.batch_size != 3


def test_no_folder_to_save_in_is_said(predictor, tmp_path):
    with pytest.raises(SavedModelError, match=r"there is no folder .*nope: make it first"):
        predictor.serialize(tmp_path / "nope")


def test_one_series_of_a_forecast_and_what_a_function_makes_of_all(predictor):
    (joint,) = predictor.predict([{**entry(), "info": {"columns": list("abc")}}], num_samples=4)
    one, total = joint.copy_dim(1), joint.copy_aggregate(np.sum)
    np.testing.assert_array_equal(one.samples, joint.samples[:, :, 1])
    np.testing.assert_allclose(total.samples, joint.samples.sum(2), rtol=1e-6)
    assert one.info["columns"] == ["b"] and one.mean_ts.index.equals(joint.mean_ts.index)
    assert "columns" not in (total.info or {})
    assert len(fan_chart(one).axes) == 1


def test_a_forecaster_around_a_predictor_trains_as_it_was_trained():
    trained = quick_estimator(preset="paper").train([entry()])
    index = pd.date_range("2024-01-01", periods=240, freq="h")
    forecaster = Forecaster.from_predictor(trained, pd.DataFrame(series(240).T, index), seed=0)
    assert forecaster.recipe.options["prior"] is False
    more = pd.DataFrame(series(10).T, pd.date_range("2024-01-11", periods=10, freq="h"))
    again = forecaster.update(more, train=True)
    assert again.predictor.network.options == trained.network.options


def test_a_backtest_of_another_horizon_is_refused():
    index = pd.date_range("2024-01-01", periods=240, freq="h")
    table = pd.DataFrame(series(240).T, index, list("abc"))
    short = Forecaster(3, seed=0, **QUICK).fit(table)
    tested = short.backtest(windows=3, num_samples=10, baselines=False)
    with pytest.raises(DataError, match="windows of 3 steps, the forecaster 6"):
        Forecaster(6, seed=0, **QUICK).fit(table).calibrate(tested)
    forecast = short.predict(num_samples=5)
    with pytest.raises(DataError, match="no series 'all', which the forecast has: add it"):
        forecast.aggregate({"all": ["a", "b"]}).score(table)


@pytest.mark.parametrize("value", [1e12, -1e6])
def test_a_value_where_no_other_lies_is_warned_of(value):
    data = entry()
    data["target"][1, 7] = value
    message = (
        rf"series number 1 .* is {value:g}".replace("+", r"\+") + " at 2024-01-01 07:00, more "
    )
    with pytest.warns(DataWarning, match=message):
        quick_estimator().train([data])


def test_tails_peaks_and_jumps_are_no_absurd_values():
    rng = np.random.default_rng(0)
    heavy = rng.standard_t(2, 20_000)
    counts = np.where(rng.random(20_000) < 0.95, 0.0, rng.poisson(9.0, 20_000))
    growth = np.exp(np.linspace(0.0, 20.0, 20_000))
    values = np.stack([heavy, counts, growth, np.full(20_000, np.nan)], axis=1)
    assert absurd(values) is None
    assert absurd(values[:0]) is None
    values[19_999, 0] = 1e6
    assert absurd(values) == (19_999, 0)
