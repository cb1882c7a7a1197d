"""From the timestamps of a table to the steps of its frequency, and back to timestamps.

``locate`` counts the steps, and says in ``freq`` and ``phase`` of an entry's ``info`` how they were
stamped; from these and the first period ``timestamps`` and what is built on it give them back.
"""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from timediff._calendars import Calendar, calendar_of, named
from timediff._frequency import DAY, alias_of, begins_spans, meanings, period, period_alias
from timediff.errors import DataError

_SHORT, _LAST_DAY = 28 * DAY, 30 * DAY  # the shortest month; after the 30th comes its end


def locate(
    index: pd.DatetimeIndex | pd.PeriodIndex, freq: str, labels: pd.Index | None = None
) -> tuple[pd.Period, np.ndarray, dict[str, str]]:
    """Where sorted timestamps lie on the grid of a frequency.

    Args:
        index: sorted timestamps without time zone, or periods.
        freq: a pandas offset (``ME``) or period (``M``) alias.
        labels: what to call the timestamps in an error, if not ``index`` itself.

    Returns:
        The first period; the number of steps from it to each timestamp; and ``freq`` and
        ``phase`` as ``timestamps`` needs them to stamp later periods in the same way.

    Raises:
        DataError: a timestamp is not on the grid, or two fall on the same point of it.
        OptionError: ``freq`` is no frequency.
    """
    labels = index if labels is None else labels
    calendar = calendar_of(freq)
    if isinstance(index, pd.PeriodIndex):
        ordinals, n, info, alias = index.asi8, index.freq.n, {}, index.freqstr
        if period_alias(freq) != alias:
            raise DataError(
                f"the index has periods of frequency {alias!r}, freq= says {named(freq)!r}"
                + ("" if calendar is None else ": give it timestamps (.to_timestamp)")
            )
        start, bad = index[0], np.zeros(len(index), bool)
    elif calendar is not None:
        ordinals, phases = _opened(index, calendar, labels)
        phase, n = pd.Timedelta(most_common(phases)), calendar.offset.n
        bad = phases != phase.value
        start = pd.Period(ordinal=int(ordinals[0]), freq=calendar.period)
        info = {"freq": calendar.text} | ({"phase": str(phase)} if phase else {})
    else:
        offset, ordinals, phases = _layout(index, freq)
        phase, n, alias = pd.Timedelta(most_common(phases)), offset.n, alias_of(offset)
        most = _LAST_DAY if begins_spans(offset.freqstr) else DAY
        fits = isinstance(offset, pd.offsets.Tick) or pd.Timedelta(0) <= phase < most
        bad = phases != phase.value if fits else np.ones(len(index), bool)
        start = period(index[0], alias)
        if isinstance(offset, pd.offsets.Tick):
            phase = index[0] - start.start_time
        info = {"freq": offset.freqstr} | ({"phase": str(phase)} if phase else {})
    bad |= ordinals % n != most_common(ordinals % n)
    if bad.any():
        raise DataError(
            f"timestamp {labels[int(bad.argmax())]} is not on the grid of frequency "
            f"{named(freq)!r}: "
            "resample the table, give another freq="
            + (", or give it a PeriodIndex (.to_period)" if calendar is None else "")
        )
    rows = (ordinals - ordinals[0]) // n
    repeated = np.flatnonzero(np.diff(rows) == 0)
    if len(repeated):
        raise DataError(f"timestamp {labels[int(repeated[0]) + 1]} appears more than once")
    return start, rows, info


def timestamps(start: pd.Period, length: int, info: dict[str, Any]) -> pd.DatetimeIndex:
    """The timestamps of ``length`` periods from ``start``: the way back from ``locate``.

    Without ``freq`` in ``info`` (the table had periods) each period is stamped with its start.
    """
    calendar = _calendar(info)
    if calendar is not None:
        ordinals = start.ordinal + start.freq.n * np.arange(length)
        phase = pd.Timedelta(info.get("phase", 0)).value
        return pd.DatetimeIndex(calendar.times(ordinals, phase))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        ordinals = start.ordinal + start.freq.n * np.arange(length)
        periods = pd.PeriodIndex.from_ordinals(ordinals, freq=start.freq.base)
        if "freq" not in info:
            return periods.start_time
        begins = _stamp(periods, to_offset(info["freq"]))
        return pd.DatetimeIndex(shifted(begins, info.get("phase", 0)), freq=None)


def shifted(begins: pd.DatetimeIndex, phase: Any) -> pd.DatetimeIndex:
    """Stamps so far after the begins of their steps, of months within them.

    The 30th is 29 days after the first, in February its last day.
    """
    phase = pd.Timedelta(phase)
    stamps = begins + phase
    if phase < _SHORT:
        return stamps
    last = begins + pd.to_timedelta(begins.days_in_month - 1, unit="D") + phase % DAY
    return stamps.where(stamps <= last, last)


def stamps_of(start: pd.Period, length: int, info: dict[str, Any]) -> pd.DatetimeIndex:
    """``timestamps`` in the time zone of the table, if it had one."""
    stamps = timestamps(start, length, info)
    if info.get("clock") == "local":
        first = np.ones(len(stamps), dtype=bool)
        return stamps.tz_localize(info["tz"], ambiguous=first, nonexistent="shift_forward")
    if "tz" in info:
        return stamps.tz_localize("UTC").tz_convert(info["tz"])
    return stamps


def index_of(start: pd.Period, length: int, info: Mapping[str, Any]) -> pd.Index:
    """The times as the table had them: ``stamps_of``, or periods if they were."""
    if "periods" in info:
        return clock(start, length, None)
    return stamps_of(start, length, dict(info))


def same_stamps(
    start: pd.Period, length: int, one: Mapping[str, Any], other: Mapping[str, Any]
) -> bool:
    """Whether two ways to stamp steps give these the same timestamps."""
    if one.get("phase") == other.get("phase"):
        return True
    return stamps_of(start, length, dict(one)).equals(stamps_of(start, length, dict(other)))


def clock_info(info: Mapping[str, Any] | None) -> dict[str, Any]:
    """What pictures need of ``info``: nothing of periods, of a calendar how it is stamped.

    ``timestamps`` then gives where periods begin, or the times of the calendar, without a zone.
    """
    if _calendar(info) is None:
        return {}
    return {key: value for key, value in (info or {}).items() if key in ("freq", "phase")}


def clock(start: pd.Period, length: int, info: Mapping[str, Any] | None) -> pd.Index:
    """What calendar features are read from: these periods, or the times of a calendar."""
    if _calendar(info) is not None:
        return timestamps(start, length, dict(info or {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return pd.period_range(start, periods=length, freq=start.freq)


def step_name(start: pd.Period, info: Mapping[str, Any] | None) -> str:
    """The time of a step for a message: by the calendar and in the time zone of its table."""
    if "tz" in (info or {}) or _calendar(info) is not None:
        return str(stamps_of(start, 1, dict(info or {}))[0])
    return str(start)


def _calendar(info: Mapping[str, Any] | None) -> Calendar | None:
    return calendar_of((info or {}).get("freq", ""))


def _opened(
    index: pd.DatetimeIndex, calendar: Calendar, labels: pd.Index
) -> tuple[np.ndarray, np.ndarray]:
    """The number of each open step, and how far into it a timestamp is, in nanoseconds.

    Raises:
        DataError: the calendar is closed at one of them.
    """
    ordinals, phases, closed = calendar.count(index.as_unit("ns").asi8)
    if closed.any():
        raise DataError(
            f"timestamp {labels[int(closed.argmax())]} is no open step of "
            f"{named(calendar.text)!r}: leave its row out, or give freq= with a calendar that is "
            "open then"
        )
    return ordinals, phases


def _layout(
    stamps: pd.DatetimeIndex, freq: str
) -> tuple[pd.offsets.BaseOffset, np.ndarray, np.ndarray]:
    """The offset, each timestamp's ordinal in its base frequency, its phase in nanoseconds."""
    layouts = []
    values = stamps.as_unit("ns").asi8
    for offset in meanings(freq):
        if isinstance(offset, pd.offsets.Tick):
            # phases of a step, not of its unit: 15min data may run at :07, :22, ...
            phases = values % offset.nanos
            return offset, (values - phases) // offset.nanos * offset.n, phases
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            periods = stamps.to_period(alias_of(offset.base))
            begins = _stamp(periods, offset)
            phases = values - begins.as_unit("ns").asi8
        if begins_spans(offset.freqstr):
            phases = _in_long_months(phases, begins)
        layouts.append((offset, periods.asi8, phases))

    def explained(layout: tuple[Any, Any, np.ndarray]) -> tuple[int, int]:
        phases = layout[2]
        within = (phases >= 0) & (phases < DAY.value)
        return int((phases == most_common(phases)).sum()), int(within.sum())

    # A bare period ("M") does not say where it is stamped: the layout that explains most does.
    return max(layouts, key=explained)


def _in_long_months(phases: np.ndarray, begins: pd.DatetimeIndex) -> np.ndarray:
    """Phases in nanoseconds where all months are long: the 28th of February is a 30th, too.

    That is so if the others are of the 29th or 30th; of the 31st they are ends of months.
    """
    days, time = np.divmod(phases, DAY.value)
    most, last = days.max(), begins.days_in_month.to_numpy() - 1
    cut = (days == last) & (last < most) & (most < _LAST_DAY.days)
    return np.where(cut, most * DAY.value + time, phases)


def _stamp(periods: pd.PeriodIndex, offset: pd.offsets.BaseOffset) -> pd.DatetimeIndex:
    """The timestamp, at midnight, that an offset gives to each period of its base frequency."""
    ends = isinstance(offset, pd.offsets.Week) or re.match(r"\d*B?[MQY]E", offset.freqstr)
    stamps = periods.end_time.normalize() if ends else periods.start_time
    if re.match(r"\d*B[MQY][SE]", offset.freqstr):
        move = offset.base.rollback if ends else offset.base.rollforward
        stamps = pd.DatetimeIndex([move(stamp) for stamp in stamps])
    return stamps


def most_common(values: np.ndarray) -> int:
    """The most common value; the first one among equals."""
    unique, first, counts = np.unique(values, return_index=True, return_counts=True)
    return int(unique[np.lexsort((first, -counts))[0]])
