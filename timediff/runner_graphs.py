"""The exported graphs of a model, opened.

With numpy and onnxruntime alone; see ``runner.py``, beside which this lies.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def onnx(file: Path, names: list[str], options: dict[str, Any]) -> Callable[[Arrays], Any]:
    """An ONNX file as a function of named arrays."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(file), **{"providers": ["CPUExecutionProvider"]} | options
    )
    kinds = {part.name: "i8" if "int64" in part.type else "f4" for part in session.get_inputs()}

    def call(inputs: Arrays) -> Any:
        # an input that a graph does not need is not among its inputs
        return session.run(None, {n: np.asarray(inputs[n], kind) for n, kind in kinds.items()})

    return call


def program(file: Path, names: list[str], options: dict[str, Any]) -> Callable[[Arrays], Any]:
    """Likewise, a program of ``torch.export``."""
    import torch  # a program of torch.export needs it; an ONNX file does not

    module = torch.export.load(str(file)).module()

    def call(inputs: Arrays) -> Any:
        parts = (np.ascontiguousarray(inputs[name]) for name in names)
        parts = (part if part.dtype.kind == "i" else part.astype("f4") for part in parts)
        with torch.no_grad():
            outputs = module(*map(torch.from_numpy, parts))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return [part.numpy() for part in outputs]

    return call
