"""Frequencies: as users write them, and the periods GluonTS counts in.

pandas has two alphabets. Offsets (``ME``, ``QS-OCT``, ``h``) say which timestamps exist; periods
(``M``, ``Q-SEP``, ``h``) number spans of time. Tables come in the first, GluonTS wants the second.
Everything that knows about both is here and in ``_stamps``, which goes from timestamps to periods
and back, so that a forecast can be stamped the way its table was. Offsets without a period are
counted by their open steps, see ``_calendars``.
"""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from timediff._calendars import calendar_of, check_multiple, describe
from timediff.errors import OptionError

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAY = pd.Timedelta(days=1)
_TICKS = {"H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns"}


def period(value: Any, freq: str | pd.offsets.BaseOffset, ordinal: int | None = None) -> pd.Period:
    """``pd.Period``, of a time or an ordinal, without pandas' warning on business days.

    GluonTS has nothing else.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return pd.Period(value, freq=freq, ordinal=ordinal)


def moved(start: pd.Period, steps: int) -> pd.Period:
    """So many steps later, or earlier, likewise without the warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return start + steps


def period_alias(freq: str) -> str:
    """The period frequency in which a series of this frequency is counted: ``ME`` → ``M``.

    Raises:
        OptionError: pandas does not know ``freq``.
    """
    calendar = calendar_of(freq)
    return alias_of(meanings(freq)[0]) if calendar is None else calendar.period


def text_of(freq: str | pd.offsets.BaseOffset) -> str:
    """A frequency as text: an alias as it is, an offset as ``_calendars.describe`` writes it.

    Raises:
        OptionError: neither of the two, or an offset that cannot be counted.
    """
    if not isinstance(freq, str | pd.offsets.BaseOffset):
        raise OptionError(f"freq is {freq!r}: give text such as 'h' or 'D', or an offset of pandas")
    return freq if isinstance(freq, str) else describe(freq)


def offset_of(freq: str) -> pd.offsets.BaseOffset:
    """The offset of pandas that a frequency means; of a bare period, that of the begins.

    Raises:
        OptionError: ``freq`` is no frequency.
    """
    calendar = calendar_of(freq)
    return meanings(freq)[0] if calendar is None else calendar.offset


def frequency(entry: Mapping[str, Any]) -> str:
    """The frequency by which the table of an entry was read."""
    return str((entry.get("info") or {}).get("freq", entry["start"].freqstr))


def model_frequency(entry: Mapping[str, Any]) -> str:
    """The frequency of a model of an entry: its calendar, or what its periods are."""
    freq = frequency(entry)
    return entry["start"].freqstr if calendar_of(freq) is None else freq


def is_subdaily(freq: str) -> bool:
    """Whether the frequency is a fixed step shorter than a day (minutes, hours, ...)."""
    if calendar_of(freq) is not None:
        return False
    offset = meanings(freq)[0]
    return isinstance(offset, pd.offsets.Tick) and pd.Timedelta(offset) < DAY


def of_years(numbers: pd.Series, freq: str | None) -> pd.DatetimeIndex | None:
    """The timestamps that a yearly frequency gives to years; None if it is none, or they."""
    yearly = pd.offsets.YearBegin | pd.offsets.YearEnd | pd.offsets.BYearBegin | pd.offsets.BYearEnd
    offset = None if freq is None or calendar_of(freq) is not None else meanings(freq)[0].base
    values = numbers.to_numpy(dtype=float, na_value=np.nan)
    if not isinstance(offset, yearly) or not np.all((values % 1 == 0) & (abs(values - 1970) < 290)):
        return None
    begins = pd.to_datetime(values.astype(int).astype(str), format="%Y")
    return pd.DatetimeIndex([offset.rollforward(stamp) for stamp in begins])


def meanings(freq: str) -> list[pd.offsets.BaseOffset]:
    """The layouts a frequency may mean: one for an offset alias, several for a bare period."""
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(?:-([A-Z]{3}))?", freq)
    count, name, anchor = match.groups() if match else ("", "", None)
    names = [freq]
    if name in _TICKS:
        names = [count + _TICKS[name]]
    elif name in ("M", "Q", "Y", "A") and (anchor or "DEC") in MONTHS:
        unit = "Y" if name == "A" else name
        end = anchor or "DEC"
        begin = MONTHS[(MONTHS.index(end) + 1) % 12]
        kinds = (("S", begin), ("E", end))
        names = [
            f"{count}{business}{unit}{kind}" + ("" if unit == "M" else f"-{month}")
            for business in ("", "B")
            for kind, month in kinds
        ]
    try:
        offsets = [to_offset(n) for n in names]
    except ValueError as error:
        raise OptionError(f"freq={freq!r} is no frequency pandas knows") from error
    check_multiple(offsets[0])
    return offsets


def alias_of(offset: pd.offsets.BaseOffset) -> str:
    """The period frequency that goes with an offset.

    Raises:
        OptionError: there is none.
    """
    match = re.fullmatch(r"(\d*)B?([MQY])([SE])(?:-([A-Z]{3}))?", offset.freqstr)
    alias = offset.freqstr
    if match:
        count, unit, kind, month = match.groups()
        if kind == "S" and month:  # the span ends in the month before the one it starts in
            month = MONTHS[MONTHS.index(month) - 1]
        if unit == "Q":  # the same quarters under their usual name: Q-DEC, not Q-MAR
            month = MONTHS[9 + MONTHS.index(month) % 3]
        alias = f"{count}{unit}" + (f"-{month}" if month else "")
    try:
        period("2000-01-03", alias)
    except ValueError as error:
        raise OptionError(
            f"frequency {offset.freqstr!r} has no period GluonTS could count in: use one of "
            "s, min, h, D, B, W, MS, ME, QS, QE, YS, YE or a multiple of it"
        ) from error
    return alias


def begins_spans(freq: str) -> bool:
    """Whether it stamps months, quarters or years with their first day."""
    return re.match(r"\d*[MQY]S", freq) is not None
