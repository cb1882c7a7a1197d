"""The typer application: exit codes, errors in one line, no word on a pipe that was closed."""

import os
import re
import sys
import warnings
from contextvars import ContextVar
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from timediff import __version__
from timediff.errors import DataWarning, TimediffError

MISTAKE, INTERRUPTED = 1, 130
UTF8 = "utf-8-sig"  # with or without a mark at its begin
ENCODING = ContextVar("encoding", default=UTF8)  # of the files that the command reads
ORDER = [
    "fit",
    "update",
    "calibrate",
    "predict",
    "plot",
    "likelihood",
    "score",
    "backtest",
    "bench",
]
ORDER += ["datasets", "info"]


class Commands(TyperGroup):
    """The commands; what one of them raises becomes a line on stderr and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order in which they are used."""
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        0: done. 1: a mistake in the data or the options. 2: a wrong use, as typer finds it. 130:
        interrupted. A reader that has seen enough (``| head``) is no mistake.
        """
        debug = bool(ctx.params.get("debug"))
        before = ENCODING.set(ctx.params.get("encoding", UTF8))
        try:
            with warnings.catch_warnings():
                if not debug:  # they are about Lightning's and pandas' inner life
                    warnings.simplefilter("ignore")
                    warnings.simplefilter("always", DataWarning)
                    warnings.showwarning = _show
                result = super().invoke(ctx)
                sys.stdout.flush()
                return result
        except BrokenPipeError:
            _forget_stdout()
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            raise _interrupted() from None
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # as Lightning hands it on
                raise _interrupted() from None
            raise
        except (TimediffError, OSError) as error:
            if debug:
                raise
            typer.echo(f"error: {one_line(error)}", err=True)
            raise typer.Exit(MISTAKE) from None
        finally:
            ENCODING.reset(before)


def _show(message: Warning | str, *where: Any, **kwargs: Any) -> None:
    """A warning about the data as a line on stderr."""
    typer.echo(f"warning: {_at_the_shell(str(message))}", err=True)


def one_line(error: BaseException) -> str:
    """The message of an error, with the names that arguments have at the shell."""
    return _at_the_shell(" ".join(str(error).split()) or type(error).__name__)


def _at_the_shell(text: str) -> str:
    text = re.sub(r"\b(freq|id_column|time_column|target_column)(?:=(?!')|(?==))", _flag, text)
    text = text.replace("call calibrate() first", "run `timediff calibrate` first")
    return text.replace("overwrite=True", "--overwrite")


def _flag(match: re.Match[str]) -> str:
    return "--" + match[1].replace("_", "-")


def _interrupted() -> typer.Exit:
    typer.echo("interrupted", err=True)
    return typer.Exit(INTERRUPTED)


def _forget_stdout() -> None:
    """Nobody reads it any more; without this Python complains when it flushes at the end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # it is no file
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,  # plain help: examples keep their lines, and rich is not imported
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def examples(*lines: str) -> str:
    """The examples at the end of a command's help; the tests run them."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"timediff {__version__}")
        raise typer.Exit()
    return wanted


@app.callback(
    epilog=examples(
        "timediff fit load.csv --horizon 24 --output model",
        "timediff predict model --level 80,95 --output forecast.csv",
        "timediff info model",
    )
)
def timediff(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="TIMEDIFF_DEBUG", help="Show tracebacks and warnings.")
    ] = False,
    encoding: Annotated[
        str,
        typer.Option(envvar="TIMEDIFF_ENCODING", help="Of CSV and JSON files, such as latin-1."),
    ] = UTF8,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Joint probabilistic forecasts of many time series, by diffusion.

    Nothing is written but what was asked for, and nothing is overwritten without --overwrite.
    `timediff COMMAND --help` has examples of each command.
    """
