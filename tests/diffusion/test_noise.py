"""Noise by counter: the published numbers, the law, and that nothing but the counter matters."""

import numpy as np
import pytest
import torch
from scipy import stats

from timediff.diffusion import compiler
from timediff.diffusion.noise import SOURCE, WORD, PathNoise, philox

needs_compiler = pytest.mark.skipif(compiler.library(SOURCE) is None, reason="no compiler here")


@pytest.mark.parametrize(  # of the authors of Philox, kat_vectors of Random123
    ("word", "expected"),
    [
        (0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (WORD, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ],
)
def test_the_published_numbers(word, expected):
    counter = tuple(torch.tensor([word]) for _ in range(4))
    words = philox(counter, counter[:2])
    assert " ".join(f"{int(w):08x}" for w in words) == expected


def test_more_published_numbers():
    counter = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    key = (0xA4093822, 0x299F31D0)
    words = philox(*(tuple(torch.tensor([w]) for w in part) for part in (counter, key)))
    assert " ".join(f"{int(w):08x}" for w in words) == "d16cfe09 94fdcceb 5001e420 24126ea1"


def noise(seeds, paths, dim=7, **kwargs):
    return PathNoise(torch.tensor(seeds), torch.tensor(paths), dim, **kwargs)


def test_a_number_depends_on_seed_path_draw_and_place_only():
    many = noise([5, 5, 2**62 + 1, 9], [0, 1, 1, 4])
    first, second = many(), many()
    alone = noise([2**62 + 1], [1])
    assert torch.equal(alone(), first[2:3]) and torch.equal(alone(), second[2:3])
    assert torch.equal(noise([5], [1], dim=3)()[0, :1], first[1, :1])
    numbers = torch.cat([first, second]).flatten()
    assert len(numbers.unique()) == len(numbers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_numbers_are_independent_and_normal(dtype):
    source = PathNoise(torch.arange(100) // 10, torch.arange(100) % 10, 50, dtype)
    x = torch.stack([source() for _ in range(40)])
    assert x.dtype == dtype
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-3
    by_place = x.permute(1, 2, 0)  # seed and path, place, draw
    for axis in range(3):
        moved = by_place.movedim(axis, 0)
        product = (moved[1:] * moved[:-1]).mean()
        assert abs(product) < 4 / np.sqrt(moved[1:].numel())
        square = ((moved[1:] ** 2 - 1) * (moved[:-1] ** 2 - 1)).mean()
        assert abs(square) < 4 * 2 / np.sqrt(moved[1:].numel())


@needs_compiler
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 7, 63, 64, 65, 370])
def test_compiled_it_draws_the_same_numbers(dim):
    seeds, paths = [0, 5, 2**63 - 1, 2**32 + 7], [0, 2**32 - 1, 3, 99]
    for first in (0, 2**32 - 40):
        plain = noise(seeds, paths, dim, first=first)
        exact = noise(seeds, paths, dim, first=first, dtype=torch.float64)
        compiled = noise(seeds, paths, dim, first=first, compiled=True)
        assert compiled.library is not None
        for _ in range(35):  # more than are drawn at once
            x, y, found = plain(), exact(), compiled()
            assert found.shape == x.shape and found.dtype == torch.float32
            # single precision itself is further off where a number is large
            assert ((found - y).abs() <= 2e-7 + 2 * (x - y).abs().max()).all()


@needs_compiler
def test_compiled_it_draws_every_size_of_number():
    """Radius and angle from one end to the other."""
    seeds, paths = torch.arange(100).expand(20, 100).flatten(), torch.arange(2000)
    found = PathNoise(seeds, paths, 500, compiled=True)()
    exact = PathNoise(seeds, paths, 500, torch.float64)()
    plain = PathNoise(seeds, paths, 500)()
    assert exact.abs().max() > 4.9 and exact.abs().min() < 1e-5
    torch.testing.assert_close(found, plain, atol=2e-6, rtol=2e-6)
    assert (found - exact).abs().max() <= 1.1 * (plain - exact).abs().max()
    assert stats.kstest(found.flatten().numpy(), "norm").pvalue > 1e-3


@needs_compiler
def test_compiled_a_number_depends_on_nothing_beside_it():
    many = noise([5, 5, 2**62 + 1, 9], [0, 1, 1, 4], compiled=True)
    alone = noise([2**62 + 1], [1], compiled=True)
    for _ in range(40):
        assert torch.equal(alone(), many()[2:3])


@pytest.mark.parametrize("case", ["double", "recorded", "not asked for", "no compiler"])
def test_everything_else_is_drawn_by_torch(case, monkeypatch):
    if case == "no compiler":
        monkeypatch.setattr(compiler, "library", lambda *of: None)
    dtype = torch.float64 if case == "double" else torch.float32
    first = torch.zeros(1, dtype=torch.long) if case == "recorded" else 0
    compiled = case != "not asked for"
    source = noise([1, 2], [0, 1], dtype=dtype, first=first, compiled=compiled)
    assert source.library is None
    assert torch.equal(source(), noise([1, 2], [0, 1], dtype=dtype)())
