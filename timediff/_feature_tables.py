"""Tables of features to the fields of an entry. Errors name the column and the timestamp."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from timediff._stamps import locate, same_stamps
from timediff._tables import check_table, first_of, read_clock, read_numbers
from timediff.errors import DataError
from timediff.features import CATEGORY, KNOWN, PAST, REAL


@dataclass(frozen=True)
class Grid:
    """Where the rows of a table of series lie.

    Attributes:
        index: its timestamps, sorted.
        start: the first of them.
        rows: steps from it to each.
        length: steps from the first to the last, both included.
        freq: the frequency.
        layout: how it is stamped, and in which time zone.
        columns: the series.
    """

    index: pd.Index
    start: pd.Period
    rows: np.ndarray
    length: int
    freq: str
    layout: dict[str, Any]
    columns: list[Hashable]


def read_tables(
    grid: Grid,
    known: pd.DataFrame | pd.Series | None,
    past: pd.DataFrame | pd.Series | None,
    static: pd.DataFrame | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The fields of an entry, and the names of their features as ``info`` holds them.

    Args:
        grid: of the series.
        known: see :func:`timediff.frames.from_wide`.
        past: likewise.
        static: likewise.

    Raises:
        DataError: a table does not fit the series, or a value cannot be used.
    """
    fields: dict[str, np.ndarray] = {}
    names: dict[str, Any] = {}
    for field, what, table in ((KNOWN, "known", known), (PAST, "past", past)):
        if table is not None:
            fields[field], names[field] = _read_dynamic(grid, table, what)
    if static is not None:
        _read_static(grid, static, fields, names)
    return fields, {"features": names} if names else {}


def _read_dynamic(
    grid: Grid, table: pd.DataFrame | pd.Series, what: str
) -> tuple[np.ndarray, list[str]]:
    """``(F, T)``, or ``(F, D, T)`` of columns (feature, series); of known ones T may be longer."""
    if isinstance(table, pd.Series):
        table = table.to_frame()
    table = check_table(table, what)
    stamps, _, zone = read_clock(table.index, grid.freq)
    try:
        start, rows, layout = locate(stamps, grid.freq, labels=table.index)
    except DataError as error:
        raise DataError(f"{what}: {error}") from error
    layout |= zone
    same = {key: layout.get(key) == grid.layout.get(key) for key in ("freq", "tz", "clock")}
    if not all(same.values()) or not same_stamps(start, int(rows[-1]) + 1, layout, grid.layout):
        own, theirs = (
            dict(a.items() - b.items()) for a, b in ((layout, grid.layout), (grid.layout, layout))
        )
        raise DataError(
            f"{what} is stamped in another way than the table of the series: {own}, not {theirs}: "
            + _way_out(layout, grid.layout, what)
        )
    away = start.ordinal - grid.start.ordinal
    if away % grid.start.freq.n:
        raise DataError(f"{what}: {table.index[0]} is between the steps of the table of the series")
    rows = rows + away // grid.start.freq.n
    lacking = ~np.isin(grid.rows, rows)
    if lacking.any():
        raise DataError(
            f"{what} has no row at {first_of(lacking, grid.index)} for {list(table.columns)}: give "
            "one for each row of the table of the series (NaN where a value is missing)"
        )
    inside = (rows >= 0) & ((rows < grid.length) | (what == "known"))
    table, rows = table[inside], rows[inside]
    length = max(grid.length, int(rows[-1]) + 1)

    def read(column: Hashable, number: int) -> np.ndarray:
        values = np.full(length, np.nan)
        values[rows] = read_numbers(table.iloc[:, number], column, f"{what} feature")
        return values

    if table.columns.nlevels == 1:
        columns = enumerate(table.columns)
        return np.stack([read(label, i) for i, label in columns]), list(map(str, table.columns))
    if table.columns.nlevels != 2:
        raise DataError(f"{what} has columns of {table.columns.nlevels} levels, not 1 or 2")
    names = list(dict.fromkeys(table.columns.get_level_values(0)))
    _check_series(grid, table.columns.get_level_values(1), what)
    where = {label: i for i, label in enumerate(table.columns)}
    for label in ((name, series) for name in names for series in grid.columns):
        if label not in where:
            raise DataError(f"{what} has no column {label!r}: give each feature of every series")
    fields = [[read((n, s), where[n, s]) for s in grid.columns] for n in names]
    return np.array(fields), list(map(str, names))


def _way_out(own: dict[str, Any], wanted: dict[str, Any], what: str) -> str:
    """What to do about a table that is stamped in another way than that of the series."""
    zone = wanted.get("tz")
    if own.get("tz") == zone:
        if ("freq" in own) != ("freq" in wanted):
            return "give both timestamps (.to_timestamp), or both periods (.to_period)"
        return f"shift the timestamps of {what} to those of the table of the series"
    if zone is None:
        return f"give the table of the series its zone, too (tz_localize), or {what} none"
    known = "" if "tz" in own else "its own time zone (tz_localize), then "
    return f"give {what} {known}that of the table of the series (tz_convert({str(zone)!r}))"


def _check_series(grid: Grid, series: Iterable[Hashable], what: str) -> None:
    """Raise a DataError if a name is no series of the table."""
    unknown = [name for name in series if name not in grid.columns]
    if unknown:
        raise DataError(f"{what}: there is no series {unknown[0]!r}, only {grid.columns}")


def _read_static(
    grid: Grid, table: pd.DataFrame, fields: dict[str, np.ndarray], names: dict[str, Any]
) -> None:
    """Numbers to one field, everything else to the other, with the labels it stands for."""
    if not table.index.is_unique or not table.columns.is_unique:
        raise DataError("static has a series or a column twice")
    _check_series(grid, list(table.index), "static")
    lacking = [name for name in grid.columns if name not in table.index]
    if lacking:
        raise DataError(f"static has no row for series {lacking[0]!r}: give one for each series")
    table = table.reindex(pd.Index(grid.columns, tupleize_cols=False))
    missing = np.argwhere(table.isna().to_numpy())
    if len(missing):
        row, column = missing[0]
        raise DataError(
            f"static feature {table.columns[column]!r} of series {table.index[row]!r} is missing: "
            "give a value, or a category of its own"
        )
    numbers, codes, labels = {}, {}, []
    for name, column in table.items():
        if dtypes.is_numeric_dtype(column.dtype) and not dtypes.is_bool_dtype(column.dtype):
            numbers[str(name)] = read_numbers(column, name, "static feature")
            continue
        texts = [x if isinstance(x, bool) else str(x) for x in column.astype(object)]
        known = sorted(set(texts), key=str)
        labels.append(known)
        codes[str(name)] = np.array([known.index(text) for text in texts])
    if numbers:
        fields[REAL], names[REAL] = np.stack(list(numbers.values())), list(numbers)
    if codes:
        fields[CATEGORY], names[CATEGORY] = np.stack(list(codes.values())), list(codes)
        names["categories"] = labels
