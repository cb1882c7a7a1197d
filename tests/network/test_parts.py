"""Scaling, prior, dynamics, whitening, encoder: each against something simple."""

import math

import pytest
import torch
from torch.nn import functional as F

from timediff.network import SCALERS, Dynamics, Encoder, HorizonPrior, Rows, Whitening
from timediff.network.prior import gaussian_crps, gaussian_nll, out_of_reach, soften


@pytest.mark.parametrize("name", SCALERS)
def test_scaling_goes_there_and_back(name):
    x = 7 + 3 * torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(0))
    affine = SCALERS[name](x, torch.ones_like(x, dtype=torch.bool))
    assert affine.loc.shape == affine.scale.shape == (4, 1, 3)
    assert torch.allclose(affine.restore(affine.normalize(x)), x, atol=1e-5)


def test_scales_are_what_their_names_say():
    x = torch.tensor([[1.0], [2.0], [3.0], [10.0], [99.0]])
    observed = torch.tensor([[True], [True], [True], [True], [False]])
    assert SCALERS["mean"](x, observed).scale.item() == 4.0
    standard = SCALERS["standard"](x, observed)
    assert standard.loc.item() == 4.0
    assert math.isclose(standard.scale.item(), math.sqrt(12.5), rel_tol=1e-6)
    robust = SCALERS["robust"](x, observed)
    assert robust.loc.item() == 2.5
    assert math.isclose(robust.scale.item(), (4.75 - 1.75) / 1.349, rel_tol=1e-6)


@pytest.mark.parametrize("name", SCALERS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
def test_what_is_not_observed_does_not_reach_the_scale(name, poison):
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[3, 0] = observed[10:, 1] = False
    clean, poisoned = (SCALERS[name](torch.where(observed, x, p), observed) for p in (0.0, poison))
    assert torch.equal(clean.loc, poisoned.loc) and torch.equal(clean.scale, poisoned.scale)


@pytest.mark.parametrize("name", SCALERS)
def test_without_a_mask_everything_was_observed(name):
    x = torch.randn(3, 50, 4) * torch.tensor([1e-3, 1.0, 0.0, 1e6])
    masked = SCALERS[name](x, torch.ones_like(x, dtype=torch.bool))
    assert all(map(torch.equal, SCALERS[name](x, None), masked))


@pytest.mark.parametrize("name", SCALERS)
@pytest.mark.parametrize("level", [0.0, 5.0, -1e-9, 1e9])
def test_a_constant_or_empty_series_has_a_positive_scale(name, level):
    x = torch.full((10, 1), level)
    for observed in (torch.ones(10, 1, dtype=torch.bool), torch.zeros(10, 1, dtype=torch.bool)):
        affine = SCALERS[name](x, observed)
        assert affine.scale.item() > 0 and math.isfinite(affine.scale.item())
        assert abs(affine.normalize(x)).max() < math.inf


def test_the_likelihood_is_that_of_the_normal_distribution():
    x, loc, scale = torch.randn(3, 2, 4).unbind()[0], torch.zeros(2, 4), torch.full((2, 4), 1.7)
    expected = -torch.distributions.Normal(loc, scale).log_prob(x)
    assert torch.allclose(gaussian_nll(x, loc, scale), expected)


def test_the_crps_is_that_of_the_normal_distribution():
    """Against the definition: the integral of the squared difference of the two CDFs."""
    x, loc, scale = torch.tensor([0.3, -2.0, 5.0]), torch.tensor([0.0, 1.0, 4.0]), 1.7
    at = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
    for value, middle in zip(x, loc, strict=True):
        cdf = torch.distributions.Normal(middle.double(), scale).cdf(at)
        expected = torch.trapezoid((cdf - (at >= value).double()) ** 2, at)
        got = gaussian_crps(value, middle, torch.tensor(scale))
        assert got.item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_value_out_of_reach_costs_what_it_is_too_far_away():
    x = torch.tensor([0.0, 4.9, -7.0, 20.0, 20.0 * math.e**2, 0.0])
    loc = torch.zeros(6, requires_grad=True)
    scale = torch.ones(6, requires_grad=True)
    cost = out_of_reach(x, loc, scale, 5.0)
    assert cost.tolist() == pytest.approx([0, 0, 0.6, 4.5, 4.5 + 12, 0], rel=1e-5)
    cost.sum().backward()
    assert loc.grad is None  # only the scale is to give way, the more, the further off
    assert scale.grad.tolist() == pytest.approx([0, 0, -2.1, -6, -6, 0], rel=1e-5)
    assert not out_of_reach(x, loc, scale, None).any()


P, LOOKBACK, SEASONAL, CALENDAR = 6, 12, 3, 2


def prior(seasonal: int = SEASONAL, trained: bool = False, **sizes) -> HorizonPrior:
    torch.manual_seed(0)
    made = HorizonPrior(3, P, LOOKBACK, seasonal, 1, CALENDAR, level=6, width=16, **sizes).eval()
    if trained:
        torch.nn.init.normal_(made.outlet.weight, std=0.3)
    return made


def rows(level: float = 0.0, seasonal: int = SEASONAL, number: int = 50) -> Rows:
    g = torch.Generator().manual_seed(1)
    one = torch.ones(number)
    return Rows(
        recent=level + torch.randn(number, LOOKBACK, generator=g),
        seasonal=level + torch.randn(number, P, seasonal, generator=g),
        profile=level + torch.randn(number, P, 1, generator=g),
        past=level + torch.randn(number, generator=g),
        calendar=torch.randn(number, P, CALENDAR, generator=g),
        series=torch.randint(3, (number,), generator=g),
        unit=0.5 * one,
        change=one,
        scale=one,
    )


def anchors_of(past: Rows) -> torch.Tensor:
    last = past.recent[:, -1:, None].expand(-1, P, 1)
    level = past.recent[:, -6:].mean(1)[:, None, None].expand(-1, P, 1)
    whole = past.past[:, None, None].expand(-1, P, 1)
    mean = past.seasonal.mean(-1, keepdim=True)
    return torch.cat([last, level, whole, past.profile, past.seasonal, mean], dim=-1)


@pytest.mark.parametrize(
    "best", ["last", "latest season", "mean of seasons", "mean of many seasons", "mean of the past"]
)
def test_the_prior_starts_as_the_best_simple_forecast(best):
    past = rows(number=2000)
    truth = {
        "last": past.recent[:, -1:].expand(-1, P),
        "latest season": past.seasonal[..., 0],
        "mean of seasons": past.seasonal.mean(-1),
        "mean of many seasons": past.profile[..., 0],
        "mean of the past": past.past[:, None].expand(-1, P),
    }[best]
    g = torch.Generator().manual_seed(2)
    target = truth + 0.02 * torch.randn(truth.shape, generator=g)
    made = prior()
    made.start(past, target, torch.ones_like(target, dtype=torch.bool), reach=5.0)
    loc, scale = made(past)
    assert (loc - truth).abs().max() < 0.02
    assert scale.mean().item() == pytest.approx(0.02, rel=0.15)


def test_where_most_outcomes_are_exact_the_others_stay_within_reach():
    past = rows(number=2000)
    g = torch.Generator().manual_seed(2)
    off = torch.rand(2000, P, generator=g) < 0.1
    target = past.profile[..., 0] + torch.where(off, 3.0, 0.0)
    scales = {}
    for reach in (5.0, None):
        made = prior()
        made.start(past, target, torch.ones_like(off), reach)
        scales[reach] = made(past)[1].mean().item()
    assert scales[None] < 3 / 50  # the best for the score: nothing but what is exact is in reach
    assert 3 / 10 < scales[5.0] < 3


def test_the_start_does_not_see_what_was_not_observed():
    past = rows()
    target = torch.randn(50, P, generator=torch.Generator().manual_seed(3))
    observed = target > -0.5
    constants = []
    for poison in (0.0, 1e9, float("nan")):
        made = prior()
        made.start(past, torch.where(observed, target, poison), observed, reach=5.0)
        constants.append((made.weights.detach(), made.rho.detach()))
    for weights, rho in constants[1:]:
        assert torch.equal(weights, constants[0][0]) and torch.equal(rho, constants[0][1])


@pytest.mark.parametrize("seasonal", [0, 1, 3])
@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_the_prior_moves_with_the_level_and_the_unit(seasonal, level):
    """A series in other units, or on another level, has the same forecast in those units."""
    past = rows(seasonal=seasonal)
    made = prior(seasonal, trained=True)
    loc, scale = made(past)
    other = past._replace(
        recent=level + 4 * past.recent,
        seasonal=level + 4 * past.seasonal,
        profile=level + 4 * past.profile,
        past=level + 4 * past.past,
        **{name: 4 * getattr(past, name) for name in ("unit", "change", "scale")},
    )
    loc_there, scale_there = made(other)
    torch.testing.assert_close(loc_there, level + 4 * loc, rtol=1e-4, atol=2e-3)
    torch.testing.assert_close(scale_there, 4 * scale, rtol=2e-3, atol=1e-3)
    assert (scale > 0).all()


def test_the_prior_shares_its_weights_over_series():
    past = rows()
    shared = prior(trained=True, embedding_dim=0)
    renamed = past._replace(series=past.series.flip(0))
    assert torch.equal(shared(past)[0], shared(renamed)[0])
    own = prior(trained=True)
    assert not torch.equal(own(past)[0], own(renamed)[0])


def test_a_location_is_an_average_of_the_anchors_up_to_a_few_units():
    past = rows()
    made = prior(trained=True)
    torch.nn.init.zeros_(made.outlet.weight[-2:])  # the corrections
    loc, _ = made(past)
    anchors = anchors_of(past)
    assert (loc <= anchors.amax(-1) + 1e-5).all() and (loc >= anchors.amin(-1) - 1e-5).all()


def test_dropout_takes_the_same_units_away_at_all_steps():
    made = prior(dropout=0.5)
    x = torch.rand(40, P, 7) + 1
    assert torch.equal(made._drop_steps(x), x)
    dropped = made.train()._drop_steps(x)
    gone = dropped == 0
    assert 0.3 < gone.float().mean() < 0.7
    assert torch.equal(gone, gone[:, :1].expand_as(gone))
    assert torch.allclose(dropped[~gone], 2 * x[~gone])


def test_far_inputs_grow_like_a_square_root():
    x = torch.tensor([-1e4, -1e-3, 0.0, 1e-3, 1e4])
    assert torch.allclose(soften(x), torch.tensor([-100.0, -1e-3, 0, 1e-3, 100]), rtol=1e-3)


def autoregression(number: int = 20_000) -> torch.Tensor:
    """``z_j = .8 z_(j-1) - .3 z_(j-2) + .5 e_j`` from 0."""
    noise = 0.5 * torch.randn(number, P, generator=torch.Generator().manual_seed(0))
    z = torch.zeros(number, P + 2)
    for j in range(P):
        z[:, j + 2] = 0.8 * z[:, j + 1] - 0.3 * z[:, j] + noise[:, j]
    return z[:, 2:]


def test_the_dynamics_start_as_the_least_squares_autoregression():
    z = autoregression()
    observed = torch.rand(z.shape, generator=torch.Generator().manual_seed(1)) < 2  # all
    torch.manual_seed(0)
    dynamics = Dynamics(3, P, CALENDAR)
    dynamics.start(z, observed)
    expected = torch.tensor([0.8, -0.3])
    assert torch.allclose(dynamics.phi[2:], expected.expand(P - 2, 2), atol=0.03)
    assert torch.allclose(dynamics.phi[0], torch.zeros(2), atol=1e-6)
    series, calendar = torch.zeros(len(z), dtype=torch.long), torch.zeros(len(z), P, CALENDAR)
    loc, scale = dynamics.innovations(z, observed, series, calendar)
    e = (z - loc) / scale
    assert e.std(0).sub(1).abs().max() < 0.03
    assert (scale.mean(0) - 0.5).abs().max() < 0.02


def test_step_by_step_the_dynamics_are_what_they_are_all_at_once():
    z = autoregression(20)
    torch.manual_seed(0)
    dynamics = Dynamics(3, P, CALENDAR)
    torch.nn.init.normal_(dynamics.outlet.weight)
    observed = torch.ones_like(z, dtype=torch.bool)
    dynamics.start(z, observed)
    series, calendar = torch.arange(20) % 3, torch.randn(20, P, CALENDAR)
    loc, scale = dynamics.innovations(z, observed, series, calendar)
    context = dynamics.context(series, calendar)
    past = torch.zeros(20, 2)
    for j in range(P):
        now = dynamics(past, context[:, j], dynamics.phi[j], dynamics.rho[j])
        assert torch.allclose(now[0], loc[:, j], atol=1e-6)
        assert torch.allclose(now[1], scale[:, j], atol=1e-6)
        past = torch.stack([z[:, j], past[:, 0]], dim=-1)


def gaps(z: torch.Tensor) -> torch.Tensor:
    return torch.rand(z.shape, generator=torch.Generator().manual_seed(2)) < 0.5


def test_missing_residuals_do_not_make_the_dynamics_explode():
    z = autoregression()
    observed = gaps(z)
    dynamics = Dynamics(3, P, CALENDAR)
    dynamics.start(torch.where(observed, z, 99.0), observed)
    assert torch.allclose(dynamics.phi[2:], torch.tensor([0.8, -0.3]).expand(P - 2, 2), atol=0.08)
    assert (F.softplus(dynamics.rho) - 0.5).abs().max() < 0.02
    series, calendar = torch.zeros(len(z), dtype=torch.long), torch.zeros(len(z), P, CALENDAR)
    loc, scale = dynamics.innovations(z, observed, series, calendar)
    e = torch.where(observed, (z - loc) / scale, 0.0)
    assert (e.square().sum(0) / observed.sum(0) - 1).abs().max() < 0.08
    nothing = torch.zeros_like(observed)  # or every second one: there are no pairs to learn from
    nothing[:, ::3] = True
    dynamics.start(z, nothing)
    assert dynamics.phi.abs().max() < 0.05 and dynamics.rho.isfinite().all()


def test_a_long_gap_after_a_surprise_does_not_make_the_dynamics_explode():
    torch.manual_seed(0)
    p = 60
    dynamics = Dynamics(1, p, CALENDAR)
    dynamics.phi.data = torch.tensor([1.2, 0.0]).expand(p, 2).clone()  # a residual grows
    out, hidden = dynamics.outlet, dynamics.hidden[1]
    for layer in (dynamics.past, hidden, out):  # the more so the larger it is
        torch.nn.init.constant_(layer.weight, 0.05)
    z, observed = torch.full((2, p), 9.0), torch.ones(2, p, dtype=torch.bool)
    observed[0, 2:-1] = False
    z.requires_grad_()
    parts = torch.zeros(2, dtype=torch.long), torch.zeros(2, p, CALENDAR)
    loc, scale = dynamics.innovations(z, observed, *parts)
    assert loc.isfinite().all() and scale.isfinite().all()
    assert loc[0, 2:].min() > 10.0  # where it grows to is no more than what it grows to from 10
    at_most, _ = dynamics.innovations(torch.full((2, p), 10.0), torch.ones_like(observed), *parts)
    assert (loc[0, 4:] <= at_most[0, 4:] + 1e-5).all()
    ((loc + scale).sum()).backward()
    assert all(q.grad.isfinite().all() for q in (*dynamics.parameters(), z) if q.grad is not None)


def test_the_law_of_a_residual_given_those_observed_before_is_exact():
    z = autoregression(50).double()
    torch.manual_seed(0)
    dynamics = Dynamics(3, P, CALENDAR).double()
    dynamics.phi.data = torch.tensor([0.8, -0.3]).double().expand(P, 2).clone()
    dynamics.rho.data = torch.linspace(-1, 1, P).double()
    s = F.softplus(dynamics.rho.detach()) + 1e-3
    inverse = torch.eye(P).double()  # (inverse z) = s e
    for j in range(P):
        for k, phi in ((1, 0.8), (2, -0.3)):
            if j >= k:
                inverse[j, j - k] = -phi
    root = torch.linalg.inv(inverse) * s
    law = root @ root.T
    observed = gaps(z)
    series = torch.zeros(len(z), dtype=torch.long)
    calendar = torch.zeros(len(z), P, CALENDAR).double()
    loc, scale = (x.detach() for x in dynamics.innovations(z, observed, series, calendar))
    for i in range(50):
        if not observed[i].any():
            continue
        for j in range(P):
            known = observed[i].nonzero().flatten()
            known = known[known < j]
            weight = torch.linalg.solve(law[known][:, known], law[known, j])
            assert loc[i, j] == pytest.approx((weight @ z[i, known]).item(), abs=1e-6)
            left = law[j, j] - weight @ law[known, j]
            assert scale[i, j] == pytest.approx(left.sqrt().item(), rel=1e-6)


def correlated(number: int) -> torch.Tensor:
    noise = torch.randn(number, 4, generator=torch.Generator().manual_seed(0))
    return noise @ torch.tensor([[2.0, 0, 0, 0], [1, 1, 0, 0], [0, 0.5, 1, 0], [0, 0, 0, 0.1]]).T


def covariance_of(whitening: Whitening) -> torch.Tensor:
    root = whitening.back(torch.eye(len(whitening.deviation)))
    return root.T @ root


def test_whitening_makes_white_and_goes_back():
    e = correlated(50_000)
    whitening = Whitening(4)
    assert torch.equal(whitening(e), e)  # before it is fitted
    whitening.fit(e, torch.ones_like(e, dtype=torch.bool), len(e))
    assert torch.allclose(torch.cov(whitening(e).T), torch.eye(4), atol=0.01)
    assert torch.allclose(whitening.back(whitening(e)), e, atol=1e-4)


@pytest.mark.parametrize("rank", [4, 2])
def test_what_is_drawn_may_be_wider_than_what_is_read(rank):
    e = correlated(5000)
    whitening = Whitening(4, rank)
    whitening.fit(e, torch.ones_like(e, dtype=torch.bool), len(e))
    white, before = whitening(e), covariance_of(whitening)
    whitening.stretch(2.0)
    assert torch.equal(whitening(e), white)
    first = whitening.vectors[:, whitening.values.argmax()]
    part = whitening.values.max() * torch.outer(*2 * [whitening.deviation * first])
    exact = before + 3.0 * part
    assert torch.allclose(covariance_of(whitening), exact, atol=1e-4)
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    white_weights = whitening.back_transposed(weights)
    assert torch.allclose(white_weights @ white_weights.T, weights @ exact @ weights.T, rtol=1e-4)
    drawn = whitening.as_drawn()  # to it, what is drawn is what is white
    assert torch.allclose(drawn(whitening.back(white)), white, atol=1e-3)
    assert torch.allclose(covariance_of(drawn), exact, atol=1e-4)
    whitening.fit(e, torch.ones_like(e, dtype=torch.bool), len(e))  # begins anew
    assert torch.allclose(covariance_of(whitening), before, atol=1e-6)


@pytest.mark.parametrize("number", [40, 5000])  # fewer and more than there are series
def test_whitening_of_few_principal_components_is_the_best_of_its_kind(number):
    """Of factors and noise that is alike: the components are kept, the rest is averaged."""
    generator = torch.Generator().manual_seed(0)
    loadings = 2 * torch.nn.functional.normalize(torch.randn(60, 3, generator=generator))
    factors = torch.randn(number, 3, generator=generator)
    e = factors @ loadings.T + torch.randn(number, 60, generator=generator)
    whole, few = Whitening(60), Whitening(60, rank=3)
    for whitening in (whole, few):
        whitening.fit(e, torch.ones_like(e, dtype=torch.bool), len(e))
        assert torch.allclose(whitening.back(whitening(e)), e, atol=2e-3)
    ours, exact = covariance_of(few), covariance_of(whole)
    assert torch.allclose(ours.diagonal(), exact.diagonal(), rtol=1e-3)
    truth = loadings @ loadings.T + torch.eye(60)
    assert (ours - truth).norm() < 1.1 * (exact - truth).norm()


@pytest.mark.parametrize(
    ("dim", "number", "missing"), [(300, 150, 0.0), (300, 150, 0.2), (300, 700, 0.3)]
)
def test_whitening_holds_for_what_it_was_not_fitted_to(dim, number, missing):
    """More series than observations, or many gaps, do not make it divide by next to nothing."""
    generator = torch.Generator().manual_seed(0)

    def draw(n: int) -> torch.Tensor:
        common = torch.randn(n, 1, generator=generator)
        return 0.8 * common + 0.6 * torch.randn(n, dim, generator=generator)

    e = draw(number)
    observed = torch.rand(e.shape, generator=generator) >= missing
    whitening = Whitening(dim)
    whitening.fit(e, observed, number)
    assert 0.7 < whitening(draw(2000)).var() < 2.5


def test_whitening_does_not_trust_few_observations():
    few = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))  # independent
    whitening = Whitening(40)
    whitening.fit(few, torch.ones_like(few, dtype=torch.bool), len(few))
    covariance = covariance_of(whitening)
    scale = covariance.diagonal().sqrt()
    correlation = covariance / scale / scale[:, None] - torch.eye(40)
    assert correlation.abs().max() < 0.35  # where the sample's own reach 0.8
    assert torch.corrcoef(few.T).sub(torch.eye(40)).abs().max() > 0.7


def test_whitening_leaves_out_what_was_not_observed():
    e = correlated(5000)
    observed = torch.rand(e.shape, generator=torch.Generator().manual_seed(1)) < 0.8
    found = []
    for poison in (0.0, float("nan")):
        whitening = Whitening(4)
        whitening.fit(torch.where(observed, e, poison), observed, len(e))
        found.append(covariance_of(whitening))
    assert torch.equal(*found)
    assert torch.allclose(found[0], torch.cov(e.T), atol=0.25)


def gappy(number: int) -> tuple[Whitening, torch.Tensor, torch.Tensor]:
    e = correlated(number)
    whitening = Whitening(4)
    whitening.fit(e, torch.ones_like(e, dtype=torch.bool), len(e))
    observed = torch.rand(e.shape, generator=torch.Generator().manual_seed(5)) < 0.7
    observed[0], observed[1] = False, True
    return whitening, e, observed


def test_what_is_missing_is_filled_with_its_conditional_mean():
    whitening, e, observed = gappy(200)
    covariance = covariance_of(whitening)
    filled = whitening.complete(torch.where(observed, e, 1e6), observed)
    for row, known, got in zip(e, observed, filled, strict=True):
        inner = covariance[known][:, known]
        expected = covariance[~known][:, known] @ torch.linalg.solve(inner, row[known])
        assert torch.equal(got[known], row[known])
        assert torch.allclose(got[~known], expected, atol=2e-3)


def test_gaps_leave_the_innovations_of_the_other_series_white():
    whitening, e, observed = gappy(50_000)
    noise = torch.randn(e.shape, generator=torch.Generator().manual_seed(6))
    w = whitening(whitening.complete(torch.where(observed, e, 0.0), observed, noise))
    assert torch.allclose(torch.cov(w.T), torch.eye(4), atol=0.03)
    careless = whitening(torch.where(observed, e, 0.0))
    assert not torch.allclose(torch.cov(careless.T), torch.eye(4), atol=0.2)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_state_of_many_paths_goes_on_like_the_one_it_came_from(cell):
    torch.manual_seed(0)
    encoder = Encoder(4, cell, hidden_size=6, num_layers=2, cond_dim=5)
    past, next_step = torch.randn(3, 8, 4), torch.randn(3, 1, 4)
    _, state = encoder(past)
    h, _ = encoder(next_step, state)
    which = torch.tensor([2, 0, 0, 1])
    paths, _ = encoder(next_step[which], encoder.select(state, which))
    assert h.shape == (3, 1, 5)
    assert torch.allclose(paths, h[which], atol=1e-6)
    apart = [encoder(past[i : i + 1])[1] for i in range(3)]
    assert torch.allclose(encoder(next_step, encoder.join(apart))[0], h, atol=1e-6)
