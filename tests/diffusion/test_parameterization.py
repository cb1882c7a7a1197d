"""Epsilon, x0, v and score are one thing (Luo 2022)."""

import pytest
import torch

from tests.diffusion.gaussian import Gaussian, as_network
from timediff.diffusion import (
    PARAMETERIZATIONS,
    SAMPLERS,
    SCHEDULES,
    ConditionalDiffusion,
    Denoiser,
    zero_terminal_snr,
)
from timediff.errors import OptionError

NAMES = list(PARAMETERIZATIONS)


def draws():
    """x0, eps, and the levels of as many steps."""
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 3, 12, 4, generator=generator).unbind()
    alpha, sigma = SCHEDULES.build("cosine", num_steps=12)(torch.arange(1, 13).expand(3, 12))
    return x0, eps, alpha, sigma


@pytest.mark.parametrize("name", NAMES)
def test_the_target_is_the_published_one(name):
    x0, eps, alpha, sigma = draws()
    target = PARAMETERIZATIONS.build(name).target(x0, eps, alpha, sigma)
    assert torch.allclose(target, as_network(name, x0, eps, alpha, sigma), rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name):
    x0, eps, alpha, sigma = draws()
    x = alpha * x0 + sigma * eps
    parameterization = PARAMETERIZATIONS.build(name)
    output = parameterization.target(x0, eps, alpha, sigma)
    assert torch.allclose(parameterization.to_x0(output, x, alpha, sigma), x0, atol=1e-9)
    assert torch.allclose(parameterization.to_eps(output, x, alpha, sigma), eps, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_any_output_stands_for_an_x0_and_an_eps_that_make_up_x(name):
    """Also an output that no x0 and eps were drawn for."""
    x, output, alpha, sigma = draws()
    parameterization = PARAMETERIZATIONS.build(name)
    x0 = parameterization.to_x0(output, x, alpha, sigma)
    eps = parameterization.to_eps(output, x, alpha, sigma)
    assert torch.allclose(alpha * x0 + sigma * eps, x, atol=1e-9)


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_one_model_seen_through_each_gives_the_same_samples(sampler):
    schedule = SCHEDULES.build("cosine", num_steps=15)
    factor = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    drawn = []
    for name in NAMES:
        denoiser = Gaussian(schedule, torch.ones(3), factor @ factor.T, name)
        generator = torch.Generator().manual_seed(1)

        def noise(generator=generator):
            return torch.randn(2, 5, 3, generator=generator)

        model = ConditionalDiffusion(denoiser, schedule, name)
        # the very steps: a mere number of them would begin elsewhere for epsilon and the score
        built = SAMPLERS.build(sampler, steps=[15, 13, 11, 9, 6, 4, 2])
        drawn.append(built.sample(model, noise(), noise))
    for other in drawn[1:]:
        assert torch.allclose(drawn[0], other, atol=1e-8)


class Smooth(Denoiser):
    """Some nonlinear prediction of eps, put out as another parameterization."""

    def __init__(self, schedule, name):
        super().__init__()
        self.schedule, self.name = schedule, name

    def condition(self, h):
        return h

    def denoise(self, x, k, condition):
        alpha, sigma = self.schedule(k, x.dtype)
        eps = torch.tanh(x + condition)
        return as_network(self.name, (x - sigma * eps) / alpha, eps, alpha, sigma)


def test_the_weighted_loss_of_the_score_is_that_of_epsilon():
    schedule = SCHEDULES.build("linear", num_steps=50)
    losses = []
    for name in ("epsilon", "score"):
        generator = torch.Generator().manual_seed(0)
        x0, h = torch.randn(2, 200, 3, generator=generator).unbind()
        model = ConditionalDiffusion(Smooth(schedule, name), schedule, name)
        losses.append(model.loss(x0, h, generator))
    assert torch.allclose(*losses, rtol=1e-10)


@pytest.mark.parametrize("name", ["epsilon", "x0", "v"])
def test_all_others_are_not_weighted(name):
    _, _, alpha, sigma = draws()
    weight = PARAMETERIZATIONS.build(name).weight(alpha, sigma)
    assert torch.equal(weight.expand(alpha.shape), torch.ones_like(alpha))


def test_without_a_network_v_draws_the_prior():
    """For standard normal data 0 is the best prediction of v at every step."""
    schedule = SCHEDULES.build("cosine", num_steps=20)
    exact = Gaussian(schedule, torch.zeros(4), torch.ones(4), "v")
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    for k in range(1, 21):
        assert abs(exact(x, torch.full((10,), k), torch.zeros(10, 4))).max() < 1e-12


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schedule", ["jsd", "rescaled"])
def test_a_start_from_pure_noise_needs_x0_or_v(schedule, name):
    if schedule == "jsd":
        schedule = SCHEDULES.build("jsd", num_steps=10)
    else:
        schedule = zero_terminal_snr(SCHEDULES.build("linear", num_steps=10))
    denoiser = Gaussian(schedule, torch.ones(2), torch.ones(2), name)
    if name in ("epsilon", "score"):
        for given in (name, PARAMETERIZATIONS.build(name)):
            with pytest.raises(OptionError, match=r"pure noise.*known are v, x0"):
                ConditionalDiffusion(denoiser, schedule, given)
    else:
        model = ConditionalDiffusion(denoiser, schedule, name)
        x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
        prediction = model.predict(x, 10, torch.zeros(5, 2))
        assert torch.allclose(prediction.x0, torch.ones(5, 2))
        assert torch.allclose(prediction.eps, x)
