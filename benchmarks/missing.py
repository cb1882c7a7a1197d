"""How much accuracy do missing values cost?

    python -m benchmarks.missing [--presets fast default]

From the history of the traffic data, all 20 sensors, 10, 30 and 50 % of the values are taken out:
one by one at random, or in blocks of one day to one week, of each sensor for itself. The model is
trained on what is left and forecasts from what is left; the test windows it is scored on are whole.
Beside it stands the best of the simple forecasts that can be made from such a history, chosen in
hindsight for each row. One row a training goes into ``results/missing.csv`` as soon as it is done;
called again, the script computes what is missing. ``missing.md`` and ``missing.png``.
"""

import argparse
import dataclasses
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmarks.common import evaluate, kept_rows, machine, targets, write, write_results
from benchmarks.figures import COLORS, FAINT, tidy
from timediff import TimeGradEstimator
from timediff.baselines import simple_forecasts
from timediff.datasets import ForecastDataset, load_dataset
from timediff.errors import DataError
from timediff.scores import score_table

KINDS = {"none": [0.0], "at random": [0.1, 0.3, 0.5], "in blocks": [0.1, 0.3, 0.5]}
BLOCK = (24, 168)  # hours, shortest and longest
SCORES = ["crps", "crps_sum", "energy_score", "coverage90", "coverage90_sum"]
TITLE = "Missing values: CRPS of traffic with a share of the history taken out"
KEYS = ["removed", "share", "model", "seed"]


def main(words: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--presets", nargs="*", default=["fast", "default"])
    parser.add_argument("--shares", nargs="*", type=float, default=[0, 0.1, 0.3, 0.5])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--windows", type=int, help="test windows, the first; all if left out")
    parser.add_argument("--max-epochs", type=int, help="fewer for a quick look")
    given = parser.parse_args(words)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.simplefilter("ignore")
    data = load_dataset("traffic")
    data = dataclasses.replace(data, test=data.test[: given.windows])
    number = given.max_epochs
    few = {} if number is None else {"max_epochs": number, "prior_epochs": number}
    path = given.output / "missing.csv"
    rows = []
    if path.exists():  # the machine is written anew
        rows = kept_rows(path).drop(columns=list(machine()), errors="ignore").to_dict("records")
    for kind, shares in KINDS.items():
        for share in [s for s in shares if s in given.shares]:
            done = {tuple(row[key] for key in KEYS) for row in rows}
            case = {"removed": kind, "share": share}
            wanted = [p for p in given.presets if (kind, share, p, given.seed) not in done]
            if not wanted:
                continue
            thinned = thin(data, kind, share, given.seed)
            rows = [r for r in rows if r["removed"] != kind or r["share"] != share or r["trained"]]
            rows += [case | row for row in simple(thinned, data, given.seed)]
            for preset in wanted:
                rows.append(case | trained(preset, thinned, data, given.seed, few))
                print(rows[-1], flush=True)
            write_results(given.output, "missing", TITLE, rows)
    table = overview(pd.DataFrame(rows))
    text = (given.output / "missing.md").read_text()
    write(given.output / "missing.md", text.replace("\n\n", f"\n\n{table}\nAll rows:\n\n", 1))
    picture(pd.DataFrame(rows)).savefig(given.output / "missing.png", dpi=110)


def removed(shape: tuple[int, int], kind: str, share: float, seed: int) -> np.ndarray:
    """Which values ``(D, T)`` are taken out: this share of each series, up to one block."""
    rng = np.random.default_rng([seed, int(100 * share)])
    if kind == "at random":
        return rng.random(shape) < share
    out = np.zeros(shape, dtype=bool)
    if kind == "none":
        return out
    for row in out:
        while row.mean() < share:
            length = rng.integers(BLOCK[0], BLOCK[1] + 1)
            start = rng.integers(-length + 1, shape[1])
            row[max(start, 0) : start + length] = True
    return out


def thin(data: ForecastDataset, kind: str, share: float, seed: int) -> ForecastDataset:
    """The data with values taken out of every history, the same ones in all entries."""
    length = max(entry["target"].shape[1] for entry in data.test)
    out = removed((len(data.columns), length), kind, share, seed)

    def without(entry: dict[str, Any]) -> dict[str, Any]:
        target = entry["target"]
        return {**entry, "target": np.where(out[:, : target.shape[1]], np.nan, target)}

    return dataclasses.replace(
        data, train=[without(e) for e in data.train], test=[without(e) for e in data.test]
    )


def trained(
    preset: str, thinned: ForecastDataset, data: ForecastDataset, seed: int, few: dict[str, Any]
) -> dict[str, Any]:
    """The row of a preset, trained on the thinned data."""
    estimator = TimeGradEstimator(
        data.freq,
        data.prediction_length,
        preset=preset,
        seed=seed,
        trainer_kwargs={"enable_progress_bar": False},
        **few,
    )
    start = time.perf_counter()
    predictor = estimator.train(thinned.train)
    seconds = time.perf_counter() - start
    return row(preset, predictor, thinned, data, seed, train_seconds=seconds)


def simple(thinned: ForecastDataset, data: ForecastDataset, seed: int) -> list[dict[str, Any]]:
    """A row of each simple forecast that can be made of the thinned data."""
    history = data.train[0]["target"].shape[1]
    rows = []
    for name, predictor in simple_forecasts(data.freq, data.prediction_length, history).items():
        try:
            rows.append(row(name, predictor, thinned, data, seed))
        except DataError:
            continue  # it needs observations that are missing here
    return rows


def row(
    name: str,
    predictor: Any,
    thinned: ForecastDataset,
    data: ForecastDataset,
    seed: int,
    train_seconds: float = 0.0,
) -> dict[str, Any]:
    """Scores against the whole test windows."""
    _, forecasts = evaluate(predictor, thinned, seed)
    samples = torch.stack([torch.as_tensor(f.samples) for f in forecasts])
    scores = score_table(samples, targets(data))
    kept = {key: scores[key] for key in SCORES}
    trained = bool(train_seconds)
    return {"model": name, "trained": trained, "seed": seed, **kept, "train_seconds": train_seconds}


def overview(rows: pd.DataFrame) -> str:
    """What was removed × share: each preset beside the best simple forecast."""
    lines = ["| removed | share | model | CRPS | CRPS-sum | coverage | of the sum | best simple |"]
    lines += ["|---" * 8 + "|"]
    for (kind, share), part in rows.groupby(["removed", "share"], sort=False):
        best = part[~part["trained"]].sort_values("crps").iloc[0]
        for _, one in part[part["trained"]].iterrows():
            lines.append(
                f"| {kind} | {share:.0%} | {one['model']} | {one['crps']:.4f} | "
                f"{one['crps_sum']:.4f} | {one['coverage90']:.2f} | {one['coverage90_sum']:.2f} | "
                f"{best['crps']:.4f} ({best['model']}) |"
            )
    return "\n".join(lines) + "\n"


def picture(rows: pd.DataFrame) -> Figure:
    """CRPS and CRPS-sum against the share that is missing."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes: Any = figure.subplots(1, 2)
    presets = list(rows[rows["trained"]]["model"].unique())
    for ax, score, name in zip(axes, ("crps", "crps_sum"), ("CRPS", "CRPS-sum"), strict=True):
        best = rows[~rows["trained"]].loc[
            lambda t: t.groupby(["removed", "share"])["crps"].idxmin()
        ]
        curves = [(p, rows[rows["model"] == p], c) for p, c in zip(presets, COLORS, strict=False)]
        for model, part, color in [*curves, ("best simple forecast", best, FAINT)]:
            for kind, style in (("at random", "o-"), ("in blocks", "s--")):
                line = part[part["removed"].isin(["none", kind])].sort_values("share")
                label = f"{model}, {kind}"
                ax.plot(100 * line["share"], line[score], style, color=color, lw=1.5, label=label)
        ax.set(xlabel="removed from the history, %", ylabel=f"{name} (lower is better)")
        ax.set_ylim(bottom=0)
        tidy(ax)
    axes[0].legend(frameon=False, fontsize=8, loc="lower left")
    return figure


if __name__ == "__main__":
    main()
