"""Simple forecasts: one contract for all, and the law that each says it draws."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.common import ListDataset
from gluonts.evaluation import MultivariateEvaluator, make_evaluation_predictions
from gluonts.model.predictor import Predictor

from timediff._frequency import period_alias
from timediff.baselines import (
    VAR,
    BootstrapReturns,
    IndependentGaussian,
    LastValue,
    PastSeasons,
    RandomWalk,
    SeasonalNaive,
    simple_forecasts,
)
from timediff.errors import DataError, OptionError

START = pd.Period("2024-01-01", freq="h")
BOTH = pytest.mark.parametrize("kind", [SeasonalNaive, PastSeasons])
KINDS = {
    "last value": lambda p, m: LastValue(p),
    "random walk": lambda p, m: RandomWalk(p),
    "drifting walk": lambda p, m: RandomWalk(p, drift=True),
    "bootstrap": lambda p, m: BootstrapReturns(p),
    "seasonal naive": SeasonalNaive,
    "past seasons": PastSeasons,
    "gaussian": IndependentGaussian,
    "gaussian of 5 seasons": lambda p, m: IndependentGaussian(p, m, num_seasons=5),
    "var": VAR,
    "var without season": lambda p, m: VAR(p),
}
ALL = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
RANDOM = pytest.mark.parametrize("kind", list(KINDS.values())[1:], ids=list(KINDS)[1:])
SEASONAL = ("seasonal naive", "past seasons", "gaussian", "var")


def entry(series=3, steps=240, seed=0, **fields):
    target = np.random.default_rng(seed).normal(size=(series, steps)).astype(np.float32)
    return {"start": START, "target": target, "item_id": "north", **fields}


def draw(predictor, *entries, **options):
    return [f.samples for f in predictor.predict(list(entries), **options)]


@ALL
def test_forecast_follows_the_entry(kind):
    info = {"columns": ["a", "b", "c"]}
    (forecast,) = kind(5, 24).predict([entry(info=info)], num_samples=7, seed=0)
    assert forecast.samples.shape == (7, 5, 3)
    assert forecast.samples.dtype == np.float32
    assert forecast.start_date == START + 240
    assert forecast.item_id == "north"
    assert forecast.info == info


@ALL
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


@RANDOM
def test_seed_and_position_fix_the_samples(kind):
    predictor, data = kind(5, 24), entry()
    first, second = draw(predictor, data, data, seed=3)
    np.testing.assert_array_equal(first, draw(predictor, data, seed=3)[0])
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, draw(predictor, data, seed=4)[0])


@RANDOM
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


@ALL
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


@pytest.mark.parametrize("kind", [KINDS[name] for name in SEASONAL], ids=SEASONAL)
def test_too_short_a_history_is_refused(kind):
    with pytest.raises(DataError, match=r"'north' has 20 steps of history.* needs"):
        draw(kind(24, 24), entry(steps=20))


@ALL
def test_the_shortest_history_is_enough_and_one_step_less_is_not(kind):
    predictor = kind(5, 7)
    needed, _ = predictor.history_needed()
    (samples,) = draw(predictor, entry(steps=needed), num_samples=9, seed=0)
    assert np.isfinite(samples).all()
    with pytest.raises(DataError, match=f"'north' has {needed - 1} steps.* needs {needed}"):
        draw(predictor, entry(steps=needed - 1))


@ALL
def test_of_a_series_without_observation_nothing_is_forecast(kind):
    data = entry(info={"columns": ["a", "b", "c"]})
    data["target"][1] = np.nan
    (samples,) = draw(kind(24, 24), data)
    assert np.isnan(samples[..., 1]).all() and np.isfinite(samples[..., [0, 2]]).all()
    data["target"][:] = np.nan
    with pytest.raises(DataError, match="'north' has no observation in any series"):
        draw(kind(24, 24), data)


@ALL
def test_extreme_values_give_no_infinity(kind):
    data = entry(steps=240)
    data["target"] *= np.float32(7e37)  # within 1 % of the largest number of single precision
    (samples,) = draw(kind(24, 24), data, num_samples=50, seed=0)
    assert np.isfinite(samples).all()


@pytest.mark.parametrize(
    "build, name",
    [
        (lambda: SeasonalNaive(0, 24), "prediction_length"),
        (lambda: SeasonalNaive(24, 0), "season"),
        (lambda: SeasonalNaive(24, 24, num_residuals=0), "num_residuals"),
        (lambda: PastSeasons(24, 24, num_seasons=0), "num_seasons"),
        (lambda: LastValue(0), "prediction_length"),
        (lambda: RandomWalk(24, window=1), "window"),
        (lambda: BootstrapReturns(24, window=1), "window"),
        (lambda: IndependentGaussian(24, 0), "season"),
        (lambda: IndependentGaussian(24, 24, num_seasons=1), "num_seasons"),
        (lambda: VAR(24, 0), "season"),
        (lambda: VAR(24, 24, window=47), "window"),
        (lambda: VAR(24, max_order=0), "max_order"),
        (lambda: PastSeasons(24, 24).predict([], num_samples=0), "num_samples"),
        (lambda: PastSeasons(24, 24).predict([], seed=-1), "seed"),
    ],
)
def test_options_out_of_range_are_named(build, name):
    with pytest.raises(OptionError, match=name):
        build()


@ALL
def test_entries_that_cannot_be_read_are_refused(kind):
    with pytest.raises(DataError, match="Period"):
        draw(kind(5, 24), {**entry(), "start": "2024-01-01"})
    with pytest.raises(DataError, match="target"):
        draw(kind(5, 24), {"start": START})


@ALL
def test_a_saved_predictor_is_the_same(kind, tmp_path: Path):
    predictor = kind(5, 24)
    predictor.serialize(tmp_path)
    loaded = Predictor.deserialize(tmp_path)
    assert loaded == predictor
    np.testing.assert_array_equal(
        draw(loaded, entry(), seed=0)[0], draw(predictor, entry(), seed=0)[0]
    )


@ALL
@pytest.mark.filterwarnings("ignore")
def test_gluonts_evaluates_it_unmodified(kind):
    entries = [entry(), entry(seed=1)]
    for data in entries:
        data["target"] += 10  # the loss is divided by the level
    dataset = ListDataset(entries, freq="h", one_dim_target=False)
    forecasts, targets = make_evaluation_predictions(dataset, kind(24, 24), num_samples=20)
    evaluator = MultivariateEvaluator(
        quantiles=np.arange(1, 20) / 20, target_agg_funcs={"sum": np.sum}
    )
    metrics, _ = evaluator(targets, forecasts)
    assert 0 < metrics["m_sum_mean_wQuantileLoss"] < 1


# --- walks ---


def test_last_value_is_the_last_one_observed():
    data = entry(steps=100)
    y = data["target"].copy()
    data["target"][1, -30:] = np.nan
    (samples,) = draw(LastValue(4), data, num_samples=3)
    np.testing.assert_array_equal(samples[2, 3], [y[0, -1], y[1, -31], y[2, -1]])
    assert (samples == samples[0, 0]).all()


def walk(steps=400, seed=0):
    """Correlated walks with a drift, far from 0."""
    rng = np.random.default_rng(seed)
    mixing = np.array([[1.0, 0, 0], [0.9, 0.3, 0], [-2.0, 1, 0.5]])
    changes = rng.normal(size=(steps, 3)) @ mixing.T + [0.5, 0, -1]
    target = (1000 + changes.cumsum(0)).T.astype(np.float32)
    return {"start": START, "target": target}


@pytest.mark.parametrize("drift", [False, True])
def test_random_walk_has_the_covariance_of_the_window_times_the_step(drift):
    data = walk()
    changes = np.diff(data["target"].T.astype(float), axis=0)[-50:]
    predictor = RandomWalk(8, window=50, drift=drift)
    (samples,) = draw(predictor, data, num_samples=20000, seed=0)
    paths = samples - data["target"][:, -1].astype(float)
    covariance = np.cov(changes.T)
    spread = np.sqrt(np.diag(covariance))
    for h in (0, 3, 7):
        ratio = np.cov(paths[:, h].T) / (h + 1) / np.outer(spread, spread)
        np.testing.assert_allclose(ratio, covariance / np.outer(spread, spread), atol=0.05)
        mean = (h + 1) * changes.mean(0) * drift
        np.testing.assert_allclose(
            (paths[:, h].mean(0) - mean) / spread / (h + 1) ** 0.5, 0, atol=0.04
        )
    steps = np.diff(paths, axis=1)
    over_time = np.corrcoef(steps[:, 0, 0], steps[:, 1, 0])[0, 1]
    assert abs(over_time) < 0.04


@pytest.mark.parametrize("options", [{}, {"center": False}, {"log": True}])
def test_bootstrapped_steps_are_whole_rows_of_history(options):
    data = walk()
    y = data["target"].T.astype(float)
    f = np.log if options.get("log") else np.asarray
    changes = np.diff(f(y), axis=0)[-20:]
    if options.get("center", True):
        changes = changes - changes.mean(0)
    (samples,) = draw(BootstrapReturns(6, window=20, **options), data, num_samples=100, seed=0)
    paths = np.concatenate([np.broadcast_to(y[-1], (100, 1, 3)), samples], axis=1)
    steps = np.diff(f(paths), axis=1).reshape(-1, 1, 3)
    tolerance = 1e-6 if options.get("log") else 1e-3
    matches = (np.abs(steps - changes) < tolerance).all(2)
    assert (matches.sum(1) == 1).all()
    assert (matches.sum(0) > 10).all()  # 600 draws of 20 rows


@pytest.mark.parametrize("kind", [RandomWalk, BootstrapReturns])
def test_the_change_over_a_gap_counts_once_at_its_end(kind):
    data = walk(steps=61)
    data["target"][1] = 1000
    data["target"][1, 31:] = 1030  # one jump of 30, after a gap
    data["target"][1, 20:31] = np.nan
    (samples,) = draw(kind(1), data, num_samples=20000, seed=0)
    expected = 30**2 * (1 / 60) * (59 / 60)
    assert samples[:, 0, 1].var() == pytest.approx(expected, rel=0.15)


def test_returns_of_values_that_are_not_positive_are_refused():
    data = {**walk(), "info": {"columns": ["a", "b", "c"]}}
    data["target"][1, -5] = 0
    with pytest.raises(DataError, match="series 'b' has values of 0 or less"):
        draw(BootstrapReturns(5, log=True), data)
    data["target"][1, -5] = 1e-30  # returns of 1e30 and 1e-30
    (samples,) = draw(BootstrapReturns(500, log=True), data, seed=0)
    assert np.isfinite(samples).all()


# --- Gaussian ---


@pytest.mark.parametrize("count", [None, 6])
def test_gaussian_moments_are_those_of_the_phase(count):
    data = entry(steps=24 * 10 + 5)
    data["target"] += 10 * np.arange(3)[:, None].astype(np.float32)
    data["target"][0, -3] = np.nan
    predictor = IndependentGaussian(30, 24, num_seasons=count)
    (samples,) = draw(predictor, data, num_samples=20000, seed=0)
    y = data["target"].T.astype(float)
    for h in (0, 7, 21, 24, 29):
        past = y[245 - 24 * np.arange(1, (count or 10) + 1) + h % 24]
        deviation = np.nanstd(past, axis=0, ddof=1)
        z = (samples[:, h] - np.nanmean(past, axis=0)) / deviation
        np.testing.assert_allclose(z.mean(0), 0, atol=0.04)
        np.testing.assert_allclose(z.std(0), 1, atol=0.03)
        np.testing.assert_allclose((z**4).mean(0), 3, atol=0.35)
    flat = samples.reshape(20000, -1)
    correlation = np.corrcoef(flat.T) - np.eye(90)
    assert np.abs(correlation).max() < 0.05


def test_gaussian_of_a_phase_never_seen_has_the_moments_of_all():
    data = entry(steps=24 * 20)
    data["target"][1, 2::24] = np.nan
    (samples,) = draw(IndependentGaussian(5, 24), data, num_samples=20000, seed=0)
    seen = data["target"][1][~np.isnan(data["target"][1])]
    assert samples[:, 2, 1].mean() == pytest.approx(seen.mean(), abs=0.04)
    assert samples[:, 2, 1].std() == pytest.approx(seen.std(), rel=0.03)


# --- VAR ---

A = np.array([[0.6, 0.3, 0.0], [-0.2, 0.5, 0.1], [0.0, 0.4, 0.7]])
SIGMA = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
MEAN = np.array([50.0, -5.0, 0.0])


def autoregression(steps, profile=0.0, seed=0):
    errors = np.random.default_rng(seed).multivariate_normal(np.zeros(3), SIGMA, steps)
    z = np.zeros((steps, 3))
    for t in range(1, steps):
        z[t] = A @ z[t - 1] + errors[t]
    return {"start": START, "target": (MEAN + z + profile).T.astype(np.float32)}, z[-1]


@pytest.mark.parametrize("season", [1, 12])
def test_var_draws_the_law_of_a_known_autoregression(season):
    period = 20 * np.sin(2 * np.pi * np.arange(24000 + 6) / 12)[:, None] * (season > 1)
    data, last = autoregression(24000, period[:24000])
    (samples,) = draw(VAR(6, season, window=24000, max_order=2), data, num_samples=20000, seed=0)
    covariance = np.zeros((3, 3))
    for h in range(6):
        covariance = A @ covariance @ A.T + SIGMA
        last = A @ last
        spread = np.sqrt(np.diag(covariance))
        error = samples[:, h].mean(0) - (MEAN + last + period[24000 + h])
        np.testing.assert_allclose(error / spread, 0, atol=0.08)
        ratio = (np.cov(samples[:, h].T) - covariance) / np.outer(spread, spread)
        np.testing.assert_allclose(ratio, 0, atol=0.06)
    # and the dependence over time: Cov(x_{h+1}, x_h) = A Cov(x_h)
    last_two = np.cov(np.concatenate([samples[:, 4], samples[:, 5]], axis=1).T)[3:, :3]
    before = np.cov(samples[:, 4].T)
    np.testing.assert_allclose(last_two, A @ before, atol=0.1)


def test_var_of_one_series_finds_its_order():
    rng = np.random.default_rng(0)
    z = np.zeros(5000)
    for t in range(2, 5000):
        z[t] = 0.3 * z[t - 1] - 0.8 * z[t - 2] + rng.normal()
    data = {"start": START, "target": z.astype(np.float32)}
    (samples,) = draw(VAR(2, window=5000), data, num_samples=20000, seed=0)
    first = 0.3 * z[-1] - 0.8 * z[-2]
    second = 0.3 * first - 0.8 * z[-1]
    np.testing.assert_allclose(samples.mean(0), [first, second], atol=0.1)
    np.testing.assert_allclose(samples.var(0), [1, 1.09], rtol=0.06)


def test_var_does_not_explode():
    growing = 1.05 ** np.arange(300)
    noise = np.random.default_rng(0).normal(size=(2, 300)).cumsum(axis=1)
    target = np.stack([growing, -3 * growing + noise[0], noise[1]]).astype(np.float32)
    (samples,) = draw(VAR(500), {"start": START, "target": target}, seed=0)
    low, high = target.min(1), target.max(1)
    assert np.isfinite(samples).all()
    assert (samples >= low - 1.001 * (high - low)).all()
    assert (samples <= high + 1.001 * (high - low)).all()
    assert samples[..., 2].std() > 0


def test_var_of_a_walk_spreads_like_a_walk():
    data = walk(steps=2000)
    (samples,) = draw(VAR(5), data, num_samples=2000, seed=0)
    changes = np.diff(data["target"], axis=1)
    ratio = samples.std(0) / (changes.std(1) * np.sqrt(np.arange(1, 6))[:, None])
    np.testing.assert_allclose(ratio, 1, atol=0.15)
    drift = (samples.mean(0) - data["target"][:, -1]) / changes.std(1)
    assert np.abs(drift).max() < 4


def test_var_of_awkward_series():
    data = entry(series=6, steps=300)
    y = data["target"]
    y[1] = 3.25  # constant
    y[2] = y[0]  # the same series twice
    y[3] = 0
    y[4] = np.tile(np.arange(12, dtype=np.float32), 25)  # only a profile
    y[5] *= 1e-20  # small is not constant
    (samples,) = draw(VAR(12, 12), data, num_samples=500, seed=0)
    assert np.isfinite(samples).all()
    np.testing.assert_array_equal(samples[..., 1], np.float32(3.25))
    np.testing.assert_array_equal(samples[..., 3], 0)
    np.testing.assert_allclose(samples[0, :, 4], np.arange(12), atol=1e-5)
    np.testing.assert_allclose(samples[..., 2], samples[..., 0], atol=1e-3)
    assert samples[..., 0].std() == pytest.approx(1, rel=0.2)
    assert samples[..., 5].std() == pytest.approx(1e-20, rel=0.2)


def test_var_of_more_series_than_observations_is_joint_noise():
    rng = np.random.default_rng(0)
    y = (rng.normal(size=(60, 40, 1)) * 0.3 + rng.normal(size=(1, 40, 1)))[..., 0] + 7
    data = {"start": START, "target": y.astype(np.float32)}
    (samples,) = draw(VAR(4), data, num_samples=4000, seed=0)
    np.testing.assert_allclose(samples.mean((0, 1)), y.mean(1), atol=0.1)
    total = samples[:, 1].sum(1)
    assert total.std() == pytest.approx(y.sum(0).std(ddof=1), rel=0.05)
    assert abs(np.corrcoef(total, samples[:, 2].sum(1))[0, 1]) < 0.06


def test_without_statsmodels_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.tsa.api", None)
    monkeypatch.setitem(sys.modules, "statsmodels.tsa", None)
    monkeypatch.setitem(sys.modules, "statsmodels", None)
    with pytest.raises(OptionError, match=r"timediff\[baselines\]"):
        VAR(24)


def test_statsmodels_is_not_imported_by_the_others():
    code = "import sys, timediff.baselines; sys.exit('statsmodels' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the standard set ---


def test_the_standard_set_of_hourly_data():
    assert list(simple_forecasts("h", 24)) == [
        "last value",
        "random walk",
        "bootstrap of returns",
        "seasonal naive (24)",
        "past seasons (24)",
        "seasonal naive (168)",
        "past seasons (168)",
        "independent Gaussian",
        "VAR",
    ]


@pytest.mark.parametrize("freq", ["Y", "QE", "ME", "W", "D", "B", "h", "30min", "min", "s"])
@pytest.mark.parametrize("history", [11, 60, 200])
def test_the_standard_set_forecasts_what_its_history_allows(freq, history):
    start = pd.Period("2024-01-01", freq=period_alias(freq))
    data = {**entry(series=2, steps=history), "start": start}
    forecasts = simple_forecasts(freq, 5, history)
    for name, predictor in forecasts.items():
        (samples,) = draw(predictor, data, num_samples=3, seed=0)
        assert samples.shape == (3, 5, 2), name
    assert {"last value", "independent Gaussian", "VAR"} <= set(forecasts)
    assert set(forecasts) <= set(simple_forecasts(freq, 5))
