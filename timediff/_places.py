"""Where data sets are looked for, and what is said when one is not there."""

import os
from collections.abc import Iterator
from pathlib import Path

from timediff._cache import CACHE, cache_folder
from timediff._sources import Archive, Table
from timediff.errors import DataError

DATASETS = "TIMEDIFF_DATASETS"


def find(name: str, places: list[str], root: str | Path | None) -> tuple[Path | None, list[Path]]:
    """The first place that exists, None if there is none, and all that were looked at.

    Args:
        name: of the data set.
        places: files or folders, relative to a root. A folder counts if it has the two parts of an
            archive.
        root: looked in first, then ``TIMEDIFF_DATASETS``, the package, the cache.
    """
    looked = []
    for folder in _roots(name, root):
        for path in (folder / place for place in places):
            looked.append(path)
            if path.is_file() or ((path / "train").is_dir() and (path / "test").is_dir()):
                return path, looked
    return None, looked


def _roots(name: str, root: str | Path | None) -> Iterator[Path]:
    yield from (Path(r).expanduser() for r in (root, os.environ.get(DATASETS)) if r)
    if name == "traffic":
        here = Path(__file__).resolve().parent
        yield from (here / "_data", here.parent / "datasets")
    yield cache_folder()  # last, because finding it may take an import


def table_places(name: str) -> list[str]:
    """Where a table may be, relative to a root."""
    return [f"{name}/data.parquet"]


def archive_places(name: str, spec: Archive) -> list[str]:
    """Where an archive may be, relative to a root, packed or unpacked."""
    archive = f"{name}.tar.gz"
    folders = [f for f in (spec.folder, name) if f]
    return [p for f in folders for p in (f"{f}/{archive}", f"{f}/{name}", f)] + [archive]


def missing_table(name: str, table: Table, place: str, looked: list[Path]) -> DataError:
    """The error for a table that is nowhere: what, from where, and where to put it."""
    return DataError(
        f"dataset {name!r} is not here and cannot be downloaded: no server offers {place} as it is "
        f"({table.title}; source: {table.source}; licence: {table.licence}). {table.prepared}. "
        f"{_looked(looked)}{_put(place, 'with its dataset.json ')}"
    )


def missing_archive(
    name: str, spec: Archive, place: str, looked: list[Path], reason: str
) -> DataError:
    """The error for an archive that is nowhere and was not downloaded."""
    return DataError(
        f"dataset {name!r} is not here and was not downloaded ({reason}). {_looked(looked)}"
        f"Get {spec.url} ({spec.title}) on a computer that can. {_put(place)}"
    )


def _looked(paths: list[Path]) -> str:
    return "Looked for" + "".join(f"\n  {path}" for path in paths) + "\n"


def _put(place: str, what: str = "") -> str:
    return (
        f"Put it {what}as {place} into a folder and give that folder as root=, as {DATASETS} "
        f"or as {CACHE}"
    )
