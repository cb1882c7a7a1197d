"""The site: what mkdocs needs beyond ``mkdocs.yml``. Also a command: ``python docs/hooks.py``.

- Pages that lie elsewhere in the repository (README, changelog, results) become pages of the site;
  links between pages are written for the repository, and are turned into those of the site.
- The figures of the annotated text are drawn anew by the code beside them, so the site's are never
  stale. The command draws the committed ones, which readers of the repository see, and writes what
  the code prints below it.

Set ``TIMEDIFF_DOCS_RUN=0`` to take the committed figures instead.
"""

import contextlib
import io
import os
import posixpath
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "benchmarks/results/*.*",
    "datasets/README.md",
    "datasets/traffic/README.md",
]
DRAWN = ["annotated/*.md", "three_views.md"]  # pages whose figures their code draws
FOLDERS: list[Path] = []  # what the code of the pages wrote, until the site has it
FENCE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", flags=re.S | re.M)
NUMBER = re.compile(r"[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def run(page: Path, folder: Path) -> list[tuple[str, str | None]]:
    """Run the Python of a page in a folder, which gets what the code writes.

    Returns:
        What each block printed, and what the page says that it does, if it says so.
    """
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))  # the code of this checkout
    import torch

    scope: dict[str, Any] = {}
    found, blocks = [], FENCE.findall(page.read_text(encoding="utf-8"))
    torch.manual_seed(0)
    with _in(folder):
        for code, expected in blocks:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(compile(code, page.name, "exec"), scope)
            found.append((printed.getvalue(), expected or None))
    return found


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    """Work there, on one core: the networks are too small to share the work of a step."""
    import torch

    before, threads = Path.cwd(), torch.get_num_threads()
    os.chdir(folder)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        os.chdir(before)
        torch.set_num_threads(threads)


def differs(printed: str, expected: str, relative: float = 0.2, absolute: float = 0.03) -> str:
    """Where an output is not the one on the page: in its words, or in a number by too much."""
    words, promised = NUMBER.split(printed), NUMBER.split(expected)
    if [w.split() for w in words] != [w.split() for w in promised]:
        return f"printed {printed!r}, the page says {expected!r}"
    numbers = [[float(n.replace("−", "-")) for n in NUMBER.findall(t)] for t in (printed, expected)]
    for a, b in zip(*numbers, strict=True):
        if abs(a - b) > max(absolute, relative * abs(b)):
            return f"printed {a}, the page says {b}, in {expected!r}"
    return ""


def drawn_pages() -> list[Path]:
    """The pages whose figures their code draws."""
    return sorted(page for pattern in DRAWN for page in (ROOT / "docs").glob(pattern))


# -- mkdocs --------------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Pages and pictures from elsewhere in the repository; fresh figures."""
    from mkdocs.structure.files import File

    def put(place: str, source: Path) -> None:
        old = files.get_file_from_path(place)
        if old is not None:
            files.remove(old)
        if source.suffix == ".md":
            files.append(File.generated(config, place, content=source.read_text("utf-8")))
        else:
            files.append(File.generated(config, place, abs_src_path=str(source)))

    put("index.md", ROOT / "README.md")
    for pattern in OUTSIDE:
        for source in sorted(ROOT.glob(pattern)):
            put(source.relative_to(ROOT).as_posix(), source)
    if os.environ.get("TIMEDIFF_DOCS_RUN", "1") != "0":
        for page in drawn_pages():
            folder = Path(tempfile.mkdtemp(prefix="timediff-docs-"))
            FOLDERS.append(folder)
            run(page, folder)
            for picture in sorted(folder.glob("*.png")):
                place = page.relative_to(ROOT / "docs").parent / picture.name
                put(place.as_posix(), picture)
    return files


def on_post_build(config: Any) -> None:
    """The fresh figures are in the site now."""
    while FOLDERS:
        shutil.rmtree(FOLDERS.pop())


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links of the repository become links of the site."""
    here = page.file.src_uri
    own = "README.md" if here == "index.md" else here
    if (
        not any(Path(own).match(pattern) for pattern in ["README.md", *OUTSIDE])
        or (ROOT / "docs" / here).exists()
    ):
        own = f"docs/{here}"

    def link(found: re.Match[str]) -> str:
        target, _, anchor = found[1].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(own), target))
        place = "index.md" if place == "README.md" else place.removeprefix("docs/")
        relative = posixpath.relpath(place, posixpath.dirname(here) or ".")
        return f"]({relative}{'#' + anchor if anchor else ''})"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.S | re.M)
    return "".join(
        part if part.startswith("```") else re.sub(r"\]\(([^)\s]+)\)", link, part) for part in parts
    )


def filled(text: str, outputs: list[str]) -> str:
    """A page whose blocks are followed by these outputs."""
    rest = iter(outputs)

    def block(found: re.Match[str]) -> str:
        printed = next(rest)
        shown = f"\n```text\n{printed}```\n" if printed else ""
        return f"```python\n{found[1]}```\n{shown}"

    return FENCE.sub(block, text)


def main(names: Sequence[str]) -> None:
    """Draw the committed figures and write the outputs of the pages, all or those named."""
    for page in drawn_pages():
        if names and page.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            outputs = run(page, Path(folder))
            for picture in sorted(Path(folder).glob("*.png")):
                (page.parent / picture.name).write_bytes(picture.read_bytes())
        for printed, expected in outputs:
            if printed and differs(printed, expected or ""):
                print(f"{page.name}: {printed}")
        text = page.read_text(encoding="utf-8")
        page.write_text(filled(text, [printed for printed, _ in outputs]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
