"""The density of the probability flow, on normal data."""

import itertools
import math

import pytest
import torch

from tests.diffusion.gaussian import Gaussian
from timediff.diffusion import SCHEDULES, ConditionalDiffusion
from timediff.diffusion.denoisers import MLP, WaveNet
from timediff.diffusion.flow import _slope, flow_log_density
from timediff.diffusion.samplers import DDIM, Start
from timediff.errors import OptionError

ROOT = torch.tensor([[1.0, 0.0, 0.0], [0.7, 0.5, 0.0], [-0.3, 0.4, 0.9]], dtype=torch.float64)
COVARIANCE, MEAN = ROOT @ ROOT.T, torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64)
LAW = torch.distributions.MultivariateNormal(MEAN, COVARIANCE)
POINTS = MEAN + torch.tensor(list(itertools.product((-1.5, 0.5), repeat=3))).double() @ ROOT.T


def model_of(steps, parameterization="v", name="cosine"):
    schedule = SCHEDULES.build(name, num_steps=steps)
    denoiser = Gaussian(schedule, MEAN, COVARIANCE, parameterization)
    return ConditionalDiffusion(denoiser, schedule, parameterization)


def error(model, **options):
    """From the density of the law, at most."""
    start = Start(MEAN, COVARIANCE.diagonal())
    found = flow_log_density(model, POINTS, torch.zeros_like(POINTS), start=start, **options)
    assert found.shape == POINTS.shape[:-1]
    return abs(found - LAW.log_prob(POINTS)).max().item()


def test_the_error_falls_with_the_square_of_the_steps():
    errors = [error(model_of(steps)) for steps in (25, 100, 400)]
    assert errors[0] < 6e-3 and errors[1] < 4e-4 and errors[2] < 2.5e-5, errors
    assert errors[0] / errors[1] > 12 and errors[1] / errors[2] > 12, errors


def test_fewer_steps_than_the_schedule_has():
    model = model_of(200)
    errors = [error(model, steps=steps) for steps in (10, 40, 100, 200)]
    assert errors == sorted(errors, reverse=True) and errors[1] < 4e-3, errors
    assert errors[-1] == error(model)
    assert math.isfinite(error(model, steps=1))


@pytest.mark.parametrize("parameterization", ["epsilon", "x0", "score"])
def test_what_the_network_predicts_does_not_matter(parameterization):
    found, expected = (error(model_of(50, p, "linear")) for p in (parameterization, "v"))
    assert found == pytest.approx(expected, abs=1e-8)


def test_standard_data_are_exact_in_any_number_of_steps():
    schedule = SCHEDULES.build("cosine", num_steps=50)
    model = ConditionalDiffusion(
        Gaussian(schedule, torch.zeros(3), torch.ones(3), "v"), schedule, "v"
    )
    law = torch.distributions.Normal(torch.zeros(3), 1.0)
    for steps in (1, 5, 50):
        found = flow_log_density(model, POINTS, torch.zeros_like(POINTS), steps=steps)
        assert torch.allclose(found, law.log_prob(POINTS).sum(-1), atol=1e-10)


def test_the_start_is_that_of_the_sampler():
    """A schedule that keeps signal to its end: standard noise is not where such data are then."""
    schedule = SCHEDULES.build("linear", num_steps=200, beta_end=0.01)
    mean, variance = torch.tensor([2.0, -1.0]), torch.tensor([0.2, 3.0])
    model = ConditionalDiffusion(Gaussian(schedule, mean, variance, "v"), schedule, "v")
    points = mean + torch.tensor([[0.5, 1.0], [-0.7, 0.0]])
    law = torch.distributions.Normal(mean, variance.sqrt())
    expected = law.log_prob(points).sum(-1)
    right, wrong = (
        flow_log_density(model, points, torch.zeros(2, 2), start=start)
        for start in (Start(mean, variance), None)
    )
    assert abs(right - expected).max() < 2e-3 < 0.05 < abs(wrong - expected).min()


def test_the_density_is_that_of_the_map_of_ddim():
    """Of a network with weights: against the determinant of the map from data to noise.

    Following the flow in small steps, both are the same up to the error of the steps.
    """
    torch.manual_seed(0)
    denoiser = MLP(3, 2, width=8, blocks=1)
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    schedule = SCHEDULES.build("cosine", num_steps=100)
    model = ConditionalDiffusion(denoiser, schedule, "v")
    h, z = torch.randn(1, 2), torch.randn(1, 3)

    def draw(z):
        return DDIM().sample(model, h, lambda: z)

    x0 = draw(z)
    jacobian = torch.autograd.functional.jacobian(draw, z)[0, :, 0]
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum() - jacobian.logdet()
    found = flow_log_density(model, x0.detach(), h)
    assert abs(jacobian.logdet()) > 0.2  # there is something to get wrong
    assert abs(found - expected).max() < 0.2 * abs(jacobian.logdet())


@pytest.mark.parametrize("build", [MLP, WaveNet])
def test_the_divergence_is_the_trace_of_the_jacobian(build):
    torch.manual_seed(0)
    schedule = SCHEDULES.build("cosine", num_steps=10)
    denoiser = build(3, 2).eval()
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model = ConditionalDiffusion(denoiser, schedule, "v")
    x, condition = torch.randn(2, 5, 3), denoiser.condition(torch.randn(2, 5, 2))
    _, divergence = _slope(model, x, 4, condition, [])

    def slope(x):
        return _slope(model, x, 4, condition, [])[0]

    assert divergence.shape == (2, 5)
    for i in range(3):  # by differences
        step = torch.zeros(3)
        step[i] = 1e-6
        divergence = divergence - ((slope(x + step) - slope(x - step)) / 2e-6)[..., i]
    assert abs(divergence).max() < 1e-6


def test_probes_estimate_the_divergence_without_bias_and_are_repeatable():
    model = model_of(20)
    x0 = POINTS[[0]].expand(4000, 3)
    h = torch.zeros_like(x0)
    exact = flow_log_density(model, x0[:1], h[:1], probes=0)
    found = flow_log_density(model, x0, h, probes=1)
    assert torch.equal(found, flow_log_density(model, x0, h, probes=1))
    assert found.std() > 0.1
    assert abs(found.mean() - exact) < 4.5 * found.std() / 4000**0.5
    more = flow_log_density(model, x0, h, probes=4)
    assert more.std() < 0.7 * found.std()
    ones = flow_log_density(model, x0, h, lambda: torch.ones(4000, 3), probes=1)
    assert ones.std() < 1e-9  # it takes the signs of the noise that it is given


def test_many_dimensions_take_probes():
    schedule = SCHEDULES.build("cosine", num_steps=4)
    calls = []

    def noise():
        calls.append(0)
        return torch.ones(2, 40)

    model = ConditionalDiffusion(
        Gaussian(schedule, torch.zeros(40), torch.ones(40), "v"), schedule, "v"
    )
    found = flow_log_density(model, torch.zeros(2, 40), torch.zeros(2, 40), noise)
    flow_log_density(model_of(4), POINTS, torch.zeros_like(POINTS), noise)
    few = ConditionalDiffusion(
        Gaussian(schedule, torch.zeros(32), torch.ones(32), "v"), schedule, "v"
    )
    flow_log_density(few, torch.zeros(2, 32), torch.zeros(2, 32), noise)
    assert len(calls) == 8 and torch.allclose(found, torch.tensor(-20 * math.log(2 * math.pi)))


@pytest.mark.parametrize("options", [{"steps": 0}, {"steps": 51}, {"probes": -1}], ids=str)
def test_what_cannot_be_asked(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        error(model_of(50), **options)
