"""The other scores: against properscoring, scoringrules, GluonTS, closed forms and propriety."""

import math

import numpy as np
import pandas as pd
import properscoring
import pytest
import scipy.stats
import scoringrules
import torch
from gluonts.evaluation import Evaluator
from gluonts.model.forecast import SampleForecast

from timediff import DataError, OptionError, scores
from timediff.scores import _inputs

UNREDUCED = {
    "crps energy": scores.crps_ensemble,
    "crps fair": lambda x, y, **o: scores.crps_ensemble(x, y, "fair", **o),
    "crps quantile": lambda x, y, **o: scores.crps_ensemble(x, y, "quantile", **o),
    "energy": scores.energy_score,
    "energy over paths": lambda x, y, **o: scores.energy_score(x, y, over="path", **o),
    "variogram": scores.variogram_score,
    "dawid_sebastiani": scores.dawid_sebastiani,
    "interval": scores.interval_score,
    "sharpness": scores.sharpness,
}
POOLED = {
    "crps": scores.crps,
    "crps_sum": scores.crps_sum,
    "nd": scores.nd,
    "nrmse": scores.nrmse,
    "mase": lambda x, y: scores.mase(x, y, torch.arange(1.0, 1 + x.shape[-1])),
    "coverage": scores.coverage,
    "reliability": scores.reliability,
    "rank histogram": scores.rank_histogram,
    "average rank": lambda x, y: scores.rank_histogram(x, y, "average"),
    "band depth": lambda x, y: scores.rank_histogram(x, y, "band_depth"),
}
ALL = UNREDUCED | POOLED | {"pit": scores.pit}


def panel(lead=(3,), s=20, p=4, d=3, seed=0, dtype=torch.float64):
    """Correlated samples, and a target of the same law, far from 0."""
    rng = np.random.default_rng(seed)
    mix = np.eye(d) + 0.5
    draw = 20 + rng.normal(size=(*lead, s + 1, p, d)) @ mix
    x = torch.tensor(draw, dtype=dtype)
    return x.narrow(-3, 1, s).contiguous(), x.select(-3, 0).contiguous()


def last(x):
    """Samples last, as the oracles want them."""
    return x.movedim(-3, -1).numpy()


@pytest.mark.parametrize("s", [1, 2, 7, 100])
def test_crps_is_that_of_properscoring_and_scoringrules(s):
    x, y = panel(s=s)
    found = scores.crps_ensemble(x, y, reduction="none").numpy()
    np.testing.assert_allclose(found, properscoring.crps_ensemble(y.numpy(), last(x)), atol=1e-12)
    other = scoringrules.crps_ensemble(y.numpy(), last(x), estimator="nrg")
    np.testing.assert_allclose(found, other, atol=1e-12)
    assert scores.crps_ensemble(x, y).item() == pytest.approx(found.mean())
    if s > 1:
        fair = scores.crps_ensemble(x, y, "fair", reduction="none").numpy()
        other = scoringrules.crps_ensemble(y.numpy(), last(x), estimator="fair")
        np.testing.assert_allclose(fair, other, atol=1e-12)


def test_crps_on_the_quantile_grid_is_what_crps_pools():
    x, y = panel()
    pooled = scores.crps_ensemble(x, y, "quantile", reduction="none").sum() / y.abs().sum()
    assert pooled.item() == pytest.approx(scores.crps(x, y).item(), rel=1e-12)


def test_crps_of_many_gaussian_samples_is_the_closed_form():
    g = torch.Generator().manual_seed(0)
    x = 3 + 2 * torch.randn(1, 200_000, 1, 5, generator=g, dtype=torch.float64)
    y = torch.tensor([[[0.0, 2.0, 3.0, 4.0, 9.0]]], dtype=torch.float64)
    z = (y.numpy() - 3) / 2
    normal = scipy.stats.norm
    exact = 2 * (z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / math.sqrt(math.pi))
    found = scores.crps_ensemble(x, y, reduction="none").numpy()
    np.testing.assert_allclose(found, exact, rtol=0.01)


def test_the_fair_crps_is_unbiased_for_the_law_and_the_energy_form_is_not():
    x, y = panel(lead=(4000,), s=5, p=1, d=1)
    many, _ = panel(lead=(1,), s=100_000, p=1, d=1, seed=1)
    expected = scores.crps_ensemble(many.expand(1, -1, 1, 1), y[:1]).item()
    law = np.mean(
        [scores.crps_ensemble(many, y[i : i + 1]).item() for i in range(0, 4000, 40)]
    )  # the expected score of the law itself
    fair, biased = (scores.crps_ensemble(x, y, e, reduction="none") for e in ("fair", "energy"))
    noise = 4 * fair.std().item() / math.sqrt(len(fair))
    assert abs(fair.mean().item() - law) < noise + 0.08
    # the bias of the energy form is half the mean distance of two draws, over S
    assert (biased - fair).mean().item() == pytest.approx(
        1.5 * 2 / math.sqrt(math.pi) / 2 / 5, rel=0.03
    )
    assert expected > 0


def test_a_large_level_costs_single_precision_no_digits():
    x, y = panel(s=100)
    exact = scores.crps_ensemble(x, y).item()
    shifted = scores.crps_ensemble((x + 4096).float(), (y + 4096).float())
    assert shifted.dtype == torch.float32
    assert shifted.item() == pytest.approx(exact, rel=2e-3)  # what rounding the data costs


def test_the_sort_with_a_gradient_is_the_sort_without(monkeypatch):
    x, y = panel(s=50, p=7, d=11)
    plain = scores.crps_ensemble(x, y, reduction="none")
    tracked = scores.crps_ensemble(x.clone().requires_grad_(), y, reduction="none")
    torch.testing.assert_close(tracked.detach(), plain)
    monkeypatch.setattr(_inputs, "BLOCK", 333)  # in pieces
    before = x.clone()
    torch.testing.assert_close(scores.crps_ensemble(x, y, reduction="none"), plain)
    one = x[:, :1].contiguous()  # a transposed view of the caller's memory
    scores.crps_ensemble(one, y)
    assert torch.equal(x, before) and torch.equal(one, before[:, :1])


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_variogram_score_is_that_of_scoringrules(p, monkeypatch):
    x, y = panel(d=5)
    theirs = scoringrules.vs_ensemble(y.numpy(), x.movedim(-3, -2).numpy(), p=p)
    found = scores.variogram_score(x, y, p, reduction="none")
    np.testing.assert_allclose(found.numpy(), theirs, rtol=1e-9)
    monkeypatch.setattr(_inputs, "BLOCK", 1)
    torch.testing.assert_close(scores.variogram_score(x, y, p, reduction="none"), found)
    weights = torch.rand(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    difference = (y[..., :, None] - y[..., None, :]).abs() ** p
    drawn = ((x[..., :, None] - x[..., None, :]).abs() ** p).mean(1)
    literal = (weights * (difference - drawn) ** 2).sum((-1, -2))
    found = scores.variogram_score(x, y, p, weights, reduction="none")
    torch.testing.assert_close(found, literal)


def test_dawid_sebastiani_is_the_gaussian_log_score():
    x, y = panel(s=30)
    found = scores.dawid_sebastiani(x, y, reduction="none")
    for w in range(3):
        for p in range(4):
            sample = x[w, :, p].numpy()
            law = scipy.stats.multivariate_normal(sample.mean(0), np.cov(sample.T))
            logpdf = law.logpdf(y[w, p].numpy())
            expected = -2 * logpdf - 3 * math.log(2 * math.pi)
            assert found[w, p].item() == pytest.approx(expected, rel=1e-9)


def test_dawid_sebastiani_refuses_what_is_singular_and_says_what_helps():
    x, y = panel(s=3, d=5)
    with pytest.raises(DataError, match=r"3 samples of 5 series is singular in window 0, step 0"):
        scores.dawid_sebastiani(x, y)
    assert scores.dawid_sebastiani(x, y, shrinkage=0.5).isfinite()
    x, y = panel()
    x[1, :, 2, 1] = 7.0
    with pytest.raises(DataError, match=r"window 1, step 2"):
        scores.dawid_sebastiani(x, y)
    diagonal = scores.dawid_sebastiani(*panel(), shrinkage=1.0)
    x, y = panel()
    each = ((y - x.mean(1)) ** 2 / x.var(1) + x.var(1).log()).sum(-1).mean()
    assert diagonal.item() == pytest.approx(each.item())


def test_energy_score_over_paths_is_that_of_the_long_vector():
    x, y = panel()
    long = scores.energy_score(x.flatten(2).unsqueeze(2), y.flatten(1).unsqueeze(1))
    assert scores.energy_score(x, y, over="path").item() == pytest.approx(long.item())
    y[0, 1, 2] = torch.nan
    kept = [i for i in range(12) if i != 5]
    first = scores.energy_score(
        x[:1].flatten(2)[:, :, None, kept], y[:1].flatten(1)[:, None, kept], reduction="none"
    )
    found = scores.energy_score(x, y, over="path", reduction="none")
    assert found.shape == (3,) and found[0].item() == pytest.approx(first.item())


def test_interval_score_is_that_of_properscoring_s_formula_and_scoringrules():
    x, y = panel(s=40)
    for level in (0.5, 0.9):
        low, high = np.quantile(x.numpy(), [(1 - level) / 2, (1 + level) / 2], axis=1)
        theirs = scoringrules.interval_score(y.numpy(), low, high, 1 - level)
        found = scores.interval_score(x, y, level, reduction="none")
        np.testing.assert_allclose(found.numpy(), theirs, rtol=1e-9)
        width = scores.sharpness(x, y, level, reduction="none").numpy()
        np.testing.assert_allclose(width, high - low)


def gluonts(x, y, season, history):
    """Every series and window as an item of GluonTS's univariate evaluator."""
    start = pd.Period("2020-01-01", freq="h")
    index = pd.period_range(start, periods=history.shape[1] + y.shape[1], freq="h")
    series, forecasts = [], []
    for w in range(len(y)):
        for d in range(y.shape[2]):
            values = np.concatenate([history[w, :, d], y[w, :, d]])
            series.append(pd.DataFrame(values, index=index))
            forecasts.append(
                SampleForecast(x[w, :, :, d].numpy(), start + history.shape[1], item_id=f"{w}{d}")
            )
    evaluator = Evaluator(
        quantiles=np.arange(1, 20) / 20, seasonality=season, num_workers=0, allow_nan_forecast=False
    )
    return evaluator(series, forecasts)[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("missing", [False, True])
def test_point_scores_and_quantile_losses_are_the_gluonts_numbers(missing):
    x, y = panel(s=21)
    history = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 50, 3)) + 20)
    if missing:
        y[0, 1, 2] = y[2, :2, 0] = torch.nan
    theirs = gluonts(x, y, 7, history)
    assert scores.nd(x, y).item() == pytest.approx(theirs["ND"], rel=1e-6)
    scale = scores.seasonal_error(history, 7)
    assert scores.mase(x, y, scale).item() == pytest.approx(theirs["MASE"], rel=1e-6)
    assert scores.crps(x, y).item() == pytest.approx(theirs["mean_wQuantileLoss"], rel=1e-6)
    loss = scores.weighted_quantile_loss(x, y, [0.1, 0.5, 0.95])
    for q, value in zip((0.1, 0.5, 0.95), loss, strict=True):
        assert value.item() == pytest.approx(theirs[f"wQuantileLoss[{q}]"], rel=1e-6)
    if not missing:  # GluonTS averages the mean squared errors of items with gaps unweighted
        assert scores.nrmse(x, y).item() == pytest.approx(theirs["NRMSE"], rel=1e-6)
    error = torch.where(y.isnan(), 0.0, y - x.mean(1))
    pooled = (error.square().sum() / (~y.isnan()).sum()).sqrt() / y.abs().nanmean()
    assert scores.nrmse(x, y).item() == pytest.approx(pooled.item(), rel=1e-9)


def test_seasonal_error_leaves_out_pairs_with_a_gap():
    y = torch.tensor([[1.0], [2.0], [torch.nan], [5.0], [9.0]])
    assert scores.seasonal_error(y, 1).tolist() == [2.5]
    assert scores.seasonal_error(y, 2).tolist() == [3.0]
    with pytest.raises(OptionError, match="from 1 to 4"):
        scores.seasonal_error(y, 5)
    x, target = panel()
    with pytest.raises(DataError, match="no scale"):
        scores.mase(x, target, torch.zeros(3))
    with pytest.raises(DataError, match=r"\(3, 3\)"):
        scores.mase(x, target, torch.ones(4))


def test_combinations_of_series():
    x, y = panel()
    weights = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0]], dtype=torch.float64)
    both, observed = scores.combine(x, y, weights)
    torch.testing.assert_close(both[..., 0], x.sum(-1))
    torch.testing.assert_close(observed[..., 1], y[..., 0] - y[..., 1])
    assert scores.crps(*scores.combine(x, y, weights[0])).item() == scores.crps_sum(x, y).item()
    y[0, 0, 2] = torch.nan
    y[1, 1, :2] = torch.nan
    both, observed = scores.combine(x, y, weights)
    torch.testing.assert_close(both[0, :, 0, 0], x[0, :, 0, :2].sum(-1))
    assert observed[0, 0, 0].item() == pytest.approx(y[0, 0, :2].sum().item())
    assert observed[1, 1].isnan().tolist() == [False, True]
    for wrong in (torch.ones(4), torch.full((3,), torch.nan), torch.ones(2, 2, 3)):
        with pytest.raises(DataError, match="weights"):
            scores.combine(x, y, wrong)


@pytest.mark.parametrize("name", ALL)
def test_any_leading_axes(name):
    x, y = panel(lead=(2, 3))
    y[1, 2, 0, 1] = torch.nan
    whole, flat = ALL[name](x, y), ALL[name](x.flatten(0, 1), y.flatten(0, 1))
    torch.testing.assert_close(whole.flatten(), flat.flatten(), equal_nan=True)
    alone = ALL[name](x[0, 0], y[0, 0])
    torch.testing.assert_close(alone, ALL[name](x[0, :1], y[0, :1]).reshape(alone.shape))
    if name in UNREDUCED:
        each = ALL[name](x, y, reduction="none")
        assert each.shape[:2] == (2, 3)
        assert each[~each.isnan()].mean().item() == pytest.approx(whole.item())
        with pytest.raises(OptionError, match="reduction"):
            ALL[name](x, y, reduction="sum")


@pytest.mark.parametrize("name", ALL)
def test_the_size_of_the_blocks_changes_nothing(name, monkeypatch):
    x, y = panel()
    y[1, :2, 2] = torch.nan
    whole = ALL[name](x, y)
    for size in (1, 150, 500):  # an element, some steps of a window, two windows
        monkeypatch.setattr(_inputs, "BLOCK", size)
        torch.testing.assert_close(ALL[name](x, y), whole, equal_nan=True)


@pytest.mark.parametrize("name", ALL)
def test_single_precision_gives_the_same(name):
    x, y = panel()
    single = ALL[name](x.float(), y.float())
    torch.testing.assert_close(single.double(), ALL[name](x, y).double(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_what_is_missing_does_not_count(name):
    x, y = panel()
    y[:, 2] = torch.nan  # a step of all series
    rest = [0, 1, 3]
    found, expected = ALL[name](x, y), ALL[name](x[:, :, rest], y[:, rest])
    if name == "pit":
        assert found[:, 2].isnan().all()
        found = found[:, rest]
    if "rank" in name or "depth" in name:  # ties of discrete ranks are broken by other numbers
        assert found.sum() == expected.sum() == {"rank histogram": 27}.get(name, 9)
        return
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_forecasts_that_are_no_numbers_are_refused(name, value):
    x, y = panel()
    x[1, 2, 3, 0] = value
    with pytest.raises(DataError, match="window 1, sample 2, step 3, series 0"):
        ALL[name](x, y)


@pytest.mark.parametrize("name", [n for n in UNREDUCED if n != "sharpness"] + ["crps", "crps_sum"])
@pytest.mark.parametrize("block", [10, 2**18])
def test_gradients(name, block, monkeypatch):
    monkeypatch.setattr(_inputs, "BLOCK", block)
    x, y = panel(lead=(1,), s=6, p=2, d=2)
    y[0, 0, 1] = torch.nan
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ALL[name](x, y), x)


@pytest.mark.parametrize("name", ["energy", "variogram"])
def test_a_gradient_keeps_no_pairs_in_memory(name):
    x, y = panel(lead=(1,), s=200, p=1, d=40)
    kept = {}

    def keep(tensor):
        memory = tensor.untyped_storage()
        kept[memory.data_ptr()] = memory.nbytes()
        return tensor

    x.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        ALL[name](x, y)
    pairs = {"energy": 200 * 200, "variogram": 200 * 780}[name]
    assert sum(kept.values()) < 8 * pairs


def test_no_gradient_is_kept_where_none_is_wanted():
    x, y = panel()
    x.requires_grad_()
    with torch.no_grad():
        for name in ("crps energy", "energy", "variogram", "interval", "crps_sum"):
            assert not ALL[name](x, y).requires_grad


def test_a_step_with_a_single_series_has_no_variogram():
    x, y = panel()
    y[0, 0, 1:] = torch.nan
    found = scores.variogram_score(x, y, reduction="none")
    assert found.isnan().nonzero().tolist() == [[0, 0]]
    assert scores.variogram_score(x[..., :1], y[..., :1]) == 0


def test_the_variogram_score_has_a_gradient_where_samples_agree():
    x, y = panel()
    x[0, :, 0] = 1.0
    x.requires_grad_()
    scores.variogram_score(x, y).backward()
    assert x.grad.isfinite().all()


def law(spread=1.0, common=0.6, shift=0.0, windows=300, s=60, d=4, seed=0):
    """Samples of a law of equally correlated series, and a target of the true one."""
    g = torch.Generator().manual_seed(seed)

    def draw(count, common):
        shared = torch.randn(windows, count, 1, 1, generator=g, dtype=torch.float64)
        own = torch.randn(windows, count, 1, d, generator=g, dtype=torch.float64)
        return common**0.5 * shared + (1 - common) ** 0.5 * own

    y = draw(1, 0.6)[:, 0]
    return shift + spread * draw(s, common), y


PROPER = {
    "crps": scores.crps_ensemble,
    "fair": UNREDUCED["crps fair"],
    "energy": scores.energy_score,
    "variogram": scores.variogram_score,
    "dawid_sebastiani": scores.dawid_sebastiani,
    "interval": scores.interval_score,
    "quantile loss": lambda x, y: scores.weighted_quantile_loss(x, y).mean(),
}
WRONG = {"too wide": {"spread": 1.8}, "too narrow": {"spread": 0.5}, "off": {"shift": 0.8}}
DEPENDENCE = {"too little": {"common": 0.0}, "too much": {"common": 0.99}}


@pytest.mark.parametrize("name", PROPER)
def test_the_true_law_scores_best(name):
    best = PROPER[name](*law()).item()
    for wrong, options in WRONG.items():
        if (name, wrong) != ("variogram", "off"):  # blind to what all series share
            assert PROPER[name](*law(**options)).item() > best, wrong


@pytest.mark.parametrize("name", ["energy", "variogram", "dawid_sebastiani"])
def test_joint_scores_see_the_dependence(name):
    best = PROPER[name](*law(windows=1000)).item()
    for options in DEPENDENCE.values():
        assert PROPER[name](*law(windows=1000, **options)).item() > best


def test_pit_is_uniform_under_the_true_law_even_with_ties():
    x, y = law(windows=800, s=9)
    g = torch.Generator().manual_seed(1)
    for values in (scores.pit(x, y, g), scores.pit(x.round(), y.round(), g)):
        assert scipy.stats.kstest(values.flatten().numpy(), "uniform").pvalue > 0.01
    wide = scores.pit(*law(windows=800, s=9, spread=2.0), g)
    assert scipy.stats.kstest(wide.flatten().numpy(), "uniform").pvalue < 1e-6
    middle = scores.pit(torch.tensor([[[[1.0]], [[2.0]], [[2.0]]]]), torch.tensor([[[2.0]]]))
    assert middle.item() == pytest.approx((1 + 0.5 * 3) / 4)


def uniform(counts):
    return scipy.stats.chisquare(counts.numpy()).pvalue


@pytest.mark.parametrize("kind", ["marginal", "average", "band_depth"])
def test_rank_histograms_are_flat_under_the_true_law_alone(kind):
    counts = scores.rank_histogram(*law(windows=2000, s=9), kind)
    assert counts.shape == (10,) and counts.sum() == 2000 * (4 if kind == "marginal" else 1)
    assert uniform(counts) > 0.01
    assert uniform(scores.rank_histogram(*law(windows=2000, s=9, spread=1.6), kind)) < 1e-6
    independent = scores.rank_histogram(*law(windows=2000, s=9, common=0.0), kind)
    assert (uniform(independent) < 1e-6) == (kind != "marginal")


def test_multivariate_ranks_by_hand():
    x = torch.tensor([[[[1.0, 1.0]], [[3.0, 3.0]], [[4.0, 0.0]]]])
    y = torch.tensor([[[2.0, 2.0]]])
    # ranks of y: 2 and 3, sum 5; of the samples: 1+2=3, 3+4=7, 4+1=5 (a tie with y)
    assert scores.rank_histogram(x, y, "average").nonzero().item() in (1, 2)
    # depth (4 - r)(r - 1): y 2 + 2 = 4; samples 0+2, 2+0, 0+0: y is the most central
    assert scores.rank_histogram(x, y, "band_depth").tolist() == [0, 0, 0, 1]
    y[0, 0, 1] = torch.nan  # only the first series counts: rank 1 of 0..3
    assert scores.rank_histogram(x, y, "average").tolist() == [0, 1, 0, 0]


def test_reliability_is_coverage_level_by_level():
    x, y = law(windows=500, s=99)
    curve = scores.reliability(x, y, [0.5, 0.9])
    assert curve.tolist() == [
        scores.coverage(x, y, 0.5).item(),
        scores.coverage(x, y, 0.9).item(),
    ]
    np.testing.assert_allclose(curve, np.array([0.5, 0.9]) * 98 / 100, atol=0.03)
    low = scores.reliability(*law(windows=500, s=99, shift=5.0), [0.1, 0.9], kind="quantile")
    assert low[0] > 0.9  # forecasts too high: everything observed is below their quantiles
    share = scores.reliability(x, y, [0.25], kind="quantile").item()
    expected = (y <= torch.quantile(x, 0.25, dim=1)).double().mean().item()
    assert share == pytest.approx(expected)


def test_options_out_of_range_are_named():
    x, y = panel()
    calls = {
        "estimator": lambda: scores.crps_ensemble(x, y, "nrg"),
        "over": lambda: scores.energy_score(x, y, over="time"),
        "p must": lambda: scores.variogram_score(x, y, p=0.0),
        "shape": lambda: scores.variogram_score(x, y, weights=torch.ones(2, 2)),
        "shrinkage": lambda: scores.dawid_sebastiani(x, y, shrinkage=1.5),
        "level": lambda: scores.interval_score(x, y, 1.0),
        "levels": lambda: scores.weighted_quantile_loss(x, y, []),
        "kind": lambda: scores.rank_histogram(x, y, "depth"),
        "kind must": lambda: scores.reliability(x, y, kind="pit"),
    }
    for word, wrong in calls.items():
        with pytest.raises(OptionError, match=word):
            wrong()
    with pytest.raises(DataError, match="2 samples"):
        scores.crps_ensemble(x[:, :1], y, "fair")


def test_arrays_are_told_to_become_tensors(unchecked):
    samples, target = np.ones((2, 5, 3, 4)), np.ones((2, 3, 4))
    for score in (scores.crps, scores.energy_score, scores.coverage, scores.score_table):
        with pytest.raises(DataError, match=r"samples is a ndarray: .*as_tensor\(samples\)"):
            score(samples, target)
        with pytest.raises(DataError, match=r"target is a ndarray"):
            score(torch.from_numpy(samples), target)
    x, y, pairs = torch.ones(2, 5, 3, 4), torch.ones(2, 3, 4), np.ones((4, 4))
    for call in (
        lambda: scores.combine(x, y, pairs),
        lambda: scores.variogram_score(x, y, weights=pairs),
        lambda: scores.mase(x, y, 1.0),
        lambda: scores.energy_distance(pairs, pairs),
    ):
        with pytest.raises(DataError, match=r"is a (ndarray|float): give torch tensors"):
            call()
