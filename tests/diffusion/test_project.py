"""What is known of the clean data holds to the last digit, and bends the rest as it should."""

import numpy as np
import pytest
import torch

from tests.diffusion.gaussian import Gaussian, drawn_moments
from timediff.diffusion import SAMPLERS, SCHEDULES, ConditionalDiffusion, Sampler
from timediff.network.scenario import Projection

STEPS = {"adams": 5, "dpm_solver": 100, "ddim": 100, "ddpm": 100}


def model_of(covariance) -> ConditionalDiffusion:
    schedule = SCHEDULES.build("cosine", num_steps=100)
    dim = len(covariance)
    return ConditionalDiffusion(
        Gaussian(schedule, torch.zeros(dim), torch.as_tensor(covariance)), schedule, "x0"
    )


def onto(rows, values) -> Projection:
    return Projection.of(torch.tensor(rows), torch.tensor([values]), torch.zeros(()))


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_every_sampler_draws_white_noise_of_which_something_is_known(name):
    sampler = SAMPLERS.build(name, steps=STEPS[name])
    project = onto([[1.0, 1.0, 0.0]], [3.0])
    mean, covariance = drawn_moments(sampler, model_of(np.eye(3)), 3, project=project)
    np.testing.assert_allclose(mean, [1.5, 1.5, 0.0], atol=1e-9)
    exact = [[0.5, -0.5, 0.0], [-0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    # what adams draws is exact, the others lose spread with fewer steps
    np.testing.assert_allclose(covariance, exact, atol=1e-9 if name == "adams" else 0.1)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_correlated_data_bend_towards_what_is_known(name):
    """Moved only at the end, the second would stay at 0; exact is 1.6: it is bent too little."""
    sampler = SAMPLERS.build(name, steps=STEPS[name])
    project = onto([[1.0, 0.0]], [2.0])
    model = model_of(np.array([[1.0, 0.8], [0.8, 1.0]]))
    mean, _ = drawn_moments(sampler, model, 2, project=project)
    assert mean[0] == 2.0
    assert 0.5 < mean[1] < 1.6


def test_a_sampler_of_ones_own_needs_to_know_nothing_of_it():
    class Euler(Sampler):
        def step(self, chain, x, k, j):
            x0, eps = chain.predict(x, k)
            alpha, sigma = chain.at(j)
            return alpha * x0 + sigma * eps

    project = onto([[2.0, 1.0]], [7.0])
    mean, covariance = drawn_moments(Euler(6), model_of(np.eye(2)), 2, project=project)
    np.testing.assert_allclose(mean, [2.8, 1.4])
    np.testing.assert_allclose(covariance @ [2.0, 1.0], [0.0, 0.0], atol=1e-12)


def test_equations_that_repeat_each_other_are_one():
    rows = torch.tensor([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1e6]])
    project = onto(rows.tolist(), [3.0, 6.0, 5e6])
    assert project.basis.shape == (2, 3)
    x = project(torch.randn(1, 3))
    torch.testing.assert_close(x @ rows.T, torch.tensor([[3.0, 6.0, 5e6]]))
    nothing = Projection.of(torch.zeros(0, 3), torch.zeros(1, 0), x)
    torch.testing.assert_close(nothing(x), x)
