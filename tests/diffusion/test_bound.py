"""The variational bound, on laws whose density is known."""

import copy
import itertools
import math

import pytest
import torch

from tests.diffusion.gaussian import Gaussian, Points, alpha_bar
from timediff.diffusion import SCHEDULES, ConditionalDiffusion
from timediff.diffusion.bound import bound_terms, lower_bound
from timediff.diffusion.denoisers import MLP, LearnedVariance
from timediff.diffusion.samplers import DDPM, Start
from timediff.errors import OptionError

MEAN, VARIANCE = torch.tensor([0.0, 2.0], dtype=torch.float64), torch.tensor([0.3, 1.5]).double()
X0 = torch.tensor([[0.0, 0.0], [0.4, 3.0], [-6.0, 2.5]], dtype=torch.float64)


def signs(shape, draws=2):
    """Noises over which the mean of a square is exact: every combination of signs, again and again.

    The square of an affine function of independent noises has no third or fourth moment in it.
    """
    rows = [torch.tensor(c) for c in itertools.product((1.0, -1.0), repeat=shape[-1])]
    return itertools.cycle(row.expand(shape) for row in rows[: draws // 2]).__next__


def model_of(name, steps, mean=MEAN, variance=VARIANCE, parameterization="v", **options):
    schedule = SCHEDULES.build(name, num_steps=steps, **options)
    denoiser = Gaussian(schedule, mean, variance, parameterization)
    return ConditionalDiffusion(denoiser, schedule, parameterization)


def best_variance(name, steps, variance=VARIANCE, **options):
    """``Var(x_{k-1} | x_k)`` of normal data, from the joint law of the two."""
    bar = torch.as_tensor(alpha_bar(name, steps, **options))[:, None]
    marginal = bar * variance + 1 - bar
    gain = (bar[1:] / bar[:-1]).sqrt() * marginal[:-1] / marginal[1:]
    return marginal[:-1] - gain**2 * marginal[1:]


def exact(x0, mean=MEAN, variance=VARIANCE):
    return -0.5 * ((x0 - mean) ** 2 / variance + variance.log() + math.log(2 * math.pi))


@pytest.mark.parametrize("parameterization", ["epsilon", "x0", "v", "score"])
@pytest.mark.parametrize("name, steps", [("linear", 100), ("cosine", 20), ("cosine", 3)])
def test_the_bound_of_an_exact_reverse_chain_is_the_density(name, steps, parameterization):
    """Term by term nothing is lost: the density of every point, to the last digits."""
    model = model_of(name, steps, parameterization=parameterization)
    bound = lower_bound(
        model,
        X0,
        torch.zeros_like(X0),
        signs(X0.shape),
        start=Start(MEAN, VARIANCE),
        variance=best_variance(name, steps),
        draws=2,
    )
    assert torch.allclose(bound, exact(X0), rtol=0, atol=1e-9)


def test_of_standard_data_the_forward_variance_is_exact_however_few_the_steps():
    for steps in (1, 2, 10):
        model = model_of("cosine", steps, torch.zeros(2), torch.ones(2))
        found = lower_bound(model, X0, torch.zeros_like(X0), signs(X0.shape), draws=2)
        expected = exact(X0, torch.zeros(2), torch.ones(2))
        assert torch.allclose(found, expected, rtol=0, atol=1e-10)


def test_every_term_is_the_divergence_of_two_normal_laws():
    """Against torch's own divergence, with the posterior of Ho et al. 2020 written out."""
    model, bar = model_of("linear", 6, beta_end=0.5), alpha_bar("linear", 6, end=0.5)
    h, start = torch.zeros_like(X0), Start(MEAN + 0.3, 2 * VARIANCE)
    normal, kl = torch.distributions.Normal, torch.distributions.kl_divergence
    for variance in ("large", "small"):
        terms = bound_terms(model, X0, h, signs(X0.shape), start=start, variance=variance, draws=2)
        assert terms.prior.shape == terms.decoder.shape == X0.shape
        assert terms.steps.shape == (5, *X0.shape)
        top = bar[6]
        own = normal(top**0.5 * X0, (1 - top) ** 0.5)
        begin = normal(top**0.5 * start.mean, (top * start.variance + 1 - top).sqrt())
        assert torch.allclose(terms.prior, kl(own, begin), atol=1e-12)
        for k in range(1, 7):
            beta = 1 - bar[k] / bar[k - 1]
            tilde = (1 - bar[k - 1]) / (1 - bar[k]) * beta
            clipped = tilde if k > 1 else (1 - bar[1]) / (1 - bar[2]) * (1 - bar[2] / bar[1])
            s = (beta if variance == "large" else clipped) ** 0.5
            on_x0 = bar[k - 1] ** 0.5 * beta / (1 - bar[k])
            gain = bar[k] ** 0.5 * VARIANCE / (bar[k] * VARIANCE + 1 - bar[k])
            found = []
            for eps in (1.0, -1.0):
                x = bar[k] ** 0.5 * X0 + (1 - bar[k]) ** 0.5 * eps
                predicted = MEAN + gain * (x - bar[k] ** 0.5 * MEAN)
                p = normal(on_x0 * predicted, s)
                q = on_x0 * X0
                found.append(p.log_prob(q) if k == 1 else kl(normal(q, tilde**0.5), p))
            expected = torch.stack(found).mean(0)
            term = terms.decoder if k == 1 else terms.steps[k - 2]
            assert torch.allclose(term, expected, atol=1e-10), k
        total = terms.decoder - terms.prior - terms.steps.sum(0)
        assert torch.allclose(terms.total, total, atol=1e-12)
        alone = lower_bound(model, X0, h, signs(X0.shape), start=start, variance=variance, draws=2)
        assert torch.allclose(alone, total, atol=1e-12)


def gap(name, steps, variance, **options):
    """What the bound loses on average over the data: the expectation is exact for normal data."""
    points = MEAN + VARIANCE.sqrt() * torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    model, h = model_of(name, steps, **options), torch.zeros_like(points)
    start = Start(MEAN, VARIANCE)
    found = lower_bound(
        model, points, h, signs(points.shape), start=start, variance=variance, draws=2
    )
    return (exact(points) - found).mean(0)


def test_the_gap_of_the_forward_variance_goes_to_0_with_the_steps():
    gaps = torch.stack([gap("cosine", steps, "large") for steps in (10, 100, 1000)])
    assert (gaps > 0).all() and (gaps[0] > 0.004).all()
    ratio = gaps[:-1] / gaps[1:]
    assert (ratio > 8).all() and (gaps[-1] < 1e-3).all(), gaps  # about as 1 / K


def test_the_gap_of_the_posterior_variance_stays():
    """Near the data the best variance is k / (k - 1) times the posterior's, where beta is constant.

    With r - 1 - log r, summed over the steps 2, 3, ...: Euler's constant; the decoder has r = 2.
    """
    expected = 0.5 * (0.5772156649 + 1 - math.log(2))
    found = [gap("constant", steps, "small", beta_end=10 / steps) for steps in (100, 1000)]
    off = [abs(one - expected) for one in found]
    assert (off[1] < off[0] / 4).all() and (off[1] < 0.07).all(), found
    assert (abs(gap("constant", 1000, "large", beta_end=10 / 1000)) < 3e-3).all()


def test_dependent_dimensions_leave_a_gap_that_many_steps_close():
    """Steps with independent noises cannot be the exact reverse of a law that is not."""
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance)
    root = torch.linalg.cholesky(covariance)
    points = torch.stack([root @ torch.tensor(c) for c in ((1.0, 1.0), (1.0, -1.0))])
    gaps = []
    for steps in (5, 50, 500):
        model = model_of("cosine", steps, torch.zeros(2), covariance)
        found = lower_bound(model, points, torch.zeros_like(points), signs((2, 2), 4), draws=4)
        gaps.append((law.log_prob(points) - found.sum(-1)).mean().item())
    assert gaps[0] > 0.1 and gaps[0] / gaps[1] > 5 and gaps[1] / gaps[2] > 8
    assert 0 < gaps[2] < 5e-3, gaps


def test_of_a_single_point_only_decoder_and_prior_are_left():
    schedule = SCHEDULES.build("cosine", num_steps=50)
    point = torch.tensor([[0.7, -1.2]])
    model = ConditionalDiffusion(Points(schedule, point, "x0"), schedule, "x0")
    noise = torch.Generator().manual_seed(0)
    terms = bound_terms(
        model,
        point,
        torch.zeros(1, 1),
        lambda: torch.randn(1, 2, generator=noise),
        start=Start(point, 0.0),
        variance="small",
    )
    assert abs(terms.steps).max() < 1e-12 and abs(terms.prior).max() < 1e-12
    bar = alpha_bar("cosine", 50)
    tilde = (1 - bar[1]) / (1 - bar[2]) * (1 - bar[2] / bar[1])
    expected = torch.full((1, 2), -0.5 * math.log(2 * math.pi * tilde))
    assert torch.allclose(terms.decoder, expected)


def test_it_is_a_bound_of_a_network_that_knows_nothing():
    """The bound of a wrong network lies below the density of the data, on average."""
    model = model_of("cosine", 50, MEAN + 0.5, VARIANCE)
    points = MEAN + VARIANCE.sqrt() * torch.randn(
        500, 2, generator=torch.Generator().manual_seed(0)
    )
    noise = torch.Generator().manual_seed(1)
    found = lower_bound(
        model, points, torch.zeros_like(points), lambda: torch.randn(500, 2, generator=noise)
    )
    lost = (exact(points) - found).mean(0)
    # data that come from N(m, v) and a law N(m + 1/2, v): half of 1/4 over v
    assert (lost > 0.125 / VARIANCE - 0.1).all() and (lost < 0.125 / VARIANCE + 0.3).all(), lost


@pytest.mark.parametrize("shape", [(2,), (5, 2), (2, 3, 4, 2)])
def test_any_leading_axes_and_the_noise_of_a_pair_of_draws(shape):
    model = model_of("cosine", 4)
    x0 = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    calls = []

    def noise():
        calls.append(0)
        return torch.ones(shape)

    before = x0.clone()
    terms = bound_terms(model, x0, torch.zeros(shape), noise, draws=4)
    assert len(calls) == 4 * 2 and terms.total.shape == shape and torch.equal(x0, before)


def test_what_cannot_be_asked():
    model, h = model_of("cosine", 4), torch.zeros_like(X0)
    for options, words in (
        ({"variance": "larg"}, "did you mean 'large'"),
        ({"variance": "learned"}, "has learned no variance"),
        ({"draws": 0}, "at least one"),
    ):
        with pytest.raises(OptionError, match=words):
            lower_bound(model, X0, h, signs(X0.shape), **options)
    with pytest.raises(OptionError, match="variance_weight"):
        DDPM(variance="learned").sample(model, h, signs(X0.shape))


# -- a variance that is learned ----------------------------------------------------------------


class Fixed(MLP):
    """Puts out what it is told."""

    def __init__(self, value):
        super().__init__(2, 2, width=4, blocks=1)
        self.value = value

    def denoise(self, x, k, condition):
        return torch.full_like(x, self.value)


@pytest.mark.parametrize(
    "output, known, share", [(1.0, "large", 1.0), (-1.0, "small", 0.0), (0.2, None, 0.6)]
)
def test_a_learned_variance_lies_between_the_two_in_logarithms(output, known, share):
    plain = model_of("cosine", 8)
    model = ConditionalDiffusion(
        LearnedVariance(plain.denoiser, Fixed(output)), plain.schedule, plain.parameterization
    )
    h = torch.zeros_like(X0)
    learned = lower_bound(model, X0, h, signs(X0.shape), draws=2)
    bar = torch.as_tensor(alpha_bar("cosine", 8))[:, None]
    beta = 1 - bar[1:] / bar[:-1]
    tilde = (1 - bar[:-1]) / (1 - bar[1:]) * beta
    tilde[0] = tilde[1]
    table = beta**share * tilde ** (1 - share)
    for variance in (table, known):
        if variance is not None:
            other = lower_bound(plain, X0, h, signs(X0.shape), variance=variance, draws=2)
            assert torch.allclose(learned, other, atol=1e-10)
    for steps in (None, 3):  # the sampler takes it, in any number of steps
        noises = [torch.randn(3, 2, generator=torch.Generator().manual_seed(i)) for i in range(9)]
        drawn = [
            DDPM(steps, **options).sample(one, h, iter(noises).__next__)
            for one, options in (
                (model, {"variance": "learned"}),
                (plain, {"variance": "interpolated", "interpolation": share}),
            )
        ]
        assert torch.allclose(*drawn, atol=1e-10)


def test_what_is_compiled_is_the_network_that_predicts():
    denoiser = LearnedVariance(MLP(2, 2, width=4, blocks=1), MLP(2, 2, width=4, blocks=1))
    assert not denoiser.is_compiled
    denoiser.compile_kernel()
    assert denoiser.is_compiled and denoiser.denoiser.is_compiled
    assert not denoiser.variance.is_compiled and not copy.deepcopy(denoiser).is_compiled


def test_the_second_part_of_the_loss_is_the_bound():
    """Its mean over the steps, times K, is minus the bound without the prior's term."""
    plain = model_of("cosine", 8)
    model = ConditionalDiffusion(
        LearnedVariance(plain.denoiser, Fixed(0.2)), plain.schedule, "v", variance_weight=0.01
    )
    x0 = X0[1].expand(100_000, 2)
    h = torch.zeros_like(x0)
    both, first = (m.loss(x0, h, torch.Generator().manual_seed(0)) for m in (model, plain))
    second = (both - first) / 0.01
    terms = bound_terms(model, X0[[1]], torch.zeros(1, 2), signs((1, 2)), draws=2)
    expected = (terms.steps.sum(0) - terms.decoder)[0]
    assert (abs(second.mean(0) - expected) < 4.5 * second.std(0) / 100_000**0.5).all()


def test_the_bound_teaches_the_variance_and_leaves_the_prediction_alone():
    torch.manual_seed(0)
    schedule = SCHEDULES.build("cosine", num_steps=8)
    mean, spread = MLP(2, 2, width=8, blocks=1), MLP(2, 2, width=8, blocks=1)
    x0 = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    h, gradients = torch.randn(50, 2), []
    for denoiser in (mean, LearnedVariance(mean, spread)):
        mean.zero_grad()
        model = ConditionalDiffusion(denoiser, schedule, "v", variance_weight=0.5)
        model.loss(x0, h, torch.Generator().manual_seed(0)).mean().backward()
        gradients.append([p.grad.clone() for p in mean.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert all(abs(p.grad).max() > 0 for p in spread.parameters())


def test_the_variance_of_standard_data_is_learned():
    """It is the forward variance: a share of 1, where the two differ at all."""
    torch.manual_seed(0)
    schedule = SCHEDULES.build("cosine", num_steps=6)
    perfect = Gaussian(schedule, torch.zeros(2), torch.ones(2), "v")
    denoiser = LearnedVariance(perfect, MLP(2, 2, width=16, blocks=1))
    model = ConditionalDiffusion(denoiser, schedule, "v", variance_weight=1.0)
    optimizer = torch.optim.Adam(denoiser.variance.parameters(), 0.02)
    generator = torch.Generator().manual_seed(0)
    h = torch.zeros(256, 2)
    for _ in range(200):
        optimizer.zero_grad()
        x0 = torch.randn(256, 2, generator=generator)
        model.loss(x0, h, generator).mean().backward()
        optimizer.step()
    x0 = torch.randn(256, 2, generator=generator)
    with torch.no_grad():
        shares = [
            denoiser.fraction(x0, torch.full((256,), k), denoiser.condition(h)).mean()
            for k in (1, 2)
        ]
    assert all(0.85 < share < 1.15 for share in shares), shares
