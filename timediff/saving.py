"""A trained network on disk: weights as safetensors, everything else as plain JSON."""

import dataclasses
import datetime
import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import safetensors.torch

from timediff.errors import SavedModelError, TimediffError
from timediff.feature_spec import FeatureSpec
from timediff.network import TimeGradNetwork
from timediff.options import Options
from timediff.windows import WindowSpec, build_network

FORMAT = 8
WEIGHTS, CONFIG = "model.safetensors", "config.json"


class Saved(NamedTuple):
    """A saved model.

    Attributes:
        network: with its weights.
        spec: what a window holds.
        columns: names of the series, if they have any.
        curves: losses of its training, if they are known.
        extra: whatever else was saved with it.
    """

    network: TimeGradNetwork
    spec: WindowSpec
    columns: list[Any] | None
    curves: pd.DataFrame | None
    extra: dict[str, Any]


def save(
    path: Path,
    network: TimeGradNetwork,
    spec: WindowSpec,
    columns: list[Any] | None,
    curves: pd.DataFrame | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write to an existing folder.

    Args:
        path: of the folder.
        network: its weights are saved.
        spec: what a window holds.
        columns: names of the series.
        curves: losses of its training.
        extra: more to keep, plain JSON but for the names of series in it.

    Raises:
        SavedModelError: the model holds an object that has no name to save it under, or there is no
            such folder.
    """
    path = Path(path)
    weights = safetensors.torch.save(
        {name: t.cpu().contiguous() for name, t in network.state_dict().items()}
    )
    config = {
        "format": FORMAT,
        "options": dataclasses.asdict(network.options),
        "spec": {**dataclasses.asdict(spec), "features": spec.features.to_json()},
        "target_dim": network.target_dim,
        "columns": None if columns is None else encode(columns),
        "curves": None if curves is None else _records(curves),
        "extra": encode(extra or {}),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    try:
        text = json.dumps({**config, "config_sha256": checksum(config)}, indent=2)
    except TypeError as error:
        raise SavedModelError(
            f"the model cannot be saved: {error}; register a plug-in under a name and use that"
        ) from error
    if not path.is_dir():
        raise SavedModelError(f"there is no folder {path}: make it first")
    for name, content in ((WEIGHTS, weights), (CONFIG, text.encode())):
        part = path / f"{name}.part"
        part.write_bytes(content)
        os.replace(part, path / name)


def load(path: Path) -> Saved:
    """What :func:`save` wrote. Runs no code and imports nothing the files name.

    Raises:
        SavedModelError: a file is missing, damaged, altered or of another format.
    """
    path = Path(path)
    try:
        text = (path / CONFIG).read_bytes()
        weights = (path / WEIGHTS).read_bytes()
    except OSError as error:
        raise SavedModelError(f"{path} holds no readable saved model: {error}") from error
    try:
        config = json.loads(text)
    except ValueError as error:
        raise SavedModelError(
            f"{path / CONFIG} is truncated or altered: save the model again ({error})"
        ) from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else None
        newer = isinstance(found, int) and found > FORMAT
        way_out = "upgrade timediff" if newer else "save the model again"
        raise SavedModelError(
            f"{path} has format {found}, this version of timediff reads {FORMAT}: {way_out}"
        )
    if checksum(config) != config.get("config_sha256"):
        raise SavedModelError(f"{path / CONFIG} is altered: save the model again")
    if hashlib.sha256(weights).hexdigest() != config.get("weights_sha256"):
        raise SavedModelError(f"{path / WEIGHTS} is truncated or altered: save the model again")
    try:
        spec = config["spec"]
        offsets = {name: tuple(spec[name]) for name in ("lags", "seasonal", "profiles")}
        features = FeatureSpec.from_json(spec.get("features", {}))
        spec = WindowSpec(**{**spec, **offsets, "features": features})
        network = build_network(Options(**config["options"]), spec, config["target_dim"])
        network.load_state_dict(safetensors.torch.load(weights))
        curves = config.get("curves")
        if curves is not None:
            losses = {"train_loss": float, "val_loss": float}
            curves = pd.DataFrame(curves, columns=["stage", "run", "epoch", *losses]).astype(losses)
        return Saved(network, spec, decode(config["columns"]), curves, decode(config["extra"]))
    except (KeyError, TypeError, ValueError, RuntimeError, TimediffError) as error:
        raise SavedModelError(f"{path / CONFIG} does not describe a model: {error}") from error


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, None where a number is missing."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def checksum(config: dict[str, Any]) -> str:
    """Of everything in a configuration but the checksum itself."""
    rest = {key: value for key, value in config.items() if key != "config_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def encode(value: Any) -> Any:
    """Labels of series as plain JSON, so that :func:`decode` gives the same ones back."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return {key: encode(part) for key, part in value.items()}
    if isinstance(value, list):
        return [encode(part) for part in value]
    if isinstance(value, tuple):
        return {"$tuple": [encode(part) for part in value]}
    if isinstance(value, pd.Timestamp):
        return {"$time": value.isoformat()}
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return {"$date": value.isoformat()}
    if isinstance(value, pd.Period):
        return {"$period": [value.ordinal, value.freqstr]}
    if isinstance(value, pd.Interval):
        return {"$interval": [encode(value.left), encode(value.right), value.closed]}
    return value


def decode(value: Any) -> Any:
    """What :func:`encode` was given."""
    if isinstance(value, list):
        return [decode(part) for part in value]
    if isinstance(value, dict):
        if value.keys() == {"$tuple"}:
            return tuple(map(decode, value["$tuple"]))
        if value.keys() == {"$time"}:
            return pd.Timestamp(value["$time"])
        if value.keys() == {"$date"}:
            return datetime.date.fromisoformat(value["$date"])
        if value.keys() == {"$period"}:
            ordinal, freq = value["$period"]
            return pd.Period(ordinal=ordinal, freq=freq)
        if value.keys() == {"$interval"}:
            return pd.Interval(*map(decode, value["$interval"]))
        return {key: decode(part) for key, part in value.items()}
    return value
