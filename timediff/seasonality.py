"""What a frequency implies: seasons, lags and calendar features, capped by the history."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.offsets import Tick

from timediff._calendars import Rhythm, calendar_of, named
from timediff._frequency import period, period_alias
from timediff._stamps import clock
from timediff.errors import OptionError

logger = logging.getLogger(__name__)

_TABLE = {
    "Y": Rhythm((), (1,), ()),
    "Q": Rhythm((4,), (1,), ("quarter",)),
    "M": Rhythm((12,), (1, 12), ("month",)),
    "W": Rhythm((52,), (1,), ("weekofyear",)),
    "D": Rhythm((7,), (1, 7, 14), ("dayofweek",), 365),
    "B": Rhythm((5,), (1, 2), ("dayofweek", "dayofyear")),
    "h": Rhythm((24, 168), (1, 24, 168), ("hour", "dayofweek"), 8766),
    "min": Rhythm((1440, 10080), (1, 4, 12, 24, 48), ("minute", "hour", "dayofweek"), 525_960),
    "s": Rhythm((3600, 86400), (1,), ("second", "minute", "hour", "dayofweek"), 31_557_600),
}
_PERIODS = {
    "quarter": 4,
    "month": 12,
    "day": 31,
    "weekofyear": 53,
    "dayofweek": 7,
    "dayofyear": 366,
    "hour": 24,
    "minute": 60,
    "second": 60,
}


def _base(freq: str) -> tuple[str, int]:
    """The row of the table for a frequency, and how many of its steps one step spans.

    Raises:
        OptionError: pandas does not know the frequency, or it is finer than a second.
    """
    alias = period_alias(freq)
    offset = period("2000-01-01", alias).freq
    if isinstance(offset, Tick):
        for name, seconds in (("D", 86400), ("h", 3600), ("min", 60), ("s", 1)):
            count, rest = divmod(offset.nanos, seconds * 10**9)
            if not rest:
                return name, count
        raise OptionError(f"freq {freq!r} is finer than a second: aggregate the data first")
    return alias.lstrip("0123456789").split("-")[0], offset.n


def _rhythm(freq: str) -> tuple[Rhythm, int]:
    """What a frequency implies for its single steps, and how many of these one step spans."""
    calendar = calendar_of(freq)
    if calendar is not None:
        return calendar.rhythm, calendar.offset.n
    name, n = _base(freq)
    return _TABLE[name], n


def seasons(freq: str) -> tuple[int, ...]:
    """Lengths of the seasons of a frequency in steps, rising; ``(24, 168)`` for hourly data."""
    rhythm, n = _rhythm(freq)
    return tuple(season // n for season in rhythm.seasons if season % n == 0 and season > n)


def usable(history: int, prediction_length: int) -> int:
    """The longest lag that leaves half of the history to learn from."""
    return max(1, (history - prediction_length) // 2)


def default_lags(freq: str, history: int, prediction_length: int) -> tuple[int, ...]:
    """1, 2, 3, and each season once and twice, up to half of the history (logged if cut)."""
    wanted = sorted({1, 2, 3, *(m * s for s in seasons(freq) for m in (1, 2))})
    return _capped(wanted, freq, history, prediction_length)


def published_lags(freq: str, history: int, prediction_length: int) -> tuple[int, ...]:
    """The lags of the reference code for this frequency, up to half of the history."""
    return _capped(_rhythm(freq)[0].lags, freq, history, prediction_length)


def _capped(
    wanted: Sequence[int], freq: str, history: int, prediction_length: int
) -> tuple[int, ...]:
    cap = usable(history, prediction_length)
    kept = tuple(lag for lag in wanted if lag <= cap)
    if len(kept) < len(wanted):
        dropped = [lag for lag in wanted if lag > cap]
        logger.info(
            "freq %r: lags %s left out, the history has only %d steps",
            named(freq),
            dropped,
            history,
        )
    return kept or (1,)


def filling_season(freq: str, history: int, prediction_length: int) -> int | None:
    """The longest season of which half of the history holds two; None if there is none."""
    fitting = [s for s in seasons(freq) if 2 * s <= usable(history, prediction_length)]
    return max(fitting, default=None)


def seasonal_offsets(
    freq: str, history: int, prediction_length: int, count: int
) -> tuple[int, ...]:
    """How far back the values of the same season lie that a forecast of P steps may read.

    Args:
        freq: frequency.
        history: steps there are; offsets reach back at most half of them.
        prediction_length: P; no offset is shorter.
        count: values of the longest season; three at most of each shorter one.
    """
    cap, found = usable(history, prediction_length), set()
    lengths = seasons(freq)
    for season in lengths:
        first = -(-prediction_length // season)
        number = count if season == max(lengths) else min(count, 3)
        found |= {season * k for k in range(first, first + number)}
    kept = tuple(sorted(offset for offset in found if offset <= cap))
    if len(kept) < len(found):
        logger.info(
            "freq %r: seasonal values beyond %d steps left out, the history has only %d steps",
            named(freq),
            cap,
            history,
        )
    return kept


def profile_seasons(freq: str, history: int, prediction_length: int) -> tuple[int, ...]:
    """The seasons of which half of the history holds a value that P steps ahead is known."""
    cap = usable(history, prediction_length)
    return tuple(s for s in seasons(freq) if s * -(-prediction_length // s) <= cap)


LONGEST_LOOKBACK = 400  # unless two horizons are longer


def default_lookback(freq: str, history: int, prediction_length: int) -> int:
    """Two horizons or the longest season of a moderate length, up to half of the history."""
    moderate = [season for season in seasons(freq) if season <= LONGEST_LOOKBACK]
    wanted = max([2 * prediction_length, *moderate])
    return max(2, min(wanted, usable(history, prediction_length)))


def level_span(freq: str, prediction_length: int) -> int:
    """Steps over which the recent level of a series is taken: whole seasons, at least P."""
    season = min(seasons(freq), default=1)
    return season * -(-prediction_length // season)


def _fields(freq: str, yearly: bool) -> list[str]:
    """The calendar fields of a frequency, with the day of the year if it is asked for."""
    fields = list(_rhythm(freq)[0].fields)
    return [*fields, "dayofyear"] if yearly and "dayofyear" not in fields else fields


def calendar_periods(freq: str, yearly: bool) -> dict[str, int]:
    """The calendar fields of a frequency with their periods, in the order of the features."""
    return {field: _PERIODS[field] for field in _fields(freq, yearly)}


def steps_of(freq: str) -> tuple[str, int]:
    """What a frequency counts in, such as ``"min"``, and how many of these a step is."""
    return _base(freq)


def knows_years(freq: str, history: int) -> bool:
    """Whether a history of steps of at most a day holds two years, to learn what a year does."""
    rhythm, n = _rhythm(freq)
    return rhythm.year is not None and history >= 2 * rhythm.year // n


def num_calendar(freq: str, yearly: bool = False) -> int:
    """How many calendar features :func:`calendar` makes."""
    return 2 * len(_fields(freq, yearly))


def calendar(
    start: pd.Period,
    length: int,
    freq: str,
    yearly: bool = False,
    info: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Sines and cosines of the calendar fields, ``(length, F)`` float32.

    Args:
        start: time of the first step.
        length: steps.
        freq: frequency, which says what the fields are.
        yearly: add the day of the year.
        info: of the entry, which knows the calendar whose open steps are counted, if they are.
    """
    index = clock(start, length, info)
    columns = []
    for field in _fields(freq, yearly):
        angle = 2 * np.pi * np.asarray(getattr(index, field), dtype=np.float64) / _PERIODS[field]
        columns += [np.sin(angle), np.cos(angle)]
    return np.stack(columns, axis=1).astype(np.float32) if columns else np.zeros((length, 0), "f4")
