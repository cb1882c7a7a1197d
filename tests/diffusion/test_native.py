"""The published denoiser compiled by the machine's compiler is the one that is not."""

import copy
import logging

import pytest
import torch

from timediff.diffusion import compiler
from timediff.diffusion.denoisers import WaveNet, native

H = 6
needs_compiler = pytest.mark.skipif(native.library(8) is None, reason="no compiler here")


def pair(dim: int, **options) -> tuple[WaveNet, WaveNet]:
    """A network in single precision with weights that all matter, and the same compiled."""
    torch.manual_seed(0)
    plain = WaveNet(dim, H, **options).float()
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    compiled = copy.deepcopy(plain)
    compiled.compile_kernel()
    return plain.requires_grad_(False), compiled.requires_grad_(False)


def inputs(dim: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``x[*b, D]``, one step for all, ``h[*b, H]``."""
    x, h = torch.randn(*shape, dim).float(), torch.randn(*shape, H).float()
    return x, torch.full((1,) * len(shape), 40), h


def assert_as_exact(compiled: WaveNet, plain: WaveNet, *inputs: torch.Tensor) -> None:
    """Rounding errors are no larger than those of the plain network in single precision."""
    double = [part.double() if part.is_floating_point() else part for part in inputs]
    exact = copy.deepcopy(plain).double()(*double)
    assert exact.numel() < 10 or exact.std() > 1e-3  # not all the same
    allowed = 1e-6 + 1e-6 * exact.abs() + 3 * (plain(*inputs) - exact).abs().max(-1, True).values
    assert ((compiled(*inputs) - exact).abs() <= allowed).all()


@needs_compiler
@pytest.mark.parametrize("shape", [(1,), (16,), (37,), (3, 5), (0,)], ids=str)
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 7, 370])
@pytest.mark.parametrize(
    "options", [{}, {"layers": 5, "channels": 3, "dilation_cycle": 5}], ids=["default", "other"]
)
def test_it_predicts_the_same(dim, shape, options, monkeypatch):
    plain, compiled = pair(dim, **options)
    x, k, h = inputs(dim, *shape)
    monkeypatch.setattr(compiled, "_denoise", None)  # nothing else may do it
    assert_as_exact(compiled, plain, x, k, h)


@needs_compiler
@pytest.mark.parametrize("size", [1e-30, 1e-3, 1e3, 1e30])
def test_very_small_and_very_large_values(size):
    plain, compiled = pair(5)
    x, k, h = inputs(5, 20)
    assert_as_exact(compiled, plain, size * x, k, h)


@needs_compiler
def test_what_is_not_a_number_stays_in_its_row():
    _, compiled = pair(5)
    x, k, h = inputs(5, 20)
    before = compiled(x, k, h)
    x[3, 2] = torch.nan
    after = compiled(x, k, h)
    assert after[3].isnan().any()
    others = torch.arange(20) != 3
    assert torch.equal(after[others], before[others])


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_bits_do_not_depend_on_rows_beside_them_or_on_threads(threads, monkeypatch):
    _, compiled = pair(11)
    x, k, h = inputs(11, 50)
    condition = compiled.condition(h)  # a product of matrices, which may
    whole = compiled.denoise(x, k, condition)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    pairs = zip(x.split(7), condition.split(7), strict=True)
    parts = [compiled.denoise(a, k, b) for a, b in pairs]
    assert torch.equal(torch.cat(parts), whole)


@needs_compiler
@pytest.mark.parametrize(
    "case", ["double", "many steps", "gradient", "gradient of x", "not compiled"]
)
def test_everything_else_is_left_to_the_network_itself(case, monkeypatch):
    monkeypatch.setattr(native, "denoise", None)  # may not be called
    monkeypatch.setattr(torch, "compile", lambda plain, **options: plain)
    plain, compiled = pair(4)
    x, k, h = inputs(4, 8)
    if case == "double":
        compiled, x, h = compiled.double(), x.double(), h.double()
    if case == "many steps":
        k = torch.arange(1, 9)
    compiled.requires_grad_(case == "gradient")
    x.requires_grad_(case == "gradient of x")
    network = plain if case == "not compiled" else compiled
    expected = plain.to(x.dtype)(x, k, h)
    found = network(x, k, h)
    torch.testing.assert_close(found, expected)
    if "gradient" in case:
        (gradient,) = torch.autograd.grad(found.sum(), x if case[-1] == "x" else network.skip.bias)
        assert gradient.any()


@needs_compiler
def test_it_is_compiled_once_for_all_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("TIMEDIFF_CACHE", str(tmp_path))
    runs = []
    run = compiler._run
    monkeypatch.setattr(compiler, "_run", lambda command: runs.append(command) or run(command))
    for times in (1, 2):  # what another process finds is what the first has left
        compiler.library.cache_clear()
        assert native.library(2) is not None
        assert sum("-o" in command for command in runs) == 1
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
        assert len(runs) == 1 + times
    compiler.library.cache_clear()


@pytest.mark.parametrize(
    "command, said",
    [("no-such-compiler", "No such file"), ("false", "non-zero exit status"), ("true", "wavenet-")],
)
def test_without_a_compiler_the_network_does_it_itself(
    command, said, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("TIMEDIFF_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", command)
    monkeypatch.setattr(torch, "compile", lambda plain, **options: plain)
    compiler.library.cache_clear()
    plain, compiled = pair(4)
    x, k, h = inputs(4, 8)
    with caplog.at_level(logging.INFO, logger="timediff"):
        for _ in range(2):
            assert torch.equal(compiled(x, k, h), plain(x, k, h))
    assert caplog.text.count("wavenet.cpp is not compiled") == 1 and said in caplog.text
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    compiler.library.cache_clear()
