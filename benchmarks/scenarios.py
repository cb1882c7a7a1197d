"""How close to the exact conditional law are paths of which something is given?

    python -m benchmarks.scenarios [--laws var seasonal_var] [--preset default]

A model is trained on series from a linear Gaussian law, whose law of the horizon given the past and
given anything else of the horizon is known. What is given are values of one series, or of the
total, as they really came in the test windows, or two deviations above their mean.

``mean`` is the error of the mean of the free values, in standard deviations of the exact law (root
mean square over windows, steps and series); ``spread`` the mean ratio of the standard deviations
(1 is right); ``of the total`` the same of the sum of all series, where that is not given. That 400
paths are not more causes an error of 0.05. ``effective`` is how many independent paths they are
worth, ``seconds`` the time of a window.

The first row of each law is the forecast of which nothing is given, against the law of which
nothing is given: what the model gets wrong, however well it is conditioned. The others:

- ``nothing``: the same paths against the law of which something is given: ignoring it.
- ``scenarios``: ``predict(given=...)``.
- ``no look-ahead``, ``no weights``: without a part of it.
- ``ensemble``: unconditional paths, moved by the linear regression of all values on what is
  given, over 2000 of them (the ensemble smoother; Evensen, van Leeuwen 2000).
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.common import inputs, kept_rows, machine, write_results
from timediff import Given, TimeGradEstimator, TimeGradPredictor
from timediff.network.courses import ResidualCourse
from timediff.network.outlook import Outlook
from timediff.synthetic import generate
from timediff.synthetic.linear import VectorAutoregression

PATHS, ENSEMBLE, WINDOWS, SERIES = 400, 2000, 6, 8


def joint(law: VectorAutoregression, steps: int) -> np.ndarray:
    """Covariance ``(P * D, P * D)`` of the law's next steps given the past, step by step."""
    dim = law.num_series
    impulses = np.zeros((dim, steps, dim))
    impulses[:, 0] = np.eye(dim)
    psi = law._run(np.zeros((law.memory, dim)), impulses).transpose(1, 2, 0) * law.scale[:, None]
    blocks = np.zeros((steps, dim, steps, dim))  # of the noise of each step, how it goes on
    for i in range(steps):
        blocks[i:, :, i] = psi[: steps - i]
    loading = blocks.reshape(steps * dim, steps, dim)
    answers = np.einsum("aie,ef->aif", loading, np.asarray(law.innovations.covariance))
    return np.asarray(np.einsum("aif,bif->ab", answers, loading, optimize=True))


def condition(
    mean: np.ndarray, covariance: np.ndarray, rows: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a normal vector x given ``rows @ x == values``."""
    gain = np.linalg.solve(rows @ covariance @ rows.T, rows @ covariance).T
    return mean + gain @ (values - rows @ mean), covariance - gain @ rows @ covariance


def rows_of(given: Given) -> tuple[np.ndarray, np.ndarray]:
    """What is given as linear equations of the values, step by step."""
    steps, dim = given.values.shape
    rows, values = [], []
    for j in range(steps):
        for d in np.flatnonzero(~np.isnan(given.values[j])):
            rows.append(np.eye(steps * dim)[j * dim + d])
            values.append(given.values[j, d])
        for total in given.totals:
            if not np.isnan(total.values[j]):
                rows.append(np.kron(np.eye(steps)[j], total.weights))
                values.append(total.values[j])
    return np.array(rows), np.array(values)


def cases(truth: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> dict[str, Given]:
    """What is given of a window ``(P, D)``."""
    steps, dim = truth.shape
    free = np.full((steps, dim), np.nan)
    sums = np.kron(np.eye(steps), np.ones(dim))
    deviation = np.sqrt(np.diag(covariance)).reshape(steps, dim)
    of_sum = np.sqrt(np.diag(sums @ covariance @ sums.T))
    one, high, end = free.copy(), free.copy(), free.copy()
    one[:, 0] = truth[:, 0]
    high[:, 0] = mean[:, 0] + 2 * deviation[:, 0]
    end[-1, 0] = mean[-1, 0] + 2 * deviation[-1, 0]
    last = np.full(steps, np.nan)
    last[-1] = mean[-1].sum() + 2 * of_sum[-1]
    ones = np.ones(dim)
    return {
        "one series, as it came": Given(one),
        "one series, 2 deviations up": Given(high),
        "one series at the end, 2 deviations up": Given(end),
        "the total, as it came": Given(totals=[(ones, truth.sum(1))]),
        "the total, 2 deviations up": Given(totals=[(ones, mean.sum(1) + 2 * of_sum)]),
        "the total at the end, 2 deviations up": Given(totals=[(ones, last)]),
    }


def errors(paths: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> dict[str, float]:
    """Of paths ``(S, P, D)`` against a normal law, where that leaves anything open."""
    steps, dim = paths.shape[1:]
    result = {}
    sums = np.kron(np.eye(steps), np.ones(dim))
    for name, weights in {"": np.eye(steps * dim), " of the total": sums}.items():
        x = paths.reshape(len(paths), -1) @ weights.T
        variance = np.diag(weights @ covariance @ weights.T)
        # what is given, or as good as
        scale = np.diag(weights @ np.diag(np.diag(covariance)) @ weights.T).max()
        open_ = variance > 1e-6 * scale
        z = (x.mean(0) - weights @ mean)[open_] / np.sqrt(variance[open_])
        result["mean" + name] = float(np.sqrt((z**2).mean())) if len(z) else float("nan")
        ratio = x.std(0, ddof=1)[open_] / np.sqrt(variance[open_])
        result["spread" + name] = float(ratio.mean()) if len(z) else float("nan")
    return result


@contextmanager
def without(part: str) -> Iterator[None]:
    """Scenarios without a part of the method."""
    step = ResidualCourse.step

    def unweighted(self: ResidualCourse, j: int) -> tuple[Any, ...]:
        x, change, square = step(self, j)
        return x, torch.zeros_like(change), square

    if part == "look-ahead":
        with mock.patch.object(Outlook, "ahead", lambda *_: None):
            yield
    elif part == "weights":
        with mock.patch.object(ResidualCourse, "step", unweighted):
            yield
    else:
        yield


def compare(
    predictor: TimeGradPredictor, entry: dict[str, Any], truth: np.ndarray, law: Any, seed: int
) -> Iterator[dict[str, Any]]:
    """One row for each case and method, of one window."""
    steps = len(truth)
    mean = law.mean(entry["target"].T, steps)
    covariance = joint(law, steps)

    def draw(count: int, given: Given | None = None) -> tuple[np.ndarray, float, Any]:
        begin = time.perf_counter()
        (forecast,) = predictor.predict([entry], num_samples=count, seed=seed, given=given)
        seconds = time.perf_counter() - begin
        return forecast.samples.astype(float), seconds, (forecast.info or {}).get("given")

    many, _, _ = draw(ENSEMBLE)
    plain, seconds, _ = draw(PATHS)
    flat = mean.reshape(-1)
    ignored = {"seconds": seconds, "effective": float(PATHS)}
    yield {"given": "nothing", "paths": "nothing"} | errors(plain, flat, covariance) | ignored
    for name, given in cases(truth, mean, covariance).items():
        rows, values = rows_of(given)
        law_of = condition(flat, covariance, rows, values)
        yield {"given": name, "paths": "nothing"} | errors(plain, *law_of) | ignored
        for part in ("", "look-ahead", "weights"):
            with without(part):
                paths, seconds, info = draw(PATHS, given)
            extra = {"seconds": seconds, "effective": info["effective_paths"]}
            label = f"no {part}" if part else "scenarios"
            yield {"given": name, "paths": label} | errors(paths, *law_of) | extra
        x = many.reshape(len(many), -1)
        spread = np.cov(x.T)
        gain = np.linalg.solve(rows @ spread @ rows.T, rows @ spread).T
        moved = x + (values - x @ rows.T) @ gain.T
        yield (
            {"given": name, "paths": "ensemble"}
            | errors(moved.reshape(many.shape), *law_of)
            | {"seconds": float("nan"), "effective": float(ENSEMBLE)}
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--laws", nargs="+", default=["var", "seasonal_var"])
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--add", action="store_true", help="keep the rows of other laws")
    asked = parser.parse_args()
    rows = earlier(asked.output, asked.laws) if asked.add else []
    for name in asked.laws:
        data = generate(name, SERIES, seed=asked.seed)
        law = data.oracle.law
        estimator = TimeGradEstimator(
            data.freq, data.prediction_length, preset=asked.preset, seed=asked.seed
        )
        predictor = estimator.train(data.train)
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        windows = list(zip(inputs(data), data.test, strict=True))
        for entry, whole in windows[:: len(windows) // WINDOWS][:WINDOWS]:
            truth = whole["target"][:, -data.prediction_length :].T.astype(float)
            for row in compare(predictor, entry, truth, law, asked.seed):
                found.setdefault((row.pop("given"), row.pop("paths")), []).append(row)
        for (given, paths), some in found.items():
            means = {
                key: float(np.sqrt(np.mean([row[key] ** 2 for row in some])))
                if key.startswith("mean")
                else float(np.mean([row[key] for row in some]))
                for key in some[0]
            }
            rows.append({"law": name, "given": given, "paths": paths} | means)
        write_results(asked.output, "scenarios", title(rows), rows)


def earlier(output: Path, laws: list[str]) -> list[dict[str, Any]]:
    """The rows that are there of other laws."""
    path = output / "scenarios.csv"
    if not path.exists():
        return []
    table = kept_rows(path).drop(columns=list(machine()))
    return [
        {str(k): v for k, v in row.items()}
        for row in table[~table["law"].isin(laws)].to_dict("records")
    ]


def title(rows: list[dict[str, Any]]) -> str:
    """What the rows say, in a sentence."""
    ours = [row for row in rows if row["paths"] == "scenarios"]
    plain = [row for row in rows if row["given"] == "nothing"]
    error, base = (float(np.mean([row["mean"] for row in some])) for some in (ours, plain))
    return (
        f"Scenarios: their mean is off by {error:.2f} deviations of the exact conditional law, "
        f"a plain forecast's by {base:.2f} of the plain law"
    )


if __name__ == "__main__":
    main()
