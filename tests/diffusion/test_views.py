"""One network, several ways to see it: the same paths from the same noise."""

import math

import pytest
import torch

from tests.diffusion.gaussian import Gaussian
from timediff.diffusion import (
    DENOISERS,
    PARAMETERIZATIONS,
    SAMPLERS,
    SCHEDULES,
    ConditionalDiffusion,
    view,
    zero_terminal_snr,
)
from timediff.errors import OptionError
from timediff.plot_training import Recorder

K, D, H = 20, 3, 2
STEPS = [20, 14, 9, 5, 2, 1]
VIEWS = ["epsilon", "x0", "v", "score"]
SAMPLERS_AND_OPTIONS = [
    ("ddpm", {}),
    ("ddpm", {"variance": "interpolated"}),
    ("ddim", {}),
    ("ddim", {"eta": 0.5}),
    ("dpm_solver", {"order": 2}),
    ("dpm_solver", {"order": 3}),
    ("adams", {"order": 2}),
    ("adams", {"order": 3}),
]


def trained(parameterization: str, schedule=None) -> ConditionalDiffusion:
    """A small network after a few steps of training: far from right, which is no matter."""
    torch.manual_seed(0)
    denoiser = DENOISERS.build("mlp", target_dim=D, cond_dim=H, width=16, blocks=1)
    schedule = schedule or SCHEDULES.build("linear", num_steps=K)
    model = ConditionalDiffusion(denoiser, schedule, parameterization)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(20):
        h = torch.randn(64, H)
        optimizer.zero_grad()
        model.loss(h.sum(-1, keepdim=True) + 0.3 * torch.randn(64, D), h).mean().backward()
        optimizer.step()
    return model.eval()


def path(model: ConditionalDiffusion, sampler: str, **options) -> torch.Tensor:
    """The whole chain, from the same noise every time."""
    generator = torch.Generator().manual_seed(1)
    recorder = Recorder(SAMPLERS.build(sampler, steps=STEPS, **options))
    h = torch.randn(50, H, generator=generator)
    with torch.no_grad():
        recorder.sample(model, h, lambda: torch.randn(50, D, generator=generator))
    return torch.stack([x for _, x in recorder.seen])


@pytest.mark.parametrize(("sampler", "options"), SAMPLERS_AND_OPTIONS, ids=str)
@pytest.mark.parametrize("spoken", VIEWS)
def test_all_views_take_the_same_path(spoken, sampler, options):
    model = trained(spoken)
    own = path(model, sampler, **options)
    assert own.shape[0] >= len(STEPS) and own[-1].std() > 0.1
    for wanted in VIEWS:
        seen = path(view(model, wanted), sampler, **options)
        assert torch.allclose(seen, own, rtol=1e-11, atol=1e-11), wanted


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_to_take_one_for_another_is_another_path(sampler):
    """What the equality above is worth: the same network under a wrong name goes astray."""
    model = trained("v")
    mistaken = ConditionalDiffusion(model.denoiser, model.schedule, "epsilon").eval()
    assert (path(model, sampler) - path(mistaken, sampler)).abs().max() > 0.1


@pytest.mark.parametrize("spoken", VIEWS)
def test_a_view_says_what_its_name_promises(spoken):
    """Of N(0, 1) the best predictions are known in every parameterization."""
    schedule = SCHEDULES.build("linear", num_steps=K)
    denoiser = Gaussian(schedule, torch.zeros(D), torch.ones(D), spoken)
    model = ConditionalDiffusion(denoiser, schedule, spoken)
    x, k = torch.randn(5, D), torch.tensor([1, 2, 7, 13, 20])
    alpha, sigma = schedule(k)
    best = {"x0": alpha * x, "epsilon": sigma * x, "v": 0.0 * x, "score": -x}
    for wanted in VIEWS:
        output = view(model, wanted).denoiser(x, k, torch.zeros(5, D))
        assert torch.allclose(output, best[wanted], atol=1e-12), wanted


def test_the_losses_of_the_views_differ_by_the_signal_to_noise_ratio():
    model = trained("x0")
    h, x0 = torch.randn(4000, H), torch.randn(4000, D)

    def loss(of):
        return of.loss(x0, h, torch.Generator().manual_seed(2))

    k = torch.randint(1, K + 1, (4000,), generator=torch.Generator().manual_seed(2))
    alpha, sigma = model.schedule(k)
    assert torch.allclose(loss(view(model, "epsilon")), (alpha / sigma) ** 2 * loss(model))
    assert torch.allclose(loss(view(model, "score")), (alpha / sigma) ** 2 * loss(model))
    # v - v^ = -(x0 - x0^) / sigma at a known x
    assert torch.allclose(loss(view(model, "v")), loss(model) / sigma**2)


def test_a_view_of_a_view_is_the_model_and_shares_its_weights():
    model = trained("v")
    again = view(view(model, "score"), "v")
    assert torch.allclose(path(again, "adams"), path(model, "adams"), atol=1e-11)
    with torch.no_grad():
        model.denoiser.outlet.bias += 1.0
    assert torch.allclose(path(again, "adams"), path(model, "adams"), atol=1e-11)
    assert not again.training and view(model.train(), "x0").training


def test_a_view_keeps_the_kind_of_error():
    schedule = SCHEDULES.build("linear", num_steps=K)
    model = ConditionalDiffusion(trained("v").denoiser, schedule, "v", loss="l1")
    assert view(model, "x0").error is model.error is not trained("v").error


@pytest.mark.parametrize("wanted", ["epsilon", "score"])
def test_pure_noise_has_no_view_that_needs_signal(wanted):
    zero = zero_terminal_snr(SCHEDULES.build("linear", num_steps=K))
    model = trained("v", zero)
    with pytest.raises(OptionError, match="pure noise"):
        view(model, wanted)
    assert torch.allclose(path(view(model, "x0"), "ddim"), path(model, "ddim"), atol=1e-11)
    with pytest.raises(OptionError, match="parameterization"):
        view(model, "noise")


def test_a_number_of_steps_is_laid_out_anew_where_signal_is_needed():
    model = trained("v", SCHEDULES.build("cosine", num_steps=100))
    sampler = SAMPLERS.build("adams", steps=5)
    first = sampler.timesteps(view(model, "epsilon"))[0]
    assert sampler.timesteps(view(model, "x0")) == sampler.timesteps(model)
    assert sampler.timesteps(model)[0] == 100 > first
    assert math.isclose(model.schedule.at(first)[0], 0.05, abs_tol=0.016)


def test_every_parameterization_is_viewed():
    assert sorted(VIEWS) == sorted(PARAMETERIZATIONS)
