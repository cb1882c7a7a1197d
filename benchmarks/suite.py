"""How accurate, how well calibrated and how fast is every forecaster on every data set?

    TIMEDIFF_DATASETS=... python -m benchmarks.suite \\
        --datasets exchange_rate_nips traffic electricity --models all --seeds 0 1 2

Each run, a data set × a model × a seed, is a process of its own: it trains once, forecasts all test
windows with 100 paths and leaves the paths under ``--runs``. After each one row goes into
``suite.csv``, and in the end the tables and figures are drawn from all rows that are there
(``benchmarks/report.py``). Interrupt it at any time: a row whose settings are still those of the
model is not computed again. Models are the presets, every simple forecast, and the peers (``pip
install timediff[peers]``), by name or as the groups ``simple``, ``peers`` and ``all``.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.common import NUM_SAMPLES, inputs, kept_rows, machine, targets, write
from benchmarks.models import select
from timediff.datasets import ForecastDataset, load_dataset
from timediff.errors import TimediffError
from timediff.scores import score_table

HERE = Path(__file__).parent
KEY = ["dataset", "model", "seed"]


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["traffic"], metavar="NAME")
    parser.add_argument("--models", nargs="+", default=["default", "simple"], metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=HERE / "results", help="for suite.csv")
    parser.add_argument("--runs", type=Path, default=HERE / "runs", help="for the sample paths")
    parser.add_argument("--rescore", action="store_true", help="score all stored paths anew")
    parser.add_argument("--no-report", action="store_true", help="leave tables and figures alone")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.worker:
        (name,), (model,), (seed,) = arguments.datasets, arguments.models, arguments.seeds
        run(name, model, seed, arguments.runs)
        return
    try:
        failed = suite(arguments)
    except TimediffError as error:
        raise SystemExit(f"error: {error}") from None
    if not arguments.no_report:
        from benchmarks.report import report

        report(arguments.output, arguments.runs)
    if failed:
        raise SystemExit("failed: " + "; ".join(failed))


def suite(arguments: argparse.Namespace) -> list[str]:
    """Run what is missing; returns what failed, with where its log is."""
    path = arguments.output / "suite.csv"
    rows = Rows(path)
    if arguments.rescore:
        for name, model, seed in tqdm(list(rows.rows), desc="scoring"):
            if stored(arguments.runs, name, model, seed).exists():
                rows.add(scored(load_dataset(name), name, model, seed, arguments.runs))
    todo = []
    for name in arguments.datasets:
        for model, spec in select(arguments.models, load_dataset(name)).items():
            settings = json.dumps(spec.settings, default=str, sort_keys=True)
            todo += [
                (name, model, s) for s in arguments.seeds if not rows.has(name, model, s, settings)
            ]
    failed = []
    progress = tqdm(todo, unit="run")
    for name, model, seed in progress:
        progress.set_description(f"{name}, {model}, seed {seed}")
        out = stored(arguments.runs, name, model, seed)
        log = out.with_suffix(".log")
        out.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.suite", "--worker", "--datasets", name]
        command += ["--models", model, "--seeds", str(seed), "--runs", str(arguments.runs)]
        with log.open("w") as file:
            code = subprocess.run(command, stdout=file, stderr=file, check=False).returncode
        if code:
            last = log.read_text().strip().splitlines()[-1:]
            failed.append(f"{name}, {model}, seed {seed} ({log}): {' '.join(last)}")
            progress.write(f"FAILED {failed[-1]}")
            continue
        row = scored(load_dataset(name), name, model, seed, arguments.runs)
        rows.add(row)
        figures = ("crps", "crps_sum", "coverage90", "coverage90_sum", "train_seconds")
        shown = ", ".join(f"{figure} {row[figure]:.4g}" for figure in figures)
        progress.write(f"{name}, {model}, seed {seed}: {shown}")
    return failed


def run(name: str, model: str, seed: int, runs: Path) -> None:
    """One run: train, forecast, and store the paths with what it cost."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.simplefilter("ignore")
    data = load_dataset(name)
    spec = select([model], data)[model]
    start = time.perf_counter()
    predictor = spec.train(data, seed)
    trained = time.perf_counter()
    forecasts = list(predictor.predict(inputs(data), num_samples=NUM_SAMPLES, seed=seed))
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if MAC else 2**10)
    cost = {
        "train_seconds": trained - start,
        "predict_seconds": done - trained,
        "peak_memory_mb": peak,
        "kind": spec.kind,
        **machine(),
        "settings": json.dumps(spec.settings, default=str, sort_keys=True),
    }
    samples = np.stack([forecast.samples for forecast in forecasts]).astype(np.float32)
    out = stored(runs, name, model, seed)
    part = out.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, samples=samples, cost=json.dumps(cost))
    os.replace(part, out)


MAC = sys.platform == "darwin"  # which counts memory in bytes


def stored(runs: Path, name: str, model: str, seed: int) -> Path:
    """Where a run leaves its paths."""
    safe = "".join(c if c.isalnum() else "_" for c in model).strip("_")
    return runs / name / f"{safe}-{seed}.npz"


def load_samples(path: Path) -> torch.Tensor:
    """The stored paths of a run, ``(W, S, P, D)``."""
    with np.load(path) as file:
        return torch.from_numpy(file["samples"])


def scored(data: ForecastDataset, name: str, model: str, seed: int, runs: Path) -> dict[str, Any]:
    """The row of a stored run."""
    path = stored(runs, name, model, seed)
    with np.load(path) as file:
        cost = json.loads(str(file["cost"]))
    samples = load_samples(path)
    head = {"dataset": name, "model": model, "seed": seed, "kind": cost.pop("kind")}
    return {**head, "windows": len(samples), **score_table(samples, targets(data)), **cost}


class Rows:
    """The rows of ``suite.csv``; the file is whole after every change."""

    def __init__(self, path: Path):
        self.path = path
        table = kept_rows(path).to_dict("records") if path.exists() else []
        self.rows = {(row["dataset"], row["model"], row["seed"]): row for row in table}

    def has(self, name: str, model: str, seed: int, settings: str) -> bool:
        """Whether the row is there and its settings are still these."""
        return self.rows.get((name, model, seed), {}).get("settings") == settings

    def add(self, row: dict[str, Any]) -> None:
        """Add or replace a row, and save."""
        self.rows[row["dataset"], row["model"], row["seed"]] = row
        table = pd.DataFrame(list(self.rows.values())).sort_values(KEY, kind="stable")
        write(self.path, table.to_csv(index=False))


if __name__ == "__main__":
    main()
