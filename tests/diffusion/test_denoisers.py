"""What every registered denoiser is, and that WaveNet is the published network."""

import io
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from timediff.diffusion import DENOISERS, Denoiser
from timediff.diffusion.denoisers import MLP, WaveNet, wavenet
from timediff.diffusion.denoisers.base import step_embedding
from timediff.diffusion.denoisers.mlp import default_width
from timediff.errors import OptionError

H = 6
NAMES = list(DENOISERS)
DIMS = [1, 2, 3, 5, 20]


def build(name: str, dim: int, seed: int = 0) -> Denoiser:
    torch.manual_seed(seed)
    return DENOISERS.build(name, target_dim=dim, cond_dim=H)


def inputs(dim: int, shape: tuple[int, ...] = (8,), steps: int = 100):
    """``x[*b, D]``, ``k[*b]``, ``h[*b, H]``."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(*shape, dim, generator=generator)
    k = torch.randint(1, steps + 1, shape, generator=generator)
    return x, k, torch.randn(*shape, H, generator=generator)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 1, 4), (0,)], ids=str)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("name", NAMES)
def test_any_leading_axes_and_any_number_of_series(name, dim, shape):
    denoiser, (x, k, h) = build(name, dim), inputs(dim, shape)
    output = denoiser(x, k, h)
    assert output.shape == x.shape and output.dtype == x.dtype
    assert output.isfinite().all()
    rows = [
        denoiser(a[None], b[None], c[None])
        for a, b, c in zip(x.reshape(-1, dim), k.reshape(-1), h.reshape(-1, H), strict=True)
    ]
    assert all(  # each row is its own
        torch.allclose(one[0], other, atol=1e-12)
        for one, other in zip(rows, output.reshape(-1, dim), strict=True)
    )


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_every_parameter(name, dim):
    denoiser, (x, k, h) = build(name, dim), inputs(dim)
    x.requires_grad_()
    h.requires_grad_()
    denoiser(x, k, h).square().sum().backward()
    for parameter, value in [*denoiser.named_parameters(), ("x", x), ("h", h)]:
        assert value.grad is not None, parameter
        assert value.grad.isfinite().all(), parameter
        assert value.grad.abs().max() > 0, parameter


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("name", NAMES)
def test_each_input_matters(name, dim):
    denoiser, (x, k, h) = build(name, dim), inputs(dim)
    output = denoiser(x, k, h)
    for other in (denoiser(x + 1, k, h), denoiser(x, k + 1, h), denoiser(x, k, h + 1)):
        assert (abs(other - output).amax(-1) > 1e-7).all()


@pytest.mark.parametrize("name", NAMES)
def test_many_steps(name):
    """The reference crashes beyond 500."""
    denoiser, (x, _, h) = build(name, 3), inputs(3, (1,))
    seen = torch.cat([denoiser(x, torch.full((1,), k), h) for k in (1, 2, 499, 501, 999, 4000)])
    assert seen.isfinite().all()
    assert torch.pdist(seen).min() > 1e-7


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("name", NAMES)
def test_both_parts_together_are_the_whole(name, dim):
    denoiser, (x, k, h) = build(name, dim), inputs(dim, (2, 4))
    condition = denoiser.condition(h)
    once, twice = denoiser.denoise(x, k, condition), denoiser.denoise(x, k, condition)
    assert torch.equal(once, denoiser(x, k, h))
    assert torch.equal(once, twice)  # nothing is used up


@pytest.mark.parametrize("shape", [(4,), (2, 3)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_one_step_for_all(name, shape):
    denoiser, (x, _, h) = build(name, 5), inputs(5, shape)
    one = denoiser(x, torch.full((1,) * len(shape), 7), h)
    assert torch.allclose(one, denoiser(x, torch.full(shape, 7), h), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_stay_as_they_were(name):
    denoiser, given = build(name, 5), inputs(5)
    before = [value.clone() for value in given]
    denoiser(*given)
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_saved_weights_are_the_network(name):
    file = io.BytesIO()
    torch.save(build(name, 5).state_dict(), file)
    file.seek(0)
    other = build(name, 5, seed=1)
    assert not torch.equal(build(name, 5)(*inputs(5)), other(*inputs(5)))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(build(name, 5)(*inputs(5)), other(*inputs(5)))


@pytest.mark.parametrize("name", NAMES)
def test_float32(name):
    denoiser = build(name, 5).float()
    x, k, h = inputs(5)
    output = denoiser(x.float(), k, h.float())
    assert output.dtype == torch.float32
    assert torch.allclose(output.double(), denoiser.double()(x, k, h), atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_untrained_it_predicts_next_to_nothing(name):
    """Which is right for v, and harmless for epsilon."""
    output = build(name, 5)(*inputs(5, (500,)))
    assert output.std() < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_options_it_does_not_know(name):
    with pytest.raises(OptionError, match="depth_of_the_network"):
        DENOISERS.build(name, target_dim=2, cond_dim=2, depth_of_the_network=3)


@pytest.mark.parametrize("decades", [4.0, -4.0])
def test_step_embedding(decades):
    k = torch.tensor([[0, 1, 77], [500, 501, 4000]])
    embedding = step_embedding(k, 16, decades, torch.float64)
    assert embedding.shape == (2, 3, 32)
    for row, step in zip(embedding.reshape(-1, 32), k.flatten().tolist(), strict=True):
        angles = [step * 10 ** (decades * i / 16) for i in range(16)]
        expected = torch.tensor([f(angle) for f in (math.sin, math.cos) for angle in angles])
        assert torch.allclose(row, expected, atol=1e-8)
    assert step_embedding(k, 16, decades, torch.float32).dtype == torch.float32


def test_the_width_of_the_mlp_follows_from_the_series():
    widths = {1: 128, 64: 128, 65: 256, 128: 256, 129: 512, 256: 512, 963: 512}
    assert {dim: default_width(dim) for dim in widths} == widths
    assert MLP(65, H).inlet.out_features == 256
    assert MLP(65, H, width=32).inlet.out_features == 32


def test_dropout_of_the_mlp_is_for_training_only():
    torch.manual_seed(0)
    denoiser = MLP(5, H, dropout=0.5)
    given = inputs(5)
    assert not torch.equal(denoiser(*given), denoiser(*given))
    denoiser.eval()
    assert torch.equal(denoiser(*given), denoiser(*given))


# -- the network of Rasul et al. 2021, step by step --------------------------------------------


def published(weights, x, k, h, layers=8, channels=8, cycle=2):
    """``EpsilonTheta``, literally: ``x[n, D]``, ``k[n]``, ``h[n, H]``, weights by name."""

    def linear(name, y):
        return F.linear(y, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def conv(weight, bias, y, padding=0, dilation=1):
        wrapped = np.pad(y.numpy(), ((0, 0), (0, 0), (padding, padding)), mode="wrap")
        return F.conv1d(torch.as_tensor(wrapped), weight, bias, dilation=dilation)

    def named(name, y, **options):
        return conv(weights[f"{name}.weight"], weights[f"{name}.bias"], y, **options)

    def leaky(y):
        return torch.where(y > 0, y, 0.4 * y)

    # input projection: 1 x 1 convolution with circular padding 2
    y = leaky(named("inlet", x[:, None, :], padding=2))

    # step embedding: the reference counts steps from 0
    angle = [[(int(step) - 1) * 10.0 ** (i * 4.0 / 16) for i in range(16)] for step in k]
    step = torch.tensor([[*map(math.sin, row), *map(math.cos, row)] for row in angle])
    step = linear("step.0", step)
    step = step * torch.sigmoid(step)
    step = linear("step.2", step)
    step = step * torch.sigmoid(step)

    # conditional upsampler
    up = leaky(linear("upsample.2", leaky(linear("upsample.0", h))))[:, None, :]

    skips = []
    for i in range(layers):
        rows = slice(i * 2 * channels, (i + 1) * 2 * channels)
        conditioner = conv(
            weights["project.weight"][rows], weights["project.bias"][rows], up, padding=2
        )
        z = y + linear(f"blocks.{i}.step", step)[:, :, None]
        dilation = 2 ** (i % cycle)
        z = named(f"blocks.{i}.dilated", z, padding=dilation, dilation=dilation) + conditioner
        gate, filtered = z[:, :channels], z[:, channels:]
        z = leaky(named(f"blocks.{i}.outlet", torch.sigmoid(gate) * torch.tanh(filtered)))
        residual, skip = z[:, :channels], z[:, channels:]
        y = (y + residual) / math.sqrt(2.0)
        skips.append(skip)

    y = torch.stack(skips).sum(0) / math.sqrt(layers)
    y = leaky(named("skip", y))
    return named("outlet", y)[:, 0, :]


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 7, 20])
@pytest.mark.parametrize(
    "options", [{}, {"layers": 5, "channels": 3, "dilation_cycle": 3}], ids=["default", "other"]
)
def test_wavenet_is_the_published_network(dim, options):
    torch.manual_seed(0)
    denoiser = WaveNet(dim, H, **options)
    for parameter in denoiser.parameters():  # the initial ones hide the small parts
        torch.nn.init.normal_(parameter, std=0.5)
    x, k, h = inputs(dim, steps=600)
    weights = {name: value.detach() for name, value in denoiser.named_parameters()}
    sizes = {
        "layers": options.get("layers", 8),
        "channels": options.get("channels", 8),
        "cycle": options.get("dilation_cycle", 2),
    }
    expected = published(weights, x, k, h, **sizes)
    assert expected.std() > 0.02  # not all the same
    assert torch.allclose(denoiser(x, k, h), expected, rtol=1e-10, atol=1e-10)


def test_wavenet_has_the_published_sizes():
    shapes = {name: tuple(p.shape) for name, p in WaveNet(7, 100).named_parameters()}
    assert shapes["inlet.weight"] == (8, 1, 1)
    assert shapes["step.0.weight"] == (64, 32) and shapes["step.2.weight"] == (64, 64)
    assert shapes["upsample.0.weight"] == (3, 100) and shapes["upsample.2.weight"] == (7, 3)
    assert shapes["project.weight"] == (8 * 16, 1, 1)
    for i in range(8):
        assert shapes[f"blocks.{i}.step.weight"] == (8, 64)
        assert shapes[f"blocks.{i}.dilated.weight"] == (16, 8, 3)
        assert shapes[f"blocks.{i}.outlet.weight"] == (16, 8, 1)
    assert "blocks.8.step.weight" not in shapes
    assert shapes["skip.weight"] == (8, 8, 3) and shapes["outlet.weight"] == (1, 8, 3)


def test_wavenet_takes_the_condition_out_of_the_reverse_loop():
    denoiser, (x, k, h) = build("wavenet", 5), inputs(5)
    condition = denoiser.condition(h)
    assert condition.shape == (8, 5)
    denoiser.upsample.forward = None  # may not be called again
    denoiser.denoise(x, k, condition)


@pytest.mark.parametrize("positions", [1, 12, 35, 2**15])
@pytest.mark.parametrize("one_step", [False, True])
def test_wavenet_is_the_same_in_blocks_of_rows(monkeypatch, positions, one_step):
    denoiser, (x, k, h) = build("wavenet", 5), inputs(5)
    k = k[:1] if one_step else k
    whole = denoiser.denoise(x, k, denoiser.condition(h))
    monkeypatch.setattr(wavenet, "POSITIONS", positions)
    torch.testing.assert_close(denoiser.denoise(x, k, denoiser.condition(h)), whole)
