"""Graphs traced by torch and written as ONNX files or programs."""

import contextlib
import inspect
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import torch

from timediff._graphs import Graph


def write_onnx(graph: Graph, file: Path) -> None:
    """Write a graph as an ONNX file."""
    program = torch.onnx.export(
        graph.module.eval(),
        tuple(graph.inputs.values()),
        input_names=list(graph.inputs),
        output_names=graph.outputs,
        dynamic_shapes=_shapes(graph),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(file)


def write_program(graph: Graph, file: Path) -> None:
    """Write a graph as a program of ``torch.export``."""
    program = torch.export.export(
        graph.module.eval(),
        tuple(graph.inputs.values()),
        dynamic_shapes=_shapes(graph),
        strict=False,
    )
    torch.export.save(program, file)


def _shapes(graph: Graph) -> Any:
    """The axes of any length, as the signature of the module nests them."""
    names = {name for axes in graph.axes.values() for name in axes.values()}
    lengths = {name: torch.export.Dim(name, min=1) for name in sorted(names)}
    parts = [{i: lengths[n] for i, n in graph.axes[name].items()} for name in graph.inputs]
    kinds = [p.kind for p in inspect.signature(graph.module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return tuple(parts)
    named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    return (*parts[:named], tuple(parts[named:]))


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """Without what the exporter says to its developers; how it was set before is set again.

    Nor are shapes checked meanwhile, where the tests do so: to compare the length of an axis with
    a number would make it that number for good.
    """
    logger, config = logging.getLogger("torch.onnx"), jaxtyping.config
    level, disabled = logger.level, config.jaxtyping_disable
    try:
        logger.setLevel(logging.ERROR)
        config.update("jaxtyping_disable", True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        config.update("jaxtyping_disable", disabled)
