"""What is given of a horizon, read from a table: values of series, and totals in its columns."""

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from timediff._by_series import combinations, weighted
from timediff._frequency import moved
from timediff._stamps import stamps_of
from timediff._tables import first_of, read_numbers
from timediff.errors import DataError


def read_given(
    frame: pd.DataFrame,
    entry: Mapping[str, Any],
    prediction_length: int,
    totals: Mapping[Any, Any] | None,
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray, str]], list[Any], pd.DatetimeIndex]:
    """The attributes of a :class:`timediff.Given`; see :meth:`timediff.Given.from_frame`."""
    info = entry.get("info") or {}
    totals = combinations({} if totals is None else totals, "totals")
    width, length = np.atleast_2d(np.asarray(entry["target"])).shape
    columns = list(info.get("columns", range(width)))
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"column {twice[0]!r} of what is given is there twice")
    for name in totals:
        if name in columns:
            raise DataError(f"the total {name!r} has the name of a series: rename it")
        if name not in frame.columns:
            raise DataError(f"the total {name!r} has no column in the table of what is given")
    for name in frame.columns:
        if name not in columns and name not in totals:
            raise DataError(f"column {name!r} is no series{_nearest(name, columns)}")
    index = stamps_of(moved(entry["start"], length), prediction_length, info)
    rows = _rows(frame, index)
    table = {}
    for i, name in enumerate(frame.columns):
        table[name] = np.full(prediction_length, np.nan)
        table[name][rows] = read_numbers(frame.iloc[:, i], name)
    free = np.full(prediction_length, np.nan)
    values = np.column_stack([table.get(name, free) for name in columns])
    sums = [(_weights(w, columns, n), table[n], str(n)) for n, w in totals.items()]
    return values, sums, columns, index


def _rows(frame: pd.DataFrame, index: pd.DatetimeIndex) -> np.ndarray:
    """Step of the horizon of each row."""
    times = frame.index
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    if not isinstance(times, pd.DatetimeIndex):
        raise DataError(f"the index of what is given holds {times.dtype}, not timestamps")
    if (times.tz is None) != (index.tz is None):
        has, lacks = ("the forecast", "it") if times.tz is None else ("it", "the forecast")
        raise DataError(
            f"the index of what is given does not fit: {has} has a time zone, {lacks} has none; "
            "use tz_localize"
        )
    rows = index.get_indexer(times)
    if (rows < 0).any():
        bad = rows < 0
        label = frame.iloc[int(bad.argmax())].first_valid_index()
        where = f"column {label!r}" if label is not None else "a row"
        raise DataError(
            f"{where} at {first_of(bad, frame.index)} is not within the horizon, which has steps "
            f"from {index[0]} to {index[-1]}"
        )
    if len(np.unique(rows)) < len(rows):
        twice = times.duplicated()
        raise DataError(f"timestamp {first_of(twice, frame.index)} of what is given is there twice")
    return rows


def _weights(weights: Any, columns: list[Any], name: Any) -> np.ndarray:
    """Weights of all series."""
    if isinstance(weights, np.ndarray):
        return weights
    result = np.zeros(len(columns))
    for column, weight in weighted(f"total {name!r}", weights, columns).items():
        if column not in columns:
            raise DataError(f"{column!r} in total {name!r} is no series{_nearest(column, columns)}")
        result[columns.index(column)] = weight
    return result


def _nearest(name: Any, columns: list[Any]) -> str:
    close = difflib.get_close_matches(str(name), list(map(str, columns)), n=3)
    if close:
        return f": did you mean {' or '.join(map(repr, close))}?"
    some = ", ".join(map(repr, columns[:10])) + (", ..." if len(columns) > 10 else "")
    return f": the series are {some}"
