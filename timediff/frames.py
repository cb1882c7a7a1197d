"""Tables in, tables out: pandas frames to GluonTS entries and forecasts back to frames.

A table becomes one multivariate entry ``{"start": pd.Period, "target": float32 (D, T), "item_id",
"info"}``. A value that is not there is NaN and stays NaN; no argument is ever changed. ``info``
carries what a period cannot: the column labels and how the table stamped its rows.

GluonTS's own ``PandasDataset`` and ``MultivariateGrouper`` do the same job, but lose the column
names, reject gaps and month ends, and fill series that are not there with zeros or means.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.forecast import Forecast

from timediff._calendars import named
from timediff._feature_tables import Grid, read_tables
from timediff._frequency import moved, text_of
from timediff._inferred import business_hours
from timediff._stamps import locate, stamps_of, timestamps
from timediff._tables import (
    check_pairs,
    check_table,
    find_column,
    first_of,
    long_columns,
    read_clock,
    read_numbers,
)
from timediff.errors import DataError, OptionError, warn
from timediff.history import offsets


def from_wide(
    frame: pd.DataFrame,
    *,
    freq: str | pd.offsets.BaseOffset | None = None,
    item_id: str = "frame",
    known: pd.DataFrame | pd.Series | None = None,
    past: pd.DataFrame | pd.Series | None = None,
    static: pd.DataFrame | None = None,
) -> list[dict[str, Any]]:
    """Turn a wide table (time × series) into a GluonTS dataset of one multivariate entry.

    Rows may come in any order; a time step without a row becomes a row of NaN. Time zones: steps
    shorter than a day are counted in UTC, longer ones by the local calendar (a local day may have
    23 hours); ``to_frame`` gives the zone back.

    Args:
        frame: ``DatetimeIndex`` or ``PeriodIndex`` × one numeric column per series. Not changed.
        freq: pandas offset or alias, or a period alias; by default that of the index where it is a
            calendar (custom business days, ...), else inferred, gaps or not. Of a calendar only
            open steps are counted; what it closes has no row.
        item_id: name of the entry.
        known: features that are known ahead, one a column, stamped like the table and going on
            ``prediction_length`` steps beyond its end to forecast from there; of each series with
            columns (feature, series). NaN where missing: before the end of the table it is filled
            from the past.
        past: features that are known of the past only, likewise; rows beyond the end are not read.
        static: features that do not change, one a column, with a row for each series: numbers, or
            categories (text, categorical, boolean).

    Returns:
        A list of one entry, ``target`` of shape (D, T). ``info["columns"]`` holds the labels,
        ``info["features"]`` those of the features, ``info["periods"]`` is true of a PeriodIndex.

    Raises:
        DataError: no data; a timestamp twice, off the grid or closed; a value that is no finite
            number; a table of features lacks a row or a series, or has one that is not known.
        OptionError: ``freq`` is no frequency.
    """
    frame = check_table(frame, "the table")
    inferred = freq is None
    stamps, freq, info = read_clock(frame.index, None if freq is None else text_of(freq))
    start, rows, layout = locate(stamps, freq, labels=frame.index)
    length, width = int(rows[-1]) + 1, len(frame.columns)
    if length > 1000 * len(frame) and length * width > 10**8:
        gap = int(np.diff(rows).argmax())
        raise DataError(
            f"{len(frame)} rows would become {length} of frequency {named(freq)!r}: there is "
            f"nothing between {frame.index[gap]} and {frame.index[gap + 1]}. Is a timestamp wrong?"
        )
    if inferred and length > 2 * len(frame):
        other = business_hours(stamps)
        warn(
            f"{length - len(frame)} of the {length} steps of {item_id!r} have no row, by the "
            f"frequency {named(freq)!r} that was inferred: if that is not theirs, give freq="
            + (
                ""
                if other is None
                else f", such as freq={other[0]}, by which {other[1]} are missing"
            ),
        )
    target = np.full((width, length), np.nan, dtype=np.float32)
    for i, label in enumerate(frame.columns):
        target = _with_row(target, i, rows, read_numbers(frame.iloc[:, i], label))
    columns, layout = frame.columns.tolist(), layout | info
    grid = Grid(frame.index, start, rows, length, freq, layout, columns)
    fields, names = read_tables(grid, known, past, static)
    info = {"columns": columns} | layout | names
    if isinstance(frame.index, pd.PeriodIndex):
        info["periods"] = True
    return [{"start": start, "target": target, "item_id": item_id, "info": info} | fields]


def from_long(
    frame: pd.DataFrame,
    *,
    id_column: str | None = None,
    time_column: str | None = None,
    target_column: str | None = None,
    freq: str | pd.offsets.BaseOffset | None = None,
    known: Sequence[str] = (),
    past: Sequence[str] = (),
    future: pd.DataFrame | None = None,
    static: pd.DataFrame | None = None,
    day_first: bool | None = None,
) -> list[dict[str, Any]]:
    """Turn a long table (one row per series and time) into one multivariate entry.

    Series keep the order in which they first appear. Where a series has no row it has NaN.

    Args:
        frame: columns ``unique_id, ds, y`` or ``item_id, timestamp, target``. Not changed.
        id_column: name of the column with the series, where it is neither of these.
        time_column: name of the column with the timestamps.
        target_column: name of the column with the values.
        freq: as in ``from_wide``.
        known: names of the columns with features that are known ahead, of each series.
        past: names of those that are known of the past only.
        future: rows after the end, with the columns of series, time and what is known ahead.
        static: as in ``from_wide``.
        day_first: whether the day comes first in timestamps such as ``"05.01.2024"``, where all of
            them together do not tell.

    Returns:
        As ``from_wide``; ``info["day_first"]`` where that is known.

    Raises:
        DataError: a column is missing or ambiguous; a (series, timestamp) pair comes twice;
            ``future`` has a series that the table lacks; and all that ``from_wide`` raises.
    """
    given = {"id_column": id_column, "time_column": time_column, "target_column": target_column}
    ids, time, target = (find_column(frame, role, name) for role, name in given.items())
    if len({ids, time, target}) < 3:
        raise DataError(
            f"series, times and values must be three columns, not {ids!r}, {time!r}, {target!r}"
        )
    if frame[ids].isna().any():
        row = first_of(frame[ids].isna(), frame.index)
        raise DataError(f"row {row} has no {ids!r}: name its series, or leave the row out (dropna)")
    freq = None if freq is None else text_of(freq)
    needed = [ids, time, target, *known, *past]
    table, day_first = long_columns(frame, needed, "the table", freq, day_first)
    names = table[ids].unique()
    ahead = table
    if future is not None:
        later, _ = long_columns(future, [ids, time, *known], "future", freq, day_first)
        strangers = ~later[ids].isin(names)
        if strangers.any():
            raise DataError(f"future: there is no series {later[ids][strangers].iloc[0]!r}")
        ahead = pd.concat([table[[ids, time, *known]], later], ignore_index=True)

    def wide(long: pd.DataFrame, column: str) -> pd.DataFrame:
        return long.pivot(index=time, columns=ids, values=column)[names]

    check_pairs(ahead, ids, time)
    (entry,) = from_wide(
        wide(table, target),
        freq=freq,
        known=pd.concat({c: wide(ahead, c) for c in known}, axis=1) if known else None,
        past=pd.concat({c: wide(table, c) for c in past}, axis=1) if past else None,
        static=static,
    )
    if day_first is not None:
        entry["info"]["day_first"] = day_first
    return [entry]


def group_series(dataset: Iterable[dict[str, Any]], item_id: str = "group") -> list[dict[str, Any]]:
    """Join univariate GluonTS entries into one multivariate entry, aligned on time.

    Starts and lengths may differ: a step that a series does not have is NaN. Only ``start``,
    ``target`` and ``item_id`` are read; other fields of the entries have no place in a joint one.

    Args:
        dataset: entries with a ``start`` of type ``pd.Period`` and a ``target`` of shape (T,).
        item_id: name of the joint entry.

    Returns:
        A list of one entry with ``target`` (D, T); ``info["columns"]`` holds the item ids.

    Raises:
        DataError: no entries; one that is empty, not univariate, of another frequency or phase,
            with an infinite value, or with an ``item_id`` that another one has too.
    """
    entries = list(dataset)
    if not entries:
        raise DataError("there are no series to group")
    names = [entry.get("item_id", str(i)) for i, entry in enumerate(entries)]
    if len(set(names)) < len(names):
        raise DataError(f"two series have the item_id {max(names, key=names.count)!r}")
    values = [np.asarray(entry["target"], dtype=np.float64) for entry in entries]
    first = entries[0]["start"]
    for name, entry, series in zip(names, entries, values, strict=True):
        start = entry["start"]
        if series.ndim != 1 or not len(series):
            raise DataError(f"series {name!r}: target has shape {series.shape}, expected (T,)")
        if not isinstance(start, pd.Period):
            raise DataError(f"series {name!r}: start is a {type(start).__name__}, not a pd.Period")
        if start.freq != first.freq:
            raise DataError(
                f"series {name!r} has frequency {start.freqstr!r}, "
                f"series {names[0]!r} has {first.freqstr!r}"
            )
        if (start.ordinal - first.ordinal) % first.freq.n:
            raise DataError(f"series {name!r} starts at {start}, between the steps from {first}")
    start = min(entry["start"] for entry in entries)
    begins = [(entry["start"].ordinal - start.ordinal) // start.freq.n for entry in entries]
    length = max(first + len(series) for first, series in zip(begins, values, strict=True))
    target = np.full((len(values), length), np.nan, dtype=np.float32)
    for i, (name, first, series) in enumerate(zip(names, begins, values, strict=True)):
        stamps = timestamps(moved(start, first), len(series), {})
        numbers = read_numbers(pd.Series(series, stamps), name)
        target = _with_row(target, i, slice(first, first + len(series)), numbers)
    return [{"start": start, "target": target, "item_id": item_id, "info": {"columns": names}}]


def _with_row(target: np.ndarray, row: int, steps: Any, values: np.ndarray) -> np.ndarray:
    """The target with values in a row; in double precision from where a series needs that."""
    if target.dtype == np.float32 and offsets(values[:, None]) is not None:
        target = target.astype(np.float64)
    target[row, steps] = values
    return target


def to_wide(entry: Mapping[str, Any]) -> pd.DataFrame:
    """A multivariate entry as a wide table again, NaN where missing; a copy."""
    info = entry.get("info") or {}
    values = np.atleast_2d(entry["target"]).T
    columns = pd.Index(info.get("columns") or range(values.shape[1]), tupleize_cols=False)
    return pd.DataFrame(values.copy(), stamps_of(entry["start"], len(values), info), columns)


def to_frame(
    forecast: Forecast, quantiles: Sequence[float] = (0.05, 0.5, 0.95), samples: bool = False
) -> pd.DataFrame:
    """Write a forecast as a long table, stamped and labelled like the table it was made from.

    Args:
        forecast: samples of shape (S, P, D) or (S, P); ``info`` as ``from_wide`` wrote it, or none.
        quantiles: levels in [0, 1]; estimated as GluonTS does (nearest rank).
        samples: the sample paths themselves instead of their mean and quantiles.

    Returns:
        Columns ``series, timestamp, mean`` and one per quantile, named by its level ("0.05"); or
        with ``samples`` the columns ``series, timestamp, sample, value``. One series after another.

    Raises:
        DataError: ``info["columns"]`` has another length than the forecast has series, or sample
            paths are asked of a forecast that has none.
        OptionError: a quantile is not in [0, 1].
    """
    wrong = [q for q in quantiles if not 0 <= q <= 1]
    if wrong:
        raise OptionError(f"quantiles: {wrong[0]} is not in [0, 1]")
    info = forecast.info or {}
    mean = np.asarray(forecast.mean)
    width = 1 if mean.ndim == 1 else mean.shape[1]
    default = [forecast.item_id or "0"] if width == 1 else [str(i) for i in range(width)]
    columns = info.get("columns", default)
    if len(columns) != width:
        raise DataError(f"the forecast has {width} series, info['columns'] {len(columns)} names")
    stamps = stamps_of(forecast.start_date, len(mean), info)
    repeat = 1
    if samples:
        if not hasattr(forecast, "samples"):
            raise DataError(f"a {type(forecast).__name__} has no sample paths")
        paths = np.asarray(forecast.samples).reshape(-1, len(mean), width)
        repeat = len(paths)
        # (S, P, D) -> (D, P, S): series slowest, sample fastest
        body = {
            "sample": np.tile(np.arange(repeat), len(mean) * width),
            "value": paths.transpose(2, 1, 0).ravel(),
        }
    else:
        levels = {f"{q:g}": np.asarray(forecast.quantile(float(q))) for q in quantiles}
        body = {
            name: v.reshape(-1, width).T.ravel() for name, v in ({"mean": mean} | levels).items()
        }
    labels = pd.Index(columns, tupleize_cols=False).repeat(len(mean) * repeat)
    when = stamps[np.tile(np.repeat(np.arange(len(mean)), repeat), width)]
    return pd.DataFrame({"series": labels, "timestamp": when} | body)
