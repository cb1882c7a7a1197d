"""Does recalibration on past windows bring the coverage of later windows nearer to its level?

    python -m benchmarks.calibration

The model and the simple forecasts forecast the last 20 windows before the test start (28 of
traffic), then the test windows; the model is trained once, on what lies before all of them. What
the first windows show is applied to the second:

- **before**: as forecast;
- **default**: :class:`timediff.Recalibration` as it is;
- **own**, **pooled**: each series by itself; all series with the same factors;
- **windows**: pooled, with the guarantee for exchangeable windows;
- **total**: the default, by which the sum of all series is to hold, too;
- **rolling**: the default, each test window learnt from after it was forecast (rate 0.1).

Scores are those of the test windows. Paths are kept under ``benchmarks/runs`` and not drawn again.
``results/calibration.csv``, ``calibration.md`` and ``calibration.png``.
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

from benchmarks.common import NUM_SAMPLES, inputs, targets, write, write_results
from benchmarks.figures import COLORS, FAINT, INK, tidy
from timediff import Recalibration, TimeGradEstimator
from timediff.baselines import simple_forecasts
from timediff.datasets import ForecastDataset, load_dataset
from timediff.errors import DataError
from timediff.scores import reliability, score_table
from timediff.scores.combination import summed

WINDOWS = {"exchange_rate_nips": 20, "traffic": 28}
LEVELS = (0.5, 0.8, 0.9, 0.95)
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "own": {"pooling": 0},
    "pooled": {"pooling": np.inf},
    "windows": {"pooling": np.inf, "exchangeable": "windows"},
    "total": {},
    "rolling": {"rate": 0.1},
}
LEFT_OUT = ("last value",)  # a single point, without any width


def main(words: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--runs", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--datasets", nargs="+", default=list(WINDOWS), choices=WINDOWS)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-epochs", type=int, help="fewer for a quick look")
    parser.add_argument("--windows", type=int, help="fewer for a quick look")
    given = parser.parse_args(words)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.simplefilter("ignore")
    number = given.max_epochs
    few = {} if number is None else {"max_epochs": number, "prior_epochs": number}
    rows, curves = [], {}
    for name in given.datasets:
        data = load_dataset(name)
        first = past(data, given.windows or WINDOWS[name])
        observed = targets(first).numpy(), targets(data).numpy()
        for model, both in drawn(data, first, given, few).items():
            scored = variants(both, observed)
            for variant, (row, curve) in scored.items():
                head = {"data": name, "model": model, "variant": variant, "seed": given.seed}
                head |= {"windows": len(both[0]), "test windows": len(both[1])}
                rows.append(head | row)
                curves[name, model, variant] = curve
            print(pd.DataFrame(rows[-len(scored) :]).to_string(), flush=True)
    write_results(given.output, "calibration", title(pd.DataFrame(rows)), rows)
    text = (given.output / "calibration.md").read_text()
    table = overview(pd.DataFrame(rows))
    write(given.output / "calibration.md", text.replace("\n\n", f"\n\n{table}\nAll rows:\n\n", 1))
    shown = dict.fromkeys((name, given.preset) for name in given.datasets)
    picture(curves, list(shown)).savefig(given.output / "calibration.png", dpi=110)


def past(data: ForecastDataset, windows: int) -> ForecastDataset:
    """The windows before the test start as if they were the test, and what lies before to train."""
    (entry,), p = data.train, data.prediction_length
    length = entry["target"].shape[1]
    ends = [length - i * p for i in range(windows)][::-1]

    def until(end: int) -> dict[str, Any]:
        return {**entry, "target": entry["target"][:, :end]}

    return dataclasses.replace(data, train=[until(ends[0] - p)], test=[until(end) for end in ends])


def drawn(
    data: ForecastDataset, first: ForecastDataset, given: Any, few: dict[str, Any]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each model the paths ``(W, S, P, D)`` of the windows before and of the test windows."""
    history = first.train[0]["target"].shape[1]
    simple = simple_forecasts(data.freq, data.prediction_length, history)
    found = {}
    for model in [given.preset, *(name for name in simple if name not in LEFT_OUT)]:
        path = given.runs / "calibration" / f"{data.name}_{model}_{given.seed}.npz"
        if not path.exists():
            start = time.perf_counter()
            predictor = simple.get(model) or TimeGradEstimator(
                data.freq,
                data.prediction_length,
                preset=given.preset,
                seed=given.seed,
                trainer_kwargs={"enable_progress_bar": False},
                **few,
            ).train(first.train)
            try:
                parts = [paths(predictor, part, given.seed) for part in (first, data)]
            except DataError:
                continue
            print(f"{data.name}, {model}: {time.perf_counter() - start:.0f} s", flush=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, before=parts[0], test=parts[1])
        with np.load(path) as stored:
            found[model] = stored["before"], stored["test"]
    return found


def paths(predictor: Any, data: ForecastDataset, seed: int) -> np.ndarray:
    """Of all windows, ``(W, S, P, D)``."""
    forecasts = predictor.predict(inputs(data), num_samples=NUM_SAMPLES, seed=seed)
    return np.stack([forecast.samples for forecast in forecasts])


def variants(
    both: tuple[np.ndarray, np.ndarray], observed: tuple[np.ndarray, np.ndarray]
) -> dict[str, tuple[dict[str, float], np.ndarray]]:
    """Scores and reliability curve of the test windows in each variant."""
    (known, test), (seen, y) = both, observed
    mapped = {"before": test}
    everything = {"sum": list(range(seen.shape[-1]))}
    for name, options in VARIANTS.items():
        options = {**options, "totals": everything} if name == "total" else options
        recalibration = Recalibration(known, seen, **options)
        if name != "rolling":
            mapped[name] = recalibration.apply(test)
            continue
        steps = []
        for window, what_came in zip(test, y, strict=True):
            steps.append(recalibration.apply(window))
            recalibration.update(window, what_came)
        mapped[name] = np.stack(steps)
    return {name: scored(x, y) for name, x in mapped.items()}


def scored(x: np.ndarray, y: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """A row of scores, and the reliability curve of the series and of the sum."""
    samples, target = torch.from_numpy(x), torch.from_numpy(y)
    total = summed(samples, target)
    row = {}
    for label, pair in (("", (samples, target)), ("_sum", total)):
        for level, share in zip(LEVELS, reliability(*pair, LEVELS).tolist(), strict=True):
            row[f"coverage{100 * level:.0f}{label}"] = share
        own = list(row.values())[-len(LEVELS) :]
        row[f"miscoverage{label}"] = float(np.abs(np.array(own) - LEVELS).mean())
    table = score_table(samples, target)
    row |= {key: table[key] for key in ("crps", "crps_sum", "energy_score", "variogram_score")}
    return row, torch.stack([reliability(samples, target), reliability(*total)]).numpy()


def title(rows: pd.DataFrame) -> str:
    """The answer in a sentence."""
    parts = []
    for name, part in rows.groupby("data", sort=False):
        table = part[part["model"] == part["model"].iloc[0]].set_index("variant")
        old, new = table.loc["before"], table.loc["default"]
        parts.append(
            f"{name} {old['coverage90']:.3f} to {new['coverage90']:.3f} (CRPS "
            f"{new['crps'] / old['crps'] - 1:+.1%})"
        )
    return "Recalibration: coverage of 90 % intervals from " + ", ".join(parts)


def overview(rows: pd.DataFrame) -> str:
    """Coverage of 90 % intervals, mean distance to four levels and both CRPS, of four variants.

    The distance is between coverage and level, over 50, 80, 90 and 95 %, in points.
    """
    shown = ("before", "default", "total", "rolling")
    heads = ["data", "model", "coverage of 90 %", "of the sum", "distance", "of the sum"]
    lines = ["| " + " | ".join([*heads, "CRPS", "CRPS-sum"]) + " |", "|---" * 8 + "|"]
    for (name, model), part in rows.groupby(["data", "model"], sort=False):
        table = part.set_index("variant").loc[list(shown)]
        cells = []
        for key, scale, digits in (
            ("coverage90", 100, 1),
            ("coverage90_sum", 100, 1),
            ("miscoverage", 100, 1),
            ("miscoverage_sum", 100, 1),
            ("crps", 1, 4),
            ("crps_sum", 1, 4),
        ):
            cells.append(" → ".join(f"{scale * value:.{digits}f}" for value in table[key]))
        lines.append(f"| {name} | {model} | " + " | ".join(cells) + " |")
    return "Before → default → total → rolling:\n\n" + "\n".join(lines) + "\n"


def picture(curves: dict[Any, np.ndarray], shown: list[tuple[str, str]]) -> Figure:
    """How far coverage is from its level, of series and sum, before and after."""
    figure = Figure(figsize=(9, 3.2 * len(shown)), layout="constrained")
    grid: Any = figure.subplots(len(shown), 2, sharex=True, squeeze=False)
    levels = np.arange(1, 20) / 20
    for row, (name, model) in zip(grid, shown, strict=True):
        for ax, which, label in zip(row, (0, 1), ("each series", "the sum"), strict=True):
            ax.axhline(0, color=FAINT, lw=1, ls=(0, (4, 3)))
            styles = {"before": (INK, "-"), "default": (COLORS[0], "-")}
            styles |= {"windows": (COLORS[1], "--"), "rolling": (COLORS[2], ":")}
            styles |= {"total": (COLORS[3], "-.")}
            for variant, (color, style) in styles.items():
                gap = 100 * (curves[name, model, variant][which] - levels)
                ax.plot(100 * levels, gap, style, color=color, lw=1.6, label=variant)
            ax.set_title(f"{name}, {model}: {label}", loc="left", fontsize="medium")
            ax.set_ylabel("observed inside - level, points")
            tidy(ax)
    for ax in grid[-1]:
        ax.set_xlabel("level of the central interval, %")
    grid[0, 0].legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
