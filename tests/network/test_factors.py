"""Common factors: what they find, what they leave alone, and what a network makes of them."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.conftest import quick_estimator
from tests.network.test_timegrad import make
from timediff import TimeGradPredictor, training
from timediff.entries import read_dataset
from timediff.errors import OptionError
from timediff.fitting import Fitting
from timediff.network import CommonFactors
from timediff.network.factors import PENALTIES, STANDING, _Regression, standing
from timediff.store import SeriesStore
from timediff.validation import Source

P = 4
TRAINED = {"num_batches_per_epoch": 10, "prior_epochs": 4, "prior_width": 16, "prior_rows": 128}


def horizons(n: int, dim: int = 6, strength: float = 1.0, seed: int = 0) -> tuple:
    """Residuals of pairs of horizons: the last of all series together move the next ones."""
    g = torch.Generator().manual_seed(seed)
    common = torch.randn(n, 1, 1, generator=g)
    before = torch.randn(n, P, dim, generator=g)
    before[:, -1:] = 0.5 * before[:, -1:] + common
    decay = 0.8 ** torch.arange(P).view(1, P, 1)
    after = strength * decay * common + torch.randn(n, P, dim, generator=g)
    return before, after, strength * decay * common


def seen(x: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(x, dtype=torch.bool)


def read(
    z: torch.Tensor, observed: torch.Tensor | None = None, standing: torch.Tensor | None = None
) -> torch.Tensor:
    """What factors read of horizons after which all series stand as ever."""
    standing = torch.zeros(*z.shape[:-2], z.shape[-1], STANDING) if standing is None else standing
    return CommonFactors.summary(z, seen(z) if observed is None else observed, standing)


def fitted(
    before: torch.Tensor, after: torch.Tensor, number: int = 5, standing: torch.Tensor | None = None
) -> CommonFactors:
    factors = CommonFactors(before.shape[2], P, number)
    factors.fit(read(before, standing=standing), (after, seen(after)), len(before))
    return factors


def test_a_new_module_changes_nothing():
    factors = CommonFactors(3, P, 5)
    assert not factors.any
    z = torch.randn(7, P, 3)
    assert (factors(read(z)) == 0).all() and (factors.ratio == 1).all()


def test_what_all_series_missed_tells_what_they_will_miss():
    factors = fitted(*horizons(4000)[:2])
    before, after, signal = horizons(4000, seed=1)
    shift = factors(read(before))
    left = (after - shift) / factors.ratio
    # the signal is known up to the noise of six last residuals
    assert ((signal - shift).square().mean((0, 2)) < 0.15 * signal.square().mean((0, 2))).all()
    # what is left has the spread that it had before: the scale of the prior is that much smaller
    assert left.std() == pytest.approx(float(after.std()), rel=0.02)
    assert factors.ratio[0].mean() < 0.8 < factors.ratio[3].mean()  # it fades


def test_chance_is_no_factor():
    excess = []
    for seed in range(20):
        before, after, _ = horizons(100, strength=0.0, seed=seed)
        factors = fitted(before, after)
        fresh, later, _ = horizons(500, strength=0.0, seed=100 + seed)
        moved = later - factors(read(fresh))
        excess.append(float(moved.square().mean() / later.square().mean() - 1))
    assert max(excess) < 0.03 and np.mean(excess) < 0.01


def slow(n: int, dim: int, generator: torch.Generator) -> torch.Tensor:
    """Autoregressions that hardly come back."""
    steps = 0.2 * torch.randn(n, dim, generator=generator)
    for t in range(1, n):
        steps[t] += 0.98 * steps[t - 1]
    return steps


def test_drifts_that_have_nothing_to_do_with_each_other_are_told_apart():
    """What drifts was seldom far away: within the history it seems to tell of any other drift."""
    found = 0
    for seed in range(12):
        g = torch.Generator().manual_seed(seed)
        stand = slow(200, 6, g).unsqueeze(-1).expand(-1, -1, STANDING)
        before, after = (torch.randn(200, P, 6, generator=g) for _ in range(2))
        after = after + slow(200, 1, g).unsqueeze(1)
        found += fitted(before, after, 30, stand).any
    assert found <= 5  # ten, if the least error of each series alone is asked for


def test_each_series_is_shrunk_by_itself():
    before, after, _ = horizons(400)
    noise, _, _ = horizons(400, strength=0.0, seed=9)
    after[..., 3:] = noise[..., 3:]  # nothing tells of these
    factors = fitted(before, after)
    size = factors.effects.square().sum((0, 1))
    assert size[3:].max() < 0.05 * size[:3].min()
    assert (factors.ratio[:, 3:] > 0.97).all() and factors.ratio[0, :3].max() < 0.85


def test_effects_are_those_of_the_ridge_regression_that_forecasts_best():
    before, after, _ = horizons(300, dim=2, strength=0.3)
    factors = fitted(before, after)
    x = read(before)[:, : 2 * before.shape[2]].double()
    x = (x - x.mean(0)) / (x - x.mean(0)).square().mean(0).sqrt()
    y, errors = after[..., 0].double(), []
    inverse = {k: torch.linalg.inv(x.T @ x + k * len(x) * torch.eye(4)) for k in PENALTIES[1:]}
    for penalty in PENALTIES:
        error = torch.zeros_like(y)
        for fold in torch.arange(300).chunk(5):
            use = torch.ones(300, dtype=torch.bool)
            use[max(0, int(fold[0]) - 2) : int(fold[-1]) + 3] = False
            gram = x[use].T @ x[use]
            if penalty == math.inf:
                error[fold] = y[fold].abs()
            else:
                gram = gram + penalty * int(use.sum()) * torch.eye(4)
                error[fold] = (
                    y[fold] - x[fold] @ torch.linalg.solve(gram, x[use].T @ y[use])
                ).abs()
        errors.append(float(error.mean()))
    best = PENALTIES[int(np.argmin(errors))]
    assert best != math.inf
    expected = x @ inverse[best] @ x.T @ y
    assert torch.allclose(factors(read(before))[..., 0].double(), expected, atol=1e-4)


def test_where_series_stand_tells_where_the_residuals_alone_do_not():
    torch.manual_seed(9)
    before, after, _ = horizons(2000, strength=0.0)
    common = torch.randn(2000, 1)
    stand = 0.3 * torch.randn(2000, 6, STANDING)
    stand[..., 2] += common
    decay = 0.8 ** torch.arange(P).view(1, P, 1)
    after = after + decay * common.unsqueeze(1)
    factors = fitted(before, after, standing=stand)
    assert factors.effects[5:].any(0).all() and not factors.effects[:5].any()
    left = after - factors(read(before, standing=stand))
    assert left.square().mean() < 0.75 * after.square().mean()
    left = after - fitted(before, after)(read(before))
    assert left.square().mean() > 0.98 * after.square().mean()


def test_factors_of_one_kind_have_effects_on_a_series():
    torch.manual_seed(9)
    before, after, _ = horizons(2000, dim=20)
    factors = fitted(before, after, standing=torch.randn(2000, 20, STANDING))
    narrow, wide = (part.any(1).any(0) for part in factors.effects.split(5))
    assert (narrow ^ wide).all() and narrow.any() and wide.any()


def test_standing_is_in_units_and_counted_from_what_is_usual():
    _, _, store = make(gaps=False)
    start = torch.tensor([150])
    rows = store.gather(torch.tensor([0]), start).rows
    found = standing(rows, 24).view(-1, 3, STANDING)[-1]
    x, at = store.values, store.first[0] + 150
    unit = store.unit[0]
    last, recent = x[at - 1], x[at - 24 : at].mean(0)
    usual = store.profile[at - store.shift[0] + 5, :, 0]  # the horizon is shorter than a day
    expected = [last - x[at - 2], last - recent, last - usual]
    torch.testing.assert_close(found, (torch.stack(expected) / unit).T)


def test_of_a_short_history_nothing_is_said():
    before, after, _ = horizons(19)
    assert not fitted(before, after).any


def test_a_series_that_was_never_observed_has_no_effects():
    before, after, _ = horizons(200)
    observed = seen(after)
    observed[..., 2] = False
    factors = CommonFactors(6, P, 5)
    factors.fit(read(before * observed, observed), (after * observed, observed), 200)
    assert factors.any and not factors.effects[..., 2].any()
    assert (factors.ratio[:, 2] == 1).all() and torch.isfinite(factors.effects).all()


@pytest.mark.parametrize(("parts", "any_found"), [(4, True), (1, False), (0, False)])
def test_fifths_without_an_observation_say_nothing(parts, any_found):
    before, after, _ = horizons(400)
    observed = seen(after)
    observed[: 400 - 80 * parts] = False
    factors = CommonFactors(6, P, 5)
    factors.fit(read(before), (after * observed, observed), 400)
    assert factors.any == any_found


def test_more_series_than_horizons_find_the_same():
    before, after, _ = horizons(60, dim=40)
    wide = fitted(before, after)
    assert wide.any
    x = read(before)[:, : 2 * before.shape[2]].double()
    x = (x - x.mean(0)) / (x - x.mean(0)).square().mean(0).sqrt()
    variances, vectors = _Regression._principal(x)
    expected = torch.linalg.svd(x / len(x) ** 0.5)
    assert torch.allclose(variances[:5], expected.S[:5] ** 2)
    assert torch.allclose(
        (vectors[:, :5].T @ expected.Vh[:5].T).abs(), torch.eye(5).double(), atol=1e-6
    )
    fresh, _, signal = horizons(500, dim=40, seed=3)
    shift = wide(read(fresh))
    assert (signal - shift).square().mean() < 0.3 * signal.square().mean()


def test_a_gap_takes_the_last_observation_and_the_mean_of_the_others():
    z = torch.tensor([[1.0], [3.0], [0.0], [0.0]])
    observed = torch.tensor([[True], [True], [False], [False]])
    last, mean, *still = read(z, observed)
    assert last == pytest.approx(3 / 2) and mean == pytest.approx(2 / 3**0.5)
    assert not any(still) and (read(z * 0, ~seen(z)) == 0).all()


def test_gaps_of_the_next_horizon_do_not_shrink_what_is_found():
    before, after, _ = horizons(4000)
    observed = seen(after)
    observed[::2, :, 0] = False
    factors = CommonFactors(6, P, 5)
    factors.fit(read(before), (torch.where(observed, after, 0.0), observed), 4000)
    whole = fitted(before, after)
    part = factors(read(before))[..., 0]
    assert torch.allclose(part, whole(read(before))[..., 0], atol=0.15)


def with_factors(**options) -> tuple:
    """A network with common factors, a batch of its windows, and their store."""
    network, _, store = make(**options)
    torch.manual_seed(5)
    network.factors.loadings.normal_()
    network.factors.effects.normal_(std=0.1)
    network.factors.ratio.uniform_(0.5, 1.0)
    store.spec = dataclasses.replace(store.spec, before=1)
    starts = torch.tensor([150, 156, 195, 198, 60])
    return network.eval(), store.gather(torch.zeros(5, dtype=torch.long), starts), store


@pytest.mark.parametrize("context", [6, 12])
def test_residuals_are_those_of_the_prior_after_the_factors(context):
    network, batch, store = with_factors(context_length=context)
    p, d, blocks = 6, 3, context // 6 + 2
    found = network.residuals(batch)
    assert found.z.shape == (5, context + p, d)
    loc, scale = (x.unflatten(0, (5, blocks, d)).transpose(2, 3) for x in network.prior(batch.rows))
    target, observed = (x.unflatten(1, (blocks, p)) for x in (batch.target, batch.observed))
    z = torch.where(observed, (target - loc) / scale, 0.0).clamp(-10, 10)
    stand = standing(batch.rows, network.priors[0].level).view(5, blocks, d, STANDING)
    for k in range(1, blocks):
        known = read(z[:, k - 1], observed[:, k - 1], stand[:, k])
        moved = loc[:, k] + scale[:, k] * network.factors(known)
        narrow = scale[:, k] * network.factors.ratio
        own = slice((k - 1) * p, k * p)
        assert torch.allclose(found.loc[:, own], moved, atol=1e-5)
        assert torch.allclose(found.scale[:, own], narrow, atol=1e-6)
        expected = torch.where(observed[:, k], (target[:, k] - moved) / narrow, 0.0)
        assert torch.allclose(found.z[:, own], expected.clamp(-10, 10), atol=1e-4)
    # the same windows without factors are those of the same steps
    network.factors.clear()
    store.spec = dataclasses.replace(store.spec, before=0)
    plain = store.gather(torch.zeros(5, dtype=torch.long), torch.tensor([150, 156, 195, 198, 60]))
    assert torch.equal(plain.target, batch.target[:, p:])
    assert torch.allclose(network.residuals(plain).loc, loc[:, 1:].flatten(1, 2), atol=1e-5)


def test_the_horizon_is_not_read_and_paths_do_not_depend_on_their_neighbours():
    network, batch, store = with_factors(gaps=False)
    together = network.sample(batch, 30, torch.arange(5))
    target, observed = batch.target.clone(), batch.observed.clone()
    target[:, -6:], observed[:, -6:] = torch.nan, False
    blind = network.sample(batch._replace(target=target, observed=observed), 30, torch.arange(5))
    assert torch.equal(together, blind)
    lone = store.gather(torch.tensor([0]), torch.tensor([198]))
    assert torch.equal(network.sample(lone, 3, torch.tensor([3])), together[3:4, :3])
    target = batch.target.clone()
    target[:, 0] += 1.0  # the first step of the block before the context is read
    assert not torch.equal(
        network.sample(batch._replace(target=target), 3, torch.arange(5)), together[:, :3]
    )


def leading(length: int = 1200, seed: int = 0) -> dict:
    """Noisy views of one slow movement, one of them half a day and one a day late."""
    rng = np.random.default_rng(seed)
    slow = np.zeros(length + 12)
    for t in range(1, len(slow)):
        slow[t] = 0.98 * slow[t - 1] + rng.standard_normal()
    views = [slow[12 - lag :][:length] + rng.standard_normal(length) for lag in (0, 6, 12)]
    return {"start": "2024-01-01", "target": np.stack(views)}


def crps(predictor: TimeGradPredictor, data: dict, first: int) -> float:
    """Mean over windows that training did not see."""
    ends = range(first, data["target"].shape[1] - 12, 12)
    entries = [{**data, "target": data["target"][:, :end]} for end in ends]
    found = []
    for end, forecast in zip(ends, predictor.predict(entries, 50, seed=0), strict=True):
        x, y = np.sort(forecast.samples, 0), data["target"][:, end : end + 12].T
        weight = (2 * np.arange(1, 51) - 51) / 50**2
        found.append(np.abs(x - y).mean(0) - np.tensordot(weight, x, 1))
    return float(np.mean(found))


@pytest.fixture(scope="module")
def led() -> dict:
    """Trained with common factors, and without, on series of which one leads the others."""
    data = leading(1500)
    known = {**data, "target": data["target"][:, :1200]}
    models = {n: quick_estimator(12, factors=n, **TRAINED).train([known]) for n in (20, 0)}
    return {"data": data, **models}


def test_training_finds_what_leads(led):
    assert led[20].spec.before == 1 and led[20].network.factors.any
    assert led[0].spec.before == 0
    assert list(led[20].curves["stage"].unique()) == ["prior", "diffusion"]
    assert crps(led[20], led["data"], 1200) < 0.93 * crps(led[0], led["data"], 1200)


def test_where_none_is_best_all_is_as_without(monkeypatch):
    monkeypatch.setattr("timediff.network.factors.PENALTIES", (np.inf,))
    data = [leading(300)]
    ours, plain = (quick_estimator(12, factors=n).train(data) for n in (20, 0))
    assert ours.spec.before == 0 and not ours.network.factors.any
    for a, b in zip(ours.predict(data, 10, seed=1), plain.predict(data, 10, seed=1), strict=True):
        assert np.array_equal(a.samples, b.samples)


def test_factors_that_have_become_wrong_are_not_kept():
    data = leading()
    data["target"][:, -200:] = data["target"][::-1, -200:]  # the last leads now
    assert quick_estimator(12, **TRAINED).train([data]).spec.before == 0


def test_training_goes_on_and_saved_models_are_the_same(led, tmp_path):
    model, data = led[20], [{**led["data"], "target": led["data"]["target"][:, :1212]}]
    (tmp_path / "model").mkdir()
    model.serialize(tmp_path / "model")
    again = TimeGradPredictor.deserialize(tmp_path / "model")
    assert again.spec == model.spec
    (a,), (b,) = (list(m.predict(data, 5, seed=2)) for m in (model, again))
    assert np.array_equal(a.samples, b.samples)
    estimator = quick_estimator(12, **TRAINED)
    estimator.options = dataclasses.replace(model.network.options, prior_epochs=0, max_epochs=1)
    further = estimator.train_from(model, data)
    assert further.spec.before == 1
    (c,) = further.predict(data, 5, seed=2)
    assert np.isfinite(c.samples).all()


def test_of_a_short_history_the_block_before_is_filled():
    network, _, store = with_factors()
    panel = read_dataset([{"start": "2024-01-01", "target": np.ones((3, 5), "f4")}], "h")[0]
    short = SeriesStore([panel], store.spec, for_forecast=True)
    batch = short.gather(torch.tensor([0]), torch.tensor(short.lengths))
    assert batch.target.shape[1] == 18 and not batch.observed[:, :7].any()
    assert torch.isfinite(network.sample(batch, 4, torch.arange(1))).all()


def test_very_many_series_have_fewer():
    with torch.device("meta"):
        numbers = [len(CommonFactors(d, 2, 100).effects) for d in (3, 1000, 10_000, 10**6)]
    assert numbers == [30, 200, 50, 0]


def test_fewer_than_none_are_an_error():
    with pytest.raises(OptionError, match="factors is -1"):
        quick_estimator(factors=-1)


def test_the_last_of_three_runs_is_without(monkeypatch):
    known, wanted = [], {}
    energy = training.path_energy

    def spy(network, held_out, unit):
        known.append((network.factors.any, held_out.store.spec.before))
        assert np.isfinite(energy(network, held_out, unit))
        return wanted[len(known)]

    monkeypatch.setattr(training, "path_energy", spy)
    for best in (2, 3):
        known.clear()
        wanted.update({k: float(k != best) for k in (1, 2, 3)})
        model = quick_estimator(12, diffusion_runs=3, **TRAINED).train([leading()])
        assert known == [(True, 1), (True, 1), (False, 0)]
        assert model.network.factors.any == (best == 2) and model.spec.before == (best == 2)
        (forecast,) = model.predict([leading()], 5, seed=0)
        assert np.isfinite(forecast.samples).all()


def test_what_is_found_without_a_fifth_does_not_depend_on_it(monkeypatch):
    monkeypatch.setattr("timediff.network.factors.PENALTIES", (0.1,))  # that one is of all
    monkeypatch.setattr("timediff.network.factors._helps", lambda error: True)
    before, after, _ = horizons(200)
    found = fitted(before, after)
    effects = found.fit(read(before), (after, seen(after)), 200)
    changed = after.clone()
    changed[80:120] = torch.randn(40, P, 6)  # the third fifth
    others = found.fit(read(before), (changed, seen(after)), 200)
    # the same effects may be of either kind of factors, as nothing is said of the standing
    factors = (read(before) - found.mean) @ found.loadings
    shifts = [factors @ part.flatten(1) for part in (*effects, *others)]
    same = [torch.allclose(a, b, atol=1e-4) for a, b in zip(shifts[:5], shifts[5:], strict=True)]
    assert same == [False, False, True, False, False]


def test_training_windows_are_read_with_the_effects_found_without_them():
    network, _, store = with_factors()
    windows = torch.tensor([(0, start) for start in range(60, 160)])
    source = Source(store, windows)
    fitting = Fitting(network.options, source, source, torch.Generator())
    plain = fitting._read(network, torch.arange(100)).z
    fitting.effects = torch.randn(5, *network.factors.effects.shape)
    kept = network.factors.effects.clone()
    found = fitting._read(network, torch.arange(100)).z
    assert torch.equal(network.factors.effects, kept)
    for fold, effects in enumerate(fitting.effects):
        network.factors.effects.copy_(effects)
        own = torch.arange(20) + 20 * fold
        batch = store.gather(windows[own, 0], windows[own, 1])
        assert torch.allclose(found[own], network.residuals(batch).z, atol=1e-5)
        assert not torch.allclose(found[own], plain[own], atol=1e-2)
