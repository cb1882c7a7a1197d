"""The suite's rows as Markdown tables, and its sample paths as figures.

    python -m benchmarks.report [--output benchmarks/results] [--runs benchmarks/runs]

Reads ``suite.csv``; writes ``suite.md`` and, for each data set whose paths are still there,
``suite_<dataset>.png``. ``benchmarks/suite.py`` calls it at its end.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common import markdown, write
from benchmarks.suite import HERE

SCORES = ["crps", "crps_sum", "energy_score", "variogram_score"]
LEVELS = ["coverage90", "coverage90_sum"]
COSTS = ["train_seconds", "predict_seconds", "peak_memory_mb"]
MOST_NAMED = 8  # options in which earlier rows differ
ENOUGH = 5  # seeds from which the worst of them is told
KINDS = ["timediff", "simple", "peer", "optimum"]
HEADINGS = {
    "crps": "CRPS",
    "crps_sum": "CRPS-sum",
    "energy_score": "energy score",
    "variogram_score": "variogram score",
    "coverage90": "coverage",
    "coverage90_sum": "of the sum",
    "train_seconds": "training, s",
    "predict_seconds": "prediction, s",
    "peak_memory_mb": "memory, MiB",
}
NOTES = """\
Mean ± standard deviation over the seeds; a model without ± has one seed. Lower scores are better,
and the best of a column is **bold**; coverage of the 90 % interval should be .90. CRPS and CRPS-sum
are GluonTS's `mean_wQuantileLoss` and `m_sum_mean_wQuantileLoss` (19 quantiles by nearest rank);
energy and variogram score (p = 0.5) are over the series, the mean over windows and steps, in units
of the data. 100 paths; each model is trained once, and its windows are rolled without a refit (the
simple forecasts are computed anew from each window's history, which is all that they are).
Seconds and memory are those of one process on a shared machine: read ratios within a table only.
"""


def report(output: Path, runs: Path) -> None:
    """Write the tables and the figures of everything in ``suite.csv``."""
    rows = pd.read_csv(output / "suite.csv")
    parts = ["# Benchmark suite", summary(rows), NOTES]
    for name, part in rows.groupby("dataset", sort=True):
        picture = draw(str(name), part, output, runs)
        parts += [f"## {name}", heading(part), table(part), verdict(part)]
        if picture is not None:
            parts.append(f"![{name}: scores against time, calibration, the sum]({picture.name})")
    parts.append(provenance(rows))
    write(output / "suite.md", "\n\n".join(part.strip() for part in parts if part) + "\n")


def summary(rows: pd.DataFrame) -> str:
    """The short table of the README: our presets, the best simple forecast and the best peer."""
    lines = []
    for name, part in rows.groupby("dataset", sort=True):
        if str(name).startswith("generated_"):
            continue
        mean = means(part)
        for model in choose(part):
            line: dict[str, Any] = {"data": name, "forecast": f"**{model}**"}
            if mean.loc[model, "kind"] != "timediff":
                kind = {"simple": "best simple forecast", "peer": "best peer"}
                line["forecast"] = f"{model} ({kind[mean.loc[model, 'kind']]})"
            line["seeds"] = int((part["model"] == model).sum())
            for column in ("crps", "crps_sum"):
                line[HEADINGS[column]] = f"{mean.loc[model, column]:.4f}"
            for column in LEVELS:
                line[HEADINGS[column]] = f"{mean.loc[model, column]:.2f}"
            for column in ("train_seconds", "predict_seconds"):
                line[HEADINGS[column]] = amount(mean.loc[model, column])
            lines.append(line)
    return markdown(pd.DataFrame(lines)) if lines else ""


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per model: the means over its seeds, timediff first, each kind by its CRPS-sum."""
    numbers = SCORES + LEVELS + COSTS
    table = rows.groupby("model")[numbers].mean()
    table["kind"] = rows.groupby("model")["kind"].first()
    order = table["kind"].map(KINDS.index)
    return table.assign(order=order).sort_values(["order", "crps_sum"]).drop(columns="order")


def table(rows: pd.DataFrame) -> str:
    """The Markdown table of one data set."""
    mean = means(rows)
    spread = rows.groupby("model")[SCORES + LEVELS + COSTS].std()
    best = mean[mean["kind"] != "optimum"][SCORES].idxmin()
    lines = []
    for model in mean.index:
        line = {"model": model, "seeds": int((rows["model"] == model).sum())}
        for column in SCORES + LEVELS:
            text = number(mean.loc[model, column], spread.loc[model, column])
            bold = column in SCORES and best[column] == model
            line[HEADINGS[column]] = f"**{text}**" if bold else text
        for column in COSTS:
            line[HEADINGS[column]] = amount(mean.loc[model, column])
        lines.append(line)
    return markdown(pd.DataFrame(lines))


def number(value: float, spread: float) -> str:
    """``value ± spread`` with as many digits as scores of this size need."""
    digits = max(0, 4 - len(f"{abs(value):.0f}")) if abs(value) >= 1 else 4
    text = f"{value:.{digits}f}"
    return text if pd.isna(spread) or spread == 0 else f"{text} ± {spread:.{digits}f}"


def amount(value: float) -> str:
    """Seconds or MiB in three digits."""
    return f"{value:.0f}" if value >= 100 or value < 0.005 else f"{value:.3g}"


def heading(rows: pd.DataFrame) -> str:
    """What the table is of."""
    from timediff.datasets import load_dataset

    data = load_dataset(rows["dataset"].iloc[0])
    d, steps = data.train[0]["target"].shape
    return (
        f"{data.title}: {d} series, {steps} steps for training (frequency {data.freq}), "
        f"{data.windows} windows of {data.prediction_length} steps."
    )


def verdict(rows: pd.DataFrame) -> str:
    """Where the default stands beside the best simple forecast and the best peer, by score."""
    mean = means(rows)
    if "default" not in mean.index:
        return ""
    lines = []
    for kind, title in (("simple", "simple forecast"), ("peer", "peer")):
        others = mean[mean["kind"] == kind]
        for score in SCORES if len(others) else []:
            best, ours = others[score].idxmin(), mean.loc["default", score]
            ratio = ours / others.loc[best, score] - 1
            word = "wins" if ratio < 0 else "loses"
            lines.append(
                f"- {HEADINGS[score]}: the default {word} against the best {title} ({best}): "
                f"{ratio:+.0%}"
            )
    for law in mean.index[mean["kind"] == "optimum"]:
        above = [
            f"{HEADINGS[s]} {mean.loc['default', s] / mean.loc[law, s] - 1:+.1%}" for s in SCORES
        ]
        lines.append(f"- the default beside the {law}: {', '.join(above)}")
    own = rows[rows["model"] == "default"]
    if len(own) >= ENOUGH:
        worst = [f"{HEADINGS[s]} {own[s].max() / own[s].median() - 1:+.1%}" for s in SCORES]
        lines.append(f"- the worst of the {len(own)} seeds beside their median: {', '.join(worst)}")
    return "\n".join([*lines, *earlier(rows)])


def earlier(rows: pd.DataFrame) -> list[str]:
    """Which rows of presets are of other options than these have today."""
    from timediff.options import PRESETS, Options

    lines = []
    for model, part in rows[rows["model"].isin(PRESETS)].groupby("model", sort=False):
        today = json.loads(json.dumps(dataclasses.asdict(Options.from_preset(str(model)))))
        known = [json.loads(text) for text in part["settings"]]
        seeds: dict[tuple[str, ...], list[str]] = {}
        for seed, own in zip(part["seed"], known, strict=True):
            differ = [f"`{n}`" for n, value in today.items() if n not in own or own[n] != value]
            if differ:
                seeds.setdefault(tuple(sorted(differ)), []).append(str(seed))
        for options, having in seeds.items():
            names = ", ".join(options) if len(options) <= MOST_NAMED else "many options of today"
            lines.append(
                f"- {model}, seed {', '.join(having)}: of an earlier version, without {names}, or "
                "with other values of these"
            )
    return lines


def provenance(rows: pd.DataFrame) -> str:
    """Versions and machines of all rows."""
    lines = ["## Where it ran", ""]
    for columns, part in rows.groupby(["versions", "python", "machine", "threads"]):
        versions, python, machine, threads = columns
        lines.append(
            f"- {len(part)} rows: {versions}, Python {python}, {machine}, {threads} threads"
        )
    return "\n".join(lines)


def draw(name: str, rows: pd.DataFrame, output: Path, runs: Path) -> Path | None:
    """The figure of one data set; without stored paths the one that is there, or None."""
    from benchmarks.figures import overview
    from benchmarks.suite import load_samples, stored

    drawn: dict[str, Any] = {}
    for model in choose(rows):
        seed = int(rows.loc[rows["model"] == model, "seed"].min())
        path = stored(runs, name, model, seed)
        if path.exists():
            drawn[model] = load_samples(path)
    picture = output / f"suite_{name}.png"
    if not drawn:
        return picture if picture.exists() else None
    overview(name, means(rows), drawn).savefig(picture, dpi=110)
    return picture


def choose(rows: pd.DataFrame) -> list[str]:
    """The models whose paths are drawn: our presets, the best simple forecast, the best peer."""
    mean = means(rows)
    chosen = list(mean.index[mean["kind"].isin(["timediff", "optimum"])])
    for kind in ("simple", "peer"):
        others = mean[mean["kind"] == kind]
        chosen += [others["crps_sum"].idxmin()] if len(others) else []
    return chosen


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE / "results")
    parser.add_argument("--runs", type=Path, default=HERE / "runs")
    chosen = parser.parse_args()
    report(chosen.output, chosen.runs)
