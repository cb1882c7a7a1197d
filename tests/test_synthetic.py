"""Generated series: is the law they are said to have the law they have?"""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.evaluation import make_evaluation_predictions
from gluonts.model.predictor import Predictor
from scipy import stats

from timediff import DataError, OptionError, load_dataset
from timediff._sources import GENERATED
from timediff.baselines import IndependentGaussian, SeasonalNaive
from timediff.scores import crps, crps_sum, energy_score
from timediff.synthetic import (
    LAWS,
    Clayton,
    Gaussian,
    OraclePredictor,
    RegimeSwitching,
    StudentT,
    VectorAutoregression,
    generate,
    optimal_scores,
)
from timediff.synthetic.linear import spectral_radius
from timediff.synthetic.optimum import _mean_norm, gaussian_expected, simulated_expected

NAMES = list(LAWS)
RNG = np.random.default_rng(0)
GAUSSIAN = ["var", "seasonal_var"]


def build(name, num_series=2, seed=0):
    return LAWS.build(name, num_series=num_series, seed=seed)


def windows(data):
    """What the oracle may see, and what it should forecast ``(W, P, D)``."""
    steps = data.prediction_length
    inputs = [{**entry, "target": entry["target"][:, :-steps]} for entry in data.test]
    return inputs, torch.stack([torch.tensor(e["target"][:, -steps:].T) for e in data.test])


def draw(predictor, data, num_samples, seed=0):
    inputs, target = windows(data)
    forecasts = predictor.predict(inputs, num_samples=num_samples, seed=seed)
    return torch.from_numpy(np.stack([f.samples for f in forecasts])), target


# the data sets


@pytest.mark.parametrize("name", NAMES)
def test_a_generated_set_is_like_any_other(name):
    data = load_dataset(f"generated_{name}", download=False)
    (train,) = data.train
    assert (data.name, data.freq, data.windows) == (f"generated_{name}", "h", 28)
    assert train["target"].shape == (8, 5000)
    assert train["target"].dtype == np.float32
    assert [entry["target"].shape[1] for entry in data.test] == [5024 + 24 * i for i in range(28)]
    whole = data.test[-1]["target"]
    for entry in [train, *data.test]:
        np.testing.assert_array_equal(entry["target"], whole[:, : entry["target"].shape[1]])
        assert entry["start"] == pd.Period("2020-01-01", "h")
        assert entry["info"] == {"columns": data.columns}
    assert np.isfinite(whole).all()
    assert data.frame.shape == (5672, 8)
    np.testing.assert_array_equal(generate(name).frame, data.frame)
    assert not np.array_equal(generate(name, seed=1).frame, data.frame)


def test_every_law_has_a_name_in_the_registry():
    assert set(GENERATED.values()) == set(NAMES)


FIRST_AND_LAST = {
    "var": (115.0672, 155.48036),
    "seasonal_var": (73.37564, 114.67131),
    "regime_switching": (86.981224, 149.23257),
    "heavy_tails": (109.06794, 154.44792),
    "copula": (113.71937, 163.83733),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_values_stay_what_they_are(name):
    values = generate(name).test[-1]["target"]
    assert (values[0, 0], values[-1, -1]) == pytest.approx(FIRST_AND_LAST[name], rel=1e-6)


@pytest.mark.parametrize("dim", [1, 4])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NAMES)
def test_drawn_laws_are_stationary(name, seed, dim):
    law = build(name, dim, seed)
    if isinstance(law, RegimeSwitching):
        assert np.linalg.norm(law.coefficients, 2, axis=(1, 2)).max() < 1
    else:
        assert spectral_radius(law.coefficients, dim) < 0.99
    paths = law.simulate(400, np.random.default_rng(0), size=400)
    early, late = (np.median(np.abs(x - np.median(x, 0)), 0) for x in (paths[:, 72], paths[:, 384]))
    assert (np.abs(np.log(early / late)) < np.log(1.5)).all()


# the predictive laws against closed forms


@pytest.mark.parametrize("name", ["var", "seasonal_var", "heavy_tails"])
def test_predictive_mean_and_covariance_of_linear_laws(name):
    law, steps, dim = build(name), 5, 2
    rng = np.random.default_rng(3)
    history = law.simulate(60, rng, start=7)[0]
    order = law.memory
    companion = np.eye(dim * order, k=-dim)
    companion[:dim] = 0
    for lag, a in law.coefficients.items():
        companion[:dim, (lag - 1) * dim : lag * dim] = a
    state = ((history - law.level(7, 60)) / law.scale)[: -order - 1 : -1].ravel()
    noise = np.zeros_like(companion)
    noise[:dim, :dim] = law.innovations.covariance
    scale = np.diag(law.scale)
    covariance, means, covariances = np.zeros_like(noise), [], []
    for step in range(steps):
        state, covariance = companion @ state, companion @ covariance @ companion.T + noise
        means.append(law.level(67 + step, 1)[0] + law.scale * state[:dim])
        covariances.append(scale @ covariance[:dim, :dim] @ scale)
    np.testing.assert_allclose(law.mean(history, steps, start=7), means)
    np.testing.assert_allclose(law.covariance(steps), covariances)
    paths = law.sample(history, steps, 40_000, rng, start=7)
    sigma = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    np.testing.assert_allclose(paths.mean(0) / sigma, means / sigma, atol=0.03)
    if law.gaussian:  # t with three degrees of freedom: no fourth moment to average it by
        for found, right in zip(paths.swapaxes(0, 1), covariances, strict=True):
            np.testing.assert_allclose(np.cov(found.T) / right, 1, atol=0.06)


@pytest.mark.parametrize("name", GAUSSIAN)
def test_the_stationary_covariance_is_that_of_a_long_history(name):
    law = build(name)
    paths = law.simulate(30, np.random.default_rng(0), size=20_000)[:, -1]
    np.testing.assert_allclose(np.cov(paths.T) / law.stationary_covariance(), 1, atol=0.06)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_filter_is_bayes_over_all_regime_paths(length):
    law = build("regime_switching", 2, seed=1)
    history = law.simulate(length, np.random.default_rng(length))[0]
    y = (history - law.level(0, length)) / law.scale
    posterior, ahead = np.zeros(2), np.zeros(2)
    for path in itertools.product(range(2), repeat=length):
        weight, before = law.stationary[path[0]], np.zeros(2)
        for t, k in enumerate(path):
            weight *= law.transition[path[t - 1], k] if t else 1
            mean = law.intercepts[k] + law.coefficients[k] @ before
            covariance = law.factors[k] @ law.factors[k].T
            weight *= stats.multivariate_normal.pdf(y[t], mean, covariance)
            before = y[t]
        posterior[path[-1]] += weight
    posterior /= posterior.sum()
    np.testing.assert_allclose(law.regime_probabilities(history), posterior, rtol=1e-9)
    ahead = posterior @ law.transition @ (law.intercepts + law.coefficients @ y[-1])
    paths = law.sample(history, 1, 100_000, np.random.default_rng(0))[:, 0]
    found = (paths - law.level(length, 1)) / law.scale
    np.testing.assert_allclose(found.mean(0), ahead, atol=0.02)
    np.testing.assert_allclose(law.stationary @ law.transition, law.stationary)


def test_the_filter_takes_a_long_history():
    law = build("regime_switching", 3)
    history = law.simulate(20_001, np.random.default_rng(0))[0]
    whole = law.regime_probabilities(history)
    assert whole.sum() == pytest.approx(1)
    np.testing.assert_allclose(law.regime_probabilities(history[500:]), whole, rtol=1e-9)


def test_regimes_differ_as_said():
    law = build("regime_switching", 3)
    rng = np.random.default_rng(0)
    regimes = np.repeat([0, 1], 20_000)
    stay = law._switch(law.transition[regimes], rng) == regimes
    assert stay[:20_000].mean() == pytest.approx(0.98, abs=0.005)
    assert stay[20_000:].mean() == pytest.approx(0.92, abs=0.005)
    calm, wild = (law._run(np.full(9999, k), np.zeros((9999, 3)), 1, rng)[:, 0] for k in (0, 1))
    assert (wild.std(0) / calm.std(0)).tolist() == pytest.approx([4] * 3, rel=0.05)
    np.testing.assert_allclose(wild.mean(0), law.intercepts[1], atol=0.08)
    assert np.corrcoef(wild.T)[0, 1] > np.corrcoef(calm.T)[0, 1]


# calibration of the oracle


def position(samples, target, seed=0):
    """Randomised PIT: where the target lies among the samples, uniform if both have one law."""
    rng = np.random.default_rng(seed)
    below = (samples < target[:, None]).sum(1).numpy()
    return (below + rng.random(below.shape)) / (samples.shape[1] + 1)


@pytest.fixture(scope="module", params=NAMES)
def long_run(request):
    """Many short windows of a law, and its oracle's samples."""
    data = generate(request.param, 2, 600, prediction_length=3, windows=500, seed=4)
    return data, *draw(data.oracle, data, 199)


def test_the_oracle_is_calibrated(long_run):
    _, samples, target = long_run
    total = samples.sum(-1, keepdim=True), target.sum(-1, keepdim=True)
    for x, y in ((samples, target), total):
        u = position(x, y)
        for step, series in np.ndindex(u.shape[1:]):
            assert stats.kstest(u[:, step, series], "uniform").pvalue > 0.005


def test_this_would_notice_another_scale(long_run):
    _, samples, target = long_run
    middle = samples.median(1, keepdim=True).values
    u = position(middle + 2 * (samples - middle), target)
    assert stats.kstest(u[:, 0, 0], "uniform").pvalue < 1e-3


def test_the_oracle_beats_forecasts_that_know_less(long_run):
    data, samples, target = long_run
    name, steps = data.name.removeprefix("generated_"), data.prediction_length
    others = {
        "naive": SeasonalNaive(steps, 1),
        "independent": IndependentGaussian(steps, 24),
        "other coefficients": OraclePredictor(name, steps, 2, seed=5),
    }
    best = [score(samples, target) for score in (crps, crps_sum, energy_score)]
    for other in others.values():
        forecast, _ = draw(other, data, 199)
        for score, least in zip((crps, crps_sum, energy_score), best, strict=True):
            assert score(forecast, target) > least
    ordered = samples.sort(1).values
    against = torch.stack([ordered[..., 0], ordered.flip(1)[..., 1]], -1)  # one up, the other down
    assert crps(against, target) == pytest.approx(best[0].item())
    assert crps_sum(against, target) > 1.05 * best[1]
    assert energy_score(against, target) > 1.01 * best[2]


@pytest.mark.parametrize("name", NAMES)
def test_the_phase_comes_from_the_entry(name):
    """A history that starts later is continued in the same way."""
    data = generate(name, 2, 900, prediction_length=30, windows=1)
    (entry,), _ = windows(data)
    cut = {**entry, "start": entry["start"] + 307, "target": entry["target"][:, 307:]}
    early, late = (next(data.oracle.predict([e], 20, seed=1)) for e in (entry, cut))
    np.testing.assert_allclose(early.samples, late.samples, rtol=1e-5)
    assert early.start_date == late.start_date == entry["start"] + 900
    shifted = {**entry, "start": entry["start"] + 1}
    moved = next(data.oracle.predict([shifted], 20, seed=1))
    assert np.allclose(moved.samples, early.samples, rtol=1e-3) == (name != "seasonal_var")


# tails


def test_clayton_margins_and_tails():
    theta, level = 2.0, 0.01
    e = Clayton(3, theta).draw((400_000,), np.random.default_rng(0))
    assert stats.kstest(1 - e[:20_000, 0], "expon").pvalue > 0.01
    assert e.max() < 1
    np.testing.assert_allclose(e.mean(0), 0, atol=0.01)
    np.testing.assert_allclose(e.var(0), 1, rtol=0.02)
    u = np.exp(e - 1)
    joint = (u[:, :2] < level).all(1).mean() / level
    assert joint == pytest.approx((2 * level**-theta - 1) ** (-1 / theta) / level, rel=0.05)
    assert joint > 0.65  # the limit is 2 ** (-1 / 2) = .707; independent ones have .01
    assert (u[:, :2] > 1 - level).all(1).mean() / level < 0.1
    assert stats.kendalltau(*u[:5000, :2].T).statistic == pytest.approx(0.5, abs=0.03)


def test_student_tails():
    covariance, df = np.array([[2.0, 0.6], [0.6, 1.0]]), 3.0
    e = StudentT(covariance, df).draw((200_000,), np.random.default_rng(0))
    scale = np.sqrt(np.diag(covariance) * (df - 2) / df)
    for series in range(2):
        assert stats.kstest(e[:20_000, series] / scale[series], stats.t(df).cdf).pvalue > 0.01
    np.testing.assert_allclose(np.cov(e.T), covariance, rtol=0.1)
    limits = scale * stats.t(df).ppf(0.999)
    normal = Gaussian(covariance).draw((200_000,), np.random.default_rng(0))
    both = (e > limits).all(1).sum()
    assert both > 5 * (normal > np.sqrt(np.diag(covariance)) * stats.norm.ppf(0.999)).all(1).sum()


# the best possible score


@pytest.mark.parametrize("name", GAUSSIAN)
def test_closed_forms_agree_with_simulation(name):
    law = build(name, 3)
    origins = 1000 + 5 * np.arange(24)
    expected = gaussian_expected(law, origins, 5)
    found, error = simulated_expected(
        law, np.resize(origins, 2400), 5, 200, np.random.default_rng(0)
    )
    for score, value in expected.items():
        assert error[score] < 0.01 * value
        assert abs(found[score] - value) < 4 * error[score], score


@pytest.mark.parametrize("dim", [1, 3, 8, 300])
def test_mean_norm_of_a_normal_vector(dim):
    exact = math.sqrt(2) * math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2))
    assert _mean_norm(9 * np.eye(dim)) == pytest.approx(3 * exact, rel=1e-8)


def test_mean_norm_of_unequal_variances():
    covariance = np.diag([1e-6, 1.0, 1e4]) + 1e-3
    draws = Gaussian(covariance).draw((400_000,), np.random.default_rng(0))
    found = np.linalg.norm(draws, axis=1)
    error = found.std() / math.sqrt(len(found))
    assert abs(_mean_norm(covariance) - found.mean()) < 4 * error


def test_one_step_of_the_copula_has_a_closed_form():
    law = build("copula", 4)  # E|t - t'| is 1 for exponential t
    found, error = simulated_expected(law, np.full(300, 1000), 1, 400, np.random.default_rng(0))
    assert abs(found["crps_exact"] - law.scale.mean() / 2) < 4 * error["crps_exact"]


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_scores_what_is_expected(name):
    """On many windows, with many paths, the law's score is the expected one."""
    data = generate(name, 2, 600, prediction_length=2, windows=1000, seed=2)
    best = optimal_scores(data, num_samples=200, num_histories=600, num_paths=200)
    for score, value in best.expected.items():
        assert best.windows[score] == pytest.approx(value, rel=0.1), score
        assert best.standard_error[score] == 0 or name not in GAUSSIAN
        assert best.standard_error[score] < 0.05 * value
    samples, target = draw(data.oracle, data, 200)
    assert best.windows["crps"] == pytest.approx(crps(samples, target).item())


def test_more_paths_do_not_change_what_is_expected():
    data = generate("heavy_tails", 2, 600, prediction_length=4, windows=2)
    few, many = (
        optimal_scores(data, num_histories=n, num_paths=p) for n, p in ((2000, 40), (100, 1000))
    )
    for score, value in few.expected.items():
        error = math.hypot(few.standard_error[score], many.standard_error[score])
        assert abs(value - many.expected[score]) < 4 * error + 0.002 * value, score


# the forecaster


def test_the_oracle_is_a_gluonts_predictor(tmp_path):
    data = generate("regime_switching", 3, 200, prediction_length=4, windows=2)
    forecasts, _ = make_evaluation_predictions(data.test, data.oracle, num_samples=7)
    assert [f.samples.shape for f in forecasts] == [(7, 4, 3)] * 2
    data.oracle.serialize(tmp_path)
    same = Predictor.deserialize(tmp_path)
    assert same == data.oracle
    for seed in (0, 1):
        a, b = (draw(predictor, data, 5, seed)[0] for predictor in (data.oracle, same))
        assert torch.equal(a, b)
    assert not torch.equal(draw(same, data, 5, 0)[0], a)


def forecast(law="var", **changes):
    data = generate(law, 3, 100, prediction_length=4, windows=1)
    (entry,), _ = windows(data)
    return list(data.oracle.predict([{**entry, "info": None, **changes}], 5))


def gap():
    target = generate("var", 3, 100).train[0]["target"].copy()
    target[1, 50] = np.nan
    return target


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: generate("arma"), OptionError, "unknown law 'arma'.*copula, heavy_tails"),
        (lambda: generate("va"), OptionError, "did you mean 'var'"),
        (
            lambda: generate(num_series=0),
            OptionError,
            "num_series is 0: give a whole number, 1 or more",
        ),
        (lambda: generate(windows=0), OptionError, "windows is 0: give a whole number, 1"),
        (
            lambda: generate(prediction_length=0),
            OptionError,
            "prediction_length is 0: give a whole number, 1",
        ),
        (lambda: generate(seed=-1), OptionError, "seed is -1: give a whole number, 0 or more"),
        (lambda: generate("seasonal_var", length=23), OptionError, "length must be 24 or more"),
        (lambda: optimal_scores(load_dataset("traffic")), DataError, "law of 'traffic'"),
        (lambda: optimal_scores(generate(), num_samples=0), OptionError, "num_samples"),
        (lambda: optimal_scores(generate(), num_histories=1), OptionError, "num_histories"),
        (lambda: optimal_scores(generate(), num_paths=3), OptionError, "num_paths"),
        (lambda: optimal_scores(generate(), seed=-1), OptionError, "seed"),
        (lambda: forecast(target=np.zeros((2, 50))), DataError, "law has 3 series, the history"),
        (lambda: forecast(target=gap()), DataError, "step 50 of series 1 is missing"),
        (lambda: forecast(start=pd.Period("2020", "D")), DataError, "frequency 'D', the law 'h'"),
        (lambda: forecast(target=np.zeros((3, 1))), DataError, "1 steps of history.*needs 2"),
        (lambda: build("var").sample(np.zeros((1, 2)), 1, 1, RNG), DataError, "needs 2 steps"),
        (lambda: build("copula").covariance(3), OptionError, "Clayton innovations have no cov"),
        (lambda: Clayton(2, 0.0), OptionError, "theta must be above 0"),
        (lambda: StudentT(np.eye(2), 2.0), OptionError, "df must be above 2"),
        (lambda: Gaussian(np.ones((2, 2))), OptionError, "positive definite"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()


def linear(coefficients, level=(1, 1), scale=(1, 1)):
    return VectorAutoregression(
        coefficients, Gaussian(np.eye(2)), np.array([level]), np.array(scale)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({1: np.eye(2)},), r"spectral radius 1\.0000"),
        (({1: 0.5 * np.eye(2), 2: 0.5 * np.eye(2)},), "not stationary"),
        (({0: np.eye(2)},), "lag 0 is not"),
        (({1: np.eye(3)},), r"must be \(2, 2\)"),
        (({1: 0.5 * np.eye(3)}, (1, 1, 1), (1, 1, 1)), "innovations have 2 series, scale has 3"),
        (({}, (1, 1, 1)), r"level must be \(m, D\) and scale \(D,\)"),
    ],
)
def test_a_linear_law_is_checked(arguments, message):
    with pytest.raises((OptionError, DataError), match=message):
        linear(*arguments)


def test_a_law_without_memory_is_white_noise():
    paths = linear({}).sample(np.zeros((1, 2)), 3, 10_000, np.random.default_rng(0))
    np.testing.assert_allclose(np.cov(paths[:, :, 0].T), np.eye(3), atol=0.06)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transition": np.eye(2)}, "above 0 and sum to 1"),
        ({"transition": np.full((2, 2), 0.4)}, "above 0 and sum to 1"),
        ({"coefficients": np.stack([np.eye(2)] * 2)}, r"spectral norm 1\.0000"),
        ({"factors": np.ones((2, 2, 2))}, "lower triangular"),
        ({"factors": np.zeros((2, 2, 2))}, "positive diagonal"),
        ({"intercepts": np.zeros((3, 2))}, r"\(K, K\), \(K, D\)"),
    ],
)
def test_a_regime_switching_law_is_checked(changes, message):
    arguments = {
        "transition": np.full((2, 2), 0.5),
        "intercepts": np.zeros((2, 2)),
        "coefficients": np.zeros((2, 2, 2)),
        "factors": np.stack([np.eye(2)] * 2),
        "level": np.zeros((1, 2)),
        "scale": np.ones(2),
    }
    RegimeSwitching(**arguments)
    with pytest.raises(OptionError, match=message):
        RegimeSwitching(**(arguments | changes))
