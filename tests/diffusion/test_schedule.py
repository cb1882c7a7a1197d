"""Schedules: their formulas, what every one of them is, and what only depends on the levels."""

import math
import pickle

import numpy as np
import pytest
import torch

from tests.diffusion.gaussian import Gaussian, alpha_bar
from timediff.diffusion import SCHEDULES, ConditionalDiffusion, NoiseSchedule, zero_terminal_snr
from timediff.diffusion.samplers import DDIM, DDPM, DPMSolver
from timediff.errors import OptionError

NAMES = list(SCHEDULES)


def table(schedule: NoiseSchedule) -> np.ndarray:
    """``(alpha, sigma)`` of every step, ``[K + 1, 2]``."""
    return np.array([schedule.at(k) for k in range(schedule.num_steps + 1)])


@pytest.mark.parametrize("betas", [(1e-4, 0.1), (1e-3, 0.02), (0.05, 0.05)], ids=str)
@pytest.mark.parametrize("num_steps", [1, 2, 17, 1000])
@pytest.mark.parametrize("name", NAMES)
def test_levels_are_those_of_the_papers(name, num_steps, betas):
    start, end = betas
    schedule = SCHEDULES.build(name, num_steps=num_steps, beta_start=start, beta_end=end)
    levels = table(schedule)[:, 0] ** 2
    assert schedule.num_steps == num_steps
    assert np.allclose(levels, alpha_bar(name, num_steps, start, end), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_what_every_schedule_is(name, terminal):
    schedule = SCHEDULES.build(name, num_steps=50)
    if terminal:
        schedule = zero_terminal_snr(schedule)
    alpha, sigma = table(schedule).T
    assert np.allclose(alpha**2 + sigma**2, 1.0, rtol=1e-14)
    assert alpha[0] == 1.0 and sigma[0] == 0.0
    assert (np.diff(alpha) < 0).all() and (np.diff(sigma) > 0).all()
    assert schedule.is_zero_terminal == (terminal or name == "jsd") == (alpha[-1] == 0.0)


def test_defaults_are_those_of_timegrad():
    schedule = SCHEDULES.build("linear", num_steps=100)
    beta = 1 - (table(schedule)[1:, 0] / table(schedule)[:-1, 0]) ** 2
    assert np.allclose(beta, np.linspace(1e-4, 0.1, 100))
    assert math.isclose(schedule.at(100)[0] ** 2, 0.0056, abs_tol=5e-5)


def test_jsd_destroys_the_same_share_of_the_signal_in_every_step():
    schedule = SCHEDULES.build("jsd", num_steps=8)
    level = table(schedule)[:, 0] ** 2
    assert np.allclose(level, 1 - np.arange(9) / 8)
    k = np.arange(1, 9)
    assert np.allclose(1 - level[1:] / level[:-1], 1 / (8 - k + 1))


def test_cosine_takes_its_offset_and_caps_beta():
    schedule = SCHEDULES.build("cosine", num_steps=10, offset=0.1)
    share = math.cos((0.5 + 0.1) / 1.1 * math.pi / 2) / math.cos(0.1 / 1.1 * math.pi / 2)
    assert math.isclose(schedule.at(5)[0], share, rel_tol=1e-12)
    assert math.isclose((schedule.at(10)[0] / schedule.at(9)[0]) ** 2, 0.001, rel_tol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_zero_terminal_snr_ends_in_nothing_and_keeps_the_first_step(name):
    before = SCHEDULES.build(name, num_steps=30)
    levels = table(before)
    after = zero_terminal_snr(before)
    alpha = table(after)[:, 0]
    assert alpha[-1] == 0.0 and after.num_steps == 30
    assert math.isclose(alpha[1], levels[1, 0], rel_tol=1e-14)
    slope = np.diff(alpha[1:]) / np.diff(levels[1:, 0])  # shifted and scaled: one slope
    assert np.allclose(slope, slope[0])
    assert np.array_equal(table(before), levels)  # the given one is as it was


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, None])
def test_a_tensor_of_steps_gives_levels_that_multiply_vectors(shape, dtype):
    schedule = SCHEDULES.build("cosine", num_steps=10)
    k = torch.randint(0, 11, shape, generator=torch.Generator().manual_seed(0))
    alpha, sigma = schedule(k, dtype)
    assert alpha.shape == sigma.shape == (*shape, 1)
    assert alpha.dtype == sigma.dtype == (dtype or torch.get_default_dtype())
    expected = torch.tensor([schedule.at(int(i)) for i in k.flatten()]).T.reshape(2, *shape, 1)
    assert torch.allclose(torch.stack([alpha, sigma]), expected.to(alpha.dtype), rtol=1e-7)


def test_a_schedule_survives_pickling():
    schedule = SCHEDULES.build("cosine", num_steps=10)
    schedule(torch.arange(3))
    assert np.array_equal(table(pickle.loads(pickle.dumps(schedule))), table(schedule))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_steps": 0}, "num_steps is 0"),
        ({"num_steps": -3}, "num_steps is -3"),
        ({"num_steps": 5, "beta_start": 0.0}, "beta_start=0.0"),
        ({"num_steps": 5, "beta_start": 0.2, "beta_end": 0.1}, "beta_start=0.2"),
        ({"num_steps": 5, "beta_end": 1.0}, "beta_end=1.0"),
        ({"num_steps": 5, "beta_end": math.nan}, "beta_end=nan"),
        ({"num_steps": 5, "gamma": 1.0}, "gamma"),
        ({}, "num_steps"),
    ],
    ids=str,
)
def test_arguments_that_make_no_schedule(name, options, says):
    with pytest.raises(OptionError, match=says):
        SCHEDULES.build(name, **options)


@pytest.mark.parametrize(
    "levels",
    [
        [],
        [1.0],
        [0.9, 0.5],
        [1.0, 0.5, 0.5],
        [1.0, 0.4, 0.5],
        [1.0, -0.1],
        [1.0, math.nan],
        [[1.0, 0.5]],
    ],
    ids=str,
)
def test_tables_that_are_no_schedule(levels):
    with pytest.raises(OptionError, match="a noise schedule"):
        NoiseSchedule(np.array(levels))


def test_zero_terminal_snr_of_a_single_step():
    with pytest.raises(OptionError, match="at least two steps"):
        zero_terminal_snr(SCHEDULES.build("linear", num_steps=1))


# -- a schedule is only a numbering of the levels ----------------------------------------------


def swapped(parameterization="v"):
    """The same model under a schedule, and under one with the same levels as every other step."""
    coarse = SCHEDULES.build("linear", num_steps=12)
    levels = table(coarse)[:, 0] ** 2
    between = np.sqrt(levels[1:] * levels[:-1])
    fine = NoiseSchedule(np.append(np.stack([levels[:-1], between], axis=1), levels[-1]))
    factor = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    law = torch.tensor([1.0, -1.0, 0.5]), factor @ factor.T + 0.1 * torch.eye(3)
    return [
        ConditionalDiffusion(Gaussian(schedule, *law, parameterization), schedule, parameterization)
        for schedule in (coarse, fine)
    ]


@pytest.mark.parametrize("parameterization", ["epsilon", "x0", "v", "score"])
def test_an_equivalent_schedule_leaves_the_posterior_mean(parameterization):
    coarse, fine = swapped(parameterization)
    x, h = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1)).unbind()
    for k in range(1, 13):
        one, other = coarse.predict(x, k, h), fine.predict(x, 2 * k, h)
        assert torch.allclose(one.x0, other.x0, atol=1e-10)
        assert torch.allclose(one.eps, other.eps, atol=1e-10)
        if k < 12:
            assert not torch.allclose(one.x0, fine.predict(x, 2 * k + 1, h).x0, atol=1e-4)


@pytest.mark.parametrize(
    "sampler", [DDPM, DDIM, DPMSolver, lambda steps: DPMSolver(steps, order=3)]
)
def test_an_equivalent_schedule_leaves_the_samples(sampler):
    coarse, fine = swapped()
    drawn = []
    for model, step in ((coarse, 1), (fine, 2)):
        generator = torch.Generator().manual_seed(1)
        h = torch.randn(4, 3, generator=generator)

        def noise(generator=generator):
            return torch.randn(4, 3, generator=generator)

        drawn.append(sampler([k * step for k in (12, 7, 5, 4, 1)]).sample(model, h, noise))
    assert torch.allclose(*drawn, atol=1e-10)
