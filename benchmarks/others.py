"""Does the default win on data of other kinds: counts, zeros, gaps, levels?

    python -m benchmarks.others --packages FOLDER

The sets of ``benchmarks/other_data.py``, whose top says what has to be in the folder, with the
default as it is, beside every simple forecast. The last weeks are forecast from what lies before.
One row a model goes into ``results/others.csv`` as soon as it is done; called again, the script
computes what is missing. ``others.md`` has the default beside the best simple forecast.
"""

import argparse
import dataclasses
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.ablation import before_the_test, parse
from benchmarks.common import evaluate, kept_rows, machine, write, write_results
from benchmarks.models import Model, models, preset
from benchmarks.other_data import DATA, Packages, load
from benchmarks.report import LEVELS, SCORES
from timediff.datasets import ForecastDataset
from timediff.errors import DataError

TITLE = "Data of other kinds: the default beside simple forecasts"


def main(words: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True, help="folder of the packages")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--datasets", nargs="*", choices=list(DATA), default=list(DATA))
    parser.add_argument("--presets", nargs="*", default=["default"], help="'fast lr=0.001' for one")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--before", action="store_true", help="windows before those of the test")
    given = parser.parse_args(words)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    path, rows = given.output / "others.csv", []
    if path.exists():
        rows = kept_rows(path, dtype=dict.fromkeys(machine(), str)).to_dict("records")
    for name in given.datasets:
        data = load(name, Packages(given.packages))
        if given.before:
            data = before_the_test(data, len(data.test))
            data = dataclasses.replace(data, name=f"{name}, before")
        known = {m: model for m, model in models(data).items() if model.kind == "simple"}
        known |= {words: chosen(words) for words in given.presets}
        for title, model in known.items():
            for seed in given.seeds:
                key = (data.name, title, seed)
                if any((r["data"], r["model"], r["seed"]) == key for r in rows):
                    continue
                try:
                    rows.append(row(data, title, model, seed))
                except DataError as error:  # as where the last value is asked of what has none
                    if model.kind != "simple":
                        raise
                    print(f"{name}: no {title}: {error}", flush=True)
                    continue
                print(rows[-1], flush=True)
                write_results(given.output, "others", TITLE, rows)
    write_results(given.output, "others", TITLE, rows)
    text = (given.output / "others.md").read_text()
    head = f"\n\n{overview(pd.DataFrame(rows))}\nAll rows:\n\n"
    write(given.output / "others.md", text.replace("\n\n", head, 1))


def chosen(words: str) -> Model:
    """A preset, and options if more words follow: ``"fast prior_reach=None"``."""
    name, _, changes = words.partition(" ")
    return preset(name, **parse(changes))


def row(data: ForecastDataset, name: str, model: Model, seed: int) -> dict[str, Any]:
    """Train and score one forecaster."""
    start = time.perf_counter()
    predictor = model.train(data, seed)
    seconds = time.perf_counter() - start
    scores, _ = evaluate(predictor, data, seed)
    case = {"data": data.name, "model": name, "kind": model.kind, "seed": seed}
    size = {"series": len(data.columns), "steps": data.train[0]["target"].shape[1]}
    kept = {key: scores[key] for key in SCORES + LEVELS}
    return case | size | kept | {"train_seconds": seconds if model.kind == "timediff" else 0.0}


def overview(rows: pd.DataFrame) -> str:
    """Each model of timediff beside the best simple forecast of each score."""
    lines = [
        "Of each score the mean over the seeds, and beside it how much lower (-) it is than that "
        "of the best\nsimple forecast, which is chosen for each score by itself, in hindsight.\n",
        "| data | series × steps | model | seeds | CRPS | CRPS-sum | energy | variogram | "
        "coverage | of the sum |",
        "|---" * 10 + "|",
    ]
    for name, part in rows.groupby("data", sort=False):
        size = f"{part['series'].iloc[0]} × {part['steps'].iloc[0]}"
        best = part[part["kind"] == "simple"].groupby("model")[SCORES].mean().min()
        for model, own in part[part["kind"] == "timediff"].groupby("model", sort=False):
            mean = own[SCORES + LEVELS].mean()
            cells = [f"{mean[s]:.4g} ({mean[s] / best[s] - 1:+.0%})" for s in SCORES]
            cells += [f"{mean['coverage90']:.2f}", f"{mean['coverage90_sum']:.2f}"]
            lines.append(f"| {name} | {size} | {model} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
