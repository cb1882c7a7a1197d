"""The yardstick of the sampling benchmark is TimeGrad as published, and so is the library's."""

import numpy as np
import pandas as pd
import torch

from benchmarks import sampling
from benchmarks.common import write_results
from benchmarks.reference import EpsilonTheta, ReverseLoop
from timediff.diffusion import SCHEDULES, ConditionalDiffusion
from timediff.diffusion.denoisers import WaveNet
from timediff.diffusion.samplers import DDPM


def networks(dim: int = 7, cond: int = 6) -> tuple[WaveNet, EpsilonTheta]:
    torch.manual_seed(0)
    ours = WaveNet(dim, cond)
    for parameter in ours.parameters():  # the initial ones hide the small parts
        torch.nn.init.normal_(parameter, std=0.3)
    return ours.requires_grad_(False), EpsilonTheta.of(ours)


def test_the_chain_of_the_library_draws_what_the_reference_draws():
    ours, plain = networks()
    schedule = SCHEDULES.build("linear", num_steps=20)
    generator = torch.Generator().manual_seed(1)
    h = torch.randn(5, 6, generator=generator)
    noise = list(torch.randn(20, 5, 7, generator=generator))
    expected = ReverseLoop(plain, schedule).sample(h, noise)
    given = iter(noise)
    drawn = DDPM().sample(ConditionalDiffusion(ours, schedule), h, lambda: next(given))
    # from standard noise as published: the start of the sampler is that of standardised data
    assert torch.allclose(drawn, expected, rtol=1e-6, atol=1e-8)


def test_the_benchmark_times_every_model_and_writes_a_table(tmp_path, monkeypatch):
    words = ["sampling", "--series", "3", "--presets", "default", "paper", "--samples", "57"]
    words += ["--repeats", "1", "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.setattr(sampling, "THREADS", torch.get_num_threads())
    sampling.main()
    rows = pd.read_csv(tmp_path / "sampling.csv").set_index("model")
    assert list(rows.index) == ["reference", "default", "paper"]
    assert rows.loc["reference", "ratio_to_reference"] == 1
    assert (rows["rows"] == 399).all() and (rows["seconds"] > 0).all()
    np.testing.assert_array_equal(rows["steps"], [100, 5, 100])
    # the reference does the same products of matrices, and those of the step and the condition more
    assert rows.loc["reference", "GFLOP"] > rows.loc["paper", "GFLOP"] > 0
    assert "# Drawing paths: the default takes" in (tmp_path / "sampling.md").read_text()
    kept = sampling.earlier(tmp_path, {"cpu": ["paper"]}, [3])
    assert [row["model"] for row in kept] == ["reference", "default"]
    assert sampling.earlier(tmp_path, {"cpu": ["default", "paper"]}, [3]) == []
    others = [{**row, "machine": "another"} for row in kept]
    write_results(tmp_path, "sampling", "Both", [*others, *kept[:1]])
    found = pd.read_csv(tmp_path / "sampling.csv")["machine"]
    assert list(found[:2]) == ["another"] * 2 and found[2] == kept[0]["machine"]
    assert "- machine: another; " in (tmp_path / "sampling.md").read_text()
    everything = sampling.earlier(tmp_path, {"cuda": ["default", "paper"]}, [3])
    assert len(everything) == 3
    assert len(sampling.earlier(tmp_path, {"cpu": ["default"]}, [4])) == 3


def test_bytes_are_those_of_what_is_read_and_written():
    x, y = torch.randn(10, 20), torch.randn(20, 5)
    with sampling.Moved() as moved:
        z = x @ y
    assert moved.bytes == 4 * (200 + 100 + 50)
    with sampling.Moved() as moved:
        z.T.unsqueeze(0).expand(7, -1, -1)  # views
    assert moved.bytes == 0
    with sampling.Moved() as moved:
        z.add_(1.0)
    assert moved.bytes == 4 * 50  # in place
    with sampling.Moved() as moved:
        z[:1].expand(10, -1) + z
    assert moved.bytes == 4 * (5 + 50 + 50)
