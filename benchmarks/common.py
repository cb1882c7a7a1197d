"""What every benchmark needs: windows, scores, and a record of where it ran."""

import math
import os
import platform
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from timediff.datasets import ForecastDataset
from timediff.scores import score_table

NUM_SAMPLES = 100


def inputs(data: ForecastDataset) -> list[dict[str, Any]]:
    """The test entries without their windows: all that a forecast may know."""
    p = data.prediction_length
    return [{**entry, "target": entry["target"][:, :-p]} for entry in data.test]


def targets(data: ForecastDataset) -> torch.Tensor:
    """What was observed in the test windows, ``(W, P, D)``."""
    p = data.prediction_length
    return torch.stack([torch.tensor(entry["target"][:, -p:].T) for entry in data.test])


def evaluate(predictor: Any, data: ForecastDataset, seed: int) -> tuple[dict[str, Any], list[Any]]:
    """Forecast all test windows once.

    Returns:
        A row of scores and seconds, and the forecasts.
    """
    start = time.perf_counter()
    forecasts = list(predictor.predict(inputs(data), num_samples=NUM_SAMPLES, seed=seed))
    seconds = time.perf_counter() - start
    samples = torch.stack([torch.as_tensor(f.samples) for f in forecasts])
    return {**score_table(samples, targets(data)), "predict_seconds": seconds}, forecasts


def machine() -> dict[str, str]:
    """Versions and hardware, for the record beside a result."""
    packages = ["timediff", "torch", "gluonts", "numpy", "pandas"]
    packages += [name for name in ("statsmodels", "statsforecast") if find_spec(name)]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "versions": " ".join(f"{name}={_version(name)}" for name in packages),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, device {device}",
        "threads": str(torch.get_num_threads()),
    }


def _version(package: str) -> str:
    """Of a package, or that it is used from its source."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "source"


def markdown(table: pd.DataFrame, digits: int = 4) -> str:
    """A table in Markdown, numbers rounded."""
    rows = [[_cell(value, digits) for value in row] for row in table.itertuples(index=False)]
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, float) and math.isnan(value):
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def write(path: Path, text: str) -> None:
    """Write a whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)


def kept_rows(path: Path, **options: Any) -> pd.DataFrame:
    """Rows of a result that are written again: to the last digit as they are."""
    return pd.read_csv(path, float_precision="round_trip", **options)


def write_results(folder: Path, name: str, title: str, rows: Iterable[dict[str, Any]]) -> None:
    """A result as CSV, and as Markdown with the versions under it."""
    table = pd.DataFrame(list(rows))
    record = machine()
    for key, value in record.items():  # rows that were kept have their own
        own = table[key] if key in table else pd.Series(index=table.index, dtype=object)
        table[key] = own.fillna(value)
    write(folder / f"{name}.csv", table.to_csv(index=False))
    notes = "\n".join(f"- {key}: {'; '.join(map(str, table[key].unique()))}" for key in record)
    text = markdown(table.drop(columns=list(record)))
    write(folder / f"{name}.md", f"# {title}\n\n{text}\n{notes}\n")
