"""A trained network on disk: weights as safetensors, everything else as plain JSON."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import safetensors.torch

from timediff.errors import SavedModelError, TimediffError
from timediff.feature_spec import FeatureSpec
from timediff.network import TimeGradNetwork
from timediff.options import Options
from timediff.windows import WindowSpec, build_network

FORMAT = 4
READABLE = (3, 4)  # 3 knows no features
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save(path: Path, network: TimeGradNetwork, spec: WindowSpec, columns: list[Any] | None) -> None:
    """Write to an existing folder.

    Raises:
        SavedModelError: the model holds an object that has no name to save it under.
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
        "columns": columns,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    try:
        text = json.dumps(config, indent=2)
    except TypeError as error:
        raise SavedModelError(
            f"the model cannot be saved: {error}; register a plug-in under a name and use that"
        ) from error
    for name, content in ((WEIGHTS, weights), (CONFIG, text.encode())):
        part = path / f"{name}.part"
        part.write_bytes(content)
        os.replace(part, path / name)


def load(path: Path) -> tuple[TimeGradNetwork, WindowSpec, list[Any] | None]:
    """What :func:`save` wrote. Runs no code and imports nothing the files name.

    Raises:
        SavedModelError: a file is missing, damaged or of another format.
    """
    path = Path(path)
    try:
        config = json.loads((path / CONFIG).read_text())
        weights = (path / WEIGHTS).read_bytes()
    except (OSError, ValueError) as error:
        raise SavedModelError(f"{path} holds no readable saved model: {error}") from error
    if config.get("format") not in READABLE:
        raise SavedModelError(
            f"{path} has format {config.get('format')}, this version of timediff reads "
            + " and ".join(map(str, READABLE))
        )
    if hashlib.sha256(weights).hexdigest() != config.get("weights_sha256"):
        raise SavedModelError(f"{path / WEIGHTS} is truncated or altered: save the model again")
    try:
        spec = config["spec"]
        offsets = {name: tuple(spec[name]) for name in ("lags", "seasonal", "profiles")}
        features = FeatureSpec.from_json(spec.get("features", {}))
        spec = WindowSpec(**{**spec, **offsets, "features": features})
        network = build_network(Options(**config["options"]), spec, config["target_dim"])
        network.load_state_dict(safetensors.torch.load(weights))
    except (KeyError, TypeError, RuntimeError, TimediffError) as error:
        raise SavedModelError(f"{path / CONFIG} does not describe a model: {error}") from error
    return network, spec, config["columns"]
