"""Commands that tell: ``datasets`` and ``info``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timediff.cli import arguments as a
from timediff.cli.app import app, examples
from timediff.cli.files import check_output, format_of, write_table
from timediff.cli.screen import show
from timediff.cli.tables import load_model

if TYPE_CHECKING:
    import pandas as pd


@app.command(
    epilog=examples(
        "timediff datasets",
        "timediff datasets generated_var --last 500 --output var.csv",
        "timediff datasets generated_var --part train | head -n 3",
    )
)
def datasets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A data set.")] = None,
    part: Annotated[str, typer.Option(help="all, or train: up to the first test window.")] = "all",
    last: Annotated[int | None, typer.Option(min=1, help="The last steps only.")] = None,
    download: Annotated[bool, typer.Option(help="Get it if it is not here.")] = True,
    output: a.Output = "-",
    output_format: a.Format = None,
    overwrite: a.Overwrite = False,
) -> None:
    """List the data sets, or write one out.

    Without NAME a table of all, here or not; with NAME its data as a wide table.
    """
    check_output(output, overwrite)
    format_of(output, output_format)
    if part not in ("all", "train"):
        raise typer.BadParameter(f"{part!r} is neither all nor train", param_hint="--part")
    if name is None:
        show(_catalogue(), output, output_format, overwrite)
        return
    from timediff.datasets import load_dataset

    data = load_dataset(name, download=download)
    frame = data.train_frame if part == "train" else data.frame
    frame = frame.rename_axis(index="timestamp").reset_index()
    write_table(frame if last is None else frame[-last:], output, output_format, overwrite)


def _catalogue() -> "pd.DataFrame":
    import inspect

    import pandas as pd

    from timediff._archives import read_card
    from timediff._places import archive_places, find, table_places
    from timediff._sources import ARCHIVES, GENERATED, TABLES
    from timediff.synthetic import generate

    rows: list[tuple[Any, ...]] = []
    for name, table in TABLES.items():
        path, _ = find(name, table_places(name), None)
        card = read_card(path.with_name("dataset.json")) if path else {}
        keys = ("series", "freq", "prediction_length", "windows")
        rows.append((name, table.title, *map(card.get, keys), path is not None))
    for name, spec in ARCHIVES.items():
        path, _ = find(name, archive_places(name, spec), None)
        known = (spec.used, spec.freq, spec.prediction_length, spec.windows)
        rows.append((name, spec.title, *known, path is not None))
    sizes = {key: p.default for key, p in inspect.signature(generate).parameters.items()}
    for name, law in GENERATED.items():
        title = f"Generated: {law.replace('_', ' ')}"
        drawn = (sizes["num_series"], "h", sizes["prediction_length"], sizes["windows"])
        rows.append((name, title, *drawn, True))
    columns = ["name", "title", "series", "freq", "horizon", "windows", "here"]
    table = pd.DataFrame(rows, columns=columns).astype(
        dict.fromkeys(("series", "horizon", "windows"), "Int64")
    )
    return table.assign(here=table["here"].map({True: "yes", False: "no"}))


@app.command(
    epilog=examples(
        "timediff info",
        "timediff info model",
        "timediff info --options --format jsonl",
    )
)
def info(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="Folder that `timediff fit` wrote.")
    ] = None,
    options: Annotated[
        bool, typer.Option("--options", help="Every option of the model, in every preset.")
    ] = False,
    output_format: a.Format = None,
) -> None:
    """Versions and devices, or what a model is."""
    format_of("-", output_format)
    if options:
        show(_options(), given=output_format)
        return
    rows = _of_model(model) if model is not None else _of_machine()
    import pandas as pd

    show(pd.DataFrame(rows.items(), columns=["what", "value"]).astype(str), given=output_format)


def _of_machine() -> dict[str, Any]:
    import platform
    from importlib import metadata

    import torch

    import timediff
    from timediff._cache import cache_folder

    rows: dict[str, Any] = {"timediff": timediff.__version__, "python": platform.python_version()}
    for package in ("torch", "gluonts", "lightning", "pandas", "numpy"):
        rows[package] = metadata.version(package)
    rows["cpu"] = f"{platform.machine()}, {torch.get_num_threads()} threads"
    for i in range(torch.cuda.device_count()):
        rows[f"cuda:{i}"] = torch.cuda.get_device_name(i)
    if torch.backends.mps.is_available():
        rows["mps"] = "available"
    return {**rows, "cache of data sets": cache_folder()}


def _of_model(path: Path) -> dict[str, Any]:
    import json

    from timediff._calendars import named
    from timediff._frequency import moved
    from timediff._stamps import stamps_of

    forecaster = load_model(path, "cpu")
    network, columns = forecaster.predictor.network, forecaster.columns
    shown = ", ".join(str(column) for column in columns[:10])
    rows = {
        "preset": forecaster.recipe.preset,
        "seed": forecaster.seed,
        "horizon": forecaster.horizon,
        "frequency": named(forecaster.predictor.spec.freq),
        "series": f"{len(columns)}: {shown}{', ...' if len(columns) > 10 else ''}",
        "weights": sum(parameter.numel() for parameter in network.parameters()),
        "changed options": json.dumps(forecaster.recipe.options, default=str),
    }
    for key, entry in forecaster.kept.entries.items():
        length = entry["target"].shape[1]
        first, last = (
            stamps_of(moved(entry["start"], i), 1, entry["info"])[0] for i in (0, length - 1)
        )
        name = f"history of {key}" if forecaster.kept.grouped else "history"
        rows[name] = f"{length} steps, {first} to {last}"
    if not forecaster.kept.entries:
        rows["history"] = "not kept"
    return rows


def _options() -> "pd.DataFrame":
    import dataclasses

    import pandas as pd

    from timediff.options import PRESETS, Options

    columns = {name: dataclasses.asdict(Options.from_preset(name)) for name in PRESETS}
    return pd.DataFrame(columns).astype(str).rename_axis("option").reset_index()
