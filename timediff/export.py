"""A trained model for places without torch: ONNX files, or programs of ``torch.export``.

The folder holds the networks, the constants, a manifest, and a runner of a few files that
needs numpy and onnxruntime alone; see ``docs/export.md``.
"""

import contextlib
import copy
import importlib.util
import inspect
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pandas as pd
import torch

import timediff
from timediff import runner
from timediff._calendars import calendar_of
from timediff._chain import record
from timediff._frequency import period, period_alias
from timediff._graphs import (
    Graph,
    level_graphs,
    named_rows,
    named_static,
    residual_graphs,
    shared_graphs,
    state_shape,
)
from timediff.errors import OptionError, SavedModelError, TimediffError
from timediff.feature_spec import Numbers
from timediff.features import ATTRIBUTES, CATEGORY
from timediff.forecaster import Forecaster
from timediff.frames import from_wide
from timediff.network import Batch, LevelNetwork, ResidualNetwork, TimeGradNetwork
from timediff.predictor import TimeGradPredictor
from timediff.reading import Features
from timediff.saving import encode
from timediff.seasonality import calendar_periods, steps_of
from timediff.windows import WindowSpec

MANIFEST, CONSTANTS = "manifest.json", "constants.npz"
TOLERANCE = 1e-4  # of the paths of the check, in deviations of the series
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
    return _export(model, Path(folder), overwrite, "onnx", _write_onnx)


def export_programs(model: Model, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a model as programs of ``torch.export``, for places with torch but no timediff.

    As :func:`export_onnx` in everything else: the same folder, the same runner.
    """
    return _export(model, Path(folder), overwrite, "pt2", _write_program)


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
    panels = (panel for chunk in predictor._chunks(entries, 1) for _, panel in chunk)
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
    manifest = _manifest(plain, runtime)
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
                with _tracing(), torch.no_grad():
                    write(graph, new / file)
            except Exception as error:  # torch has no common class for what it cannot trace
                raise OptionError(f"the {name} cannot be exported: {error}") from error
            manifest["graphs"][name] = {"file": file, "inputs": list(graph.inputs)}
        constants = _constants(plain.network)
        if isinstance(model, Forecaster) and model.recalibration is not None:
            table = model.recalibration.table()
            constants |= {f"widths_{name}": part for name, part in table.items()}
        np.savez(new / CONSTANTS, **constants)  # type: ignore[arg-type]
        for name in ("runner", *runner.BESIDE):
            shutil.copyfile(Path(__file__).with_name(f"{name}.py"), new / f"{name}.py")
        _write(manifest, new)
        manifest["difference"] = _check(plain, new)
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


def _manifest(predictor: TimeGradPredictor, runtime: str) -> dict[str, Any]:
    """Everything that the runner needs to know and that is no array."""
    network, spec = predictor.network, predictor.spec
    names = (
        "season",
        "lags",
        "scaling",
        "scale_window",
        "lookback",
        "seasonal",
        "profiles",
        "level",
    )
    calendar = calendar_of(spec.freq)
    unit, multiple = steps_of(spec.freq) if calendar is None else ("times", calendar.offset.n)
    is_residual = isinstance(network, ResidualNetwork)
    return {
        "format": runner.FORMAT,
        "timediff": timediff.__version__,
        "torch": torch.__version__,
        "runtime": runtime,
        "network": "residual" if is_residual else "level",
        "columns": None if predictor.columns is None else encode(predictor.columns),
        "freq": spec.freq,
        "target_dim": network.target_dim,
        "prediction_length": spec.prediction_length,
        "context_length": spec.context_length,
        "window": {
            **{name: getattr(spec, name) for name in names},
            "pad": spec.pad,
            "reach": spec.reach,
            "before": spec.before,
            "feature_steps": spec.feature_steps,
        },
        "features": spec.features.to_json(),
        "calendar": {
            "kind": unit,
            "multiple": multiple,
            "anchor": _anchor(period_alias(spec.freq)),
            "fields": calendar_periods(spec.freq, spec.yearly),
        },
        "state": {
            "number": 1 + isinstance(network.encoder.rnn, torch.nn.LSTM),
            "shape": state_shape(network),
        },
        "start": network.options.start,
        "finish": is_residual and network.options.bound_samples,
        "chain": record(network.sampler, network.diffusion),
    }


def _anchor(alias: str) -> int | None:
    """Of a weekly frequency its last day, 0 for Monday; of a quarterly one its last month."""
    name = alias.rpartition("-")[2] if "-" in alias else ""
    days = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
    if name in days:
        return days.index(name)
    months = [f"{pd.Timestamp(2000, month, 1):%b}".upper() for month in range(1, 13)]
    return months.index(name) + 1 if name in months else None


def _constants(network: TimeGradNetwork) -> dict[str, np.ndarray]:
    tensors: dict[str, torch.Tensor | None] = {
        name: getattr(network, name) for name in ("low", "high", "floor", "whole")
    }
    if isinstance(network, ResidualNetwork):
        tensors |= {"position": network.position, "phi": network.dynamics.phi}
        tensors |= {"rho": network.dynamics.rho, **dict(network.whitening.named_buffers())}
        factors = dict(network.factors.named_buffers())
        tensors |= {"factor_mean": factors.pop("mean"), **factors}
    else:
        empty = torch.zeros(0)
        tensors["embedding"] = getattr(network, "embedding", None)
        tensors["embedding"] = empty if tensors["embedding"] is None else tensors["embedding"]
    return {n: t.detach().cpu().numpy() for n, t in tensors.items() if t is not None}


def _check(predictor: TimeGradPredictor, folder: Path) -> float:
    """The largest difference of paths, in deviations of the series, on random walks with a gap."""
    spec, network = predictor.spec, predictor.network
    length = spec.reach + 3 * spec.prediction_length
    values = np.random.default_rng(0).standard_normal((length, network.target_dim))
    values = (values + values.cumsum(0) / length**0.5).astype(np.float32)
    values[-3:-1, 0] = np.nan
    features = _random_features(spec, *values.shape)
    entry, start = _entry(values, spec)
    fields = _fields(features, spec)
    fields["info"] |= entry.get("info", {})
    (forecast,) = predictor.predict([entry | fields], 4, seed=0)
    ours = forecast.samples
    theirs = runner.Runner(folder).predict(values, start, 4, seed=0, calibrated=False, **features)
    scale = np.nanstd(values, axis=0)
    difference = float(np.abs((ours - theirs) / scale).max())
    if not difference < TOLERANCE:
        raise TimediffError(
            f"the exported model draws paths that differ by {difference:.2g} deviations: it has a "
            "part that the runner does not know"
        )
    return difference


def _entry(values: np.ndarray, spec: WindowSpec) -> tuple[dict[str, Any], Any]:
    """An entry with these values, and its start as the runner takes it."""
    calendar = calendar_of(spec.freq)
    if calendar is None:
        start = period("2024-01-01", period_alias(spec.freq))
        return {"start": start, "target": values.T}, start.start_time
    steps = len(values) + spec.prediction_length
    times = pd.date_range("2000-01-01", periods=steps, freq=calendar.offset)
    (entry,) = from_wide(pd.DataFrame(values, times[: len(values)]), freq=spec.freq)
    info = {name: part for name, part in entry["info"].items() if name != "columns"}
    return entry | {"info": info}, times.to_numpy()


def _random_features(spec: WindowSpec, length: int, dim: int) -> dict[str, Any]:
    """Features for the runner, some of the past missing."""
    rng, f, found = np.random.default_rng(1), spec.features, {}
    steps = {"known": (length + spec.prediction_length,), "past": (length,), "real": ()}
    for kind, before in steps.items():
        field: Numbers = getattr(f, kind)
        if field.size:
            x = rng.standard_normal((*before, dim if field.own else 1, field.size))
            x = x * np.array(field.scale) + np.array(field.loc)
            x[: length // 3 if before else 0, 0] = np.nan
            found[kind] = x if field.own else x[..., 0, :]
    if f.category.size:
        rows = range(dim if f.category.own else 1)
        labels = [
            [known[int(rng.integers(len(known)))] for known in f.category.labels] for _ in rows
        ]
        found["category"] = np.array(labels, dtype=object)[... if f.category.own else 0]
    return found


def _fields(features: dict[str, Any], spec: WindowSpec) -> dict[str, Any]:
    """The same as fields of an entry."""
    names = {kind: name for name, kind in ATTRIBUTES.items()}
    given = {names[kind]: x.T for kind, x in features.items()}
    labels = spec.features.category.labels
    if CATEGORY in given:
        codes = zip(given[CATEGORY], labels, strict=True)
        given[CATEGORY] = np.array([np.vectorize(known.index)(row) for row, known in codes])
    return {**given, "info": {"features": {"categories": labels}}}


def _write(manifest: dict[str, Any], folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


def _write_onnx(graph: Graph, file: Path) -> None:
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


def _write_program(graph: Graph, file: Path) -> None:
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
def _tracing() -> Iterator[None]:
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
