"""Every block of Python in the README runs as written; only the training is cut short."""

import re
from pathlib import Path

import matplotlib
import pandas as pd
import pytest

from benchmarks.report import summary
from timediff import fitting, training
from timediff.network import prior
from timediff.options import PRESETS

ROOT = Path(__file__).parent.parent
CUT = {"max_epochs": 1, "prior_epochs": 1, "num_batches_per_epoch": 2, "batch_size": 8}
CUT |= {"refit": None, "diffusion_runs": 1, "prior_members": 1}


def cut(monkeypatch, preset: str) -> None:
    """Have a preset trained in seconds on any data."""
    monkeypatch.setitem(PRESETS, preset, {**PRESETS[preset], **CUT})
    monkeypatch.setattr(training, "START_ROWS", 512)
    monkeypatch.setattr(prior, "START_STEPS", 20)
    monkeypatch.setattr(fitting, "POOL_ROWS", 20_000)
    monkeypatch.setattr(fitting, "FACTOR_ROWS", 20_000)


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.S | re.M)


def test_the_readme_runs(tmp_path, monkeypatch, capsys):
    matplotlib.use("agg")
    cut(monkeypatch, "default")
    monkeypatch.chdir(tmp_path)
    code = blocks((ROOT / "README.md").read_text())
    assert len(code) >= 3
    scope: dict = {}
    for block in code:
        exec(compile(block, "README.md", "exec"), scope)
    assert scope["forecast"].samples.shape == (100, 24, 20)
    assert scope["total"].samples.shape == (100, 24, 1)
    assert (tmp_path / "forecast.png").stat().st_size > 10_000
    assert 0 < scope["scores"]["m_sum_mean_wQuantileLoss"] < 1
    assert "CRPS-sum" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "datasets/README.md"])
def test_links_of_a_page_lead_somewhere(page):
    text = (ROOT / page).read_text()
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link


def test_results_of_the_readme_are_those_of_the_suite():
    rows = pd.read_csv(ROOT / "benchmarks/results/suite.csv")
    table = summary(rows).strip()
    assert len(table.splitlines()) > 8
    assert table in (ROOT / "README.md").read_text()
    assert table in (ROOT / "benchmarks/results/suite.md").read_text()


def test_files_that_the_readme_names_exist():
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"`((?:network/|diffusion/|scores/)?[a-z_]*(?:\.py|/))`", text)
    assert len(named) > 10
    for name in named:
        assert (ROOT / "timediff" / name).exists() or (ROOT / name).exists(), name
