"""Every block of Python in the pages under docs/ runs as written; links lead somewhere."""

import re
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.ablation import RESULTS, overview
from docs import hooks
from tests.test_readme import ROOT, blocks, cut
from timediff import scores

PAGES = sorted((ROOT / "docs").rglob("*.md"))
SCORES = [page for page in PAGES if page.parent.name == "scores" and page.name != "README.md"]


ANNOTATED, TRAINED = hooks.drawn_pages(), "7_forecast.md"


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ANNOTATED], ids=name)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if page.name == "cookbook.md":
        cut(monkeypatch, "fast")
    torch.manual_seed(0)
    scope: dict = {}
    for block in blocks(page.read_text()):
        exec(compile(block, name(page), "exec"), scope)
    assert "nan" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=[pytest.mark.slow] * (p.name == TRAINED)) for p in ANNOTATED],
    ids=name,
)
def test_the_annotated_text_prints_what_it_says(page, tmp_path):
    for printed, expected in hooks.run(page, tmp_path):
        assert "nan" not in printed
        assert not printed or expected is not None, f"the page does not show {printed!r}"
        assert expected is None or not hooks.differs(printed, expected)


def test_the_last_chapter_runs_with_less_training(tmp_path):
    text = (ROOT / "docs/annotated" / TRAINED).read_text()
    cuts = {'"prior_epochs": 3': '"prior_epochs": 1', '"max_epochs": 2': '"max_epochs": 1'}
    cuts |= {'"num_batches_per_epoch": 20': '"num_batches_per_epoch": 2'}
    cuts |= {"24 * 7 * 20": "24 * 7 * 6"}
    for whole, less in cuts.items():
        assert whole in text
        text = text.replace(whole, less)
    page = tmp_path / TRAINED
    page.write_text(text)
    outputs = [printed for printed, _ in hooks.run(page, tmp_path) if printed]
    assert len(outputs) == 6 and "nan" not in "".join(outputs)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_page_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert page.parent.joinpath(link).exists(), link


def test_the_table_of_what_matters_is_that_of_the_ablation():
    table = overview(pd.read_csv(RESULTS)).strip()
    assert len(table.splitlines()) > 20
    assert table in (ROOT / "docs/what_matters.md").read_text()


@pytest.mark.parametrize("page", SCORES, ids=name)
def test_a_page_of_a_score_says_what_it_must(page):
    text = page.read_text()
    assert text.count("\n$$\n") >= 2 and blocks(text)
    for part in ("Estimator", "Bias", "Cost.", "Missing values.", "References."):
        assert f"**{part}" in text, part


def test_every_score_is_in_the_list_of_pages():
    index = (ROOT / "docs/scores/README.md").read_text()
    for page in SCORES:
        assert f"({page.name})" in index
    text = "".join(page.read_text() for page in SCORES)
    for score in set(scores.__all__) - {"score_table"}:
        assert f"`{score}`" in text or f"{score}(" in text, score
