"""How long does it take to draw the paths of a forecast, beside TimeGrad as it is usually written?

    python -m benchmarks.sampling [--series 8 137 370 963] [--presets default "paper, compiled"]
    python -m benchmarks.sampling --add --devices cuda

100 paths of 24 steps for each of 7 windows, drawn by untrained networks (their weights do not
change what is computed). The reference is ``benchmarks/reference.py``, in the same run. A chain of
100 steps for each of 24 steps of the horizon takes hours there, so of the reference some reverse
steps are timed and multiplied; of a preset with as many steps, a horizon of one step; of the others
the whole call of ``predict``. With ``--add`` the rows of other presets stay, with the reference of
their own run, whose start is in the last column. Medians of several, after one to warm up, in which
what is to be compiled is compiled.

``drawing, s`` is the part of a call of ``predict`` in which the network, having read the histories,
draws the paths. On a GPU products are taken in tf32 unless the name says another precision.

``floor, s`` is the time that the products of matrices and convolutions (all of them, counted by
PyTorch) would take at the speed of a large product of matrices of the same precision, measured in
the same run; ``of the floor`` is how much of the time of drawing that is. ``GB`` is what all
operations read and write, each for itself (what is changed in place once), and ``copied, s`` the
time of copying as much from and to main memory: more than the time taken means that much of it
stayed in the cache, or was never written. Rows without ``drawing, s`` are of an earlier version,
which counted all of ``predict``.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import NUM_SAMPLES, kept_rows, write_results
from benchmarks.reference import EpsilonTheta, ReverseLoop
from benchmarks.untrained import FREQ, entries, untrained
from timediff.diffusion import SCHEDULES
from timediff.entries import read_entry
from timediff.network.walk import PRECISIONS, products, walk
from timediff.options import Options
from timediff.predictor import TimeGradPredictor

WINDOWS, HORIZON, HISTORY, THREADS = 7, 24, 24 * 70, 2
MANY = 50  # reverse steps from which one step of the horizon stands for all
COMPILED = ", compiled"  # after the name of a preset, and before a precision
PRESETS = {
    "cpu": ["default", "fast", "paper", "paper" + COMPILED],
    "cuda": [
        "default",
        "default" + COMPILED,
        *(f"default{COMPILED}, {precision}" for precision in ("float32", "bfloat16")),
        "fast" + COMPILED,
        "paper",
        "paper" + COMPILED,
    ],
}
TIMED = 3  # reverse steps of the reference that are timed


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--series", nargs="+", type=int, default=[8, 137, 370, 963])
    parser.add_argument("--presets", nargs="+", help=f"on the CPU by default {PRESETS['cpu']}")
    parser.add_argument("--devices", nargs="+", help="cpu, cuda; those that there are")
    parser.add_argument("--samples", type=int, default=NUM_SAMPLES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--add", action="store_true", help="keep the rows of other presets and devices"
    )
    given = parser.parse_args()
    devices = given.devices or (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
    rows: list[dict[str, Any]] = []
    todo = {device: given.presets or PRESETS[device] for device in devices}
    kept = earlier(given.output, todo, given.series) if given.add else []
    start = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    for device in devices:
        if device == "cpu":
            torch.set_num_threads(THREADS)
        width, peaks = bandwidth(device), {}
        for dim in given.series:
            reference = None
            for name in ["reference", *todo[device]]:
                run = Run(name, dim, device, given.samples)
                if run.precision not in peaks:
                    peaks[run.precision] = peak(device, run.precision)
                # the reference varies most, and all ratios hang on it
                seconds = run.time(given.repeats * (3 if name == "reference" else 1))
                flops, moved = run.operations()
                reference = reference or seconds
                floor = flops / peaks[run.precision]
                drawing = run.drawing(given.repeats) or seconds
                row = {
                    "model": name,
                    "device": device,
                    "series": dim,
                    "rows": WINDOWS * given.samples,
                    "horizon": HORIZON,
                    "steps": run.steps,
                    "seconds": seconds,
                    "ratio_to_reference": reference / seconds,
                    "drawing, s": drawing,
                    "GFLOP": flops / 1e9,
                    "floor, s": floor,
                    "of the floor": floor / drawing,
                    "GB": moved / 1e9,
                    "copied, s": moved / width,
                    "timed": run.timed,
                    "run": start,
                }
                rows.append(row)
                print({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
                write_results(given.output, "sampling", title(kept + rows), kept + rows)


def earlier(output: Path, todo: dict[str, list[str]], series: list[int]) -> list[dict[str, Any]]:
    """The rows that are there and not made anew, each with the reference of its run."""
    path = output / "sampling.csv"
    if not path.exists():
        return []
    table = kept_rows(path)
    anew = [
        row.model in todo.get(row.device, ()) and row.series in series
        for row in table.itertuples(index=False)
    ]
    table = table[~np.array(anew)]
    runs = table.loc[table["model"] != "reference", "run"]
    kept = table[table["run"].isin(runs)]
    return [{str(k): v for k, v in row.items()} for row in kept.to_dict("records")]


def title(rows: list[dict[str, Any]]) -> str:
    """The largest number of series, in a sentence."""
    table = pd.DataFrame(rows)
    ours = table[(table["model"] == "default") & (table["device"] == "cpu")]
    if ours.empty:
        return "Drawing paths"
    best = ours.loc[ours["series"].idxmax()]
    return (
        f"Drawing paths: the default takes {best['seconds']:.2g} s for {best['series']} series, "
        f"1/{best['ratio_to_reference']:.0f} of the reference's time"
    )


class Run:
    """One model, ready to be timed.

    Args:
        name: a preset, or ``"reference"``.
        dim: D.
        device: where it runs.
        samples: paths of each window.
    """

    def __init__(self, name: str, dim: int, device: str, samples: int):
        torch.manual_seed(0)
        self.device, n = device, WINDOWS * samples
        name, _, precision = name.rpartition(", ") if name.endswith(PRECISIONS) else (name, "", "")
        preset = name.removesuffix(COMPILED)
        self.precision = precision or ("tf32" if device == "cuda" else "float32")
        options = Options.from_preset("paper" if name == "reference" else preset)
        self.steps = options.steps or options.diff_steps
        self.call: Callable[[], Any]
        self.counted: Callable[[], Any]  # the same without compiled code, which hides operations
        if name == "reference":
            cond = options.cond_dim or options.hidden_size
            loop = ReverseLoop(
                EpsilonTheta(dim, cond).to(device).eval(),
                SCHEDULES.build(options.schedule, num_steps=options.diff_steps),
            )
            x, h = torch.randn(n, dim, device=device), torch.randn(n, cond, device=device)

            def some() -> None:
                with torch.no_grad():
                    for i in range(TIMED):
                        loop.step(x, self.steps - 1 - i, h, torch.randn_like(x))

            self.call = self.counted = some
            self.draw: Callable[[], Any] | None = None
            self.precision = "float32"
            self.times = HORIZON * self.steps / TIMED
            self.timed = f"{TIMED} of {HORIZON * self.steps} reverse steps"
            return
        horizon = 1 if self.steps >= MANY else HORIZON
        predictor = untrained(preset, dim, horizon, HISTORY, device)
        predictor = predictor.on(matmul_precision=self.precision)
        windows = entries(dim, HISTORY, WINDOWS, HORIZON)
        whole = self.steps < MANY

        def draws(predictor: TimeGradPredictor) -> Callable[[], Any]:
            network, seeds = predictor.network, torch.arange(WINDOWS)
            with torch.no_grad():
                past = network.pasts(
                    predictor.gather([read_entry(e, i, FREQ) for i, e in enumerate(windows)])
                )
            return torch.no_grad()(lambda: network.paths(past, samples, seeds, network.sampler))

        def calls(predictor: TimeGradPredictor) -> Callable[[], Any]:
            if whole:
                return lambda: list(predictor.predict(windows, num_samples=samples, seed=0))
            return draws(predictor)

        self.counted = draws(predictor)
        fast = predictor.compiled() if preset != name else predictor
        self.call = calls(fast)
        self.draw = draws(fast) if whole else None
        self.times = 1.0 if whole else float(HORIZON)
        self.timed = "predict()" if whole else f"1 of {HORIZON} steps of the horizon"

    def time(self, repeats: int) -> float:
        """Median seconds of a whole forecast."""
        return self.times * measure(self.call, repeats, self.device)

    def drawing(self, repeats: int) -> float | None:
        """Median seconds of the part in which the network works; None where that is all."""
        return None if self.draw is None else measure(self.draw, repeats, self.device)

    def operations(self) -> tuple[float, float]:
        """Floating-point operations of drawing, in products of matrices; bytes moved."""
        with (
            FlopCounterMode(display=False) as counter,
            Moved() as moved,
            mock.patch("timediff.network.blocks.recorded", walk),  # a replay hides operations
        ):
            self.counted()
        return self.times * counter.get_total_flops(), self.times * moved.bytes


class Moved(TorchDispatchMode):
    """Counts the bytes of the tensors that each operation reads and writes; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and count."""
        result = func(*args, **(kwargs or {}))
        aliases = [r.alias_info for r in func._schema.returns if r.alias_info is not None]
        if all(alias.is_write for alias in aliases):  # else it is a view
            self.bytes += _bytes((args, kwargs or {})) + (0 if aliases else _bytes(result))
        return result


def _bytes(tree: Any) -> int:
    """Of all tensors, an expanded one as what it is made of."""
    found = 0
    for leaf in tree_leaves(tree):
        if isinstance(leaf, torch.Tensor):
            sizes = [n for n, s in zip(leaf.shape, leaf.stride(), strict=True) if s]
            found += math.prod(sizes) * leaf.element_size()
    return found


def measure(call: Callable[[], Any], repeats: int, device: str) -> float:
    """Median seconds of several calls, after one to warm up."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def peak(device: str, precision: str) -> float:
    """Operations a second of a large product of matrices in some precision."""
    size = 2048 if device == "cpu" else 8192
    a = torch.randn(size, size, device=device)
    with products(precision, a.device):
        return 2 * size**3 / measure(lambda: a @ a, 5, device)


def bandwidth(device: str, size: int = 2**26) -> float:
    """Bytes a second of copying a large tensor, read and written."""
    a = torch.randn(size, device=device)
    b = torch.empty_like(a)
    return 2 * a.element_size() * size / measure(lambda: b.copy_(a), 5, device)


if __name__ == "__main__":
    main()
