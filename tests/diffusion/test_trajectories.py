"""Whole trajectories against an independent implementation, ``diffusers``: same network and noise.

Its steps 0 .. K-1 are the steps 1 .. K here.
"""

import numpy as np
import pytest
import torch

from timediff.diffusion import SCHEDULES, ConditionalDiffusion, Denoiser, zero_terminal_snr
from timediff.diffusion.samplers import DDIM, DDPM, DPMSolver

diffusers = pytest.importorskip("diffusers")

K, ROWS, D = 20, 6, 3
PREDICTION = {"epsilon": "epsilon", "x0": "sample", "v": "v_prediction"}
SEQUENCES = [list(range(K, 0, -1)), [20, 16, 12, 8, 4, 1], [19, 11, 10, 3, 1]]


def network(x, k, h):
    """Nonlinear, and mixes the coordinates."""
    return torch.tanh(1.3 * x + h) + 0.4 * torch.sin(x.roll(1, -1) + k / 7) - 0.2 * x


def conditions():
    return torch.linspace(-1, 1, ROWS)[:, None].repeat(1, D)


class Recorder(Denoiser):
    """The network, with a record of every x that it is shown."""

    def __init__(self):
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def condition(self, h):
        return h

    def denoise(self, x, k, condition):
        self.seen.append(x)
        return network(x, k.unsqueeze(-1), condition)


def ours(sampler, parameterization, schedule=None):
    generator = torch.Generator().manual_seed(1)
    recorder = Recorder()
    schedule = schedule or SCHEDULES.build("linear", num_steps=K)
    model = ConditionalDiffusion(recorder, schedule, parameterization)
    last = sampler.sample(
        model, conditions(), lambda: torch.randn(ROWS, D, generator=generator, dtype=torch.float64)
    )
    return torch.stack([*recorder.seen, last])


def scheduler_of(kind, parameterization, **options):
    """A scheduler with TimeGrad's betas, in float64 instead of its float32."""
    scheduler = getattr(diffusers, kind)(
        K,
        beta_start=1e-4,
        beta_end=0.1,
        beta_schedule="linear",
        prediction_type=PREDICTION[parameterization],
        **options,
    )
    level = torch.cumprod(1 - torch.linspace(1e-4, 0.1, K, dtype=torch.float64), 0)
    assert torch.allclose(scheduler.alphas_cumprod.double(), level, rtol=1e-5)
    scheduler.alphas_cumprod = level
    return scheduler


def theirs(scheduler, beside=None, **step):
    """``beside``: what the network puts out beside the prediction, for a learned variance."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, D, generator=generator, dtype=torch.float64)
    trajectory = [x]
    for t in scheduler.timesteps:
        output = network(x, t + 1, conditions())
        if beside is not None:
            output = torch.cat([output, torch.full_like(output, beside)], dim=1)
        x = scheduler.step(output, t, x, generator=generator, **step).prev_sample
        trajectory.append(x)
    return torch.stack(trajectory)


@pytest.mark.parametrize("parameterization", PREDICTION)
@pytest.mark.parametrize("steps", SEQUENCES, ids=str)
@pytest.mark.parametrize(
    ("options", "variance_type", "beside"),
    [
        ({"variance": "posterior"}, "fixed_small", None),
        ({"variance": "forward"}, "fixed_large", None),
        # "learned" between the two variances, here by a network that says 0.3 throughout
        ({"variance": "interpolated", "interpolation": 0.3}, "learned_range", 2 * 0.3 - 1),
    ],
    ids=["posterior", "forward", "interpolated"],
)
def test_ddpm(options, variance_type, beside, steps, parameterization):
    scheduler = scheduler_of(
        "DDPMScheduler", parameterization, variance_type=variance_type, clip_sample=False
    )
    scheduler.set_timesteps(timesteps=[k - 1 for k in steps])
    expected = theirs(scheduler, beside)
    actual = ours(DDPM(steps, **options), parameterization)
    assert actual.shape == (len(steps) + 1, ROWS, D)
    assert torch.allclose(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("parameterization", PREDICTION)
@pytest.mark.parametrize("number", [1, 2, 5, 10, 20])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim(eta, number, parameterization):
    scheduler = scheduler_of(
        "DDIMScheduler",
        parameterization,
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(number)
    expected = theirs(scheduler, eta=eta)
    explicit = [int(t) + 1 for t in scheduler.timesteps]
    for steps in (number, explicit):
        actual = ours(DDIM(steps, eta=eta), parameterization)
        assert torch.allclose(actual, expected, rtol=1e-9, atol=1e-9)


def dpm(order, steps, parameterization):
    scheduler = scheduler_of(
        "DPMSolverMultistepScheduler",
        parameterization,
        algorithm_type="dpmsolver++",
        solver_type="midpoint",
        solver_order=order,
        final_sigmas_type="zero",
        lower_order_final=False,  # else it falls back to order 2 before the last step
    )
    scheduler.set_timesteps(timesteps=[k - 1 for k in steps])
    return theirs(scheduler)


@pytest.mark.parametrize("parameterization", PREDICTION)
@pytest.mark.parametrize("steps", SEQUENCES, ids=str)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_dpm_solver(order, steps, parameterization):
    expected = dpm(order, steps, parameterization)  # computes in float32
    actual = ours(DPMSolver(steps, order=order), parameterization)
    assert torch.allclose(actual, expected, rtol=1e-4, atol=2e-5)
    for other in {1, 2, 3} - {order}:  # and the tolerance tells the orders apart
        difference = ours(DPMSolver(steps, order=other), parameterization) - expected
        assert abs(difference).max() > 1e-3


@pytest.mark.parametrize("kind", ["ddpm", "ddim"])
@pytest.mark.parametrize("parameterization", ["x0", "v"])
def test_zero_terminal_signal(kind, parameterization):
    schedule = zero_terminal_snr(SCHEDULES.build("linear", num_steps=K))
    name, sampler, step = {
        "ddpm": ("DDPMScheduler", DDPM(), {}),
        "ddim": ("DDIMScheduler", DDIM(eta=0.5), {"eta": 0.5}),
    }[kind]
    theirs_float32 = getattr(diffusers, name)(
        K,
        beta_start=1e-4,
        beta_end=0.1,
        prediction_type=PREDICTION[parameterization],
        clip_sample=False,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    theirs_float32.set_timesteps(K)
    level = np.array([schedule.at(k)[0] ** 2 for k in range(1, K + 1)])
    assert np.allclose(theirs_float32.alphas_cumprod, level, atol=1e-6)
    actual = ours(sampler, parameterization, schedule)
    assert torch.allclose(actual, theirs(theirs_float32, **step), rtol=1e-3, atol=2e-4)
