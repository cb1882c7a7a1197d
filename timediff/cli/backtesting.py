"""The command ``backtest``: what forecasts of the past would have been worth."""

import dataclasses
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timediff.cli import arguments as a
from timediff.cli import features as f
from timediff.cli.app import app, examples
from timediff.cli.files import check_output, format_of, write_table
from timediff.cli.screen import show, training
from timediff.cli.settings import COLUMNS, forecaster_of, given, settings
from timediff.cli.tables import load_model, read_like, read_table

if TYPE_CHECKING:
    import pandas as pd

    from timediff.backtest import Backtest
    from timediff.forecaster import Forecaster


class By(str, Enum):
    """What a row of the table is about."""

    MODEL, SERIES, WINDOW, COVERAGE = "model", "series", "window", "coverage"


Windows = Annotated[int, typer.Option(min=1, help="How many of the last windows.")]
Stride = Annotated[
    int | None, typer.Option(min=1, help="Steps between their begins; the horizon if not given.")
]
Horizon = Annotated[int | None, typer.Option(help="Steps to forecast.")]
Simple = Annotated[bool, typer.Option(help="Simple forecasts beside it.")]


@app.command(
    epilog=examples(
        "timediff backtest model --windows 7",
        "timediff backtest model --by series --output series.csv",
        "timediff backtest load.csv --horizon 24 --preset fast --refit --windows 2",
        "timediff backtest model --windows 2 --forecasts past.parquet --format jsonl",
    )
)
def backtest(
    source: Annotated[
        str, typer.Argument(metavar="MODEL|DATA", help=f"A saved model, or a table: {a.TABLE}.")
    ],
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help="After a MODEL: test on this history.")
    ] = None,
    horizon: Horizon = None,
    windows: Windows = 4,
    stride: Stride = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train anew for each window, not once before the first.")
    ] = False,
    samples: a.Samples = 100,
    baselines: Simple = True,
    by: Annotated[By, typer.Option(help="What a row is about.")] = By.MODEL,
    forecasts: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the forecasts of all windows there.")
    ] = None,
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
    output: a.Output = "-",
    output_format: a.Format = None,
    input_format: a.InputFormat = None,
    overwrite: a.Overwrite = False,
    verbose: a.Verbose = False,
    quiet: a.Quiet = False,
) -> None:
    """Forecast past windows and score them.

    The last windows of a history are forecast as if they had not been seen. This trains a model of
    its own on what lies before the first window: with the options of MODEL, or, for a table, with
    those given here. On a terminal the scores are drawn as a table, elsewhere they are CSV. Lower
    is better; coverage should be 0.9.
    """
    arguments = locals()
    for place, kind in ((output, output_format), (forecasts or "-", None)):
        check_output(place, overwrite)
        format_of(place, kind)
    frame = None
    if Path(source).is_dir():
        own = [name for name in given(arguments) if name != "seed"]
        own += [name for name, value in (("config", config), ("set", option)) if value]
        if own:
            flag = "--" + own[0].replace("_", "-")
            raise typer.BadParameter("the model has its own: give a table", param_hint=flag)
        forecaster = load_model(Path(source))
        frame = read_like(forecaster, data, input_format) if data is not None else None
        beside = f.features(known, past, future, static, forecaster=forecaster)
        if beside and frame is None:
            message = "features belong to DATA; those of the kept history are kept with it"
            raise typer.BadParameter(message, param_hint="--" + next(iter(beside)))
    elif data is not None:
        raise typer.BadParameter(f"{source} is no saved model", param_hint="MODEL")
    else:
        options, columns = settings(arguments)
        forecaster = forecaster_of(options)
        frame = read_named(source, input_format, columns)
        name_columns(forecaster, frame, columns)
        beside = f.features(known, past, future, static, names=columns, frame=frame)
    with training(forecaster, quiet, verbose):
        result = forecaster.backtest(
            frame,
            windows=windows,
            stride=stride,
            refit=refit,
            num_samples=samples,
            seed=seed,
            baselines=baselines,
            **beside,
        )
    if forecasts is not None:
        write_table(result.to_frame(), forecasts, overwrite=overwrite)
    show(_rows(result, by), output, output_format, overwrite, title=repr(result)[1:-1])


def read_named(source: str, kind: str | None, columns: dict[str, str | None]) -> "pd.DataFrame":
    """A table whose columns were named; of a wide one, the times are the index."""
    ids, times, target, group = (columns[name] for name in COLUMNS)
    frame = read_table(source, kind, id_column=ids, time_column=times, group_column=group)
    wide = ids is None and target is None
    return frame.set_index(times) if wide and times in frame.columns else frame


def name_columns(
    forecaster: "Forecaster", frame: "pd.DataFrame", columns: dict[str, str | None]
) -> None:
    """Tell a forecaster what the columns of a long table are called, as ``fit`` would."""
    from timediff._tables import find_column
    from timediff.reading import Names

    names = Names(group=columns["group_column"])
    if columns["id_column"] or columns["target_column"]:
        ids, times, target = (find_column(frame, role, columns[role]) for role in COLUMNS[:3])
        names = Names(ids, times, target, names.group)
    forecaster.kept = dataclasses.replace(forecaster.kept, names=names)


def _rows(result: "Backtest", by: By) -> "pd.DataFrame":
    tables = {
        By.MODEL: result.scores,
        By.SERIES: result.by_series,
        By.WINDOW: result.by_window,
        By.COVERAGE: result.coverage,
    }
    return tables[by]().reset_index()
