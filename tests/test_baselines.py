"""Baselines: real blocks of history, never a NaN, the same for the same seed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.common import ListDataset
from gluonts.evaluation import MultivariateEvaluator, make_evaluation_predictions
from gluonts.model.predictor import Predictor

from timediff.baselines import PastSeasons, SeasonalNaive
from timediff.errors import DataError, OptionError

START = pd.Period("2024-01-01", freq="h")
BOTH = pytest.mark.parametrize("kind", [SeasonalNaive, PastSeasons])


def entry(series=3, steps=240, seed=0, **fields):
    target = np.random.default_rng(seed).normal(size=(series, steps)).astype(np.float32)
    return {"start": START, "target": target, "item_id": "north", **fields}


def draw(predictor, *entries, **options):
    return [f.samples for f in predictor.predict(list(entries), **options)]


@BOTH
def test_forecast_follows_the_entry(kind):
    info = {"columns": ["a", "b", "c"]}
    (forecast,) = kind(5, 24).predict([entry(info=info)], num_samples=7, seed=0)
    assert forecast.samples.shape == (7, 5, 3)
    assert forecast.samples.dtype == np.float32
    assert forecast.start_date == START + 240
    assert forecast.item_id == "north"
    assert forecast.info == info


@BOTH
def test_a_target_with_one_axis_gives_samples_without_series(kind):
    wide = entry(series=1)
    narrow = {**wide, "target": wide["target"][0]}
    (samples,) = draw(kind(5, 24), narrow, num_samples=7, seed=0)
    assert samples.shape == (7, 5)
    np.testing.assert_array_equal(
        samples, draw(kind(5, 24), wide, num_samples=7, seed=0)[0][..., 0]
    )


@BOTH
@pytest.mark.parametrize("horizon", [1, 5, 24, 30, 50])
def test_a_periodic_series_is_forecast_exactly(kind, horizon):
    pattern = np.random.default_rng(0).normal(size=(3, 24)).astype(np.float32)
    target = np.tile(pattern, 20)
    (samples,) = draw(kind(horizon, 24), {"start": START, "target": target[:, :251]}, seed=0)
    expected = target[:, 251 : 251 + horizon].T
    np.testing.assert_allclose(samples, np.broadcast_to(expected, samples.shape), atol=1e-6)


@pytest.mark.parametrize("horizon, first", [(5, 1), (24, 1), (25, 2)])
def test_past_seasons_draws_every_block_of_history_whole(horizon, first):
    data = entry(steps=600)
    y = data["target"].T
    (samples,) = draw(PastSeasons(horizon, 24, num_seasons=4), data, num_samples=200, seed=0)
    blocks = [y[600 - 24 * k :][:horizon] for k in range(first, first + 4)]
    matches = np.array([[np.array_equal(x, block) for block in blocks] for x in samples])
    assert (matches.sum(1) == 1).all()
    assert (matches.sum(0) > 25).all()


def test_past_seasons_takes_what_history_there_is():
    data = entry(steps=50)
    (samples,) = draw(PastSeasons(24, 24, num_seasons=20), data, num_samples=50, seed=0)
    assert len(np.unique(samples.reshape(50, -1), axis=0)) == 2


@pytest.mark.parametrize("horizon, season", [(24, 168), (24, 24), (30, 24), (5, 1)])
def test_seasonal_naive_adds_whole_paths_of_past_errors(horizon, season):
    data = entry(steps=700)
    y = data["target"].T
    predictor = SeasonalNaive(horizon, season, num_residuals=6)
    (samples,) = draw(predictor, data, num_samples=300, seed=0)
    h = np.arange(horizon)

    def naive(origin):
        return y[origin - season + h % season]

    origins = [700 - horizon - j * min(season, horizon) for j in range(6)]
    paths = [naive(700) + y[o + h] - naive(o) for o in origins]
    matches = np.array([[np.allclose(x, path, atol=1e-5) for path in paths] for x in samples])
    assert (matches.sum(1) == 1).all()
    assert (matches.sum(0) > 25).all()


@BOTH
def test_seed_and_position_fix_the_samples(kind):
    predictor, data = kind(5, 24), entry()
    first, second = draw(predictor, data, data, seed=3)
    np.testing.assert_array_equal(first, draw(predictor, data, seed=3)[0])
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, draw(predictor, data, seed=4)[0])


@BOTH
def test_without_seed_numpys_global_seed_counts(kind):
    predictor, data = kind(5, 24), entry()
    state = np.random.get_state()
    try:
        np.random.seed(0)
        first, second = draw(predictor, data)[0], draw(predictor, data)[0]
        np.random.seed(0)
        again = draw(predictor, data)[0]
    finally:
        np.random.set_state(state)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


@BOTH
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_missing_history_gives_no_nan(kind, share):
    data = entry(series=4, steps=24 * 30)
    gaps = np.random.default_rng(1).random(data["target"].shape) < share
    data["target"][gaps] = np.nan
    before = data["target"].copy()
    (samples,) = draw(kind(24, 24), data, num_samples=50, seed=0)
    assert np.isfinite(samples).all()
    np.testing.assert_array_equal(data["target"], before)


def test_a_gap_touches_its_own_series_only():
    data = entry(steps=480)
    whole = data["target"].T.copy()
    data["target"][1, 480 - 24 * 3 + 2] = np.nan  # in the block of three seasons ago
    (samples,) = draw(PastSeasons(5, 24, num_seasons=4), data, num_samples=200, seed=0)
    blocks = np.stack([whole[480 - 24 * k :][:5] for k in (1, 2, 3, 4)])
    others = (samples[:, None][..., [0, 2]] == blocks[..., [0, 2]]).all((2, 3))
    assert (others.sum(1) == 1).all()
    assert others[:, 2].sum() > 25
    own = (samples[:, None, :, 1] == blocks[..., 1]).all(2)
    assert not own[:, 2].any()
    assert (own.sum(1) == 1).all()
    assert (own == others)[~others[:, 2]].all()


def test_the_last_season_is_completed_from_the_one_before():
    pattern = np.arange(24, dtype=np.float32)
    target = np.tile(pattern, 10)[None].copy()
    target[0, -24:-12] = np.nan
    target[0, -46] = np.nan  # this phase is missing twice
    (samples,) = draw(SeasonalNaive(24, 24), {"start": START, "target": target}, seed=0)
    np.testing.assert_array_equal(samples[0, :, 0], pattern)


@BOTH
def test_too_short_a_history_is_refused(kind):
    with pytest.raises(DataError, match="'north' has 20 steps of history.* needs"):
        draw(kind(24, 24), entry(steps=20))


@BOTH
def test_a_series_without_observation_is_named(kind):
    data = entry(info={"columns": ["a", "b", "c"]})
    data["target"][1] = np.nan
    with pytest.raises(DataError, match="series 'b' of 'north' has no observation"):
        draw(kind(24, 24), data)


@pytest.mark.parametrize(
    "build, name",
    [
        (lambda: SeasonalNaive(0, 24), "prediction_length"),
        (lambda: SeasonalNaive(24, 0), "season"),
        (lambda: SeasonalNaive(24, 24, num_residuals=0), "num_residuals"),
        (lambda: PastSeasons(24, 24, num_seasons=0), "num_seasons"),
        (lambda: PastSeasons(24, 24).predict([], num_samples=0), "num_samples"),
        (lambda: PastSeasons(24, 24).predict([], seed=-1), "seed"),
    ],
)
def test_options_out_of_range_are_named(build, name):
    with pytest.raises(OptionError, match=name):
        build()


@BOTH
def test_entries_that_cannot_be_read_are_refused(kind):
    with pytest.raises(DataError, match="Period"):
        draw(kind(5, 24), {**entry(), "start": "2024-01-01"})
    with pytest.raises(DataError, match="target"):
        draw(kind(5, 24), {"start": START})


@BOTH
def test_a_saved_predictor_is_the_same(kind, tmp_path: Path):
    predictor = kind(5, 24)
    predictor.serialize(tmp_path)
    loaded = Predictor.deserialize(tmp_path)
    assert loaded == predictor
    np.testing.assert_array_equal(
        draw(loaded, entry(), seed=0)[0], draw(predictor, entry(), seed=0)[0]
    )


@BOTH
@pytest.mark.filterwarnings("ignore")
def test_gluonts_evaluates_it_unmodified(kind):
    dataset = ListDataset([entry(), entry(seed=1)], freq="h", one_dim_target=False)
    forecasts, targets = make_evaluation_predictions(dataset, kind(24, 24), num_samples=20)
    evaluator = MultivariateEvaluator(
        quantiles=np.arange(1, 20) / 20, target_agg_funcs={"sum": np.sum}
    )
    metrics, _ = evaluator(targets, forecasts)
    assert 0 < metrics["m_sum_mean_wQuantileLoss"] < 2
