"""How fast is the CRPS of an ensemble beside properscoring and scoringrules?

    python -m benchmarks.scores

1e6 ensembles of 100 standard normal samples, the same numbers for all, ensembles contiguous as the
other libraries want them; ``samples first`` is the layout that a forecaster leaves. Median and
least seconds of several calls after one to warm up, on two threads or on the CUDA device; where
other work shares the cores the least is nearer the truth. ``of bandwidth`` is the least time to
read the samples once (a sum, in the same run) over that of the score. Writes ``scores.csv`` and
``scores.md``.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import properscoring
import scoringrules
import torch

from benchmarks.common import write_results
from timediff.scores import crps_ensemble

THREADS, REPEATS, AIM = 2, 5, 20
Run = tuple[str, str, str, Callable[[], Any], int]  # library, what, device, call, bytes of samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    n, s = arguments.rows, arguments.samples
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, s, generator=generator)
    y = torch.randn(n, generator=generator)

    rows = []
    for library, what, device, call, size in runs(x, y):
        seconds, best = timed(call)
        rows.append(
            {"library": library, "what": what, "device": device, "rows": n, "samples": s}
            | {"seconds": seconds, "best": best, "GB/s": size / seconds / 1e9}
        )
        print(f"{library:14} {what:42} {device:5} {seconds:8.3f} s", flush=True)
    reference = next(row for row in rows if row["library"] == "properscoring")
    reading = {row["what"]: row["best"] for row in rows if row["library"] == "read"}
    for row in rows:
        row["times properscoring"] = reference["seconds"] / row["seconds"]
        row["best by best"] = reference["best"] / row["best"]
        dtype = str(row["what"]).split(",")[0]
        row["of bandwidth"] = reading[f"{dtype}, {row['device']}"] / row["best"]
    ours = next(row for row in rows if row["library"] == "timediff")
    reached = ours["times properscoring"]
    title = (
        f"CRPS of an ensemble ({ours['what']}): {reached:.1f} times as fast as properscoring"
        f" (aim: {AIM}, {'reached' if reached >= AIM else 'missed'})"
    )
    write_results(arguments.output, "scores", title, rows)


def runs(x: torch.Tensor, y: torch.Tensor) -> Iterator[Run]:
    """Everything that is timed; the reference is properscoring in float64, as it computes."""
    gufunc = "numba gufunc" if find_spec("numba") else "numpy"
    exact, target = x.double().numpy(), y.double().numpy()
    big, small = exact.nbytes, exact.nbytes // 2
    call = functools.partial(properscoring.crps_ensemble, target, exact)
    yield "properscoring", f"float64, {gufunc}", "cpu", call, big
    for estimator in ("pwm", "qd"):
        call = functools.partial(
            scoringrules.crps_ensemble, target, exact, estimator=estimator, backend="numba"
        )
        yield "scoringrules", f"float64, {estimator}, numba", "cpu", call, big
    del exact, target, call

    for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        for dtype, size in ((torch.float32, small), (torch.float64, big)):
            xx, yy = x.to(device, dtype), y.to(device, dtype)
            name = str(dtype).removeprefix("torch.")
            yield "read", f"{name}, {device}", device, functools.partial(torch.sum, xx), size
            as_paths = xx.T[:, :, None], yy[:, None]  # (samples, steps, series)
            for estimator in ("energy", "fair", "quantile"):
                call = functools.partial(crps_ensemble, *as_paths, estimator=estimator)
                yield "timediff", f"{name}, {estimator}", device, call, size
            call = functools.partial(crps_ensemble, as_paths[0].contiguous(), as_paths[1])
            yield "timediff", f"{name}, energy, samples first", device, call, size


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Median and least seconds of several calls, after one to warm up."""
    call()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), min(seconds)


if __name__ == "__main__":
    main()
