"""How do time and memory of a forecast grow with its sizes?

    python -m benchmarks.growth [--most 10000]
    python -m benchmarks.growth --training

From a common middle (64 series, 100 paths, 24 steps, one window, 1680 steps of history) one size at
a time is changed, up to 10,000 series. Each point is a process of its own, on two threads of the
CPU; its networks are untrained, which does not change what is computed. Time is of the second call
of ``predict``, memory the peak of the process over what it held with data and network in place.
Exponents are fitted on log axes to the upper half of the points, where fixed costs matter less: 1
is linear. ``results/growth.csv``, ``growth.md`` and ``growth.png``.

With ``--training`` the preset ``fast`` is trained on 1680 steps of more and more series, data in
memory: ``results/growth_training.csv`` and ``.md``.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.common import write_results

MIDDLE = {"series": 64, "paths": 100, "horizon": 24, "windows": 1, "history": 1680}
SIZES = {
    "series": [8, 32, 128, 512, 2048, 5000, 10_000],
    "paths": [100, 400, 1600, 6400, 25_600],
    "horizon": [6, 24, 96, 192, 384, 768],
    "windows": [1, 4, 16, 64, 256],
    "history": [840, 3360, 13_440, 53_760, 107_520],
}
THREADS = 2
TRAINED = [8, 64, 512, 2048, 10_000]
FIGURES = {"seconds": "seconds", "peak_gib": "peak memory, GiB"}


def main(words: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--most", type=int, default=max(map(max, SIZES.values())))
    parser.add_argument("--training", action="store_true", help="of training, not of forecasts")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.worker:
        sizes = json.loads(given.worker)
        print(json.dumps(trained(**sizes) if given.training else point(**sizes)))
        return
    if given.training:
        training(given.output, [n for n in TRAINED if n <= given.most])
        return
    rows = []
    for name in given.sizes:
        for value in [v for v in SIZES[name] if v <= given.most]:
            sizes = {**MIDDLE, name: value}
            row = {"changed": name, **sizes, **worker(sizes)}
            rows.append(row)
            print(row, flush=True)
    exponents = fitted(pd.DataFrame(rows))
    for row in rows:
        row.update({f"{k} exponent": v for k, v in exponents[row["changed"]].items()})
    write_results(given.output, "growth", "Growth: " + in_words(exponents), rows)
    with matplotlib.rc_context({"font.size": 9}):
        picture(pd.DataFrame(rows), exponents).savefig(given.output / "growth.png", dpi=100)


def worker(sizes: dict[str, int], *options: str) -> dict[str, float]:
    """What a process of its own measures."""
    command = [sys.executable, "-m", "benchmarks.growth", *options, "--worker", json.dumps(sizes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def training(output: Path, series: list[int]) -> None:
    """Train on more and more series."""
    rows = []
    for number in series:
        sizes = {"series": number, "history": MIDDLE["history"]}
        rows.append({**sizes, **worker(sizes, "--training")})
        print(rows[-1], flush=True)
    most = rows[-1]
    title = (
        f"Training: {most['series']} series in {most['seconds']:.0f} s and "
        f"{most['peak_gib'] + most['before_gib']:.1f} GiB"
    )
    write_results(output, "growth_training", title, rows)


def trained(series: int, history: int) -> dict[str, float]:
    """Seconds and peak memory of training ``fast`` in this process."""
    import logging
    import warnings

    import torch

    from benchmarks.untrained import FREQ, entries
    from timediff import TimeGradEstimator

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    data = entries(series, history, 1, 1)
    quiet = {"enable_progress_bar": False}
    estimator = TimeGradEstimator(
        FREQ, MIDDLE["horizon"], preset="fast", seed=0, trainer_kwargs=quiet
    )
    before, start = held(), time.perf_counter()
    predictor = estimator.train(data)
    seconds, peak = time.perf_counter() - start, held()
    (forecast,) = predictor.predict(data, num_samples=10, seed=0)
    assert np.isfinite(forecast.samples).all()
    return {"seconds": seconds, "peak_gib": peak - before, "before_gib": before}


def point(series: int, paths: int, horizon: int, windows: int, history: int) -> dict[str, float]:
    """Seconds and peak memory of one forecast in this process."""
    import torch

    from benchmarks.untrained import entries, untrained

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    data = entries(series, history, windows, 1)
    predictor = untrained("default", series, horizon, history)
    before = held()
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        for forecast in predictor.predict(data, num_samples=paths, seed=0):
            assert np.isfinite(forecast.samples).all()
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_gib": held() - before, "before_gib": before}


def held() -> float:
    """Peak memory of this process so far, GiB."""
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def fitted(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """For each size the exponents of time and memory over its upper half; NaN for one point."""
    found = {}
    for name, part in rows.groupby("changed", sort=False):
        upper = part.sort_values(str(name)).tail(max(2, (len(part) + 1) // 2))
        x = np.log(upper[name].to_numpy(dtype=float))
        found[str(name)] = {
            key: float(np.polyfit(x, np.log(upper[key].clip(lower=1e-6)), 1)[0])
            if len(upper) > 1
            else np.nan
            for key in FIGURES
        }
    return found


def in_words(exponents: dict[str, dict[str, float]]) -> str:
    """The exponents of time, in one line."""
    return ", ".join(f"{name} ^{found['seconds']:.2f}" for name, found in exponents.items())


def picture(rows: pd.DataFrame, exponents: dict[str, dict[str, float]]) -> Figure:
    """Time above, memory below, a column for each size, with the fitted exponents."""
    names = list(exponents)
    figure = Figure(figsize=(3 * len(names), 5.5), layout="constrained")
    axes: Any = figure.subplots(len(FIGURES), len(names), sharey="row", squeeze=False)
    for column, name in enumerate(names):
        part = rows[rows["changed"] == name].sort_values(name)
        for row, (key, label) in enumerate(FIGURES.items()):
            ax = axes[row, column]
            ax.loglog(part[name], part[key].clip(lower=1e-3), "o-", color="#0072b2")
            ax.set_title(f"exponent {exponents[name][key]:.2f}", loc="left", fontsize=9)
            ax.grid(alpha=0.3)
            ax.spines[["top", "right"]].set_visible(False)
            if row:
                ax.set_xlabel(name)
            if not column:
                ax.set_ylabel(label)
    return figure


if __name__ == "__main__":
    main()
