"""Commands that draw forecasts, and judge what came: ``predict``, ``plot``, ``likelihood``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timediff.cli import arguments as a
from timediff.cli import features as f
from timediff.cli.app import app, examples
from timediff.cli.files import check_output, format_of, replacing, write_table
from timediff.cli.screen import busy, say
from timediff.cli.tables import load_model, part_of, read_like
from timediff.errors import OptionError

if TYPE_CHECKING:
    from timediff.forecast_group import ForecastGroup
    from timediff.forecaster import Forecaster
    from timediff.results import Forecast

UPDATE = typer.Option("--update", help="Append DATA to the kept history before.")


@app.command(
    epilog=examples(
        "timediff predict model",
        "timediff predict model --level 80,95 --output forecast.csv",
        "timediff predict model next_day.csv --update --quantiles 0.1,0.5,0.9 --format jsonl",
        "timediff predict model --aggregate north=a,b --aggregate 'total=*' --seed 1",
        "timediff predict model --samples 200 --paths -o paths.parquet",
        "timediff predict model --given scenario.csv --given-total 'north=a,b' -o scenario_b.csv",
        "timediff predict covered --known weather.csv --seed 1",
        "timediff predict model --lower 0 --upper a=9.5 --integer b,c --raw",
    )
)
def predict(
    model: a.Model,
    data: a.MoreData = None,
    samples: a.Samples = 100,
    seed: a.Seed = None,
    level: Annotated[
        str | None, typer.Option(help="Central intervals in per cent, such as 80,95.")
    ] = None,
    quantiles: Annotated[str | None, typer.Option(help="Quantiles, such as 0.1,0.5,0.9.")] = None,
    paths: Annotated[bool, typer.Option("--paths", help="The joint paths themselves.")] = False,
    aggregate: a.Aggregate = None,
    calibrated: Annotated[
        bool | None,
        typer.Option("--calibrated/--raw", help="As recalibrated (if MODEL is), or as drawn."),
    ] = None,
    lower: a.Lower = None,
    upper: a.Upper = None,
    integer: a.Integer = None,
    given: f.GivenTable = None,
    given_total: f.GivenTotal = None,
    known: f.Known = None,
    past: f.Past = None,
    future: f.Future = None,
    static: f.Static = None,
    output: a.Output = "-",
    output_format: a.Format = None,
    input_format: a.InputFormat = None,
    device: a.Device = None,
    update: Annotated[bool, UPDATE] = False,
    save: Annotated[bool, typer.Option("--save", help="Keep the update in MODEL.")] = False,
    overwrite: a.Overwrite = False,
    quiet: a.Quiet = False,
) -> None:
    """Forecast: quantiles or joint paths, as a table.

    A long table: a row for each series and time, and for each path with --paths.

    The forecast goes on from the history that MODEL keeps, or from DATA. MODEL is not changed,
    unless --update --save.
    """
    if (update or save) and data is None:
        raise typer.BadParameter("there is no DATA to append", param_hint="--update")
    if save and not update:
        raise typer.BadParameter("it keeps an update: give --update, too", param_hint="--save")
    if paths and (level or quantiles):
        message = "paths have no quantiles: leave out --level and --quantiles"
        raise typer.BadParameter(message, param_hint="--paths")
    check_output(output, overwrite)
    format_of(output, output_format)
    shown: dict[str, Any] = {
        "level": a.numbers("--level", level),
        "quantiles": a.numbers("--quantiles", quantiles),
    }
    forecaster = load_model(model)
    shown |= {**f.scenario(forecaster, given, given_total), "calibrated": calibrated}
    limits = {
        "lower": a.bounds(forecaster.columns, lower, "--lower"),
        "upper": a.bounds(forecaster.columns, upper, "--upper"),
        "integer": integer == "*" or a.labels(forecaster.columns, integer) or False,
    }
    beside = f.features(known, past, future, static, forecaster=forecaster)
    if update or data is None:
        beside = f.kept(beside, update)
    forecast = draw(
        forecaster,
        data,
        input_format,
        update,
        samples,
        seed,
        device,
        aggregate,
        quiet,
        shown,
        beside,
        limits,
    )
    table = forecast.to_frame(samples=True) if paths else forecast.to_frame()
    if save:
        forecaster.save(model, overwrite=True)
    write_table(table, output, output_format, overwrite)


def draw(
    forecaster: "Forecaster",
    data: str | None,
    input_format: str | None,
    update: bool,
    samples: int,
    seed: int | None,
    device: str | None,
    aggregate: list[str] | None,
    quiet: bool,
    shown: dict[str, Any] | None = None,
    beside: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
) -> "Forecast | ForecastGroup":
    """The forecast that a command is about."""
    beside = beside or {}
    combined = a.combinations(forecaster.columns, aggregate) if aggregate else None
    history = None
    if data is not None:
        history = read_like(forecaster, data, input_format)
        if update:
            forecaster.update(history, **beside)
            history, beside = None, {}
    with busy(f"drawing {samples} paths of {len(forecaster.columns)} series", quiet):
        forecast = forecaster.predict(
            history, num_samples=samples, seed=seed, device=device, **(shown or {}), **beside
        )
        if limits and any(limits.values()):
            forecast = forecast.constrain(**limits)
    return forecast if combined is None else forecast.aggregate(combined)


@app.command(
    epilog=examples(
        "timediff plot model --output chart.png",
        "timediff plot model --series a,b --no-total --output two.svg",
        "timediff plot model --actuals next_day.csv --output outcome.pdf",
        "timediff plot covered --known weather.csv --output covered.png",
    )
)
def plot(
    model: a.Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Picture: .png, .svg, .pdf, ...")
    ],
    data: a.MoreData = None,
    series: Annotated[
        str | None, typer.Option(help="Series to draw, such as a,b; the first three if not given.")
    ] = None,
    actuals: Annotated[
        str | None, typer.Option(metavar="FILE", help="Table of what happened, drawn over it.")
    ] = None,
    total: Annotated[bool, typer.Option(help="A panel with the sum of all series.")] = True,
    history: Annotated[
        int | None, typer.Option(min=0, help="Steps of history; three horizons if not given.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Of a model of several groups: which one.")
    ] = None,
    aggregate: a.Aggregate = None,
    samples: a.Samples = 100,
    seed: a.Seed = None,
    device: a.Device = None,
    known: f.Known = None,
    past: f.Past = None,
    future: f.Future = None,
    static: f.Static = None,
    input_format: a.InputFormat = None,
    overwrite: a.Overwrite = False,
    quiet: a.Quiet = False,
) -> None:
    """Draw fan charts of the forecast.

    Median, 50 % and 90 % bands of some series, and of the sum of all, after the history.
    """
    check_output(output, overwrite)
    kinds = _pictures()
    kind = output.suffix.lower().lstrip(".")
    if kind not in kinds:
        raise typer.BadParameter(
            f"{str(output)!r} ends in none of {', '.join(kinds)}", param_hint="--output"
        )
    forecaster = load_model(model)
    beside = f.features(known, past, future, static, forecaster=forecaster)
    forecast = draw(
        forecaster,
        data,
        input_format,
        False,
        samples,
        seed,
        device,
        aggregate,
        quiet,
        beside=f.kept(beside, False) if data is None else beside,
    )
    seen = read_like(forecaster, actuals) if actuals is not None else None
    if isinstance(forecast, dict):
        keys = list(forecast)
        key = a.label(keys, group) if group is not None else keys[0]
        forecast, seen = forecast[key], part_of(seen, forecaster.kept.names.group, key)
    picks = a.labels(forecast.columns, series)
    figure = forecast.plot(
        seen,
        series=None if picks is None else [str(pick) for pick in picks],
        total=total,
        history_length=history,
    )
    with replacing(output, overwrite) as part:
        figure.savefig(part, dpi=150, format=kind)
    say(str(output), quiet)


@app.command(
    epilog=examples(
        "timediff likelihood model --last 48",
        "timediff likelihood model --lowest 5 --output anomalies.csv",
        "timediff likelihood model all.csv --last 24 --flow-steps 0",
    )
)
def likelihood(
    model: a.Model,
    data: a.MoreData = None,
    last: Annotated[
        int | None, typer.Option(min=1, help="Only so many steps at the end; all if not given.")
    ] = None,
    lowest: Annotated[
        int | None, typer.Option(min=1, help="Only so many steps, the least likely first.")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Of the noise in the bound.")] = 2,
    flow_steps: Annotated[
        int, typer.Option(min=0, help="Of the probability flow; 0 leaves it out.")
    ] = 25,
    seed: a.Seed = None,
    known: f.Known = None,
    past: f.Past = None,
    future: f.Future = None,
    static: f.Static = None,
    output: a.Output = "-",
    output_format: a.Format = None,
    input_format: a.InputFormat = None,
    device: a.Device = None,
    overwrite: a.Overwrite = False,
    quiet: a.Quiet = False,
) -> None:
    """How likely was what happened: low where it was a surprise.

    A row for each time of the history that MODEL keeps, or of DATA: a lower bound of the log
    density of all series together in nats, an estimate of it, how many series were observed, and
    how many of these lie where no path goes. A horizon is judged by the forecast made just before.
    """
    check_output(output, overwrite)
    format_of(output, output_format)
    forecaster = load_model(model)
    table = None if data is None else read_like(forecaster, data, input_format)
    beside = f.features(known, past, future, static, forecaster=forecaster)
    if data is None:
        beside = f.kept(beside, False)
    options = {"last": last, "draws": draws, "flow_steps": flow_steps, "seed": seed or 0}
    with busy(f"judging {len(forecaster.columns)} series", quiet):
        found = forecaster.log_likelihood(table, device=device, **options, **beside)
    names = forecaster.kept.names
    if isinstance(found, dict):
        import pandas as pd

        found = pd.concat(found, names=[names.group, names.time]).reset_index()
    else:
        found = found.rename_axis(index=names.time).reset_index()
    if lowest is not None:
        found = found.dropna(subset="bound").nsmallest(lowest, "bound")
    write_table(found, output, output_format, overwrite)


def _pictures() -> list[str]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OptionError("plot needs matplotlib: pip install timediff[plot]") from error
    return sorted(Figure().canvas.get_supported_filetypes())
