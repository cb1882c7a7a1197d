"""What a person sees: messages and progress on stderr, tables on a terminal."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from timediff.cli.files import write_table

if TYPE_CHECKING:
    import pandas as pd

    from timediff.forecaster import Forecaster


def say(message: str, quiet: bool = False) -> None:
    """A line on stderr; stdout is for results only."""
    if not quiet:
        typer.echo(message, err=True)


@contextlib.contextmanager
def busy(what: str, quiet: bool = False) -> Iterator[None]:
    """A spinner on stderr, if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextlib.contextmanager
def training(forecaster: "Forecaster", quiet: bool, verbose: bool) -> Iterator[None]:
    """Show how the training goes: bars on a terminal, lines if verbose."""
    logger = logging.getLogger("timediff")
    before = logger.level, logger.propagate
    handler = logging.StreamHandler(sys.stderr)
    if verbose:
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        if verbose or (sys.stderr.isatty() and not quiet):
            from timediff.cli.progress import progress_callback

            with progress_callback(lines=verbose) as callback:
                forecaster.recipe.callbacks.append(callback)
                try:
                    yield
                finally:
                    forecaster.recipe.callbacks.remove(callback)
        else:
            yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


def on_terminal() -> bool:
    """Whether stdout is read by a person."""
    return sys.stdout.isatty()


def show(
    table: "pd.DataFrame",
    place: str = "-",
    given: str | None = None,
    overwrite: bool = False,
    title: str | None = None,
) -> None:
    """A table of results: drawn on a terminal; as CSV or JSON lines elsewhere.

    Args:
        table: all that is shown is in its columns.
        place: a file, or ``-`` for stdout.
        given: the format of it; a terminal, too, gets this if it is given.
        overwrite: whether a file may be replaced.
        title: above the drawn table.
    """
    if place != "-" or given is not None or not on_terminal():
        write_table(table, place, given, overwrite)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, title_justify="left")
    for column in table.columns:
        number = table[column].dtype.kind in "iuf"
        drawn.add_column(Text(str(column)), justify="right" if number else "left")
    for row in table.itertuples(index=False):
        drawn.add_row(*(Text(cell(value)) for value in row))
    Console().print(drawn)


def cell(value: Any) -> str:
    """A value for the eye."""
    if str(value) in ("None", "nan", "<NA>", "NaT"):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
