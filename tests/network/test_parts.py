"""Scaling, the location-scale head, the encoder: each against something simple."""

import math

import pytest
import torch

from timediff.network import SCALERS, Encoder, LocationScale, prior
from timediff.network.prior import gaussian_nll


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


def head(**sizes) -> LocationScale:
    torch.manual_seed(0)
    return LocationScale(3, 4, 2, profile=True, **sizes)


def inputs(level: float = 0.0) -> tuple:
    g = torch.Generator().manual_seed(1)
    lags = level + torch.randn(5, 7, 4, 3, generator=g)
    profile = torch.stack([level + torch.randn(5, 7, 3, generator=g), torch.ones(5, 7, 3)], dim=2)
    return lags, profile, torch.randn(5, 7, 2, generator=g), torch.full((5, 1, 3), 0.1)


@pytest.mark.parametrize("rows", [1, 42, 63, 10**6])
def test_the_head_is_the_same_in_blocks_of_rows(monkeypatch, rows):
    whole = head()(*inputs())
    monkeypatch.setattr(prior, "ROWS", rows)
    for got, expected in zip(head()(*inputs()), whole, strict=True):
        assert got.shape == (5, 7, 3)
        torch.testing.assert_close(got, expected)


def test_the_head_shares_its_weights_over_series():
    """Without embeddings, exchanging two series exchanges their forecasts."""
    shared = head(embedding_dim=0)
    lags, profile, calendar, spread = inputs()
    order = torch.tensor([2, 0, 1])
    plain = shared(lags, profile, calendar, spread)
    moved = shared(lags[..., order], profile[..., order], calendar, spread)
    for a, b in zip(plain, moved, strict=True):
        assert torch.allclose(a[..., order], b, atol=1e-6)


def test_a_location_is_an_average_of_the_past_up_to_a_few_spreads():
    lags, profile, calendar, spread = inputs(level=1.0)
    loc, scale = head()(lags, profile, calendar, torch.zeros_like(spread))
    anchors = torch.cat([lags, profile[..., :1, :]], dim=-2)
    assert (loc <= anchors.amax(-2) + 1e-6).all() and (loc >= anchors.amin(-2) - 1e-6).all()
    assert (scale == 0).all()  # it is a multiple of the spread
    assert (head()(lags, profile, calendar, spread)[1] > 0).all()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_repeated_state_goes_on_like_the_one_it_came_from(cell):
    torch.manual_seed(0)
    encoder = Encoder(4, cell, hidden_size=6, num_layers=2, cond_dim=5)
    past, next_step = torch.randn(3, 8, 4), torch.randn(3, 1, 4)
    _, state = encoder(past)
    h, _ = encoder(next_step, state)
    paths, _ = encoder(next_step.repeat_interleave(4, 0), encoder.repeat(state, 4))
    assert h.shape == (3, 1, 5)
    assert torch.allclose(paths, h.repeat_interleave(4, 0), atol=1e-6)
