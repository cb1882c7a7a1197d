"""The shell: ``timediff fit | predict | backtest | ...``; see ``docs/cli.md``.

Importing this imports typer and the standard library only. What a command needs it imports when it
runs, so that ``--help`` answers at once.
"""

from timediff.cli import about, forecasting, scoring, testing, training
from timediff.cli.app import app

__all__ = ["about", "app", "forecasting", "main", "scoring", "testing", "training"]


def main() -> None:
    """The entry point ``timediff``."""
    app(prog_name="timediff")
