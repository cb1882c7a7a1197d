"""The likelihood of observed horizons, against normal laws written out."""

import math

import pytest
import torch

from tests.network.test_timegrad import VARIANTS, make
from timediff.network.dynamics import LIMIT, ORDER
from timediff.network.likelihood import likelihood

P = 6


def doubled(part):
    """The same of a batch in float64."""
    if isinstance(part, torch.Tensor):
        return part.double() if part.is_floating_point() else part
    return None if part is None else type(part)(*map(doubled, part))


def normal(network):
    """The network with a diffusion that draws standard noise: a v of 0 everywhere."""
    for parameter in network.diffusion.denoiser.outlet.parameters():
        torch.nn.init.zeros_(parameter)
    return network.double().eval()


def built(**options):
    """A network whose horizons are jointly normal given the context, and three windows."""
    network, batch, _ = make(gaps=False, starts=(150, 171, 60), **options)
    generator = torch.Generator().manual_seed(3)
    if hasattr(network, "whitening"):
        e = torch.randn(500, 3, generator=generator) @ torch.tensor(
            [[1.0, 0.8, 0.3], [0.0, 0.7, -0.5], [0.0, 0.0, 0.6]]
        )
        network.whitening.fit(e, torch.ones_like(e, dtype=torch.bool), 500)
        network.whitening.stretch(1.6)
        with torch.no_grad():
            network.dynamics.phi.copy_(0.4 * torch.randn(P, ORDER, generator=generator))
            network.dynamics.rho.copy_(0.5 * torch.randn(P, generator=generator))
    return normal(network), doubled(batch)


def law(network, batch, independent=False):
    """Mean and covariance of the horizons ``[b, P D]``, series fastest: the residuals unrolled."""
    c, d = network.context_length, network.target_dim
    found = network.residuals(batch._replace(observed=torch.zeros_like(batch.observed)))
    w = network.whitening.as_drawn()
    correlation = w.rest * torch.eye(d) + w.vectors @ torch.diag(w.values - w.rest) @ w.vectors.T
    correlation = torch.eye(d) if independent else correlation
    covariance = w.deviation[:, None] * correlation.double() * w.deviation
    phi = network.dynamics.phi.detach()
    spread = torch.nn.functional.softplus(network.dynamics.rho.detach()) + 1e-3
    gain = torch.zeros(P, P).double()  # of the innovations in the residuals
    for j in range(P):
        gain[j, j] = spread[j]
        for k in range(1, min(ORDER, j) + 1):
            gain[j] += phi[j, k - 1] * gain[j - k]
    residuals = torch.kron(gain @ gain.T, covariance)
    scale = found.scale[:, c:].flatten(1)
    return found.loc[:, c:].flatten(1), scale[:, :, None] * residuals * scale[:, None]


def density(mean, covariance, y, observed):
    """Of what was observed."""
    found = []
    for m, s, value, there in zip(mean, covariance, y, observed, strict=True):
        there = there.nonzero().squeeze(1)
        one = torch.distributions.MultivariateNormal(m[there], s[there][:, there])
        found.append(one.log_prob(value[there]))
    return torch.stack(found)


def told(network, batch, **options):
    return likelihood(network, batch, torch.arange(len(batch.target)), **options)


def test_a_horizon_of_a_normal_law_has_its_density():
    """Prior, autoregression and whitening: the change of variables, step by step, adds up."""
    network, batch = built()
    found = told(network, batch)
    y = batch.target[:, -P:].flatten(1)
    expected = density(*law(network, batch), y, batch.observed[:, -P:].flatten(1))
    assert found.bound.shape == found.flow.shape == (3, P)
    for part in (found.bound, found.flow):
        assert torch.allclose(part.sum(1), expected, rtol=1e-6)
    assert abs(expected).min() > 1


@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_of_a_path_it_is_given_what_the_path_was_given(factor):
    """Whatever the width of what is drawn: vectors and conditions of an observed path."""
    network, batch, _ = make(gaps=False, starts=(150, 171, 60), bound_samples=False)
    network.eval()
    e = torch.randn(300, 3, generator=torch.Generator().manual_seed(1))
    network.whitening.fit(e + e[:, :1], torch.ones_like(e, dtype=torch.bool), 300)
    network.whitening.stretch(factor)
    past, window = network.pasts(batch), torch.arange(3)
    w = network.innovation_paths(past, 1, torch.tensor([4, 5, 6]))
    rnn, last, conditions = network.begin(past, window).rnn, past.w, []
    for j in range(P):
        h, rnn = network.read_step(past, window, last, rnn, torch.tensor([j]))
        conditions.append(h)
        last = w[:, j]
    target = batch.target.clone()
    target[:, -P:] = network.unrolled(past, w, batch).squeeze(1)
    found = network.observed_horizon(batch._replace(target=target))
    assert torch.allclose(found.x, w, atol=1e-4)
    assert torch.allclose(found.h, torch.stack(conditions, 1), atol=1e-5)


def without(batch, *gaps):
    """The batch with these steps of the horizon and series missing, and nonsense there."""
    target, observed = batch.target.clone(), batch.observed.clone()
    for step, series in gaps:
        observed[:, step - P, series] = False
        target[:, step - P, series] = 1e4
    return batch._replace(target=target, observed=observed)


def test_a_missing_series_costs_nothing_but_itself():
    """Of a normal law it is integrated out: in the last step whatever the series have in common."""
    network, batch = built()
    batch = without(batch, (P - 1, 0), (P - 1, 2))
    found = told(network, batch)
    y = batch.target[:, -P:].flatten(1)
    expected = density(*law(network, batch), y, batch.observed[:, -P:].flatten(1))
    for part in (found.bound, found.flow):
        assert torch.allclose(part.sum(1), expected, rtol=1e-6)


def test_gaps_anywhere_in_series_that_have_nothing_in_common():
    network, batch = built()
    network.whitening.rest.fill_(1.0)
    network.whitening.values.fill_(1.0)
    network.whitening.stretch(1.0)
    batch = without(batch, (0, 0), (1, 1), (2, 1), (3, 0), (4, 2))
    found = told(network, batch)
    y = batch.target[:, -P:].flatten(1)
    expected = density(*law(network, batch, True), y, batch.observed[:, -P:].flatten(1))
    for part in (found.bound, found.flow):
        assert torch.allclose(part.sum(1), expected, rtol=1e-6)


def test_a_step_of_which_nothing_was_observed_has_no_likelihood():
    network, batch = built()
    found = told(network, without(batch, (2, 0), (2, 1), (2, 2)))
    for part in (found.bound, found.flow):
        assert part.isnan().nonzero()[:, 1].tolist() == [2, 2, 2]


def test_what_lies_beyond_the_limit_is_not_cut_off():
    """In the last step; later ones are given it cut off, as in a forecast."""
    network, batch = built()
    batch = batch._replace(target=batch.target.clone())
    scale = network.residuals(batch).scale[:, -1, 1]
    batch.target[:, -1, 1] += 50 * scale
    found = told(network, batch)
    y = batch.target[:, -P:].flatten(1)
    expected = density(*law(network, batch), y, batch.observed[:, -P:].flatten(1))
    assert (expected < -1000).all()
    for part in (found.bound, found.flow):
        assert torch.allclose(part.sum(1), expected, rtol=1e-5)
    assert found.beyond.tolist() == [[0] * (P - 1) + [1]] * 3
    assert LIMIT < 50


def test_values_beyond_the_range_of_training_are_counted():
    network, batch = built()
    network.high[0], network.low[2] = -math.inf, math.inf
    assert (told(network, batch).beyond == 2).all()
    gaps = without(batch, *((step, 2) for step in range(P)))
    assert (told(network, gaps).beyond == 1).all()


def test_of_the_values_themselves_the_scale_is_all_that_changes():
    network, batch = built(prior=False, start="standard")
    found = told(network, batch)
    y = (batch.target[:, -P:] - batch.loc) / batch.scale
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(y) - batch.scale.log()
    assert abs(batch.scale.log()).max() > 0.05
    for part in (found.bound, found.flow):
        assert torch.allclose(part, expected.sum(-1), rtol=1e-6)
    gaps = told(network, without(batch, (2, 0)))
    for part in (gaps.bound, gaps.flow):
        assert part.isnan().nonzero()[:, 1].tolist() == [2, 2, 2]


def test_the_chain_starts_where_the_sampler_does():
    """From the moments of the context, of which a short schedule leaves some; v = 0 keeps them."""
    network, batch = built(prior=False, start="context", schedule="linear", beta_end=0.02)
    c = network.context_length
    y = (batch.target - batch.loc) / batch.scale
    mean, variance = y[:, :c].mean(1, keepdim=True), y[:, :c].var(1, keepdim=True, correction=0)
    alpha, sigma = network.diffusion.schedule.at(10)
    law = torch.distributions.Normal(alpha * mean, (alpha**2 * variance + sigma**2).sqrt())
    expected = (law.log_prob(y[:, c:]) - batch.scale.log()).sum(-1)
    assert alpha > 0.9 and torch.allclose(told(network, batch).flow, expected, rtol=1e-6)


def test_each_step_and_window_has_noise_of_its_own(monkeypatch):
    network, batch = built()
    drawn = []

    def spy(model, x, h, noise, **options):
        drawn.append(noise())
        return torch.zeros_like(x)

    monkeypatch.setattr("timediff.network.likelihood.lower_bound", spy)
    told(network, batch)
    assert len(drawn[0]) == 3 * P == len(drawn[0].unique(dim=0))


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_step_is_given_what_sampling_would_be_given(variant):
    """The rollout, with what was observed in the place of what was drawn."""
    network, batch, _ = make(gaps=False, **VARIANTS[variant])
    network.eval()
    c, window = network.context_length, torch.arange(len(batch.target))
    x = network.diffused(batch)
    with torch.no_grad():
        known = batch.observed.clone()
        known[:, c:] = False
        blank = torch.where(known, batch.target, 1e3)
        past = network._read(batch._replace(target=blank, observed=known))
        state, conditions = past.state, []
        for j in range(network.prediction_length):
            step = torch.tensor([j])
            if hasattr(network, "whitening"):
                last = x[:, c + j - 1] if j else past.w
                h, state = network.read_step(past, window, last, state, step)
            else:
                seen = torch.full_like(x[:, c:], 1e3)
                seen[:, :j] = x[:, c : c + j]
                h, state = network.read_step(past, window, seen, state, step)
            conditions.append(h)
    found = network.observed_horizon(batch)
    assert torch.allclose(found.x, x[:, c:], atol=1e-5)
    assert torch.allclose(found.h, torch.stack(conditions, 1), atol=1e-5)


@pytest.mark.parametrize("variant", ["default", "wavenet", "paper", "context scale"])
def test_nothing_later_is_known(variant):
    network, batch, _ = make(gaps=False, **VARIANTS[variant])
    torch.nn.init.normal_(network.diffusion.denoiser.outlet.weight, std=0.3)
    network.eval()
    before = told(network, batch)
    changed = batch._replace(target=batch.target.clone())
    changed.target[:, -3:] += 0.7
    after = told(network, changed)
    for a, b in zip(before[:2], after[:2], strict=True):
        assert torch.allclose(a[:, : P - 3], b[:, : P - 3], atol=1e-3)
        assert (abs(a[:, P - 3 :] - b[:, P - 3 :]) > 1e-2).any(1).all()


def test_the_noise_follows_from_the_seeds_alone_and_fades_with_draws():
    network, batch, _ = make(gaps=False)
    torch.nn.init.normal_(network.diffusion.denoiser.outlet.weight, std=0.1)
    network.eval()
    first, again = (likelihood(network, batch, torch.arange(5), draws=1) for _ in range(2))
    assert torch.equal(first.bound, again.bound)
    other = likelihood(network, batch, torch.arange(5) + 9, draws=1)
    alone = likelihood(network, next(iter(batch.split(1))), torch.arange(1), draws=1, flow_steps=0)
    assert torch.allclose(alone.bound, first.bound[:1], atol=1e-3) and alone.flow.isnan().all()
    assert not torch.equal(first.bound, other.bound)
    assert torch.equal(first.flow, other.flow)
    more = [likelihood(network, batch, torch.arange(5) + i, draws=64).bound for i in (0, 9)]
    assert (more[0] - more[1]).std() < 0.3 * (first.bound - other.bound).std()
