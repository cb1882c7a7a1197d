"""Commands that train: ``fit``, ``update`` and ``calibrate``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timediff.cli import arguments as a
from timediff.cli import features as f
from timediff.cli.app import app, examples
from timediff.cli.files import check_output, format_of
from timediff.cli.screen import say, show, training
from timediff.cli.settings import forecaster_of, settings
from timediff.cli.tables import load_model, order_of, read_like, read_table

if TYPE_CHECKING:
    from timediff.forecaster import Forecaster


@app.command(
    epilog=examples(
        "timediff fit load.csv --horizon 24 --output model",
        "timediff fit load.parquet --horizon 24 --preset fast --seed 1 -o fast",
        "timediff fit load.csv --config model.toml --set max_epochs=20 -o tuned",
        "timediff fit sales.csv --horizon 14 --id-column shop --time-column day "
        "--target-column sold -o shops",
        "timediff fit load.csv --horizon 24 --known weather.csv --static place.csv -o covered",
        "cat load.csv | timediff fit - --horizon 24 --quiet -o piped",
    )
)
def fit(
    data: a.Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="Folder to save the model in.")
    ],
    horizon: Annotated[int | None, typer.Option(help="Steps to forecast.")] = None,
    preset: a.Preset = None,
    seed: a.Seed = None,
    freq: a.Freq = None,
    config: a.Config = None,
    option: a.Set = None,
    id_column: a.IdColumn = None,
    time_column: a.TimeColumn = None,
    target_column: a.TargetColumn = None,
    group_column: a.GroupColumn = None,
    known: f.Known = None,
    past: f.Past = None,
    future: f.Future = None,
    static: f.Static = None,
    input_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Of DATA: csv, jsonl or parquet; by its suffix, or csv.",
        ),
    ] = None,
    overwrite: a.Overwrite = False,
    verbose: a.Verbose = False,
    quiet: a.Quiet = False,
) -> None:
    """Train a model of a table and save it.

    DATA is wide (a column of timestamps, then a column for each series) or long (unique_id, ds, y
    or item_id, timestamp, target, or columns named by options). Empty cells are missing values.
    """
    arguments = locals()
    check_output(output, overwrite, folder=True)
    options, columns = settings(arguments)
    forecaster = forecaster_of(options)
    frame = read_table(
        data,
        input_format,
        id_column=columns["id_column"],
        time_column=columns["time_column"],
        group_column=columns["group_column"],
    )
    beside = f.features(known, past, future, static, names=columns, frame=frame)
    began = time.perf_counter()
    with training(forecaster, quiet, verbose):
        forecaster.fit(frame, **columns, **beside, day_first=order_of(frame))
    check_output(output, overwrite, folder=True)  # it may have come meanwhile
    forecaster.save(output, overwrite=overwrite)
    seconds = time.perf_counter() - began
    series = len(forecaster.columns)
    say(f"{output}: {series} series, {forecaster.horizon} steps ahead, {seconds:.0f} s", quiet)


@app.command(
    epilog=examples(
        "timediff update model next_day.csv",
        "timediff update model next_day.csv --train --output newer",
        "timediff update covered next_day.csv --known weather.csv",
    )
)
def update(
    model: a.Model,
    data: a.Data,
    train: Annotated[
        bool, typer.Option("--train", help="Train on from the present weights.")
    ] = False,
    output: a.NewModel = None,
    known: f.Known = None,
    past: f.Past = None,
    future: f.Future = None,
    input_format: a.InputFormat = None,
    overwrite: a.Overwrite = False,
    verbose: a.Verbose = False,
    quiet: a.Quiet = False,
) -> None:
    """Append new rows to a model's history.

    MODEL itself is renewed, as a whole or not at all, unless --output names another folder. Where
    the rows overlap with the history they replace it. Without --train the model stays as it is.
    """
    if output is not None:
        check_output(output, overwrite, folder=True)
    forecaster = load_model(model)
    before = _length(forecaster)
    frame = read_like(forecaster, data, input_format)
    beside = f.kept(f.features(known, past, future, None, forecaster=forecaster), True)
    with training(forecaster, quiet, verbose):
        forecaster.update(frame, train=train, **beside)
    forecaster.save(output or model, overwrite=output is None or overwrite)
    say(f"{output or model}: {before} steps of history, now {_length(forecaster)}", quiet)


@app.command(
    epilog=examples(
        "timediff calibrate model --windows 10",
        "timediff calibrate model --windows 5 --output held --quiet",
        "timediff calibrate model --windows 10 --total north=a,b --total all=*",
    )
)
def calibrate(
    model: a.Model,
    windows: Annotated[int, typer.Option(min=2, help="How many of the last windows.")] = 20,
    total: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=A,B", help="A total that is to hold, too: all=*, d=a,-1*b."),
    ] = None,
    output: a.NewModel = None,
    overwrite: a.Overwrite = False,
    output_format: a.Format = None,
    verbose: a.Verbose = False,
    quiet: a.Quiet = False,
) -> None:
    """Make intervals hold: stretch forecasts by what past windows would have needed.

    The windows are forecast by a model that is trained on what lies before them. The table shows
    how many per cent of the observations lay within intervals of a level before, and after. MODEL
    itself is renewed, as a whole or not at all, unless --output names another folder. Its forecasts
    are recalibrated from then on; `predict --raw` gives them as they were drawn.
    """
    if output is not None:
        check_output(output, overwrite, folder=True)
    format_of("-", output_format)
    forecaster = load_model(model)
    totals = a.combinations(forecaster.columns, total, "--total") if total else None
    with training(forecaster, quiet, verbose):
        recalibration = forecaster.calibrate(windows=windows, totals=totals)
    forecaster.save(output or model, overwrite=output is None or overwrite)
    show(recalibration.coverage().reset_index(), given=output_format)
    say(f"{output or model}: recalibrated with {windows} windows", quiet)


def _length(forecaster: "Forecaster") -> int:
    return max((entry["target"].shape[1] for entry in forecaster.kept.entries.values()), default=0)
