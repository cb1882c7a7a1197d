"""The command ``bench``: presets side by side."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timediff.cli import arguments as a
from timediff.cli.app import app, examples
from timediff.cli.backtesting import Simple, Stride, Windows, name_columns, read_named
from timediff.cli.files import SUFFIXES, check_output, format_of
from timediff.cli.screen import say, show, training
from timediff.cli.settings import forecaster_of, settings

if TYPE_CHECKING:
    import pandas as pd

    from timediff.forecaster import Forecaster


@app.command(
    epilog=examples(
        "timediff bench generated_var --preset fast --windows 2",
        "timediff bench load.csv --horizon 24 --preset fast --preset paper --output bench.csv",
        "timediff bench load.csv --horizon 24 --preset fast --seeds 0,1 --windows 2",
    )
)
def bench(
    source: Annotated[
        str,
        typer.Argument(metavar="NAME|DATA", help=f"Of `timediff datasets`, or a table: {a.TABLE}."),
    ],
    preset: Annotated[list[str] | None, typer.Option(help="Repeatable; default if none.")] = None,
    horizon: Annotated[
        int | None, typer.Option(help="Steps to forecast; that of the data set by default.")
    ] = None,
    windows: Windows = 4,
    stride: Stride = None,
    seeds: Annotated[str, typer.Option(help="Such as 0,1,2: scores are the mean.")] = "0",
    samples: a.Samples = 100,
    baselines: Simple = True,
    freq: a.Freq = None,
    config: a.Config = None,
    option: a.Set = None,
    id_column: a.IdColumn = None,
    time_column: a.TimeColumn = None,
    target_column: a.TargetColumn = None,
    group_column: a.GroupColumn = None,
    output: a.Output = "-",
    output_format: a.Format = None,
    input_format: a.InputFormat = None,
    overwrite: a.Overwrite = False,
    verbose: a.Verbose = False,
    quiet: a.Quiet = False,
) -> None:
    """Compare presets and simple forecasts.

    On the last windows of a data set, as `backtest` does.

    A row for each: scores (lower is better; coverage should be 0.9), seeds, and seconds of
    training and drawing. A data set that is not here is downloaded, if it can be.
    """
    arguments = locals()
    check_output(output, overwrite)
    format_of(output, output_format)
    numbers = [int(number) for number in a.numbers("--seeds", seeds) or [0]]
    options, columns = settings(arguments)
    frame, known, published = _data(source, input_format, columns)
    makers: dict[tuple[str, int], Forecaster] = {}
    for name in preset or [options.get("preset", "default")]:
        for seed in numbers:  # all options are checked before the work
            makers[name, seed] = forecaster_of({**known, **options, "preset": name, "seed": seed})
    rows: list[pd.DataFrame] = []
    simple: list[pd.DataFrame] = []
    for (name, seed), forecaster in makers.items():
        say(f"preset {name}, seed {seed}", quiet)
        began = time.perf_counter()
        name_columns(forecaster, frame, columns)
        with training(forecaster, quiet, verbose):
            result = forecaster.backtest(
                frame,
                windows=windows,
                stride=stride or published,
                num_samples=samples,
                baselines=baselines and not rows,
            )
        scores = result.scores()
        rows.append(scores[:1].assign(seconds=time.perf_counter() - began).set_axis([name]))
        simple.append(scores[1:])
    show(_compared(rows, simple), output, output_format, overwrite, title=source)


def _data(
    source: str, kind: str | None, columns: dict[str, str | None]
) -> tuple["pd.DataFrame", dict[str, Any], int | None]:
    """The table; horizon and frequency that a data set says it has, and the published stride."""
    path = Path(source)
    if source == "-" or path.exists() or path.suffix.lower() in [*SUFFIXES, ".gz"]:
        return read_named(source, kind, columns), {}, None
    from timediff.datasets import load_dataset

    data = load_dataset(source)
    lengths = [entry["target"].shape[1] for entry in data.test]
    stride = lengths[1] - lengths[0] if len(lengths) > 1 else None
    return data.frame, {"horizon": data.prediction_length, "freq": data.freq}, stride


def _compared(rows: list["pd.DataFrame"], simple: list["pd.DataFrame"]) -> "pd.DataFrame":
    import pandas as pd

    runs = pd.concat(rows)
    runs.index.name = "model"
    means = runs.groupby(level=0, sort=False).mean()
    means.insert(0, "seeds", runs.groupby(level=0, sort=False).size())
    others = pd.concat(simple)
    others.insert(0, "seeds", 1)
    return pd.concat([means, others]).rename_axis("model").reset_index()
