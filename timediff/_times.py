"""Timestamps from what a column or an index holds: text, dates, numbers."""

import datetime
import re
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from timediff._frequency import of_years
from timediff.errors import DataError

_ZONE = r":\d\d(?:\.\d+)?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)$"
# two short numbers and a year: 09.01.2024, 9/1/24
_DATE = re.compile(r"(?<![\d./-])(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")
# without a date pandas would take that of today
_DATED = r"\d{4}|\d[./-]\d+[./-]\d|[A-Za-z]{3}.*\d|\d.*[A-Za-z]{3}"
# Unix time of this century, in these units
_UNITS = {"s": 1e9, "ms": 1e12, "us": 1e15, "ns": 1e18}
_DIGITS = {"%Y%m%d": 10_000, "%Y%m": 100}  # what follows the year


class Times(NamedTuple):
    """A column of times, read.

    Attributes:
        stamps: timestamps or periods.
        day_first: whether text such as ``05.01.2024`` begins with the day; None if that is not
            known, as there is no such text.
    """

    stamps: pd.Series
    day_first: bool | None


def read_times(
    times: pd.Series,
    title: str | None = None,
    ids: pd.Series | None = None,
    freq: str | None = None,
    day_first: bool | None = None,
) -> Times:
    """A column as timestamps or periods.

    Text as ISO 8601 has it is read so, in UTC where its offsets differ. Of other text, the order of
    day and month is decided for all rows at once.

    Args:
        times: the column.
        title: what it is called in messages, if not by its name.
        ids: the series of each row, for messages.
        freq: of the table, if it is known; integers are years where it is yearly.
        day_first: the order where the text allows both, if it is known.

    Raises:
        DataError: a row has no time; or the order of day and month is not known.
    """
    title = f"column {times.name!r}" if title is None else title
    if dtypes.is_numeric_dtype(times.dtype):
        years = of_years(times, freq)
        if years is None:
            raise DataError(f"{title} holds {times.dtype}, not timestamps{hint(times)}")
        return Times(pd.Series(years, times.index, name=times.name), day_first)
    parsed = parse_times(times, title, day_first)
    bad = parsed.stamps.isna().to_numpy()
    if bad.any():
        row = int(bad.argmax())
        whose = "" if ids is None else f"series {ids.iloc[row]!r}: "
        if times.isna().iloc[row]:
            raise DataError(
                f"{whose}row {row} of {title} has no timestamp: give it one, or leave the row out "
                "(dropna)"
            )
        raise DataError(f"{whose}{times.iloc[row]!r} in {title}, row {row}, is no time")
    return parsed


def parse_times(times: pd.Series, title: str, day_first: bool | None = None) -> Times:
    """A column that holds no numbers as timestamps or periods, ``NaT`` where it has none.

    Args:
        times: the column.
        title: what it is called in messages.
        day_first: see :func:`read_times`.

    Raises:
        DataError: the order of day and month is not known, or only some have an offset from UTC.
    """
    if isinstance(times.dtype, pd.PeriodDtype):
        return Times(times, day_first)
    if dtypes.is_datetime64_any_dtype(times.dtype):
        if isinstance(times.dtype, pd.ArrowDtype):  # a pivot would keep it, as no index of times
            times = pd.Series(pd.DatetimeIndex(times), times.index, name=times.name)
        return Times(times, day_first)
    codes, labels = pd.factorize(times.to_numpy(dtype=object, na_value=None))
    if any(isinstance(x, str) for x in labels):
        found, day_first = _of_text(labels, title, day_first)
    else:
        found = _of_dates(labels, title)
    stamps = pd.DatetimeIndex(found).take(codes, allow_fill=True, fill_value=pd.NaT)
    return Times(pd.Series(stamps, times.index, name=times.name), day_first)


def _of_dates(labels: np.ndarray, title: str) -> pd.Series:
    """Objects as timestamps."""
    dates = [x if isinstance(x, datetime.date | np.datetime64) else None for x in labels]
    zones = {getattr(x, "tzinfo", None) for x in dates if x is not None}
    if None in zones and len(zones) > 1:
        raise DataError(f"some times of {title} have a time zone, others have none: {_LOCALIZE}")
    return pd.to_datetime(pd.Series(dates, dtype=object), errors="coerce", utc=len(zones) > 1)


_LOCALIZE = "give all of them one (tz_localize), or none (tz_localize(None))"


def _of_text(labels: np.ndarray, title: str, day_first: bool | None) -> Times:
    """Text as timestamps."""
    texts = pd.Series([str(x).strip() for x in labels], dtype=object)
    texts = texts.where(texts.str.contains(_DATED))
    zones = texts.str.extract(_ZONE, expand=False)
    naive = zones.isna() & texts.notna()
    if zones.notna().any() and naive.any():
        raise DataError(
            f"{title}: {texts[naive].iloc[0]!r} has no offset from UTC, "
            f"{texts[zones.notna()].iloc[0]!r} has one: {_LOCALIZE}"
        )
    utc = zones.nunique() > 1  # summer and winter
    parts = texts.str.extract(_DATE)
    if parts[0].notna().any():
        return _in_order(texts, parts, title, utc, day_first)
    return Times(_parsed(texts, utc), day_first)


def _parsed(texts: pd.Series, utc: bool) -> pd.Series:
    """Text that says which part is which."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # each row may have a format of its own
        parsed = pd.to_datetime(texts, errors="coerce", utc=utc)
        if (parsed.isna() & texts.notna()).any():  # some without hours
            parsed = parsed.fillna(
                pd.to_datetime(texts, errors="coerce", utc=utc, format="ISO8601")
            )
    return parsed


def _in_order(
    texts: pd.Series, parts: pd.DataFrame, title: str, utc: bool, known: bool | None
) -> Times:
    """Text such as ``09.01.2024 08:00``, its day and its month where they are in all rows.

    The order that is possible for all rows; of two the one that is known, else the one that leaves
    no gaps.
    """
    first, second = parts[0].astype(float), parts[2].astype(float)
    dated = (first.clip(upper=second) <= 12) & (first.clip(lower=second) <= 31)
    later = {True: first, False: second}  # the part that is the day
    possible = [
        day_first for day_first in (True, False) if not (later[not day_first][dated] > 12).any()
    ]
    if not possible:
        clash = [texts[dated & (part > 12)].iloc[0] for part in (first, second)]
        raise DataError(
            f"{title} has the day first in {clash[0]!r}, the month first in {clash[1]!r}: write "
            "all of them as 2024-01-31"
        )
    if known in possible:
        possible = [known]
    readings = [Times(_rewritten(texts, parts, order, utc), order) for order in possible]
    if len(readings) == 2:
        if readings[0].stamps.equals(readings[1].stamps):
            return Times(readings[0].stamps, None)
        readings = [reading for reading in readings if _is_regular(reading.stamps)]
        if len(readings) != 1:
            text = texts[dated & (first != second)].iloc[0]
            raise DataError(
                f"{title}: whether the day or the month is first in {text!r} is not certain: give "
                "pd.to_datetime(..., dayfirst=True), or False, in its place, or text such as "
                "2024-01-31"
            )
    return readings[0]


def _rewritten(texts: pd.Series, parts: pd.DataFrame, day_first: bool, utc: bool) -> pd.Series:
    def iso(match: re.Match[str]) -> str:
        first, _, second, year = match.groups()
        day, month = (first, second) if day_first else (second, first)
        if len(year) == 2:
            year = ("20" if year < "69" else "19") + year
        return f"{year}-{month:0>2}-{day:0>2}"

    return _parsed(texts.str.replace(_DATE, iso, regex=True), utc)


def _is_regular(stamps: pd.Series) -> bool:
    """Whether the timestamps have a frequency, and no gap."""
    index = pd.DatetimeIndex(stamps.dropna()).unique().sort_values()
    return len(index) > 2 and pd.infer_freq(index) is not None


def _is_date(number: float, form: str) -> bool:
    """Whether the digits of a number are a date."""
    return pd.notna(pd.to_datetime(str(int(number)), format=form, errors="coerce"))


def hint(numbers: pd.Series) -> str:
    """What numbers of this size may be."""
    size = float(np.nanquantile(numbers.to_numpy(float, na_value=np.nan), 0.5, method="nearest"))
    if 1600 <= size <= 2261:
        return ": if they are years, give freq='YE' or 'YS'"
    for form, parts in _DIGITS.items():  # 20240131, 202401
        if 1600 <= size // parts <= 2261 and _is_date(size, form):
            return f": if they are dates, give pd.to_datetime(..., format={form!r}) in their place"
    for unit, about in _UNITS.items():
        if about / 10 <= size < 10 * about:
            return f": if they are Unix time, give pd.to_datetime(..., unit={unit!r}) in its place"
    return ""
