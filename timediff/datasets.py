"""Real data sets under one name each, split for training and rolling tests.

    >>> data = load_dataset("traffic")
    >>> len(data.test), data.test[0]["target"].shape
    (28, (20, 13896))

``traffic`` comes with the package, ``generated_*`` are drawn from a known law
(:mod:`timediff.synthetic`), the published archives are downloaded once. ``docs/datasets.md`` has
each set's protocol, source and licence.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.common import MetaData

from timediff._archives import read_card, read_rows, read_table, stack, verify
from timediff._download import fetch
from timediff._frequency import period
from timediff._places import (
    archive_places,
    find,
    missing_archive,
    missing_table,
    table_places,
)
from timediff._sources import ARCHIVES, GENERATED, TABLES, Archive
from timediff.errors import DataError
from timediff.frames import to_wide
from timediff.registry import unknown_name


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
        oracle: for generated data, the law they were drawn from, as a forecaster.
    """

    name: str
    title: str
    freq: str
    prediction_length: int
    columns: list[str]
    train: list[dict[str, Any]]
    test: list[dict[str, Any]]
    card: dict[str, Any]
    oracle: Any = None

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
        return to_wide(self.train[0])

    @property
    def frame(self) -> pd.DataFrame:
        """The longest test entry, history and window, as a wide table."""
        return to_wide(max(self.test, key=lambda entry: entry["target"].shape[1]))


def list_datasets() -> list[str]:
    """The names ``load_dataset`` knows, whether their files are here or not."""
    return [*TABLES, *ARCHIVES, *GENERATED]


def load_dataset(
    name: str, root: str | Path | None = None, download: bool = True
) -> ForecastDataset:
    """Load a data set by name.

    Looks in ``root``, in the folder that ``TIMEDIFF_DATASETS`` names, among the data that come with
    the package, and in the cache: the folder that ``TIMEDIFF_CACHE`` names, else the platform's
    folder for caches. An archive (``*_nips``, ``taxi_30min``) that is nowhere is downloaded into
    the cache, with a progress bar; elsewhere nothing is ever written. Archives may be there as the
    original ``.tar.gz`` or unpacked; their splits are those of the published tables. The
    ``generated_*`` sets need no files, they are drawn anew, always the same.

    Args:
        name: one of ``list_datasets()``.
        root: folder with one folder per data set.
        download: whether an archive that is not here may be downloaded.

    Returns:
        The data set, with one multivariate training entry and one entry per test window.

    Raises:
        OptionError: no data set has this name.
        DataError: its files are not there (says where they were looked for, where they come from
            and what to do), are damaged (their SHA-256 is not the one that is known) or do not fit
            the protocol.
    """
    if name in GENERATED:
        from timediff.synthetic import generate

        return generate(GENERATED[name])
    if name in TABLES:
        places = table_places(name)
        path, looked = find(name, places, root)
        if path is None:
            raise missing_table(name, TABLES[name], places[0], looked)
        return _load_table(name, path)
    if name not in ARCHIVES:
        raise unknown_name("dataset", name, list_datasets())
    spec = ARCHIVES[name]
    places = archive_places(name, spec)
    path, looked = find(name, places, root)
    if path is None:
        if not download:
            raise missing_archive(name, spec, places[0], looked, "download=False")
        try:
            path = fetch(name, spec, lambda part: _load_archive(name, spec, part))
        except DataError as error:
            raise missing_archive(name, spec, places[0], looked, str(error)) from error
    return _load_archive(name, spec, path)


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


def _load_archive(name: str, spec: Archive, path: Path) -> ForecastDataset:
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
        if number == 0 and values.shape[1] != spec.train_length:
            raise DataError(
                f"{where} has {values.shape[1]} steps, the published protocol {spec.train_length}"
            )
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
