"""Arguments that several commands share, and how their texts are read."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

TABLE = ".csv, .csv.gz, .tsv, .parquet, .jsonl (or .ndjson); - for stdin"

Data = Annotated[str, typer.Argument(metavar="DATA", help=f"Table, wide or long: {TABLE}.")]
MoreData = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help=f"History to go on from, not the kept one: {TABLE}."),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `timediff fit` wrote.")]

Preset = Annotated[str | None, typer.Option(help="default, fast, best or paper.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same numbers.")]
Freq = Annotated[
    str | None,
    typer.Option(help="Frequency as pandas writes it (h, B, SME, bh, ...), if not inferred."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="An option of the model (see `timediff info --options`)."
    ),
]
Config = Annotated[
    Path | None, typer.Option(help="Options in a .toml or .json file; what is given here wins.")
]
IdColumn = Annotated[str | None, typer.Option(help="Of a long table: the column with the series.")]
TimeColumn = Annotated[str | None, typer.Option(help="The column with the timestamps.")]
TargetColumn = Annotated[
    str | None, typer.Option(help="Of a long table: the column with the values.")
]
GroupColumn = Annotated[
    str | None,
    typer.Option(
        help="Of a table of several groups, wide or long: the column that says which one a row is "
        "of. Later tables, also of features and scenarios, have it, too."
    ),
]
Samples = Annotated[int, typer.Option(min=1, help="Joint paths to draw.")]
Device = Annotated[str | None, typer.Option(help="Where to draw: auto, cpu, cuda, ...")]
Aggregate = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=A,B",
        help="A total, path by path; 2*A and -1*B are weights, NAME=* sums all, and *,-1*A all but "
        "A. Repeatable.",
    ),
]
Lower = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]NUMBER",
        help="Least value of all series, or of one; before totals are taken. Repeatable.",
    ),
]
Upper = Annotated[
    list[str] | None, typer.Option(metavar="[NAME=]NUMBER", help="Likewise, the greatest value.")
]
NewModel = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="MODEL", help="Save it there; MODEL stays."),
]
Integer = Annotated[
    str | None, typer.Option(metavar="A,B", help="Series that are whole numbers; * for all.")
]
Output = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="- for stdout, or the file to write.")
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="FORMAT", help="Of the output: csv, jsonl or parquet; by its suffix."
    ),
]
InputFormat = Annotated[
    str | None,
    typer.Option(
        "--input-format",
        metavar="FORMAT",
        help="Of DATA: csv, jsonl or parquet; by its suffix, or csv.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no messages but warnings and errors.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Progress line by line, and the training's log.")
]


def numbers(option: str, text: str | None) -> list[float] | None:
    """``80,95`` as numbers."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        message = f"{text!r} is not numbers with commas between"
        raise typer.BadParameter(message, param_hint=option) from None


def labels(columns: Sequence[Any], text: str | None) -> list[Any] | None:
    """``a,b`` as labels of series, which need not be text."""
    if text is None:
        return None
    return [label(columns, part) for part in text.split(",")]


def label(columns: Sequence[Any], text: str) -> Any:
    """The label that reads like this.

    Raises:
        OptionError: there is none.
    """
    from timediff.registry import unknown_name

    for column in columns:
        if str(column) == text:
            return column
    raise unknown_name("series", text, [str(column) for column in columns])


def combinations(
    columns: Sequence[Any], texts: list[str], option: str = "--aggregate"
) -> dict[str, dict[Any, float]]:
    """``north=a,b`` and ``spread=a,-1*b`` as weights of series; to ``*``, all, the others add.

    Raises:
        OptionError: an unknown series.
    """
    found: dict[str, dict[Any, float]] = {}
    known = {str(column) for column in columns}
    for text in texts:
        name, equals, members = text.partition("=")
        if not (name and equals and members):
            raise typer.BadParameter(f"{text!r} is not NAME=A,B", param_hint=option)
        if name in found:
            message = f"{name!r} is given twice: write one {option} {name}=A,B with all of it"
            raise typer.BadParameter(message, param_hint=option)
        everything = 0.0
        own: dict[Any, list[float]] = {}
        for member in members.split(","):
            if member == "*" and "*" not in known:
                if everything:
                    raise typer.BadParameter(f"{name!r} has '*' twice", param_hint=option)
                everything = 1.0
                continue
            weighted = re.fullmatch(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\*(.+)", member)
            if weighted and member not in known:
                own.setdefault(label(columns, weighted[2]), []).append(float(weighted[1]))
            else:
                own.setdefault(label(columns, member), []).append(1.0)
        for column, several in own.items():
            if len(several) > 1:
                message = f"{name!r} has {str(column)!r} twice: write {sum(several):g}*{column}"
                raise typer.BadParameter(message, param_hint=option)
        weights = dict.fromkeys(columns if everything else own, everything)
        for column, (weight,) in own.items():
            weights[column] += weight
        found[name] = {column: weight for column, weight in weights.items() if weight != 0}
        if not found[name]:
            raise typer.BadParameter(f"{text!r} has no series left", param_hint=option)
    return found


def bounds(columns: Sequence[Any], texts: list[str] | None, option: str) -> dict[Any, float]:
    """``0`` for all series, and ``a=1.5`` for one, as bounds of series; what comes later wins.

    Raises:
        OptionError: an unknown series.
    """
    found: dict[Any, float] = {}
    for text in texts or ():
        name, equals, value = text.rpartition("=")
        limit = numbers(option, value)
        if limit is None or len(limit) != 1:
            message = f"{text!r} is neither a number nor NAME=NUMBER"
            raise typer.BadParameter(message, param_hint=option)
        found |= dict.fromkeys([label(columns, name)] if equals else columns, limit[0])
    return found
