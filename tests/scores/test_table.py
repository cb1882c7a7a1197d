"""Scores against GluonTS, scoringrules, closed forms and propriety."""

import math

import numpy as np
import pandas as pd
import pytest
import scoringrules
import torch
from gluonts.evaluation import MultivariateEvaluator
from gluonts.model.forecast import SampleForecast

from timediff.errors import DataError, OptionError
from timediff.scores import (
    _inputs,
    coverage,
    coverage_sum,
    crps,
    crps_sum,
    energy_score,
    score_table,
    variogram_score,
)


def panel(windows=3, num_samples=100, steps=6, series=4, seed=0):
    """Correlated samples of differing scales, and a target of the same law."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** np.arange(series)
    mix = np.eye(series) + 0.5
    draw = rng.normal(size=(windows, num_samples + 1, steps, series)) @ mix * scale + scale
    return torch.tensor(draw[:, 1:]), torch.tensor(draw[:, 0])


def gluonts_metrics(samples, target):
    """The published protocol, run by GluonTS itself."""
    steps = target.shape[1]
    start = pd.Period("2020-01-01", freq="h")
    index = pd.period_range(start, periods=30 + steps, freq="h")
    history = np.ones((30, target.shape[2]))
    evaluator = MultivariateEvaluator(
        quantiles=np.arange(1, 20) / 20, target_agg_funcs={"sum": np.sum}
    )
    metrics, _ = evaluator(
        [pd.DataFrame(np.concatenate([history, y]), index=index) for y in target.numpy()],
        [SampleForecast(x, start_date=start + 30) for x in samples.numpy()],
    )
    return metrics


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("num_samples", [1, 11, 100, 101])
def test_crps_and_crps_sum_are_the_gluonts_numbers(num_samples):
    samples, target = panel(num_samples=num_samples)
    metrics = gluonts_metrics(samples, target)
    assert crps(samples, target).item() == pytest.approx(metrics["mean_wQuantileLoss"], rel=1e-9)
    assert crps_sum(samples, target).item() == pytest.approx(
        metrics["m_sum_mean_wQuantileLoss"], rel=1e-9
    )


@pytest.mark.filterwarnings("ignore")
def test_crps_in_single_precision_is_the_gluonts_number():
    samples, target = (x.float() for x in panel())
    metrics = gluonts_metrics(samples, target)
    assert abs(crps(samples, target).item() - metrics["mean_wQuantileLoss"]) < 1e-6
    assert abs(crps_sum(samples, target).item() - metrics["m_sum_mean_wQuantileLoss"]) < 1e-6


@pytest.mark.filterwarnings("ignore")
def test_crps_with_missing_observations_is_the_gluonts_number():
    samples, target = panel()
    target[0, :2, 3] = torch.nan
    target[1, 4] = torch.nan
    metrics = gluonts_metrics(samples, target)
    assert crps(samples, target).item() == pytest.approx(metrics["mean_wQuantileLoss"], rel=1e-9)


def test_crps_pools_over_series_and_is_no_mean_of_their_scores():
    samples, target = panel()
    single = torch.stack([crps(samples[..., i : i + 1], target[..., i : i + 1]) for i in range(4)])
    weight = target.abs().sum((0, 1))
    torch.testing.assert_close(crps(samples, target), (single * weight).sum() / weight.sum())
    assert abs(crps(samples, target) - single.mean()) > 1e-3


def test_crps_sum_with_missing_series_compares_the_same_sums():
    samples, target = panel()
    gap = target.clone()
    gap[1, 2, 3] = torch.nan
    reference_samples, reference = samples.clone(), target.clone()
    reference_samples[1, :, 2, 3] = 0
    reference[1, 2, 3] = 0
    assert crps_sum(samples, gap) == crps_sum(reference_samples, reference)
    assert coverage_sum(samples, gap) == coverage_sum(reference_samples, reference)


@pytest.mark.parametrize("score", [crps, crps_sum, energy_score, coverage, coverage_sum])
def test_a_step_without_observation_is_as_if_it_were_not_there(score):
    samples, target = panel()
    target[:, 2] = torch.nan
    kept = [0, 1, 3, 4, 5]
    torch.testing.assert_close(score(samples, target), score(samples[:, :, kept], target[:, kept]))


@pytest.mark.parametrize("score", [crps, energy_score, coverage])
def test_a_series_without_observation_is_as_if_it_were_not_there(score):
    samples, target = panel()
    target[..., 1] = torch.nan
    kept = [0, 2, 3]
    torch.testing.assert_close(score(samples, target), score(samples[..., kept], target[..., kept]))


@pytest.mark.parametrize("fair", [False, True])
def test_energy_score_is_that_of_scoringrules(fair, monkeypatch):
    samples, target = panel(num_samples=20)
    expected = scoringrules.es_ensemble(
        target.numpy(),
        samples.transpose(1, 2).numpy(),
        estimator="fair" if fair else "nrg",
        backend="numpy",
    ).mean()
    assert energy_score(samples, target, fair=fair).item() == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(_inputs, "BLOCK", 64)  # pieces must not change the result
    assert energy_score(samples, target, fair=fair).item() == pytest.approx(expected, rel=1e-9)


def test_energy_score_of_one_gaussian_series_is_the_closed_form_crps():
    rng = torch.Generator().manual_seed(0)
    samples = torch.randn(1, 4000, 1, 1, generator=rng, dtype=torch.float64)
    for y in (-1.3, 0.0, 0.7):
        density = math.exp(-y * y / 2) / math.sqrt(2 * math.pi)
        closed = y * math.erf(y / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi)
        target = torch.full((1, 1, 1), y, dtype=torch.float64)
        assert energy_score(samples, target).item() == pytest.approx(closed, abs=0.02)


def test_crps_of_a_gaussian_is_the_closed_form_over_the_19_levels():
    rng = torch.Generator().manual_seed(0)
    levels = torch.arange(1, 20, dtype=torch.float64) / 20
    quantiles = 3 + torch.special.ndtri(levels)
    samples = 3 + torch.randn(1, 200_000, 1, 1, generator=rng, dtype=torch.float64)
    y = 3.4
    closed = (2 * (y - quantiles) * (levels - (y <= quantiles).double())).mean() / y
    target = torch.full((1, 1, 1), y, dtype=torch.float64)
    assert crps(samples, target).item() == pytest.approx(closed.item(), rel=0.01)


@pytest.mark.parametrize("score", [crps, crps_sum, energy_score])
def test_the_true_law_scores_best(score):
    rng = torch.Generator().manual_seed(1)
    mix = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    target = 2 + torch.randn(1000, 1, 2, generator=rng) @ mix.T
    noise = torch.randn(1000, 100, 1, 2, generator=rng) @ mix.T
    true = score(2 + noise, target)
    for wrong in (2.5 + noise, 1.5 + noise, 2 + 2.0 * noise, 2 + 0.5 * noise):
        assert score(wrong, target) > true * 1.02


@pytest.mark.parametrize("score", [crps_sum, energy_score])
def test_joint_scores_see_that_the_dependence_is_missing(score):
    rng = torch.Generator().manual_seed(2)
    common = torch.randn(2000, 101, 1, 1, generator=rng)
    draw = common + 0.3 * torch.randn(2000, 101, 1, 5, generator=rng)
    independent = torch.stack(
        [draw[:, 1:, :, i].roll(17 * i, dims=1) for i in range(5)], dim=-1
    )  # the same numbers of each series, in another order
    samples, target = draw[:, 1:], draw[:, 0]
    torch.testing.assert_close(crps(samples, target), crps(independent, target))
    assert score(samples, target) < 0.99 * score(independent, target)
    assert coverage_sum(independent, target) < 0.75 < 0.85 < coverage_sum(samples, target)


def test_coverage_of_the_true_law_with_few_samples():
    rng = torch.Generator().manual_seed(3)
    draw = torch.randn(4000, 101, 1, 3, generator=rng)
    for level in (0.5, 0.9):
        expected = level * 99 / 101
        assert coverage(draw[:, 1:], draw[:, 0], level).item() == pytest.approx(expected, abs=0.015)


def test_coverage_bounds_are_interpolated_and_belong_to_the_interval():
    samples = torch.arange(11.0).reshape(1, 11, 1, 1).expand(1, 11, 4, 1)
    target = torch.tensor([0.49, 0.5, 9.5, 9.51]).reshape(1, 4, 1)  # the 90 % interval: .5, 9.5
    assert coverage(samples.double(), target.double(), 0.9).item() == 0.5
    torch.testing.assert_close(
        torch.quantile(samples[0, :, 0, 0], 0.05), torch.tensor(0.5), rtol=0, atol=1e-6
    )


def test_score_table_holds_the_scores():
    samples, target = panel()
    table = score_table(samples, target)
    assert table == {
        "crps": crps(samples, target).item(),
        "crps_sum": crps_sum(samples, target).item(),
        "energy_score": energy_score(samples, target).item(),
        "variogram_score": variogram_score(samples, target).item(),
        "coverage90": coverage(samples, target).item(),
        "coverage90_sum": coverage_sum(samples, target).item(),
    }


def test_crps_of_zeros_is_undefined():
    samples, _ = panel()
    assert torch.isnan(crps(samples, torch.zeros(3, 6, 4)))


@pytest.mark.parametrize("score", [crps, crps_sum, energy_score, coverage, coverage_sum])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_forecast_with_nan_is_refused(score, value):
    samples, target = panel()
    samples[1, 2, 3, 0] = value
    with pytest.raises(DataError, match="window 1, sample 2, step 3, series 0"):
        score(samples, target)


def test_targets_that_cannot_be_scored_are_refused():
    samples, target = panel()
    with pytest.raises(DataError, match="no observation"):
        crps(samples, torch.full_like(target, torch.nan))
    target[0, 1, 2] = math.inf
    with pytest.raises(DataError, match="window 0, step 1, series 2"):
        crps(samples, target)


def test_options_out_of_range_are_refused():
    samples, target = panel()
    with pytest.raises(OptionError, match="level"):
        coverage(samples, target, level=90.0)
    with pytest.raises(DataError, match="2 samples"):
        energy_score(samples[:, :1], target, fair=True)


def test_the_arguments_are_left_as_they_were():
    samples, target = panel()
    target[0, 0, 0] = torch.nan
    before = samples.clone(), target.clone()
    score_table(samples, target)
    torch.testing.assert_close((samples, target), before, equal_nan=True)
