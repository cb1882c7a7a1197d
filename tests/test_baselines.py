"""The simple forecasts: blocks of real history, joint over series and time."""

import numpy as np
import pandas as pd
import pytest
from gluonts.evaluation import make_evaluation_predictions

from tests.conftest import entry
from timediff import DataError, OptionError
from timediff.baselines import PastSeasons, SeasonalNaive

BOTH = [PastSeasons(6, season=24, num_seasons=5), SeasonalNaive(6, season=24)]


@pytest.mark.parametrize("model", BOTH)
def test_forecasts_have_the_shape_and_start_of_their_entry(model):
    data = entry(info={"columns": list("xyz")})
    (forecast,) = model.predict([data], num_samples=7, seed=0)
    assert forecast.samples.shape == (7, 6, 3) and np.isfinite(forecast.samples).all()
    assert forecast.start_date == data["start"] + 240
    assert forecast.item_id == "a" and forecast.info == data["info"]
    one = {**data, "target": data["target"][0], "info": None}
    (forecast,) = model.predict([one], num_samples=7, seed=0)
    assert forecast.samples.shape == (7, 6)


def test_a_path_of_past_seasons_is_a_block_of_history_of_all_series():
    data = entry()
    (forecast,) = BOTH[0].predict([data], num_samples=50, seed=0)
    blocks = [data["target"][:, 240 - 24 * k :][:, :6].T for k in range(1, 6)]
    used = {
        next(k for k, block in enumerate(blocks) if np.array_equal(path, block))
        for path in forecast.samples
    }
    assert used == set(range(5))


@pytest.mark.parametrize("model", BOTH)
def test_a_periodic_series_is_forecast_exactly(model):
    day = np.random.default_rng(0).standard_normal((2, 24)).astype(np.float32)
    data = {"start": pd.Period("2024-01-01", "h"), "target": np.tile(day, 10)}
    (forecast,) = model.predict([data], num_samples=5, seed=0)
    expected = np.broadcast_to(day[:, :6].T, (5, 6, 2))
    np.testing.assert_allclose(forecast.samples, expected, atol=1e-6)


@pytest.mark.parametrize("model", BOTH)
def test_the_seed_and_the_position_decide_the_paths(model):
    data = [entry(), entry()]
    draw = lambda seed: [f.samples for f in model.predict(data, num_samples=9, seed=seed)]  # noqa: E731
    one, two, other = draw(1), draw(1), draw(2)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], other[0]) and not np.array_equal(one[0], one[1])


@pytest.mark.parametrize("model", BOTH)
def test_gaps_in_history_leave_no_nan_in_a_forecast(model):
    data = entry()
    data["target"][0, 100:180] = np.nan
    data["target"][1, -10:] = np.nan
    (forecast,) = model.predict([data], num_samples=20, seed=0)
    assert np.isfinite(forecast.samples).all()


@pytest.mark.parametrize("model", BOTH)
def test_make_evaluation_predictions_takes_them(model):
    forecasts, targets = make_evaluation_predictions([entry()], model, num_samples=4)
    assert next(forecasts).samples.shape == (4, 6, 3) and len(next(targets)) == 240


@pytest.mark.parametrize("model", BOTH)
def test_mistakes_are_named(model):
    with pytest.raises(DataError, match="'a'"):
        next(model.predict([entry(20)], num_samples=4))
    with pytest.raises(OptionError):
        next(model.predict([entry()], num_samples=0))
    with pytest.raises(OptionError, match="season"):
        type(model)(6, season=0)
