"""Options of the model from a file and from ``--set``."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timediff.errors import OptionError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # the same, under its name before 3.11

if TYPE_CHECKING:
    from timediff.forecaster import Forecaster

OWN = ("horizon", "preset", "seed", "freq")
COLUMNS = ("id_column", "time_column", "target_column", "group_column")


def settings(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str | None]]:
    """All that a forecaster is made of, and the names of the columns.

    What comes later wins: the file of ``--config``, the options of the command, ``--set``.

    Args:
        arguments: of a command that has these, by their names.

    Raises:
        OptionError: the file cannot be read, or a pair is none.
    """
    config = arguments["config"]
    merged = read_config(config) if config else {}
    merged |= given(arguments)
    for pair in arguments["option"] or ():
        key, equals, text = pair.partition("=")
        if not (key.strip() and equals):
            raise OptionError(f"--set {pair!r}: write it as key=value")
        *outer, last = key.strip().split(".")  # denoiser_options.width=64
        place = merged
        for name in outer:
            inner = place.get(name) or {}
            if not isinstance(inner, dict):
                raise OptionError(f"--set {pair!r}: {name} is {inner!r}, which has no parts")
            place[name] = place = dict(inner)
        place[last] = literal(text)
    return merged, {name: merged.pop(name, None) for name in COLUMNS}


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a model and its table that a command was given, by their names."""
    found = {name: arguments.get(name) for name in (*OWN, *COLUMNS)}
    return {
        name: value
        for name, value in found.items()
        if value is not None and not isinstance(value, list)  # `bench` takes several presets
    }


def read_config(path: Path) -> dict[str, Any]:
    """The options in a TOML or JSON file.

    Raises:
        OptionError: it cannot be read.
    """
    if path.suffix not in (".toml", ".json"):
        raise OptionError(f"{path} cannot be read: options come from a .toml or a .json file only")
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise OptionError(f"{path} holds a {type(content).__name__}, not options by their name")
    return content


def literal(text: str) -> Any:
    """A value as JSON or TOML writes it; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text
    return value if isinstance(value, bool | int | float | str | list | dict) else text


def forecaster_of(options: dict[str, Any]) -> "Forecaster":
    """A forecaster with these options; a wrong one is an error now, before any data are read.

    Raises:
        OptionError: the horizon is missing, or an option is unknown or impossible.
    """
    from timediff.forecaster import Forecaster

    options = dict(options)
    horizon = options.pop("horizon", None)
    if horizon is None:
        raise OptionError("there is no horizon: give --horizon, the number of steps to forecast")
    kinds = {"horizon": int, "seed": int, "preset": str, "freq": str, "device": str}
    for name, kind in kinds.items():
        value = horizon if name == "horizon" else options.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise OptionError(f"{name} is {value!r}, expected {kind.__name__}")
    if "verbose" in options:
        raise OptionError("verbose is no option of the model: give --verbose")
    return Forecaster(horizon, **options)
