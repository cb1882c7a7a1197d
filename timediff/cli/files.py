"""Writing what was asked for: as a whole or not at all, and over nothing that is there."""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer

from timediff.errors import OptionError
from timediff.registry import unknown_name

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
FORMATS = ("csv", "jsonl", "parquet")


def suffix_of(path: Path) -> str:
    """By which the format is told, also of what is compressed."""
    return (path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix).lower()


def format_of(place: str, given: str | None) -> str:
    """The format of a table.

    Args:
        place: a path, or ``-``; CSV goes to that, and to what has no suffix and is no file.
        given: the format that was asked for.

    Raises:
        OptionError: an unknown format or suffix.
    """
    if given is not None:
        name = {"ndjson": "jsonl", "json": "jsonl"}.get(given.lower(), given.lower())
        if name not in FORMATS:
            raise unknown_name("format", given, list(FORMATS))
        return name
    path = Path(place)
    if place == "-" or (_is_device(path) and not path.suffix):
        return "csv"
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise OptionError(f"{place}: its suffix is none of {', '.join(SUFFIXES)}: name the format")
    return SUFFIXES[suffix]


def check_output(place: str | Path, overwrite: bool, folder: bool = False) -> None:
    """Raise now rather than after the work, if this cannot be written later.

    Args:
        place: what is to be written; ``-`` always can.
        overwrite: whether something may be replaced.
        folder: whether it will be a saved forecaster.

    Raises:
        OptionError: it is there, or its folder is not.
    """
    if folder and str(place) == "-":
        raise typer.BadParameter("a model is a folder, no stream: name it", param_hint="--output")
    path = Path(place)
    if str(place) == "-" or _is_device(path):
        return
    if path.exists() or path.is_symlink():
        if not overwrite:
            raise OptionError(f"{path} is there already: give --overwrite to replace it")
        if folder and not (path / "config.json").is_file():
            raise OptionError(f"{path} is no saved forecaster, and is left alone")
        if not folder and path.is_dir():
            raise OptionError(f"{path} is a folder: name a file")
    parent = path.absolute().parent
    if not parent.is_dir():
        raise OptionError(f"{path} cannot be written: there is no folder {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OptionError(f"{path} cannot be written: the folder {parent} is read-only")


@contextlib.contextmanager
def replacing(place: str | Path, overwrite: bool) -> Iterator[Path]:
    """A path beside this one to write to, which takes its place at the end if all went well."""
    path = Path(place)
    if _is_device(path):
        yield path
        return
    path = path.resolve()  # the file that a link leads to, not the link
    part = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield part
        check_output(path, overwrite)  # it may have come meanwhile
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_table(
    frame: "pd.DataFrame", place: str, given: str | None = None, overwrite: bool = False
) -> None:
    """Write a table.

    Args:
        frame: its index is not written; of periods their begins are.
        place: a path, or ``-`` for stdout.
        given: the format; by the suffix if None.
        overwrite: whether a file may be replaced.

    Raises:
        OptionError: see :func:`check_output` and :func:`format_of`.
    """
    from timediff._tables import without_periods

    name, frame = format_of(place, given), without_periods(frame)
    if place == "-":
        if name == "parquet":
            import io

            content = io.BytesIO()
            frame.to_parquet(content, index=False)
            sys.stdout.buffer.write(content.getvalue())
        else:
            _write_text(frame, sys.stdout, name)
        sys.stdout.flush()
        return
    check_output(place, overwrite)
    with replacing(place, overwrite) as part:
        if name == "parquet":
            frame.to_parquet(part, index=False)
        elif part.suffix == ".gz":
            import gzip

            with gzip.open(part, "wt", encoding="utf-8", newline="") as file:
                _write_text(frame, file, name)
        else:
            tab = "\t" if part.suffix == ".tsv" else ","
            with part.open("w", encoding="utf-8", newline="") as file:
                _write_text(frame, file, name, tab)


def _write_text(frame: "pd.DataFrame", file: IO[Any], name: str, separator: str = ",") -> None:
    if name == "csv":
        frame.to_csv(file, index=False, sep=separator, lineterminator="\n")
        return
    times = [c for c in frame.columns if frame[c].dtype.kind == "M"]
    # as the CSV has them: with their time zone, which pandas' JSON would turn into UTC
    plain = frame.assign(**{str(c): frame[c].astype(str) for c in times})
    plain.to_json(file, orient="records", lines=True, double_precision=15, force_ascii=False)


def _is_device(path: Path) -> bool:
    """Whether it is there and no file of its own: ``/dev/stderr``, a named pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()
