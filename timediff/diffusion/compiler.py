"""C++ beside the Python: compiled by the compiler of the machine when it is first used."""

import ctypes
import functools
import hashlib
import logging
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from timediff._cache import cache_folder
from timediff.types import Tensor

logger = logging.getLogger(__name__)

FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno"),
    *("-shared", "-fPIC", "-pthread"),
)
SECONDS = 120  # that a compiler may take


@functools.cache
def library(source: Path, *definitions: str) -> ctypes.CDLL | None:
    """The compiled source; None where there is no compiler that can, which is logged once.

    It is kept in the folder that ``TIMEDIFF_CACHE`` names, or the platform's for caches, under a
    name that says what it was made from, and for which processor.

    Args:
        source: a file of C++.
        definitions: of macros, ``NAME=VALUE``.
    """
    compiler = os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++"
    command = [*compiler.split(), *FLAGS, *(f"-D{definition}" for definition in definitions)]
    try:
        # all that the compiler knows of itself and of the processor
        macros = _run([*command, "-dM", "-E", "-x", "c++", os.devnull])
        made_from = repr(command).encode() + macros + source.read_bytes()
        name = hashlib.sha256(made_from).hexdigest()[:32]
        made = cache_folder() / "compiled" / f"{source.stem}-{name}.so"
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=made.parent) as folder:
                unfinished = Path(folder) / made.name
                _run([*command, "-o", str(unfinished), str(source)])
                unfinished.replace(made)
        return ctypes.CDLL(str(made))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        logger.info("%s is not compiled: %s %s", source.name, error, said.decode(errors="replace"))
        return None


def _run(command: list[str]) -> bytes:
    """What it says."""
    return subprocess.run(command, check=True, capture_output=True, timeout=SECONDS).stdout


def call(function: Any, *arguments: Tensor | int) -> None:
    """A function of C++, given where tensors begin (they are contiguous), and 64-bit integers."""
    function(
        *(
            ctypes.c_void_p(part.data_ptr()) if isinstance(part, Tensor) else ctypes.c_int64(part)
            for part in arguments
        )
    )
