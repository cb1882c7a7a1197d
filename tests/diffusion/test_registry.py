"""Names for plug-ins, and plug-ins as a user would write them."""

import numpy as np
import pytest
import torch
from torch import nn

from timediff.diffusion import (
    DENOISERS,
    PARAMETERIZATIONS,
    SAMPLERS,
    SCHEDULES,
    WEIGHTINGS,
    ConditionalDiffusion,
    Denoiser,
    NoiseSchedule,
    Parameterization,
    Sampler,
)
from timediff.diffusion.samplers import DDIM
from timediff.errors import OptionError
from timediff.registry import Registry

ALL = [DENOISERS, PARAMETERIZATIONS, SAMPLERS, SCHEDULES, WEIGHTINGS]


class Shape:
    def __init__(self, corners: int = 0):
        self.corners = corners


@pytest.fixture
def shapes() -> Registry[Shape]:
    registry = Registry("shape", Shape)
    registry.register("point")(Shape)
    registry.register("polygon")(lambda corners: Shape(corners))
    return registry


def test_what_is_registered_is_built_by_name(shapes):
    assert list(shapes) == ["point", "polygon"]
    assert shapes.build("point").corners == 0
    assert shapes.build("point", corners=1).corners == 1
    assert shapes.build("polygon", corners=5).corners == 5
    assert shapes.build("point") is not shapes.build("point")


def test_registering_gives_back_what_was_registered(shapes):
    @shapes.register("square")
    class Square(Shape):
        pass

    assert isinstance(Square(), Square) and type(shapes.build("square")) is Square


def test_a_name_is_taken_once(shapes):
    with pytest.raises(OptionError, match="shape 'point' is registered already"):
        shapes.register("point")(Shape)
    assert shapes.build("point").corners == 0


def test_an_object_passes_through(shapes):
    mine = Shape(3)
    assert shapes.build(mine) is mine


@pytest.mark.parametrize("plugin", ["pont", "", None, 3, [], Shape], ids=str)
def test_what_is_not_known_is_an_option_error(shapes, plugin):
    with pytest.raises(OptionError, match=r"unknown shape .*known are point, polygon"):
        shapes.build(plugin)


def test_a_misspelt_name_suggests_the_right_one(shapes):
    with pytest.raises(OptionError) as error:
        shapes.build("pont")
    message = "unknown shape 'pont': did you mean 'point'? known are point, polygon"
    assert str(error.value) == message
    with pytest.raises(OptionError) as error:
        shapes.build("zzz")
    assert str(error.value) == "unknown shape 'zzz': known are point, polygon"


@pytest.mark.parametrize("options", [{}, {"sides": 3}, {"corners": 3, "sides": 3}], ids=str)
def test_options_the_builder_does_not_take(shapes, options):
    with pytest.raises(OptionError, match=r"shape 'polygon': .*(corners|sides)"):
        shapes.build("polygon", **options)


@pytest.mark.parametrize("registry", ALL, ids=lambda r: r.kind)
def test_every_registry_of_the_package(registry):
    first = next(iter(registry))
    with pytest.raises(OptionError, match=f"unknown {registry.kind} '{first}x'.*'{first}'"):
        registry.build(f"{first}x")
    for name in registry:
        with pytest.raises(OptionError, match=f"^{registry.kind} '{name}': "):
            registry.build(name, no_such_option=1)


# -- plug-ins as a user would write them -------------------------------------------------------


class HalfNoise(Sampler):
    """Keeps half of the predicted noise, and draws the other half of its variance."""

    def step(self, chain, x, k, j):
        x0, eps = chain.predict(x, k)
        alpha, sigma = chain.at(j)
        return alpha * x0 + sigma * 0.5**0.5 * (eps + chain.noise())


class Linear(Denoiser):
    def __init__(self, target_dim: int, cond_dim: int):
        super().__init__()
        self.layer = nn.Linear(target_dim + 1, target_dim)
        self.cond = nn.Linear(cond_dim, target_dim)

    def condition(self, h):
        return self.cond(h)

    def denoise(self, x, k, condition):
        step = (k / 100).unsqueeze(-1).expand(*x.shape[:-1], 1)
        return self.layer(torch.cat([x, step], dim=-1)) + condition


def geometric(num_steps: int) -> NoiseSchedule:
    """The signal is halved in every step."""
    return NoiseSchedule(0.25 ** np.arange(num_steps + 1))


class Negative(Parameterization):
    """The network predicts -x0."""

    def target(self, x0, eps, alpha, sigma):
        return -x0

    def to_x0(self, output, x, alpha, sigma):
        return -output

    def to_eps(self, output, x, alpha, sigma):
        return (x + alpha * output) / sigma


def train_and_draw(denoiser, schedule, parameterization, sampler):
    """Data ``N(h, 0.01)``; after training the samples follow the condition."""
    generator = torch.Generator().manual_seed(0)
    model = ConditionalDiffusion(denoiser, schedule, parameterization)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(150):
        h = torch.randn(256, 2, generator=generator)
        x0 = h + 0.1 * torch.randn(256, 2, generator=generator)
        optimizer.zero_grad()
        model.loss(x0, h, generator).mean().backward()
        optimizer.step()
    h = torch.randn(500, 2, generator=generator)
    with torch.no_grad():
        x = sampler.sample(model, h, lambda: torch.randn(500, 2, generator=generator))
    return (x - h).square().mean().sqrt()


def test_objects_of_the_users_own_take_the_place_of_names():
    torch.manual_seed(0)
    error = train_and_draw(Linear(2, 2), geometric(6), Negative(), HalfNoise(6))
    assert error < 0.2


def test_registered_plug_ins_are_built_by_name(monkeypatch):
    for registry in ALL:
        monkeypatch.setattr(registry, "_builders", dict(registry._builders))
    DENOISERS.register("linear")(Linear)
    SCHEDULES.register("geometric")(geometric)
    SAMPLERS.register("half")(HalfNoise)
    PARAMETERIZATIONS.register("negative")(Negative)
    torch.manual_seed(0)
    error = train_and_draw(
        DENOISERS.build("linear", target_dim=2, cond_dim=2),
        SCHEDULES.build("geometric", num_steps=6),
        "negative",
        SAMPLERS.build("half", steps=[6, 4, 3, 2, 1]),
    )
    assert error < 0.2


def test_own_parts_work_with_those_of_the_package():
    torch.manual_seed(0)
    error = train_and_draw(
        DENOISERS.build("mlp", target_dim=2, cond_dim=2, width=32, blocks=1),
        SCHEDULES.build("cosine", num_steps=20),
        "v",
        HalfNoise(10),
    )
    assert error < 0.4
    assert train_and_draw(Linear(2, 2), geometric(6), "x0", DDIM()) < 0.2


def test_a_part_that_lacks_a_method_cannot_be_made():
    class Nothing(Sampler):
        pass

    with pytest.raises(TypeError, match="step"):
        Nothing()
