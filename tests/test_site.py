"""The site: every page is in it, the annotated text prints what it says, and mkdocs builds it."""

import os
import re
import subprocess
import sys

import pytest

from docs import hooks

ROOT = hooks.ROOT
DRAWN = hooks.drawn_pages()


def nav() -> list[str]:
    """The pages of the site, in their order."""
    text = (ROOT / "mkdocs.yml").read_text()
    return re.findall(r"([\w/]+\.md)$", text.partition("\nnav:\n")[2], flags=re.M)


def test_the_site_lists_every_page_once():
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    outside = {
        p.relative_to(ROOT).as_posix()
        for pattern in hooks.OUTSIDE
        for p in ROOT.glob(pattern)
        if p.suffix == ".md"
    }
    assert len(nav()) == len(set(nav()))
    assert set(nav()) == pages | outside | {"index.md"}


@pytest.mark.parametrize("page", DRAWN, ids=lambda page: page.name)
def test_every_figure_of_a_page_is_drawn_by_its_code_and_committed(page):
    text = page.read_text()
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    saved = re.findall(r"savefig\(\"([^\"]+)\"", text)
    assert sorted(shown) == sorted(saved)
    for name in shown:
        assert 2_000 < (page.parent / name).stat().st_size < 150_000, name


def test_every_public_name_of_the_package_is_in_the_reference():
    import timediff
    from timediff import scores

    pages = "".join(p.read_text() for p in (ROOT / "docs/reference").glob("*.md"))
    named = set(re.findall(r"^::: ([\w.]+)$", pages, flags=re.M))
    by_module = {"timediff.errors", "timediff.diffusion.schedule"}
    assert by_module <= named
    for name in timediff.__all__:
        home = f"timediff.{timediff._HOME[name]}"
        known = home in by_module or name in ("NoiseSchedule", "zero_terminal_snr")
        assert f"timediff.{name}" in named or known, name
    assert {f"timediff.scores.{name}" for name in scores.__all__} <= named


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("ratio 0.93\n", "ratio 0.94\n", True),
        ("ratio 0.93\n", "ratio  0.94\n", True),
        ("ratio 0.73\n", "ratio 0.94\n", False),
        ("ratio 93\n", "ratio 94\n", True),
        ("ratio 93\n", "ratio 9\n", False),
        ("share 0.93\n", "ratio 0.93\n", False),
        ("0.1 0.2\n", "0.1\n", False),
        ("-1.0\n", "1.0\n", False),
        ("1e-12\n", "3e-13\n", True),
    ],
)
def test_outputs_are_compared_word_by_word_and_numbers_by_size(printed, expected, same):
    assert (hooks.differs(printed, expected) == "") == same


def test_links_of_the_repository_become_links_of_the_site():
    class Page:
        class file:  # noqa: N801
            src_uri = ""

    def turned(here, text):
        Page.file.src_uri = here
        return hooks.on_page_markdown(text, Page, None, None)

    assert turned("index.md", "[a](docs/cli.md#b)") == "[a](cli.md#b)"
    assert (
        turned("scores/crps.md", "[a](../../benchmarks/README.md)")
        == "[a](../benchmarks/README.md)"
    )
    assert turned("benchmarks/README.md", "[a](../docs/cli.md)") == "[a](../cli.md)"
    assert turned("cli.md", "[a](../README.md)") == "[a](index.md)"
    assert turned("cli.md", "[a](https://b.org/c.md)") == "[a](https://b.org/c.md)"
    kept = "```python\nf[a](../README.md)\n```"
    assert turned("cli.md", kept) == kept


def test_docstrings_become_markdown():
    pytest.importorskip("griffe")
    from docs import docstrings

    text = (
        "Law :math:`N(0, 1)` of :class:`~timediff.x.Y`.\n\n.. math:: a\n    b\n\nArgs:\n    x: z."
    )
    found = docstrings.markdown(text)
    assert found == "Law $N(0, 1)$ of `Y`.\n\n\n$$\na\nb\n$$\n\nArgs:\n    x: z."
    assert docstrings.markdown("Of :func:`a.b`.") == "Of `a.b`."


def build(folder, **environment):
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    settings = {"NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        words, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, check=False
    )


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    done = build(tmp_path, TIMEDIFF_DOCS_RUN="0")
    assert done.returncode == 0, done.stdout + done.stderr
    for page in nav():
        name = page.removesuffix("README.md") + "index.md" if page.endswith("README.md") else page
        assert (tmp_path / name.replace(".md", ".html")).exists(), page
    text = (tmp_path / "reference/diffusion.html").read_text()
    assert "probability-flow equation" in text and ":math:" not in text and ":class:" not in text
    assert (tmp_path / "annotated/one_number.png").exists()


@pytest.mark.slow
def test_the_figures_of_the_site_are_drawn_anew(tmp_path):
    pytest.importorskip("mkdocs")
    done = build(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in DRAWN:
        for name in re.findall(r"savefig\(\"([^\"]+)\"", page.read_text()):
            place = page.relative_to(ROOT / "docs").parent / name
            drawn, committed = tmp_path / place, page.parent / name
            assert drawn.stat().st_mtime > committed.stat().st_mtime
