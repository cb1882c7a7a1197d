"""Features and scenarios: tables beside the series."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timediff.cli import arguments as a
from timediff.cli.files import SUFFIXES, suffix_of
from timediff.cli.tables import by_text, in_zone, like, order_of, read_like, read_table, zone_of
from timediff.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from timediff.forecaster import Forecaster

Known = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|COLUMNS",
        help="Features known ahead: a table, time by features, that goes on over the horizon; or "
        "columns of a long DATA, such as price,promo.",
    ),
]
Past = Annotated[
    str | None,
    typer.Option(metavar="FILE|COLUMNS", help="Likewise, features known of the past only."),
]
Future = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Beside a long DATA: the later rows of its columns known ahead."
    ),
]
Static = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="What does not change: a table, series by features."),
]
GivenTable = Annotated[
    str | None,
    typer.Option(
        "--given",
        metavar="FILE",
        help="A scenario: a table, time by some series, of what the horizon is to have; empty "
        "cells are free, and the rest is drawn to fit.",
    ),
]
GivenTotal = Annotated[
    list[str] | None,
    typer.Option(
        "--given-total",
        metavar="NAME=A,B",
        help="A column of the scenario that is a total; weights as in --aggregate. Repeatable.",
    ),
]


def features(
    known: str | None,
    past: str | None,
    future: str | None,
    static: str | None,
    *,
    forecaster: "Forecaster | None" = None,
    names: dict[str, str | None] | None = None,
    frame: "pd.DataFrame | None" = None,
) -> dict[str, Any]:
    """The features that a command was given, as the methods of a forecaster take them.

    Args:
        known: a file, or columns of a long table.
        past: likewise.
        future: a file.
        static: a file.
        forecaster: whose series they belong to, once it is fitted.
        names: of the columns of a long table, where they were given.
        frame: the series, before.

    Raises:
        DataError: a file cannot be read.
    """
    names = names or {}
    group = forecaster.kept.names.group if forecaster else names.get("group_column")
    day_first = forecaster.kept.day_first if forecaster else order_of(frame)
    found: dict[str, Any] = {}
    for name, text in (("known", known), ("past", past)):
        if text is None:
            continue
        if not is_file(text):
            found[name] = text.split(",")
            continue
        table = over_time(read_table(text, group_column=group, day_first=day_first), text)
        found[name] = (
            in_zone(table, zone_of(frame)) if forecaster is None else like(table, forecaster)
        )
    if future is not None:
        if forecaster is not None:
            found["future"] = read_like(forecaster, future)
        else:
            ids, times = names.get("id_column"), names.get("time_column")
            table = read_table(
                future, id_column=ids, time_column=times, group_column=group, day_first=day_first
            )
            found["future"] = in_zone(table, zone_of(frame))
    if static is not None:
        known_labels = list(forecaster.columns) if forecaster else labels(frame, names)
        table = read_table(static, texts=(0,), times=False, group_column=group)
        found["static"] = by_series(table, known_labels, group)
    return found


def is_file(text: str) -> bool:
    """Whether it is a table, and not columns of one."""
    path = Path(text)
    if text == "-" or suffix_of(path) in SUFFIXES:
        return True
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # a name too long for one
        return False


def kept(beside: dict[str, Any], data: bool) -> dict[str, Any]:
    """Features for a history that the model keeps, to which rows may be appended.

    The columns of a long table are known to the model by their names.

    Args:
        beside: what :func:`features` made of them.
        data: whether rows are appended.
    """
    for name in ("known", "past"):
        if isinstance(beside.get(name), list):
            if not data:
                message = "columns are those of DATA: give DATA, or a table of features"
                raise typer.BadParameter(message, param_hint=f"--{name}")
            beside.pop(name)
    if "static" in beside:
        message = "what does not change is known of the kept history"
        raise typer.BadParameter(message, param_hint="--static")
    return beside


def over_time(table: "pd.DataFrame", place: str) -> "pd.DataFrame":
    """A wide table with its timestamps as the index.

    Raises:
        DataError: its first column is none of timestamps.
    """
    import pandas as pd

    if isinstance(table.index, pd.DatetimeIndex | pd.PeriodIndex):
        return table
    first = next((c for c in table.columns if table[c].dtype.kind == "M"), None)
    if first is None:
        raise DataError(
            f"{place} has no column of timestamps: its first column is {table.columns[0]!r}"
        )
    return table.set_index(first)


def labels(frame: "pd.DataFrame | None", names: dict[str, str | None]) -> list[Any]:
    """What may be a series of a table: its columns, and what a column of labels holds."""
    from timediff._tables import DIALECTS

    if frame is None:
        return []
    column = names.get("id_column") or next((c for c in DIALECTS["id_column"] if c in frame), None)
    return [*frame.columns, *(frame[column].unique() if column in frame else ())]


def by_series(table: "pd.DataFrame", known: list[Any], group: str | None) -> "pd.DataFrame":
    """A table with its first column, the series, as the index, unless it has one.

    Args:
        table: series × features.
        known: labels that are no text.
        group: the column of groups, which is none of series.
    """
    import pandas as pd

    if isinstance(table.index, pd.RangeIndex):
        table = table.set_index(next(c for c in table.columns if c != group))
    own = by_text(known)
    return table.rename(index=lambda text: own.get(str(text), text))


def scenario(
    forecaster: "Forecaster", given: str | None, totals: list[str] | None
) -> dict[str, Any]:
    """What the horizon is to have, as ``Forecaster.predict`` takes it.

    Raises:
        DataError: the file cannot be read.
        OptionError: a total of an unknown series.
    """
    if given is None:
        if totals:
            raise typer.BadParameter("it names a column of --given", param_hint="--given-total")
        return {}
    kept = forecaster.kept
    table = read_table(given, group_column=kept.names.group, day_first=kept.day_first)
    table = like(over_time(table, given), forecaster)
    sums = a.combinations(forecaster.columns, totals, "--given-total") if totals else None
    return {"given": table, "totals": sums}
