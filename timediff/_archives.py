"""Reading the registry's two formats: wide parquet tables and GluonTS JSON-lines archives.

Archives are read in memory, straight out of the ``.tar.gz``: nothing is unpacked to disk, and
GluonTS's own loaders are not used, because they reject the metadata of these old archives.
"""

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from timediff.errors import DataError

Row = dict[str, Any]


def read_card(path: Path) -> dict[str, Any]:
    """The description ``dataset.json``, empty if there is none."""
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(card, dict):
        raise DataError(f"{path} holds a {type(card).__name__}, not an object")
    return card


def verify(path: Path, expected: str | None) -> None:
    """Raise a DataError if the file's SHA-256 is not the one its description gives."""
    if expected is None:
        return
    found = sha256(path)
    if found != expected:
        raise DataError(
            f"{path} is damaged or another version: its sha256 is {found}, dataset.json says "
            f"{expected}. Delete it and get it again"
        )


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_table(path: Path) -> pd.DataFrame:
    """A wide parquet table with a DatetimeIndex."""
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are both
        raise DataError(f"cannot read {path}: {error}") from error
    if not isinstance(frame.index, pd.DatetimeIndex):
        raise DataError(f"{path}: the index holds {frame.index.dtype}, not timestamps")
    return frame.set_axis(frame.index.as_unit("ns"))


def read_rows(path: Path, part: str) -> list[Row]:
    """The JSON lines of one part of an archive.

    Args:
        path: the unpacked folder or the ``.tar.gz``.
        part: "train" or "test", the folder the lines are in.

    Raises:
        DataError: the archive cannot be read, or has no lines in that folder.
    """
    rows = []
    try:
        for name, content in _members(path, part):
            text = gzip.decompress(content) if name.endswith(".gz") else content
            for number, line in enumerate(text.splitlines(), start=1):
                if line.strip():
                    rows.append(_row(line, f"{path}: {name}, line {number}"))
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not rows:
        raise DataError(f"{path} has no JSON lines in a folder {part!r}")
    return rows


def stack(rows: list[Row], where: str) -> tuple[str, np.ndarray]:
    """The common start of univariate rows and their values, float32 (D, T).

    Raises:
        DataError: starts or lengths differ. They are never padded.
    """
    for what, values in (
        ("starts", [str(row["start"]) for row in rows]),
        ("lengths", [len(row["target"]) for row in rows]),
    ):
        odd = [i for i, value in enumerate(values) if value != values[0]]
        if odd:
            raise DataError(
                f"{where}: series have different {what}: {values[0]} for the first, "
                f"{values[odd[0]]} for number {odd[0] + 1}"
            )
    try:
        return str(rows[0]["start"]), np.array([row["target"] for row in rows], dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: a target is no list of numbers: {error}") from error


def _members(path: Path, part: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each JSON file in the folder ``part``, in the order of their names."""
    if path.is_dir():
        for file in sorted((path / part).iterdir() if (path / part).is_dir() else []):
            if _is_json(file.name):
                yield f"{part}/{file.name}", file.read_bytes()
        return
    with tarfile.open(path, "r:*") as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            name = PurePosixPath(member.name)
            if member.isfile() and name.parent.name == part and _is_json(name.name):
                content = archive.extractfile(member)
                if content is not None:
                    yield f"{part}/{name.name}", content.read()


def _is_json(name: str) -> bool:
    return name.endswith((".json", ".json.gz")) and not name.startswith(".")


def _row(line: bytes, where: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(row, dict) or not {"start", "target"} <= row.keys():
        raise DataError(f"{where} has no start and target")
    return row
