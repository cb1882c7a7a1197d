"""Real data sets under one name each, split for training and rolling tests.

    >>> data = load_dataset("traffic")
    >>> len(data.test), data.test[0]["target"].shape
    (28, (20, 13896))

``traffic`` comes with the package. The others are looked for in the folder ``root`` or, without
it, in the folder that the environment variable ``TIMEDIFF_DATASETS`` names.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from gluonts.dataset.common import MetaData

from timediff._archives import read_card, read_rows, read_table, stack, verify
from timediff._frequency import period, timestamps
from timediff.errors import DataError
from timediff.registry import unknown_name

ENVIRONMENT = "TIMEDIFF_DATASETS"


class _Archive(NamedTuple):
    """The protocol of one of the GP-copula data sets (Salinas et al. 2019)."""

    series: int  # in the archive
    used: int  # the last ones of them
    freq: str
    prediction_length: int
    windows: int
    title: str
    folder: str | None = None


_TABLES = ("traffic", "electricity", "electricity_uci", "metr_la")
_ARCHIVES = {
    "exchange_rate_nips": _Archive(
        8, 8, "B", 30, 5, "Exchange rates, 8 countries", "exchange_rate"
    ),
    "solar_nips": _Archive(137, 137, "h", 24, 7, "Solar power, 137 plants"),
    "electricity_nips": _Archive(370, 370, "h", 24, 7, "Electricity load, 370 clients"),
    "traffic_nips": _Archive(963, 963, "h", 24, 7, "Road occupancy, 963 lanes"),
    "taxi_30min": _Archive(1214, 1214, "30min", 24, 56, "Taxi rides, 1214 places"),
    "wiki-rolling_nips": _Archive(9535, 2000, "D", 30, 5, "Wikipedia page views, 2000 pages"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class ForecastDataset:
    """A multivariate data set with its rolling test windows.

    The fields can be used like those of GluonTS's ``TrainDatasets``.

    Attributes:
        name: as in ``list_datasets``.
        title: what the data are, for tables and plots.
        freq: pandas frequency.
        prediction_length: steps in a test window.
        columns: names of the D series.
        train: one entry, ``target`` float32 (D, T); ends where the first test window begins.
        test: one entry per window, from the start of the history to the END of the window:
            ``make_evaluation_predictions`` cuts off the last ``prediction_length`` steps. Entries
            of one table share memory: do not change them in place.
        card: source, licence, checksum and whatever else ``dataset.json`` says.
    """

    name: str
    title: str
    freq: str
    prediction_length: int
    columns: list[str]
    train: list[dict[str, Any]]
    test: list[dict[str, Any]]
    card: dict[str, Any]

    @property
    def windows(self) -> int:
        """Number of test windows."""
        return len(self.test)

    @property
    def metadata(self) -> MetaData:
        """Frequency and horizon in GluonTS's form."""
        return MetaData(freq=self.freq, prediction_length=self.prediction_length)

    @property
    def train_frame(self) -> pd.DataFrame:
        """The training data as a wide table, time × series."""
        return _frame(self.train[0])

    @property
    def frame(self) -> pd.DataFrame:
        """The longest test entry, history and window, as a wide table."""
        return _frame(max(self.test, key=lambda entry: entry["target"].shape[1]))


def list_datasets() -> list[str]:
    """The names ``load_dataset`` knows, whether their files are here or not."""
    return [*_TABLES, *_ARCHIVES]


def load_dataset(name: str, root: str | Path | None = None) -> ForecastDataset:
    """Load a data set from local files. Nothing is downloaded and nothing is written.

    Looks in ``root``, then in the folder that ``TIMEDIFF_DATASETS`` names, then among the data
    that come with the package. The ``*_nips`` archives and ``taxi_30min`` may be there as the
    original ``.tar.gz`` or unpacked; their splits are those of the published tables.

    Args:
        name: one of ``list_datasets()``.
        root: folder with one folder per data set.

    Returns:
        The data set, with one multivariate training entry and one entry per test window.

    Raises:
        OptionError: no data set has this name.
        DataError: its files are not there (says where they were looked for), are damaged (their
            SHA-256 is not that of ``dataset.json``) or do not fit the protocol.
    """
    if name in _TABLES:
        return _load_table(name, _find(name, [f"{name}/data.parquet"], root))
    if name not in _ARCHIVES:
        raise unknown_name("dataset", name, list_datasets())
    spec = _ARCHIVES[name]
    archive = f"{name}.tar.gz"
    places = [p for f in (spec.folder, name) if f for p in (f"{f}/{archive}", f"{f}/{name}", f)]
    return _load_archive(name, spec, _find(name, [*places, archive], root))


def _find(name: str, places: list[str], root: str | Path | None) -> Path:
    """The first of the places that exists; a folder counts if it has the archive's two parts."""
    here = Path(__file__).resolve().parent
    roots = [Path(r).expanduser() for r in (root, os.environ.get(ENVIRONMENT)) if r]
    embedded = [here / "_data", here.parent / "datasets"] if name == "traffic" else []
    looked = [folder / place for folder in [*roots, *embedded] for place in places]
    for path in looked:
        if path.is_file() or ((path / "train").is_dir() and (path / "test").is_dir()):
            return path
    paths = "".join(f"\n  {path}" for path in looked)
    raise DataError(
        f"dataset {name!r} is not here. "
        + (f"Looked for{paths}\n" if looked else "No folder was given to look in. ")
        + f"Put {places[0]} into a folder and give that folder as root= or as {ENVIRONMENT}"
    )


def _load_table(name: str, path: Path) -> ForecastDataset:
    card = read_card(path.with_name("dataset.json"))
    needed = ("title", "freq", "series", "prediction_length", "windows", "stride", "test_start")
    missing = [key for key in needed if key not in card]
    if missing:
        raise DataError(f"{path.with_name('dataset.json')} is missing or lacks {missing[0]!r}")
    verify(path, card.get("sha256"))
    frame = read_table(path)
    freq, horizon = card["freq"], card["prediction_length"]
    expected = pd.date_range(frame.index[0], periods=len(frame), freq=freq)
    if not frame.index.equals(expected):
        wrong = int((frame.index != expected).argmax())
        raise DataError(f"{path}: {frame.index[wrong]} is off the grid of frequency {freq!r}")
    if frame.shape[1] != card["series"]:
        raise DataError(f"{path} has {frame.shape[1]} series, dataset.json says {card['series']}")
    first = int(frame.index.searchsorted(pd.Timestamp(card["test_start"])))
    ends = [first + i * card["stride"] + horizon for i in range(card["windows"])]
    if not 0 < first < ends[-1] <= len(frame):
        raise DataError(
            f"{path}: {card['windows']} windows from {card['test_start']} do not fit into "
            f"{frame.index[0]} … {frame.index[-1]}"
        )
    columns = [str(column) for column in frame.columns]
    values = np.ascontiguousarray(frame.to_numpy(dtype=np.float32).T)
    start = period(frame.index[0], freq)
    train, *test = (_entry(name, start, values[:, :end], columns) for end in [first, *ends])
    return ForecastDataset(name, card["title"], freq, horizon, columns, [train], test, card)


def _load_archive(name: str, spec: _Archive, path: Path) -> ForecastDataset:
    card = read_card((path.parent if path.is_file() else path) / "dataset.json")
    if path.is_file():
        verify(path, card.get("sha256"))
    train, test = read_rows(path, "train"), read_rows(path, "test")
    for part, rows, groups in (("train", train, 1), ("test", test, spec.windows)):
        if len(rows) != groups * spec.series:
            raise DataError(
                f"{path}: {part} has {len(rows)} rows, expected "
                f"{groups} × {spec.series} (windows × series)"
            )
    unused = spec.series - spec.used
    columns = [str(row.get("item_id", unused + i)) for i, row in enumerate(train[unused:])]
    entries = []
    for number, rows in enumerate([train, *_groups(test, spec.series)]):
        where = f"{path}: " + (f"test window {number}" if number else "train")
        start, values = stack(rows[unused:], where)
        if values.shape[1] <= spec.prediction_length:
            raise DataError(f"{where} has {values.shape[1]} steps, no more than one horizon")
        entries.append(_entry(name, period(start, spec.freq), values, columns))
    title = card.get("title", spec.title)
    card = {"name": name, "title": title} | spec._asdict() | card
    horizon = spec.prediction_length
    return ForecastDataset(name, title, spec.freq, horizon, columns, entries[:1], entries[1:], card)


def _groups(rows: list[Any], size: int) -> list[list[Any]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def _entry(name: str, start: pd.Period, values: np.ndarray, columns: list[str]) -> dict[str, Any]:
    return {"start": start, "target": values, "item_id": name, "info": {"columns": list(columns)}}


def _frame(entry: dict[str, Any]) -> pd.DataFrame:
    values = entry["target"].T
    index = timestamps(entry["start"], len(values), {})
    return pd.DataFrame(values.copy(), index=index, columns=entry["info"]["columns"])
