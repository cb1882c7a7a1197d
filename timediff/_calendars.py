"""Calendars that pandas has no period for: their open steps are counted.

Custom business days and months, business hours, half months, the second Tuesday of each month,
fiscal years of whole weeks. An entry of such a table is counted in a period whose ordinal is the
number of an open step; its own date means nothing, ``_stamps`` stamps it with the real one.

A frequency is text everywhere: pandas' alias, or where that does not say it all, JSON such as
``{"offset": "CustomBusinessDay", "n": 1, "holidays": ["2024-12-25"]}``.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from timediff.errors import DataError, OptionError

PERIOD = "us"  # what open steps are counted in: no table of real time has it, so none is mixed up
_ALIAS = re.compile(r"-?\d*(C|CBM[ES]?|c?bh|C?BH|SM[ES]?|L?WOM|REQ?)(-.+)?")
_DAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
_NANOS = {"CustomBusinessDay": 86_400 * 10**9, "CustomBusinessHour": 3_600 * 10**9}
_NANOS["BusinessHour"] = _NANOS["CustomBusinessHour"]
_DAY = _NANOS["CustomBusinessDay"]
# offsets that have no alias of their own, and what JSON says of each
_CUSTOM = {
    "CustomBusinessDay": ("weekmask", "holidays"),
    "CustomBusinessMonthBegin": ("weekmask", "holidays"),
    "CustomBusinessMonthEnd": ("weekmask", "holidays"),
    "CustomBusinessHour": ("weekmask", "holidays", "start", "end"),
    "BusinessHour": ("start", "end"),
    "Easter": (),
}
_READ: dict[str, Callable[[Any], Any]] = {
    "weekmask": lambda offset: " ".join(
        day.capitalize()
        for day, open_ in zip(_DAYS, offset.calendar.weekmask, strict=True)
        if open_
    ),
    "holidays": lambda offset: [str(day) for day in offset.calendar.holidays],
    "start": lambda offset: [f"{time:%H:%M}" for time in offset.start],
    "end": lambda offset: [f"{time:%H:%M}" for time in offset.end],
}


class Rhythm(NamedTuple):
    """What a frequency implies for a model.

    Attributes:
        seasons: lengths in steps, rising.
        lags: of the reference code.
        fields: of the calendar, which features are made of.
        year: steps of a year, where a step is a day or less and the fields do not hold the day of
            the year already.
    """

    seasons: tuple[int, ...]
    lags: tuple[int, ...]
    fields: tuple[str, ...]
    year: int | None = None


class Calendar:
    """Open timestamps, by their numbers.

    Args:
        offset: of pandas. Numbers are those of its single steps, whatever its multiple is.
    """

    rhythm: Rhythm  # of single steps

    def __init__(self, offset: pd.offsets.BaseOffset):
        self.offset, self.kind, self.text = offset, type(offset).__name__, describe(offset)
        self.period = PERIOD if offset.n == 1 else f"{offset.n}{PERIOD}"

    def count(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The number of each time, how far it is into its step, and whether it is closed.

        Args:
            values: nanoseconds since 1970; so are the second array and the way back.
        """
        raise NotImplementedError

    def times(self, ordinals: np.ndarray, phase: int) -> np.ndarray:
        """The times of open steps, that far into each: the way back."""
        raise NotImplementedError


class _Openings(Calendar):
    """Days or hours of the time that a business is open, one opening after the other.

    Where the hours of a day are no whole number, the next day goes on from the rest, as in pandas.
    """

    def __init__(self, offset: pd.offsets.BaseOffset):
        super().__init__(offset)
        self.step, self.days = _NANOS[self.kind], np.busdaycalendar()
        if self.kind != "BusinessHour":
            self.days = offset.calendar
        begin, length = np.array([0]), np.array([_DAY])
        if self.kind != "CustomBusinessDay":
            begin, end = (
                np.array([(t.hour * 60 + t.minute) * 60 * 10**9 for t in times])
                for times in (offset.start, offset.end)
            )
            length = (end - begin - 1) % _DAY + 1  # an end before the begin is of the next day
        self.begin, self.until = begin, np.cumsum(length)
        self.before, self.length = self.until - length, int(self.until[-1])
        self.origin = np.busday_offset("1970-01-01", 0, "forward", busdaycal=self.days)
        self.rhythm = self._rhythm()

    def _rhythm(self) -> Rhythm:
        days = int(self.days.weekmask.sum())
        if self.step == _DAY:
            return Rhythm((days,), (1, 2), ("dayofweek", "dayofyear"))
        week = days * self.length
        seasons = tuple(n // self.step for n in (self.length, week) if n % self.step == 0)
        year = round(365.25 / 7 * week / self.step)
        return Rhythm(seasons, (1, *seasons), ("hour", "dayofweek"), year)

    def count(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        work, closed = np.zeros(len(values), dtype=np.int64), np.ones(len(values), dtype=bool)
        for begin, before, until in zip(self.begin, self.before, self.until, strict=True):
            for ago in (0, 1):  # an opening may go on after midnight
                day, into = values // _DAY - ago, values % _DAY + ago * _DAY - begin
                inside = (into >= 0) & (into < until - before)
                dates = day.astype("M8[D]")
                inside &= np.is_busday(dates, busdaycal=self.days)
                opened = self._opened(dates[inside]) - self._opened(self.origin)
                work[inside] = opened * self.length + before + into[inside]
                closed &= ~inside
        return work // self.step, work % self.step, closed

    def _opened(self, dates: Any) -> Any:
        """How many days were open before these, from long ago."""
        return np.busday_count("1600-01-01", dates, busdaycal=self.days)

    def times(self, ordinals: np.ndarray, phase: int) -> np.ndarray:
        opened, work = np.divmod(ordinals * self.step + phase, self.length)
        opening = np.searchsorted(self.until, work, "right")
        day = np.busday_offset(self.origin, opened, busdaycal=self.days).astype(np.int64)
        return day * _DAY + self.begin[opening] + work - self.before[opening]


class _Listed(Calendar):
    """Days of which there are few, one of them after the other."""

    FIRST, LAST = "1800", "2200"

    def __init__(self, offset: pd.offsets.BaseOffset):
        super().__init__(offset)
        days = pd.date_range(self.FIRST, self.LAST, freq=offset.base).as_unit("ns")
        self.days = days.asi8
        year = round(len(days) / (int(self.LAST) - int(self.FIRST)))
        fields = {24: ("month", "day"), 12: ("month",), 4: ("quarter",)}
        seasons = (year,) if year > 1 else ()
        self.rhythm = Rhythm(seasons, (1, *seasons), fields.get(year, ()))

    def count(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ordinals = np.searchsorted(self.days, values, "right") - 1
        phases = values - self.days[ordinals]
        return ordinals, phases, (ordinals < 0) | (phases >= _DAY)

    def times(self, ordinals: np.ndarray, phase: int) -> np.ndarray:
        if len(ordinals) and not (ordinals.min() >= 0 and ordinals.max() < len(self.days)):
            raise DataError(f"steps of {self.text!r} are known from {self.FIRST} to {self.LAST}")
        return self.days[ordinals] + phase


@lru_cache(maxsize=64)
def calendar_of(freq: str) -> Calendar | None:
    """The calendar that a frequency names; None where it has periods, or is no frequency.

    Raises:
        OptionError: JSON that describes no calendar, or a multiple below 1.
    """
    if freq.startswith("{"):
        offset = _read(freq)
    elif _ALIAS.fullmatch(freq):
        offset = _parse(freq)
    else:
        return None
    check_multiple(offset)
    return (_Openings if type(offset).__name__ in _NANOS else _Listed)(offset)


def describe(offset: pd.offsets.BaseOffset) -> str:
    """The text of an offset: its alias, or JSON where that does not say it all.

    Raises:
        OptionError: neither can say it.
    """
    check_multiple(offset)
    kind, text = type(offset).__name__, offset.freqstr
    if isinstance(offset, pd.offsets.LastWeekOfMonth):
        return text
    try:
        same = to_offset(text)
    except ValueError:
        same = None
    own = type(offset) is getattr(pd.offsets, kind, None) and not getattr(offset, "offset", None)
    if own and kind in _CUSTOM:
        parts = {key: _READ[key](offset) for key in _CUSTOM[kind]}
        if same is not None and parts == {key: _READ[key](same) for key in parts}:
            return text
        return json.dumps({"offset": kind, "n": offset.n, **parts})
    if type(same) is type(offset):
        return text
    raise OptionError(
        f"freq={offset!r} is no frequency that can be counted: give an alias such as 'B' or 'ME', "
        "or one of pandas' own offsets with holidays=, weekmask=, start= and end= alone"
    )


def named(freq: str) -> str:
    """A frequency for a message: its alias, without its holidays."""
    calendar = calendar_of(freq)
    return freq if calendar is None else calendar.offset.freqstr


def check_multiple(offset: pd.offsets.BaseOffset) -> None:
    """Raise an OptionError for a multiple below 1."""
    if offset.n < 1:
        raise OptionError(f"freq={offset!r} counts backwards, or nothing: give 1 step or more")


def _parse(alias: str) -> pd.offsets.BaseOffset:
    last = re.fullmatch(r"(-?\d*)LWOM-([A-Z]{3})", alias)  # pandas writes it, but cannot read it
    try:
        if last:
            count, day = last.groups()
            return pd.offsets.LastWeekOfMonth(int(count or 1), weekday=_DAYS.index(day))
        return to_offset(alias)
    except ValueError as error:
        raise OptionError(f"freq={alias!r} is no frequency pandas knows") from error


def _read(text: str) -> pd.offsets.BaseOffset:
    """The offset that JSON describes; of the known kinds alone."""
    try:
        given = json.loads(text)
        kind, n = given.pop("offset", None), given.pop("n", 1)
        unknown = sorted(given.keys() - _CUSTOM.get(kind, ()))
        if kind not in _CUSTOM or unknown or not isinstance(n, int):
            raise ValueError(f"offset {kind!r}, n {n!r}, unknown {unknown}")
        return getattr(pd.offsets, kind)(n, **given)
    except (AttributeError, TypeError, ValueError) as error:
        raise OptionError(
            f"freq={text!r} describes no calendar ({error}): give one of {', '.join(_CUSTOM)} as "
            "'offset', with 'n', 'weekmask', 'holidays', 'start' and 'end'"
        ) from error
