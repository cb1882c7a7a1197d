"""The ablation of the samplers: its laws are what they claim, and a small run writes its files."""

import pandas as pd
import pytest
import torch

from benchmarks import samplers
from benchmarks.laws import DIM, LAWS, Perfect
from timediff.diffusion import SCHEDULES, zero_terminal_snr


@pytest.mark.parametrize("name", LAWS)
def test_the_samples_of_a_law_have_its_moments(name):
    law = LAWS[name]()
    x = law.draw(40_000, torch.Generator().manual_seed(0))
    assert torch.allclose(law.covariance.diagonal(), torch.ones(DIM, dtype=torch.float64))
    assert x.mean(0).abs().max() < 0.03
    assert (law.variance_ratios(x) - 1).abs().max() < 0.06
    assert (law.variance_ratios(2 * x) - 4).abs().max() < 0.24


@pytest.mark.parametrize("name", LAWS)
def test_the_perfect_denoiser_is_the_regression_of_clean_on_noisy_data(name):
    """Its error is orthogonal to any function of what it sees; another guess's is not."""
    law, draw = LAWS[name](), torch.Generator().manual_seed(1)
    schedule = SCHEDULES.build("cosine", num_steps=100)
    x0 = law.draw(40_000, draw)
    eps = torch.randn(x0.shape, generator=draw, dtype=x0.dtype)
    for k in (10, 40, 70):
        step = torch.tensor([k])
        alpha, sigma = schedule(step, x0.dtype)
        x = alpha * x0 + sigma * eps
        found = Perfect(law, schedule).denoise(x, step, None)
        for test in (torch.ones_like(x), x, x.abs(), x**2, x.flip(1), torch.sin(2 * x)):
            product = (x0 - found) * test
            assert (product.mean(0).abs() < 5 * product.std(0) / len(x) ** 0.5).all()
        product = (x0 - 0.9 * found) * x
        assert (product.mean(0).abs() > 5 * product.std(0) / len(x) ** 0.5).any()


def test_pure_noise_says_nothing_of_the_clean_data():
    law, zero = LAWS["modes"](), zero_terminal_snr(SCHEDULES.build("linear", num_steps=100))
    x = torch.randn(5, DIM, dtype=torch.float64)
    assert torch.allclose(
        Perfect(law, zero).denoise(x, torch.tensor([100]), None), 0 * x, atol=1e-12
    )


def test_a_small_run_writes_table_page_and_picture(tmp_path):
    threads = torch.get_num_threads()
    words = ["--laws", "gaussian", "modes", "--steps", "2", "5", "--drawn", "600"]
    samplers.main([*words, "--compared", "300", "--output", str(tmp_path)])
    torch.set_num_threads(threads)
    rows = pd.read_csv(tmp_path / "samplers.csv")
    assert len(rows) == 2 * len(samplers.schedules()) * len(samplers.VARIANTS) * 2
    assert set(samplers.schedules()) >= set(SCHEDULES)
    mean = rows[rows.schedule == "linear"].groupby(["sampler", "steps"]).distance.mean()
    assert mean["ddpm", 2] > mean["ddpm", 5] > 0.03 > mean["adams", 5]
    assert (rows["least"] <= rows["most"]).all()
    page = (tmp_path / "samplers.md").read_text()
    assert "`adams`, 5 steps, cosine schedule" in page and "seed" in rows.columns
    assert (tmp_path / "samplers.png").stat().st_size > 20_000


def test_the_page_is_that_of_the_table():
    rows = pd.read_csv(samplers.Path("benchmarks/results/samplers.csv"))
    assert len(rows) == 3 * 7 * 7 * 8
    page = samplers.Path("benchmarks/results/samplers.md").read_text()
    assert samplers.verdict(rows) in page and len(samplers.verdict(rows)) > 80
    assert samplers.grid(rows[rows["schedule"] == "cosine"], "steps", 4) in page
