"""Scenarios of a network whose law is known: linear dynamics, white innovations."""

import numpy as np
import pytest
import torch

from benchmarks.scenarios import condition, rows_of
from tests.conftest import entry
from timediff import Given
from timediff.diffusion import SAMPLERS
from timediff.entries import read_entry
from timediff.network import outlook, scenario
from timediff.network.scenario import Conditions, _finished, meet, systematic
from timediff.options import Options
from timediff.predictor import TimeGradPredictor
from timediff.splits import window_spec
from timediff.windows import build_network

P, D, PATHS = 8, 4, 1500
SEED = torch.tensor([5])


class Known:
    """A network without nonlinearity, a window of it, and its law."""

    def __init__(self):
        torch.manual_seed(0)
        options = Options(bound_samples=False, context_length=P)
        spec = window_spec(options, "h", P, 200)
        network = build_network(options, spec, D).eval().requires_grad_(False)
        for p in network.diffusion.denoiser.outlet.parameters():
            p.zero_()
        network.dynamics.phi[:, 0], network.dynamics.phi[:, 1] = 0.8, 0.1
        network.dynamics.rho.copy_(torch.linspace(-0.5, 0.8, P))
        e = torch.randn(20000, 1) @ torch.randn(1, D) + 0.7 * torch.randn(20000, D)
        network.whitening.fit(e, torch.ones_like(e, dtype=torch.bool), 20000)
        network.whitening.stretch(1.6)
        self.network = network
        predictor = TimeGradPredictor(network, spec, device="cpu")
        self.batch = predictor.gather([read_entry(entry(200, D), 0, "h")])
        past = network._read(self.batch)
        scale = past.scale[0].double().flatten()
        loading = network.whitening.back(torch.eye(D)).double()
        answers = torch.zeros(P, P, dtype=torch.float64)
        spread = torch.nn.functional.softplus(network.dynamics.rho) + 1e-3
        for i in range(P):
            answers[i, i] = spread[i]
            for j in range(i + 1, P):
                before = answers[j - 2, i] if j - 2 >= i else 0.0
                answers[j, i] = 0.8 * answers[j - 1, i] + 0.1 * before
        covariance = torch.kron(answers @ answers.T, loading.T @ loading)
        self.mean = past.loc[0].double().flatten().numpy()
        self.covariance = (scale[:, None] * covariance * scale).numpy()
        noise = np.random.default_rng(1).standard_normal(P * D)
        self.truth = (self.mean + np.linalg.cholesky(self.covariance) @ noise).reshape(P, D)
        self.deviation = np.sqrt(np.diag(self.covariance)).reshape(P, D)

    def draw(self, given, count=PATHS, sampler=None):
        return self.network.scenarios(self.batch, count, SEED, given.conditions(), sampler)


@pytest.fixture(scope="module")
def known():
    return Known()


@pytest.fixture(autouse=True)
def no_more_particles_than_paths(monkeypatch):
    """Here all weigh the same, so that more would only take time."""
    monkeypatch.setattr(scenario, "PARTICLES", 1)


def case(known, name):
    values = np.full((P, D), np.nan)
    totals = []
    mean = known.mean.reshape(P, D)
    if "one series" in name:
        values[:, 0] = known.truth[:, 0]
    if "some values" in name:
        values[[2, 5, 6], [1, 0, 0]] = known.truth[[2, 5, 6], [1, 0, 0]]
    if "the end" in name:
        values[-1, 1] = mean[-1, 1] + 2 * known.deviation[-1, 1]
    if "total" in name:
        totals.append((np.ones(D), known.truth.sum(1)))
    if "difference" in name:
        late = np.full(P, np.nan)
        late[-2] = 1.0
        totals.append(([1.0, -1.0, 0.0, 0.0], late))
    return Given(values, totals)


CASES = [
    *("one series", "some values", "the end", "total", "difference"),
    "one series, the end, total and difference",
]


def compare(drawn, known, given):
    """Against the exact conditional law; the standard error of a mean is 0.026 deviations."""
    rows, values = rows_of(given)
    mean, covariance = condition(known.mean, known.covariance, rows, values)
    x = drawn.paths.double().flatten(1).numpy()
    size = np.abs(rows) @ np.abs(known.mean)
    assert (np.abs(x @ rows.T - values) / size).max() < 1e-6
    free = np.diag(covariance) > 1e-6 * np.diag(known.covariance)
    spread = np.sqrt(np.diag(covariance)[free])
    assert np.abs((x.mean(0) - mean)[free] / spread).max() < 0.1
    drawn_covariance = np.cov(x.T)[np.ix_(free, free)] / np.outer(spread, spread)
    exact = covariance[np.ix_(free, free)] / np.outer(spread, spread)
    assert np.abs(drawn_covariance - exact).max() < 0.15
    surprise = values - rows @ known.mean
    square = surprise @ np.linalg.solve(rows @ known.covariance @ rows.T, surprise)
    assert drawn.distance == pytest.approx(np.sqrt(square / len(rows)), abs=0.02)
    assert drawn.effective > 0.95 * len(x)


@pytest.mark.parametrize("name", CASES)
def test_paths_have_the_exact_conditional_law(known, name):
    given = case(known, name)
    compare(known.draw(given), known, given)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_whatever_the_sampler(known, name):
    given = case(known, "one series, the end, total and difference")
    steps = 5 if name == "adams" else 20
    drawn = known.draw(given, 500, SAMPLERS.build(name, steps=steps))
    rows, values = rows_of(given)
    mean, covariance = condition(known.mean, known.covariance, rows, values)
    x = drawn.paths.double().flatten(1).numpy()
    free = np.diag(covariance) > 1e-6 * np.diag(known.covariance)
    spread = np.sqrt(np.diag(covariance)[free])
    np.testing.assert_allclose(x @ rows.T, np.tile(values, (500, 1)), rtol=1e-5)
    assert np.abs((x.mean(0) - mean)[free] / spread).max() < 0.18
    # few steps of other samplers lose spread, as without anything given
    assert np.abs(x.std(0)[free] / spread - 1).max() < 0.2


def test_nothing_that_matters_is_the_unconditional_law(known):
    """A value at its own mean, far from where anything else is: the rest hardly changes."""
    values = np.full((P, D), np.nan)
    values[-1, 0] = known.mean.reshape(P, D)[-1, 0]
    given = Given(values)
    compare(known.draw(given), known, given)


def test_what_is_given_late_is_looked_at_in_parts_where_it_is_much(known, monkeypatch):
    monkeypatch.setattr(outlook, "MOST_ROWS", 3)
    given = case(known, "total")
    drawn = known.draw(given, 200)
    rows, values = rows_of(given)
    x = drawn.paths.double().flatten(1).numpy()
    np.testing.assert_allclose(x @ rows.T, np.tile(values, (200, 1)), rtol=1e-5)


def test_totals_that_repeat_each_other(known):
    totals = [(np.ones(D), known.truth.sum(1)), (2 * np.ones(D), 2 * known.truth.sum(1))]
    drawn = known.draw(Given(totals=totals), 100)
    np.testing.assert_allclose(drawn.paths.sum(2), np.tile(known.truth.sum(1), (100, 1)), rtol=1e-5)
    assert drawn.effective > 95


def test_everything_given(known):
    drawn = known.draw(Given(known.truth), 10)
    np.testing.assert_allclose(drawn.paths, np.tile(known.truth, (10, 1, 1)), rtol=1e-6)


def test_the_nonlinear_is_weighed(known):
    """With dynamics whose scale depends on the past, few of many paths are lost, none is wrong."""
    torch.manual_seed(1)
    outlet = known.network.dynamics.outlet.weight
    before = outlet.clone()
    outlet.copy_(0.3 * torch.randn_like(outlet))
    try:
        given = case(known, "total")
        drawn = known.draw(given, 1000)
        assert 20 < drawn.effective < 1000
        np.testing.assert_allclose(
            drawn.paths.sum(2), np.tile(known.truth.sum(1), (1000, 1)), rtol=1e-5
        )
    finally:
        outlet.copy_(before)


def test_totals_are_met_where_there_is_room():
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    weights, target = torch.tensor([[1.0, 1.0, 1.0]]), torch.tensor([12.0])
    met = meet(x, weights, target, torch.tensor([0.0, 1.0, 3.0]))
    torch.testing.assert_close(met, torch.tensor([[1.0, 3.5, 7.5], [4.0, 4.25, 3.75]]))
    assert meet(x, weights[:0], target[:0], x) is x


def test_systematic_resampling_is_as_even_as_can_be():
    weights = torch.tensor([0.1, 0.4, 0.0, 0.5])
    drawn = systematic(weights, 1000, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=4)
    assert (counts - 1000 * weights).abs().max() <= 1
    all_alike = systematic(torch.ones(6), 3, torch.Generator().manual_seed(0))
    assert len(all_alike.unique()) == 3


def test_weights_never_fall_to_a_few_at_once():
    alike = torch.zeros(100, dtype=torch.float64)
    change = torch.linspace(0, 1, 100, dtype=torch.float64)
    kept, tempered = scenario.weighted(alike, change)
    assert torch.equal(kept, change) and not tempered
    kept, tempered = scenario.weighted(alike, 1000 * change)
    assert tempered
    left = 1 / torch.softmax(kept, 0).square().sum()
    assert 25 <= left < 26


def test_members_of_a_total_are_no_rounding_error_below_their_floor():
    class Floored:
        def _finish(self, paths, batch):
            return paths.clamp(min=0)

    torch.manual_seed(0)
    paths, weights = 3 * torch.randn(4000, P, 3) + 1, torch.tensor([[0.3, 0.7, 1.1]])
    values = torch.full((P, 3), torch.nan)
    values[2, 0] = -1e-9  # given, whatever it is
    conditions = Conditions(values, weights, torch.full((P, 1), 4.7))
    finished = _finished(Floored(), paths, None, conditions)
    torch.testing.assert_close(finished @ weights.T, torch.full((4000, P, 1), 4.7))
    assert (finished[:, 2, 0] == -1e-9).all()
    finished[:, 2, 0] = 0
    assert (finished >= 0).all() and (finished == 0).any()
