"""What the samplers draw from normal data, against closed forms: exact, no Monte Carlo."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.diffusion.gaussian import (
    Gaussian,
    adams,
    alpha_bar,
    ancestral,
    drawn_moments,
    implicit,
    multistep,
)
from timediff.diffusion import (
    SAMPLERS,
    SCHEDULES,
    ConditionalDiffusion,
    Denoiser,
    NoiseSchedule,
    zero_terminal_snr,
)
from timediff.diffusion.samplers import DDIM, DDPM, Adams, DPMSolver, Start
from timediff.diffusion.samplers.base import SPACINGS
from timediff.errors import OptionError

K = 20
MEAN = np.array([0.0, 1.0, -2.0, 0.5])
VARIANCE = np.array([0.1, 0.5, 1.0, 2.0])
NAMES = ["linear", "quadratic", "sigmoid", "constant", "jsd", "cosine", "zero_terminal"]


def schedule_of(name: str, steps: int = K):
    if name == "zero_terminal":
        return zero_terminal_snr(SCHEDULES.build("linear", num_steps=steps))
    return SCHEDULES.build(name, num_steps=steps)


def model_of(schedule, mean=MEAN, variance=VARIANCE) -> ConditionalDiffusion:
    denoiser = Gaussian(schedule, torch.as_tensor(mean), torch.as_tensor(variance))
    return ConditionalDiffusion(denoiser, schedule, "x0")


# name of the sampler, its options, and the recursion with the options of the recursion
CASES = {
    "ddpm posterior": (DDPM, {}, ancestral, {}),
    "ddpm forward": (DDPM, {"variance": "forward"}, ancestral, {"share": 1.0}),
    "ddpm interpolated": (
        DDPM,
        {"variance": "interpolated", "interpolation": 0.3},
        ancestral,
        {"share": 0.3},
    ),
    "ddim 0": (DDIM, {}, implicit, {}),
    "ddim 0.5": (DDIM, {"eta": 0.5}, implicit, {"eta": 0.5}),
    "ddim 1": (DDIM, {"eta": 1.0}, implicit, {"eta": 1.0}),
    "dpm 1": (DPMSolver, {"order": 1}, multistep, {"order": 1}),
    "dpm 2": (DPMSolver, {"order": 2}, multistep, {"order": 2}),
    "dpm 3": (DPMSolver, {"order": 3}, multistep, {"order": 3}),
    "adams 1": (Adams, {"order": 1}, adams, {"order": 1}),
    "adams 2": (Adams, {"order": 2}, adams, {"order": 2}),
    "adams 3": (Adams, {"order": 3}, adams, {"order": 3}),
}


@pytest.mark.parametrize("steps", [None, 1, 7, [20, 13, 12, 4], [17, 9, 1]], ids=str)
@pytest.mark.parametrize("schedule", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_mean_and_covariance_follow_the_recursion(case, schedule, steps):
    build, options, recursion, known = CASES[case]
    bar = alpha_bar(schedule, K)
    model = model_of(schedule_of(schedule))
    sampler = build(steps, **options)
    mean, covariance = drawn_moments(sampler, model, len(MEAN))
    visited = sampler.timesteps(model)[:-1]
    first = np.zeros_like(MEAN), np.ones_like(MEAN)
    expected_mean, expected_variance = recursion(bar, visited, MEAN, VARIANCE, first, **known)
    assert np.allclose(mean, expected_mean, rtol=1e-9, atol=1e-9)
    assert np.allclose(covariance, np.diag(expected_variance), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_correlated_data_is_drawn_along_its_principal_axes(case):
    build, options, recursion, known = CASES[case]
    axes, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))
    schedule = schedule_of("cosine")
    mean = axes @ MEAN
    covariance = axes @ np.diag(VARIANCE) @ axes.T
    drawn_mean, drawn_covariance = drawn_moments(
        build(6, **options), model_of(schedule, mean, covariance), 4
    )
    visited = build(6).timesteps(model_of(schedule))[:-1]
    first = np.zeros(4), np.ones(4)
    m, v = recursion(alpha_bar("cosine", K), visited, MEAN, VARIANCE, first, **known)
    assert np.allclose(drawn_mean, axes @ m, atol=1e-9)
    assert np.allclose(drawn_covariance, axes @ np.diag(v) @ axes.T, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_the_chain_starts_from_the_moments_it_is_told(case):
    build, options, recursion, known = CASES[case]
    bar = alpha_bar("linear", K)
    start = Start(torch.as_tensor(MEAN), torch.as_tensor(VARIANCE))
    mean, covariance = drawn_moments(
        build([15, 8, 2], **options), model_of(schedule_of("linear")), 4, start
    )
    first = math.sqrt(bar[15]) * MEAN, bar[15] * VARIANCE + 1 - bar[15]
    m, v = recursion(bar, [15, 8, 2], MEAN, VARIANCE, first, **known)
    assert np.allclose(mean, MEAN, atol=1e-12)  # a right start leaves no error of the mean at all
    assert np.allclose(m, MEAN, atol=1e-12)
    assert np.allclose(np.diag(covariance), v, rtol=1e-9)


# TimeGrad's schedule, K = 100, from N(0, 1): how much of the variance of the data is drawn
RATIOS = [
    (DDPM(), [0.870, 0.928, 0.942, 0.951]),
    (DDIM(), [0.947, 0.972, 0.974, 0.972]),
    (DDIM(20), [0.752, 0.857, 0.878, 0.887]),
    (DDPM(20), [0.607, 0.736, 0.774, 0.799]),
    (DDIM(10), [0.553, 0.731, 0.771, 0.792]),
]


@pytest.mark.parametrize(("sampler", "ratios"), RATIOS)
def test_the_published_settings_draw_too_little_spread(sampler, ratios):
    _, covariance = drawn_moments(sampler, model_of(schedule_of("linear", 100)), 4)
    assert np.allclose(np.diag(covariance) / VARIANCE, ratios, atol=6e-4)


@pytest.mark.parametrize("schedule", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_adams_loses_no_spread_of_standardised_data_where_other_solvers_do(schedule, steps):
    start = Start(torch.full((1,), 3.0), torch.ones(1))
    model = model_of(schedule_of(schedule), np.full(1, 3.0), np.ones(1))
    for order in (1, 2, 3):
        mean, variance = drawn_moments(Adams(steps, order=order), model, 1, start)
        assert math.isclose(mean.item(), 3.0, rel_tol=1e-9)
        assert math.isclose(variance.item(), 1.0, rel_tol=1e-9)
    _, other = drawn_moments(DPMSolver(steps), model, 1, start)
    assert abs(other.item() - 1.0) > 1e-3


def test_the_forward_variance_is_right_for_standard_normal_data():
    """And the posterior's is right where x0 is known: Ho et al. 2020, section 3.2."""
    for steps in (None, 20, 5):
        model = model_of(schedule_of("linear", 100), np.zeros(1), np.ones(1))
        _, forward = drawn_moments(DDPM(steps, variance="forward"), model, 1)
        _, posterior = drawn_moments(DDPM(steps), model, 1)
        # all of it but the last step's share, which draws no noise
        last = 1 - alpha_bar("linear", 100)[DDPM(steps).timesteps(model)[-2]]
        assert math.isclose(forward.item(), 1 - last, rel_tol=1e-9)
        assert posterior.item() < forward.item()
    model = model_of(schedule_of("linear", 100), np.full(1, 3.0), np.zeros(1))
    mean, variance = drawn_moments(DDPM(5), model, 1)
    assert math.isclose(mean.item(), 3.0, rel_tol=1e-9) and variance.item() < 1e-12


def test_a_right_start_or_zero_terminal_signal_removes_the_error_of_the_mean():
    mean = np.sqrt(VARIANCE)
    linear = schedule_of("linear", 100)
    start = Start(torch.as_tensor(mean), torch.as_tensor(VARIANCE))
    for steps in (None, 20, 10):
        wrong, _ = drawn_moments(DDIM(steps), model_of(linear, mean), 4)
        right, _ = drawn_moments(DDIM(steps), model_of(linear, mean), 4, start)
        zero, _ = drawn_moments(DDIM(steps), model_of(zero_terminal_snr(linear), mean), 4)
        assert abs(wrong - mean).max() > 0.13
        assert abs(right - mean).max() < 1e-12
        assert abs(zero - mean).max() < 1e-12


@pytest.mark.parametrize("variance", [0.2, 5.0])
def test_a_right_start_removes_the_error_of_the_spread_that_the_start_makes(variance):
    schedule = SCHEDULES.build("linear", num_steps=500, beta_start=1e-5, beta_end=4e-3)
    left = schedule.at(500)[0] ** 2  # much signal, and steps too small to make an error themselves
    model = model_of(schedule, np.zeros(1), np.full(1, variance))
    start = Start(0.0, torch.tensor([variance]))
    _, wrong = drawn_moments(DDIM(), model, 1)
    _, right = drawn_moments(DDIM(), model, 1, start)
    expected = variance / (left * variance + 1 - left)
    assert abs(wrong.item() / expected - 1) < 0.02 < abs(expected / variance - 1)
    assert abs(right.item() / variance - 1) < 0.02


def test_moments_of_the_start_may_be_numbers_or_tensors():
    model = model_of(schedule_of("linear"))
    h, z = torch.zeros(5, 3, 4), torch.ones(5, 3, 4)
    number = DDIM(5).sample(model, h, lambda: z, Start(2.0, 3.0))
    tensor = DDIM(5).sample(
        model, h, lambda: z, Start(torch.full((3, 1), 2.0), torch.full((5, 1, 4), 3.0))
    )
    assert torch.allclose(number, tensor) and not torch.allclose(
        number, DDIM(5).sample(model, h, lambda: z)
    )


def test_ddim_with_full_eta_is_the_ancestral_sampler_and_order_1_is_ddim():
    model = model_of(schedule_of("cosine"))

    def draw(sampler):
        generator = torch.Generator().manual_seed(0)
        h = torch.randn(6, 4, generator=generator)
        return sampler.sample(model, h, lambda: torch.randn(6, 4, generator=generator))

    assert torch.allclose(draw(DDIM(9, eta=1.0)), draw(DDPM(9)))
    assert torch.allclose(draw(DPMSolver(9, order=1)), draw(DDIM(9)))
    assert not torch.allclose(draw(DDIM(9)), draw(DDPM(9)))


def test_halving_the_step_divides_the_error_by_two_to_the_order():
    start = Start(torch.as_tensor(MEAN), torch.as_tensor(VARIANCE))

    def error(order, steps):
        ratio = np.linspace(8.0, -3.0, steps)  # even in log(alpha / sigma), down to next to nothing
        schedule = NoiseSchedule(np.concatenate([[1.0], 1 / (1 + np.exp(-2 * ratio))]))
        _, covariance = drawn_moments(DPMSolver(order=order), model_of(schedule), 4, start)
        return np.sqrt(np.diag(covariance) / VARIANCE) - 1

    for order in (1, 2):
        assert np.allclose(error(order, 100) / error(order, 200), 2**order, rtol=0.1)
    assert (abs(error(3, 100)) < abs(error(2, 100))).all()


def test_all_samplers_draw_the_data_when_the_steps_are_many():
    schedule = SCHEDULES.build("linear", num_steps=2000, beta_start=1e-6, beta_end=1e-2)
    for build, options, recursion, known in CASES.values():
        visited = build(**options).timesteps(model_of(schedule))[:-1]
        assert visited == list(range(2000, 0, -1))
        bar = np.array([schedule.at(k)[0] ** 2 for k in range(2001)])
        m, v = recursion(bar, visited, MEAN, VARIANCE, (0 * MEAN, 1 + 0 * MEAN), **known)
        assert np.allclose(m, MEAN, atol=2e-2) and np.allclose(v, VARIANCE, rtol=2e-2)


# -- which steps are visited -------------------------------------------------------------------


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("top", [2, 3, 20, 101])
def test_a_number_of_steps_is_laid_out_whatever_it_is(top, name, spacing):
    model = model_of(schedule_of(name, top))
    for count in range(1, top + 1):
        visited = DDIM(count, spacing).timesteps(model)
        assert len(visited) == count + 1
        assert visited[0] == top and visited[-1] == 0
        assert all(type(k) is int for k in visited)
        assert all(k > j for k, j in pairwise(visited))
    assert DDIM(None, spacing).timesteps(model) == list(range(top, -1, -1))


def test_one_step_of_a_schedule_of_one_step():
    for name in ("linear", "jsd"):
        for spacing in SPACINGS:
            assert DDIM(1, spacing).timesteps(model_of(schedule_of(name, 1))) == [1, 0]


def test_spacings_are_what_their_names_say():
    model = model_of(schedule_of("linear", 100))
    assert DDIM(5).timesteps(model) == [100, 80, 60, 40, 20, 0]
    assert DDIM(5, "quadratic").timesteps(model) == [100, 64, 36, 16, 4, 0]
    for name in ("linear", "jsd", "zero_terminal"):
        schedule = schedule_of(name, 1000)
        visited = DDIM(6, "logsnr").timesteps(model_of(schedule))
        inner = visited[1:-1] if schedule.is_zero_terminal else visited[:-1]
        ratio = [math.log(schedule.at(k)[0] / schedule.at(k)[1]) for k in inner]
        assert visited[-2] == 1
        assert np.ptp(np.diff(ratio)) < 0.1 * np.diff(ratio).mean()


def test_log_snr_spacing_spends_its_steps_where_there_is_signal():
    for name in ("jsd", "zero_terminal"):
        visited = DDIM(10, "logsnr").timesteps(model_of(schedule_of(name, 100)))
        assert len([k for k in visited if k >= 90]) <= 3


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("steps", [None, 1, 6, (18, 5)], ids=str)
def test_the_network_is_evaluated_once_a_step_and_the_condition_once(name, steps):
    model = model_of(schedule_of("linear"))
    seen, conditioned = [], []
    denoise, condition = model.denoiser.denoise, model.denoiser.condition
    model.denoiser.denoise = lambda x, k, c: (seen.append(int(k)), denoise(x, k, c))[1]
    model.denoiser.condition = lambda h: (conditioned.append(h), condition(h))[1]
    sampler = SAMPLERS.build(name, steps=steps)
    sampler.sample(model, torch.zeros(2, 4), lambda: torch.zeros(2, 4))
    assert [*seen, 0] == sampler.timesteps(model)
    assert len(conditioned) == 1


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_sampler_remembers_nothing_of_an_earlier_run(name):
    model = model_of(schedule_of("linear"))
    sampler = SAMPLERS.build(name, steps=5)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 4, generator=generator)
    once, twice = (sampler.sample(model, torch.zeros(2, 4), lambda: noise) for _ in range(2))
    assert torch.equal(once, twice)


@pytest.mark.parametrize("steps", [[], [21, 3], [5, 5], [3, 5], [5, 0], [5, -1], [0], 21], ids=str)
def test_steps_that_cannot_be_taken(steps):
    with pytest.raises(OptionError, match="steps"):
        DDIM(steps).timesteps(model_of(schedule_of("linear")))


@pytest.mark.parametrize(
    ("build", "options", "says"),
    [
        (DDPM, {"steps": 0}, "steps is 0"),
        (DDPM, {"spacing": "log"}, "'logsnr'"),
        (DDPM, {"variance": "posteriour"}, "'posterior'"),
        (DDPM, {"variance": "interpolated", "interpolation": 1.1}, "interpolation is 1.1"),
        (DDIM, {"eta": -0.1}, "eta is -0.1"),
        (DDIM, {"eta": 1.1}, "eta is 1.1"),
        (DPMSolver, {"order": 4}, "order is 4"),
    ],
)
def test_options_out_of_range(build, options, says):
    with pytest.raises(OptionError, match=says):
        build(**options)


class NearlyRight(Denoiser):
    """The noise in standard normal data, up to an error as a trained network has."""

    def __init__(self, schedule, error):
        super().__init__()
        self.schedule, self.error = schedule, error

    def condition(self, h):
        return h

    def denoise(self, x, k, condition):
        return self.schedule(k, x.dtype)[1] * x + self.error


@pytest.mark.parametrize("name", ["adams", "dpm_solver", "ddim"])
def test_few_steps_of_a_network_that_predicts_the_noise_survive_its_errors(name):
    """The cosine schedule ends at next to no signal, by which an error of x0 is divided."""
    schedule = SCHEDULES.build("cosine", num_steps=100)
    means = []
    for error in (0.0, 0.03):
        model = ConditionalDiffusion(NearlyRight(schedule, error), schedule, "epsilon")
        noise = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
        sampler = SAMPLERS.build(name, steps=5)
        means.append(sampler.sample(model, torch.zeros(4000, 1), lambda n=noise: n).mean())
    assert abs(means[1] - means[0]) < 0.3
    assert SAMPLERS.build(name).timesteps(model)[0] == 100  # all steps are all


@pytest.mark.parametrize("steps", ["5", 5.0, True, [9.0, 4.0], [[5], [4, 3]]])
def test_steps_that_are_no_whole_numbers_are_named(steps, unchecked):
    with pytest.raises(OptionError, match=r"steps is .*: give a whole number, the steps to visit"):
        DDIM(steps)
    assert DDIM(np.int64(5)).steps == 5 and DDIM(np.array([9, 4])).steps == [9, 4]
