"""The shell: ``timediff fit | predict | backtest | ...``; see ``docs/cli.md``.

Importing this imports typer and the standard library only. What a command needs it imports when it
runs, so that ``--help`` answers at once.
"""

from timediff.cli import about, backtesting, benching, forecasting, scoring, training
from timediff.cli.app import app

__all__ = [
    "about",
    "app",
    "backtesting",
    "benching",
    "forecasting",
    "main",
    "scoring",
    "training",
]


def main() -> None:
    """The entry point ``timediff``."""
    app(prog_name="timediff")
