"""What each part of the default is worth: one change at a time, on windows before the test start.

``python -m benchmarks.ablation --datasets traffic --changes default "lr=1e-3" --seeds 0 1 2``

The test windows are not touched: the last windows of the training data take their place, and
everything is trained on what lies before them. Rows are added to ``results/ablation.csv``; a row
that is there already is not computed again. At the end ``ablation.md`` is written from all rows.
"""

import argparse
import ast
import dataclasses
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common import evaluate, machine, markdown, write
from timediff import TimeGradEstimator
from timediff.baselines import simple_forecasts
from timediff.datasets import ForecastDataset, load_dataset
from timediff.options import Options

RESULTS = Path(__file__).parent / "results" / "ablation.csv"
WINDOWS = {"exchange_rate_nips": 10, "electricity_uci": 7, "metr_la": 14}  # elsewhere 28
KEY = ["dataset", "change", "seed"]


def before_the_test(data: ForecastDataset, windows: int) -> ForecastDataset:
    """The same data ending where the test begins; its last windows are forecast instead."""
    (entry,) = data.train
    p, length = data.prediction_length, entry["target"].shape[1]

    def until(end: int) -> dict[str, Any]:
        return {**entry, "target": entry["target"][:, :end]}

    ends = [length - p * k for k in reversed(range(windows))]
    return dataclasses.replace(
        data, train=[until(length - p * windows)], test=[until(end) for end in ends]
    )


def parse(change: str) -> dict[str, Any]:
    """``"lr=1e-3 prior_loss=nll"`` as options."""
    options = {}
    for part in change.split():
        name, value = part.split("=", 1)
        try:
            options[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            options[name] = value
    return options


def run(data: ForecastDataset, change: str, seed: int) -> dict[str, Any]:
    """Train with the change and score the windows; or score a simple forecast of that name."""
    history = data.train[0]["target"].shape[1]
    simple = simple_forecasts(data.freq, data.prediction_length, history)
    start = time.perf_counter()
    if change in simple:
        predictor: Any = simple[change]
    else:
        options = {} if change == "default" else parse(change)
        predictor = TimeGradEstimator(
            data.freq,
            data.prediction_length,
            seed=seed,
            trainer_kwargs={"enable_progress_bar": False},
            **{"preset": "default", **options},
        ).train(data.train)
    seconds = time.perf_counter() - start
    scores, _ = evaluate(predictor, data, seed)
    return {"train_seconds": seconds, **scores}


SHOWN = ["crps", "crps_sum", "energy_score", "variogram_score"]


def report(rows: pd.DataFrame) -> str:
    """Tables in Markdown: scores of the default, and of each change relative to it."""
    parts = ["# What each part of the default is worth", NOTES]
    for name, part in rows.groupby("dataset", sort=True):
        mean = part.groupby("change", sort=False).mean(numeric_only=True)
        if "default" not in mean.index:
            continue
        base = mean.loc["default"]
        order = ["default", *[change for change in mean.index if change != "default"]]
        lines = []
        for change in order:
            own = mean.loc[change]
            line = {"change": change, "seeds": int((part["change"] == change).sum())}
            for score in SHOWN:
                plain = change == "default"
                ratio = f"{own[score] / base[score] - 1:+.1%}"
                line[score] = f"{own[score]:.4g}" if plain else ratio
            line["coverage"] = f"{own['coverage90']:.2f}"
            line["of the sum"] = f"{own['coverage90_sum']:.2f}"
            line["training, s"] = f"{own['train_seconds']:.0f}"
            lines.append(line)
        parts += [f"## {name}", markdown(pd.DataFrame(lines)).strip()]
    return "\n\n".join(parts) + "\n"


NOTES = """\
Means over the seeds, on windows before the test start, everything trained on what lies before
these. The first row of a table has the default's scores, the others how much higher (worse) or
lower (better) each score is; coverage of the 90 % interval should be .90. Rows without `=` are
simple forecasts. Seconds are of a shared machine, and rough."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--changes", nargs="+", default=["default"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    for change in given.changes:
        if "=" in change:
            Options.from_preset(**{"preset": "default", **parse(change)})  # a mistake shows now
    for name in given.datasets:
        data = before_the_test(load_dataset(name), WINDOWS.get(name, 28))
        changes = []
        for change in given.changes:
            history = data.train[0]["target"].shape[1]
            simple = simple_forecasts(data.freq, data.prediction_length, history)
            changes += list(simple) if change == "simple" else [change]
        for change in changes:
            for seed in given.seeds:
                key = {"dataset": name, "change": change, "seed": seed}
                rows = pd.read_csv(given.output) if given.output.exists() else pd.DataFrame()
                if len(rows) and (rows[KEY] == list(key.values())).all(axis=1).any():
                    continue
                row = {**key, **run(data, change, seed), **machine()}
                write(
                    given.output,
                    pd.concat([rows, pd.DataFrame([row])]).to_csv(index=False),
                )
                shown = {k: round(v, 5) for k, v in row.items() if isinstance(v, float)}
                print(name, change, seed, shown, flush=True)
    write(given.output.with_suffix(".md"), report(pd.read_csv(given.output)))


if __name__ == "__main__":
    main()
