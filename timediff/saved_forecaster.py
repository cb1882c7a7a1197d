"""A forecaster as a directory: the model, its history, and a card that says what it is."""

import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy
import torch

from timediff._calendars import calendar_of, named
from timediff._frequency import moved, period
from timediff._stamps import stamps_of
from timediff.device import best_device
from timediff.errors import SavedModelError, TimediffError
from timediff.features import CATEGORY, KNOWN, PAST, REAL
from timediff.histories import Entry
from timediff.later import Kept
from timediff.predictor import TimeGradPredictor
from timediff.reading import Names
from timediff.recalibration import Recalibration
from timediff.saving import CONFIG, load, save

if TYPE_CHECKING:
    from timediff.forecaster import Forecaster

FIELDS = ("target", KNOWN, PAST, REAL, CATEGORY)
HISTORY, CARD = "history.safetensors", "README.md"
RECALIBRATION = "recalibration."


def save_forecaster(
    forecaster: "Forecaster", path: Path, overwrite: bool, with_history: bool
) -> Path:
    """See :meth:`timediff.Forecaster.save`."""
    predictor = forecaster.predictor
    if path.exists():
        if not overwrite:
            raise SavedModelError(f"{path} is there already: give overwrite=True to replace it")
        if not (path / CONFIG).is_file():
            raise SavedModelError(f"{path} is no saved forecaster, and is left alone")
    entries = forecaster.kept.entries if with_history else {}
    tensors = {
        f"{i}.{field}": np.asarray(entry[field])
        for i, entry in enumerate(entries.values())
        for field in FIELDS
        if entry.get(field) is not None
    }
    description = None
    if forecaster.recalibration is not None:
        description, arrays = forecaster.recalibration.state()
        tensors |= {RECALIBRATION + name: array for name, array in arrays.items()}
    history = safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in tensors.items()})
    extra = {
        "freq": forecaster.freq,
        "preset": forecaster.recipe.preset,
        "seed": forecaster.seed,
        "options": forecaster.recipe.options,
        "names": list(dataclasses.astuple(forecaster.kept.names)),
        "grouped": forecaster.kept.grouped,
        "day_first": forecaster.kept.day_first,
        "groups": [_group(key, entry) for key, entry in entries.items()],
        "recalibration": description,
        "history_sha256": hashlib.sha256(history).hexdigest(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        save(new, predictor.network, predictor.spec, predictor.columns, predictor.curves, extra)
        (new / HISTORY).write_bytes(history)
        (new / CARD).write_text(_card(forecaster, entries))
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)
        shutil.rmtree(old, ignore_errors=True)
    return path


def load_forecaster(path: Path, device: str | torch.device) -> "Forecaster":
    """See :meth:`timediff.Forecaster.load`."""
    from timediff.forecaster import Forecaster

    best_device(device)  # one that is not there is no fault of the files
    saved = load(path)
    extra = saved.extra
    if "groups" not in extra:
        raise SavedModelError(
            f"{path} holds a predictor without a forecaster: load it with "
            "TimeGradPredictor.deserialize, and give it to Forecaster.from_predictor"
        )
    try:
        content = (path / HISTORY).read_bytes()
    except OSError as error:
        raise SavedModelError(f"{path} has no readable history: {error}") from error
    if hashlib.sha256(content).hexdigest() != extra["history_sha256"]:
        raise SavedModelError(f"{path / HISTORY} is truncated or altered: save the model again")
    try:
        tensors = safetensors.numpy.load(content)
        entries = {
            group["key"]: _entry(group, i, tensors) for i, group in enumerate(extra["groups"])
        }
        forecaster = Forecaster(
            saved.spec.prediction_length,
            freq=extra["freq"],
            preset=extra["preset"],
            seed=extra["seed"],
            device=device,
            **extra["options"],
        )
        predictor = TimeGradPredictor(
            saved.network, saved.spec, saved.columns, device, saved.curves
        )
        names = Names(*extra["names"])
        kept = Kept(entries, names, extra["grouped"], day_first=extra.get("day_first"))
        forecaster.take(predictor, kept)
        if extra.get("recalibration") is not None:
            arrays = {
                name.removeprefix(RECALIBRATION): array
                for name, array in tensors.items()
                if name.startswith(RECALIBRATION)
            }
            forecaster.recalibration = Recalibration.from_state(extra["recalibration"], arrays)
    except (KeyError, TypeError, ValueError, TimediffError) as error:
        raise SavedModelError(f"{path / CONFIG} does not describe a forecaster: {error}") from error
    return forecaster


def _group(key: Hashable, entry: Entry) -> dict[str, Any]:
    start = entry["start"]
    info = {name: value for name, value in entry["info"].items() if name != "columns"}
    return {
        "key": key,
        "item_id": entry.get("item_id"),
        "start": [start.ordinal, start.freqstr],
        "columns": entry["info"]["columns"],
        "info": info,
    }


def _entry(group: dict[str, Any], number: int, tensors: dict[str, np.ndarray]) -> Entry:
    fields = {f: tensors[f"{number}.{f}"] for f in FIELDS if f"{number}.{f}" in tensors}
    ordinal, freq = group["start"]
    start = period(None, period("2000-01-01", freq).freq, ordinal)
    calendar_of(group["info"].get("freq", ""))  # one that cannot be read is an error now
    return {
        "start": start,
        **fields,
        "item_id": group["item_id"],
        "info": {**group["info"], "columns": group["columns"]},
    }


def _card(forecaster: "Forecaster", entries: dict[Hashable, Entry]) -> str:
    """What the model is, for a reader."""
    import timediff

    predictor = forecaster.predictor
    network, spec = predictor.network, predictor.spec
    weights = sum(parameter.numel() for parameter in network.parameters())
    lines = [
        "# A forecaster of timediff",
        "",
        f"Joint sample paths of {network.target_dim} series, {spec.prediction_length} steps of "
        f"frequency `{named(spec.freq)}` ahead. Load it with `timediff.Forecaster.load(folder)`.",
        "",
        f"- preset `{forecaster.recipe.preset}`, seed {forecaster.seed}, {weights:,} weights",
        f"- timediff {timediff.__version__}, torch {torch.__version__}",
    ]
    for key, entry in entries.items():
        values = entry["target"]
        first, last = (
            stamps_of(moved(entry["start"], i), 1, entry["info"])[0]
            for i in (0, values.shape[1] - 1)
        )
        missing = float(np.isnan(values).mean())
        lines += ["", f"## History of `{key}`", "", f"{values.shape[1]} steps, {first} to {last}, "]
        lines[-1] += f"{missing:.1%} missing."
        lines += ["", "| series | observed | mean | deviation | lowest | highest |"]
        lines += ["| --- | --- | --- | --- | --- | --- |"]
        for label, row in zip(entry["info"]["columns"], values.astype(np.float64), strict=True):
            seen = row[~np.isnan(row)]
            moments = (seen.mean(), seen.std(), seen.min(), seen.max()) if len(seen) else ()
            cells = [str(label), str(len(seen)), *(f"{value:.5g}" for value in moments)]
            lines.append("| " + " | ".join(cells) + " |")
    if forecaster.scores is not None:
        table = forecaster.scores
        lines += ["", "## Scores of its last backtest", ""]
        lines += [
            "| model | " + " | ".join(table.columns) + " |",
            "| --- " * (1 + len(table.columns)) + "|",
        ]
        for name, row in table.iterrows():
            lines.append(f"| {name} | " + " | ".join(f"{value:.4g}" for value in row) + " |")
    if forecaster.recalibration is not None and len(forecaster.recalibration.ratios) > 1:
        table = forecaster.recalibration.coverage().reset_index()
        lines += ["", "## Per cent within central intervals before and after recalibration", ""]
        lines += ["| " + " | ".join(table.columns) + " |", "| --- " * len(table.columns) + "|"]
        for row in table.to_numpy():
            lines.append("| " + " | ".join(f"{value:.4g}" for value in row) + " |")
    return "\n".join(lines) + "\n"
