"""The forward process, the loss, and sampling from a perfect network."""

import math

import pytest
import torch

from tests.diffusion.gaussian import Gaussian, Points, alpha_bar
from timediff.diffusion import SAMPLERS, SCHEDULES, ConditionalDiffusion, Denoiser
from timediff.diffusion.samplers import DDIM, DDPM, DPMSolver
from timediff.diffusion.weighting import MinSNR
from timediff.errors import OptionError


class Constant(Denoiser):
    """Always puts out the same."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def condition(self, h):
        return h

    def denoise(self, x, k, condition):
        return torch.full_like(x, self.value)


def linear(num_steps=10, **options):
    return SCHEDULES.build("linear", num_steps=num_steps, **options)


@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 5, 4), (5, 1)])
def test_the_forward_process(shape):
    model = ConditionalDiffusion(Constant(0.0), linear())
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, *shape, generator=generator).unbind()
    bar = torch.as_tensor(alpha_bar("linear", 10))
    k = torch.randint(0, 11, shape[:-1], generator=generator)
    x = model.q_sample(x0, k, eps)
    expected = bar[k].sqrt()[..., None] * x0 + (1 - bar[k]).sqrt()[..., None] * eps
    assert torch.allclose(x, expected)
    assert torch.equal(model.q_sample(x0, torch.zeros(shape[:-1], dtype=torch.long), eps), x0)


@pytest.mark.parametrize("parameterization", ["epsilon", "x0", "v", "score"])
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 5, 4), (5, 1)])
def test_the_loss_is_not_reduced(shape, parameterization):
    model = ConditionalDiffusion(Constant(0.0), linear(), parameterization)
    loss = model.loss(torch.zeros(shape), torch.zeros(*shape[:-1], 7))
    assert loss.shape == shape
    assert (loss >= 0).all()


def test_arguments_stay_as_they_were():
    model = ConditionalDiffusion(Constant(0.0), linear())
    generator = torch.Generator().manual_seed(0)
    x0, h, eps = torch.randn(3, 20, 4, generator=generator).unbind()
    k = torch.arange(20) % 10 + 1
    before = x0.clone(), h.clone(), eps.clone(), k.clone()
    model.loss(x0, h)
    model.q_sample(x0, k, eps)
    model.predict(x0, 3, h)
    for name in SAMPLERS:
        SAMPLERS.build(name).sample(model, h, lambda: eps)
    assert all(torch.equal(a, b) for a, b in zip((x0, h, eps, k), before, strict=True))


class Spy(Denoiser):
    """Keeps what it is shown; puts out some nonlinear function of it."""

    def condition(self, h):
        return h

    def denoise(self, x, k, condition):
        self.x, self.k = x, k
        return torch.tanh(x) * condition + 0.1 * k.unsqueeze(-1)


@pytest.mark.parametrize("name", ["l2", "l1", "huber"])
@pytest.mark.parametrize("parameterization", ["epsilon", "x0", "v"])
def test_the_value_of_the_loss(parameterization, name):
    spy = Spy()
    model = ConditionalDiffusion(spy, linear(), parameterization, name)
    generator = torch.Generator().manual_seed(0)
    x0, h = torch.randn(2, 400, 3, generator=generator).unbind()
    loss = model.loss(x0, h, torch.Generator().manual_seed(5))
    assert torch.equal(spy.k.unique(), torch.arange(1, 11))  # every step from 1 to K is trained
    alpha = torch.as_tensor(alpha_bar("linear", 10))[spy.k].sqrt()[..., None]
    sigma = (1 - alpha**2).sqrt()
    eps = (spy.x - alpha * x0) / sigma
    assert abs(eps.mean()) < 0.1 and abs(eps.std() - 1) < 0.1
    target = {"epsilon": eps, "x0": x0, "v": alpha * eps - sigma * x0}[parameterization]
    error = torch.tanh(spy.x) * h + 0.1 * spy.k[..., None] - target
    expected = {
        "l2": error**2,
        "l1": error.abs(),
        "huber": torch.where(error.abs() < 1, error**2 / 2, error.abs() - 0.5),
    }[name]
    assert torch.allclose(loss, expected, atol=1e-9)


@pytest.mark.parametrize("parameterization", ["epsilon", "x0", "v", "score"])
def test_min_snr_weighs_the_error_of_x0(parameterization):
    """Weights as in Hang et al. 2023, whatever the network predicts."""
    gamma, losses, spies = 5.0, [], []
    for given in (None, gamma):
        spies.append(Spy())
        model = ConditionalDiffusion(
            spies[-1],
            linear(),
            parameterization,
            weighting="simple" if given is None else MinSNR(given),
        )
        generator = torch.Generator().manual_seed(0)
        x0, h = torch.randn(2, 4000, 3, generator=generator).unbind()
        losses.append(model.loss(x0, h, torch.Generator().manual_seed(5)))
    alpha2 = torch.as_tensor(alpha_bar("linear", 10))[..., None]
    snr = alpha2 / (1 - alpha2)
    known = {"epsilon": 1 / snr, "x0": 1.0, "v": 1 / (snr + 1), "score": 1 / snr}[parameterization]
    weight = snr.clamp(max=gamma) * known
    weight = weight / weight[1:].mean()
    plain, weighed = losses
    expected = weight[spies[1].k].float() * plain
    assert torch.allclose(weighed, expected.to(weighed), rtol=1e-4)


def test_min_snr_must_be_positive():
    with pytest.raises(OptionError, match="min_snr is 0"):
        MinSNR(0.0)


def test_the_steps_of_the_loss_are_drawn_evenly_and_for_each_row():
    spy = Spy()
    model = ConditionalDiffusion(spy, linear(4))
    model.loss(torch.zeros(100, 100, 1), torch.zeros(100, 100, 1), torch.Generator().manual_seed(0))
    assert spy.k.shape == (100, 100)
    share = torch.bincount(spy.k.flatten(), minlength=5) / 1e4
    assert share[0] == 0 and abs(share[1:] - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 1e4)


def test_a_generator_makes_the_loss_repeatable():
    model = ConditionalDiffusion(Constant(0.0), linear())

    def loss(seed):
        return model.loss(torch.zeros(6, 4), torch.zeros(6, 2), torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    assert torch.equal(loss(0), loss(0)) and not torch.equal(loss(0), loss(1))
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(3)
    first = model.loss(torch.zeros(6, 4), torch.zeros(6, 2))
    torch.manual_seed(3)
    assert torch.equal(first, model.loss(torch.zeros(6, 4), torch.zeros(6, 2)))


@pytest.mark.parametrize("parameterization", ["epsilon", "x0", "v", "score"])
def test_the_expected_loss_of_a_perfect_network(parameterization):
    """It is the variance of the target given ``x_k``, averaged over the steps."""
    schedule = SCHEDULES.build("cosine", num_steps=10)
    mean, variance = torch.tensor([0.0, 2.0]), torch.tensor([0.3, 1.5])
    model = ConditionalDiffusion(
        Gaussian(schedule, mean, variance, parameterization), schedule, parameterization
    )
    generator = torch.Generator().manual_seed(0)
    x0 = mean + variance.sqrt() * torch.randn(200_000, 2, generator=generator)
    loss = model.loss(x0, torch.zeros(200_000, 2), generator)
    bar = torch.as_tensor(alpha_bar("cosine", 10))[1:, None]
    of_x0 = variance * (1 - bar) / (bar * variance + 1 - bar)  # Var(x0 | x_k)
    of_eps = of_x0 * bar / (1 - bar)  # eps = (x - alpha x0) / sigma
    of_v = of_x0 / (1 - bar)  # v = (alpha x - x0) / sigma
    expected = {"x0": of_x0, "epsilon": of_eps, "v": of_v, "score": of_eps}[parameterization]
    standard_error = loss.std(0) / math.sqrt(len(loss))
    assert (abs(loss.mean(0) - expected.mean(0)) < 4.5 * standard_error).all()
    assert (standard_error < 0.02 * expected.mean(0)).all()


def test_a_perfect_network_beats_a_shifted_one():
    schedule = linear(50)
    x0 = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
    best, shifted, narrow = (
        ConditionalDiffusion(Gaussian(schedule, mean, variance, "v"), schedule, "v")
        .loss(x0, torch.zeros(20_000, 1), torch.Generator().manual_seed(1))
        .mean()
        for mean, variance in (
            (torch.zeros(1), torch.ones(1)),
            (torch.full((1,), 0.2), torch.ones(1)),
            (torch.zeros(1), torch.full((1,), 0.7)),
        )
    )
    assert best < shifted and best < narrow


def test_predict_takes_any_leading_axes():
    schedule = linear()
    model = ConditionalDiffusion(
        Gaussian(schedule, torch.zeros(3), torch.ones(3), "epsilon"), schedule
    )
    x = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    whole = model.predict(x, 4, torch.zeros_like(x))
    single = model.predict(x[1, 2, 3], 4, torch.zeros(3))
    assert whole.x0.shape == whole.eps.shape == x.shape
    assert torch.allclose(whole.x0[1, 2, 3], single.x0)
    assert torch.allclose(whole.eps[1, 2, 3], single.eps)


POINTS = torch.tensor([[0.0, 0.0], [1.5, 0.5], [-1.0, 1.0], [0.5, -1.5]], dtype=torch.float64)


@pytest.mark.parametrize("parameterization", ["epsilon", "x0", "v", "score"])
@pytest.mark.parametrize(
    "sampler",
    [
        DDPM(),
        DDPM(variance="forward"),
        DDIM(),
        DDIM(40, spacing="quadratic"),
        DDIM(eta=0.5),
        DPMSolver(25, spacing="logsnr"),
        DPMSolver(25, spacing="logsnr", order=3),
    ],
    ids=lambda s: f"{type(s).__name__}-{s.steps}",
)
def test_a_network_that_knows_the_data_draws_the_data(sampler, parameterization):
    schedule = linear(100)
    model = ConditionalDiffusion(
        Points(schedule, POINTS, parameterization), schedule, parameterization
    )
    generator = torch.Generator().manual_seed(0)
    x = sampler.sample(model, torch.zeros(400, 1), lambda: torch.randn(400, 2, generator=generator))
    distance, nearest = torch.cdist(x, POINTS).min(dim=1)
    assert distance.max() < 1e-6
    # each point about as often: four standard deviations, and the bias that the steps leave
    assert abs(torch.bincount(nearest, minlength=4) / 400 - 0.25).max() < 0.15


def test_an_unknown_loss_or_parameterization():
    with pytest.raises(OptionError, match="did you mean 'huber'"):
        ConditionalDiffusion(Constant(0.0), linear(), loss="hubr")
    with pytest.raises(OptionError, match="did you mean 'epsilon'"):
        ConditionalDiffusion(Constant(0.0), linear(), "epsilom")
