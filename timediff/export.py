"""A trained model for places without torch: ONNX files, or programs of ``torch.export``.

The folder holds the networks, the constants, a manifest, and a runner of a few files that
needs numpy and onnxruntime alone; see ``docs/export.md``.
"""

import copy
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from timediff import runner
from timediff._export_check import check
from timediff._graphs import (
    Graph,
    level_graphs,
    named_rows,
    named_static,
    residual_graphs,
    shared_graphs,
)
from timediff._manifest import constants_of, manifest_of
from timediff._tracing import tracing, write_onnx, write_program
from timediff.errors import OptionError, SavedModelError
from timediff.forecaster import Forecaster
from timediff.network import Batch, LevelNetwork, ResidualNetwork, TimeGradNetwork
from timediff.predictor import TimeGradPredictor
from timediff.reading import Features
from timediff.windows import WindowSpec

MANIFEST, CONSTANTS = "manifest.json", "constants.npz"
OF_SERIES = ("unit", "change", "deviation", "real", "category")  # the same for all blocks
Model = Forecaster | TimeGradPredictor
Writer = Callable[[Graph, Path], None]


def export_onnx(model: Model, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a model as ONNX files with a runner that needs numpy and onnxruntime alone.

    The paths of a window and a seed are those of the predictor on a CPU up to rounding, which is
    checked on random data before the folder appears; the difference is in the manifest. Of a
    forecaster that was calibrated they are recalibrated, as its own are.

    Args:
        model: a fitted forecaster, or a predictor.
        folder: appears as a whole or not at all.
        overwrite: replace an exported model that is there; anything else is left alone.

    Returns:
        The folder.

    Raises:
        ImportError: onnx, onnxscript or onnxruntime is not installed.
        OptionError: the model has a part that cannot be exported.
        SavedModelError: there is something in the folder's place.
        TimediffError: the exported model draws other paths.
    """
    missing = [n for n in ("onnx", "onnxscript", "onnxruntime") if not importlib.util.find_spec(n)]
    if missing:
        raise ImportError(
            f"export_onnx needs {', '.join(missing)}: pip install 'timediff[export]', or "
            "pip install onnx onnxscript onnxruntime"
        )
    return _export(model, Path(folder), overwrite, "onnx", write_onnx)


def export_programs(model: Model, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a model as programs of ``torch.export``, for places with torch but no timediff.

    As :func:`export_onnx` in everything else: the same folder, the same runner.
    """
    return _export(model, Path(folder), overwrite, "pt2", write_program)


def windows(
    model: Model,
    data: Any = None,
    *,
    known: Any = None,
    past: Any = None,
    future: Any = None,
    static: Any = None,
) -> list[dict[str, np.ndarray]]:
    """What the model reads of histories, for :meth:`timediff.runner.Runner.sample`.

    The runner makes the same of a history by itself; this is for where its data are prepared with
    timediff, once, and drawn from elsewhere.

    Args:
        model: a fitted forecaster, or a predictor.
        data: the histories: a list of GluonTS entries, or a table in any form that
            ``Forecaster.fit`` takes; those that a forecaster keeps if None.
        known: features of tables; this and the next three as in ``Forecaster.predict``.
        past: likewise.
        future: likewise.
        static: likewise.

    Returns:
        The arrays of each entry's window.
    """
    predictor = _predictor(model)
    if isinstance(data, list):
        entries = data
    else:
        owner = model if isinstance(model, Forecaster) else Forecaster.from_predictor(model)
        features = Features(known, past, future, static)
        entries = list(owner.kept.or_other("windows", data, features).entries.values())
    panels = (panel for chunk in predictor.chunks(entries, 1) for _, panel in chunk)
    return [_arrays(predictor.gather([panel])) | {"shift": panel.shift} for panel in panels]


def _arrays(batch: Batch) -> dict[str, np.ndarray]:
    """The arrays of a batch of one window, as :meth:`timediff.runner.Runner.window` names them."""
    whole = {"target": batch.target, "observed": batch.observed, "calendar": batch.calendar}
    own = {"floor": batch.floor[:, 0], "whole": batch.whole[:, 0]}
    arrays = {name: part[0].cpu().numpy() for name, part in (whole | own).items()}
    if batch.rows is None:
        level = {"lags": batch.lags[0], "loc": batch.loc[0, 0], "scale": batch.scale[0, 0]}
        if batch.static is not None:
            level |= {name: part[0] for name, part in named_static(batch.static).items()}
        return arrays | {name: part.cpu().numpy() for name, part in level.items()}
    rows, d = named_rows(batch.rows), batch.target.shape[2]
    del rows["calendar"], rows["series"]  # the runner makes these itself
    rows["deviation"] = rows.pop("scale")
    same = {name: part[:d] for name, part in rows.items() if name in OF_SERIES}
    split = {n: part.unflatten(0, (-1, d)) for n, part in rows.items() if n not in OF_SERIES}
    return arrays | {name: part.cpu().numpy() for name, part in (split | same).items()}


def _predictor(model: Model) -> TimeGradPredictor:
    return model.predictor if isinstance(model, Forecaster) else model


def _export(model: Model, folder: Path, overwrite: bool, runtime: str, write: Writer) -> Path:
    predictor = _predictor(model)
    if folder.exists():
        if not overwrite:
            raise SavedModelError(f"{folder} is there already: give overwrite=True to replace it")
        if not (folder / MANIFEST).is_file():
            raise SavedModelError(f"{folder} holds no exported model, and is left alone")
    plain = TimeGradPredictor(
        copy.deepcopy(predictor.network).cpu().float().eval(),
        predictor.spec,
        predictor.columns,
        "cpu",
    )
    manifest = manifest_of(plain, runtime)
    learned = any(kind == "learned" for kind, *_ in manifest["chain"]["program"])
    graphs = _graphs(plain.network, plain.spec, learned)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        manifest["graphs"] = {}
        for name, graph in graphs.items():
            file = f"{name}.{runtime}"
            try:
                with tracing(), torch.no_grad():
                    write(graph, new / file)
            except Exception as error:  # torch has no common class for what it cannot trace
                raise OptionError(f"the {name} cannot be exported: {error}") from error
            manifest["graphs"][name] = {"file": file, "inputs": list(graph.inputs)}
        constants = constants_of(plain.network)
        if isinstance(model, Forecaster) and model.recalibration is not None:
            table = model.recalibration.table()
            constants |= {f"widths_{name}": part for name, part in table.items()}
        np.savez(new / CONSTANTS, **constants)  # type: ignore[arg-type]
        for name in ("runner", *runner.BESIDE):
            shutil.copyfile(Path(__file__).with_name(f"{name}.py"), new / f"{name}.py")
        _write(manifest, new)
        manifest["difference"] = check(plain, new)
        _write(manifest, new)
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
    return folder


def _graphs(network: TimeGradNetwork, spec: WindowSpec, learned: bool) -> dict[str, Graph]:
    graphs = shared_graphs(network, learned)
    if type(network) is ResidualNetwork:
        return graphs | residual_graphs(network, spec)
    if type(network) is LevelNetwork:
        return graphs | level_graphs(network, spec)
    raise OptionError(f"a {type(network).__name__} cannot be exported")


def _write(manifest: dict[str, Any], folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
