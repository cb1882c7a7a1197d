"""Frequencies: from the timestamps of a table to the periods GluonTS counts in, and back.

pandas has two alphabets. Offsets (``ME``, ``QS-OCT``, ``h``) say which timestamps exist; periods
(``M``, ``Q-SEP``, ``h``) number spans of time. Tables come in the first, GluonTS wants the second.
Everything that knows about both is here, so that a forecast can be stamped the way its table was.
Offsets without a period are counted by their open steps, see ``_calendars``.
"""

import contextlib
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from timediff._calendars import Calendar, calendar_of, check_multiple, describe, named
from timediff.errors import DataError, OptionError

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAY = pd.Timedelta(days=1)
_SHORT, _LAST_DAY = 28 * _DAY, 30 * _DAY  # the shortest month; after the 30th comes its end
_TICKS = {"H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns"}
# Mode of the steps in days -> the calendar frequencies that have such steps.
_CALENDAR = (
    (13, 17, ["SMS", "SME"]),
    (26, 35, ["MS", "ME", "BMS", "BME"]),
    (88, 95, [f"{kind}-{month}" for kind in ("QS", "QE", "BQS", "BQE") for month in _MONTHS[-3:]]),
    (363, 368, [f"{kind}-{month}" for kind in ("YS", "YE", "BYS", "BYE") for month in _MONTHS]),
)


def period(value: Any, freq: str) -> pd.Period:
    """``pd.Period``, without pandas' warning on business days: GluonTS has nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return pd.Period(value, freq=freq)


def period_alias(freq: str) -> str:
    """The period frequency in which a series of this frequency is counted: ``ME`` → ``M``.

    Raises:
        OptionError: pandas does not know ``freq``.
    """
    calendar = calendar_of(freq)
    return _period_alias(_offsets(freq)[0]) if calendar is None else calendar.period


def text_of(freq: str | pd.offsets.BaseOffset) -> str:
    """A frequency as text: an alias as it is, an offset as ``_calendars.describe`` writes it.

    Raises:
        OptionError: an offset that cannot be counted.
    """
    return freq if isinstance(freq, str) else describe(freq)


def offset_of(freq: str) -> pd.offsets.BaseOffset:
    """The offset of pandas that a frequency means; of a bare period, that of the begins.

    Raises:
        OptionError: ``freq`` is no frequency.
    """
    calendar = calendar_of(freq)
    return _offsets(freq)[0] if calendar is None else calendar.offset


def frequency(entry: Mapping[str, Any]) -> str:
    """The frequency by which the table of an entry was read."""
    return str((entry.get("info") or {}).get("freq", entry["start"].freqstr))


def model_frequency(entry: Mapping[str, Any]) -> str:
    """The frequency of a model of an entry: its calendar, or what its periods are."""
    freq = frequency(entry)
    return entry["start"].freqstr if calendar_of(freq) is None else freq


def infer(stamps: pd.DatetimeIndex) -> str:
    """The frequency of sorted, unique timestamps, even where some are missing.

    ``pd.infer_freq`` first; it gives up at the first gap, so then the calendar frequency that has
    steps like the most common one and all of these timestamps, else that step itself.

    Raises:
        DataError: fewer than two timestamps.
    """
    if len(stamps) < 2:
        raise DataError(f"cannot infer a frequency from {len(stamps)} timestamp(s): give freq=")
    alias = pd.infer_freq(stamps) if len(stamps) > 2 else None
    if alias is not None and alias.startswith("WOM-4") and not _fits(stamps, alias):
        return f"LWOM-{alias[-3:]}"  # pandas takes the last week of a month for the fourth
    if alias is not None and alias != "bh":  # pandas does not look when the business opens
        return alias
    step = most_common_step(stamps)
    # months from some day on, such as the 15th, only where no usual day explains them
    candidates = [c for low, high, cs in _CALENDAR if low <= step.days <= high for c in cs]
    if step == 7 * _DAY:
        candidates = [f"W-{stamps[0].strftime('%a').upper()}"]
    elif step == _DAY and stamps[-1] - stamps[0] > 13 * _DAY:
        candidates = ["B"]  # two weekends went by without a single value
    if stamps[0].day > 1:
        candidates.sort(key=_begins_spans)
    for candidate in candidates:
        if _fits(stamps, candidate):
            return candidate
    return to_offset(step).freqstr


def business_hours(stamps: Any) -> tuple[str, int] | None:
    """How to write the opening hours of which timestamps have nearly every step; else None.

    Args:
        stamps: without a zone, sorted and unique.

    Returns:
        What to give as ``freq``, and how many steps are missing then.
    """
    if not isinstance(stamps, pd.DatetimeIndex):
        return None
    begin, end = (f"{hour % 24:02}:00" for hour in (stamps.hour.min(), stamps.hour.max() + 1))
    own = f"pd.offsets.BusinessHour(start={begin!r}, end={end!r})"
    for text, offset in (
        ("'bh'", pd.offsets.BusinessHour()),
        (own, pd.offsets.BusinessHour(start=begin, end=end)),
    ):
        with contextlib.suppress(DataError):
            missing = int(locate(stamps, describe(offset))[1][-1]) + 1 - len(stamps)
            if missing <= len(stamps) / 10:
                return text, missing
    return None


def _fits(stamps: pd.DatetimeIndex, freq: str) -> bool:
    """Whether all of these timestamps are on the grid of a frequency."""
    try:
        locate(stamps, freq)
    except DataError:
        return False
    return True


def most_common_step(stamps: pd.DatetimeIndex) -> pd.Timedelta:
    """The most common difference of neighbouring timestamps; the first one among equals."""
    return pd.Timedelta(_mode(np.diff(stamps.as_unit("ns").asi8)))


def of_years(numbers: pd.Series, freq: str | None) -> pd.DatetimeIndex | None:
    """The timestamps that a yearly frequency gives to years; None if it is none, or they."""
    yearly = pd.offsets.YearBegin | pd.offsets.YearEnd | pd.offsets.BYearBegin | pd.offsets.BYearEnd
    offset = None if freq is None or calendar_of(freq) is not None else _offsets(freq)[0].base
    values = numbers.to_numpy(dtype=float, na_value=np.nan)
    if not isinstance(offset, yearly) or not np.all((values % 1 == 0) & (abs(values - 1970) < 290)):
        return None
    begins = pd.to_datetime(values.astype(int).astype(str), format="%Y")
    return pd.DatetimeIndex([offset.rollforward(stamp) for stamp in begins])


def is_subdaily(freq: str) -> bool:
    """Whether the frequency is a fixed step shorter than a day (minutes, hours, ...)."""
    if calendar_of(freq) is not None:
        return False
    offset = _offsets(freq)[0]
    return isinstance(offset, pd.offsets.Tick) and pd.Timedelta(offset) < _DAY


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
        phase, n = pd.Timedelta(_mode(phases)), calendar.offset.n
        bad = phases != phase.value
        start = pd.Period(ordinal=int(ordinals[0]), freq=calendar.period)
        info = {"freq": calendar.text} | ({"phase": str(phase)} if phase else {})
    else:
        offset, ordinals, phases = _layout(index, freq)
        phase, n, alias = pd.Timedelta(_mode(phases)), offset.n, _period_alias(offset)
        most = _LAST_DAY if _begins_spans(offset.freqstr) else _DAY
        fits = isinstance(offset, pd.offsets.Tick) or pd.Timedelta(0) <= phase < most
        bad = phases != phase.value if fits else np.ones(len(index), bool)
        start = period(index[0], alias)
        if isinstance(offset, pd.offsets.Tick):
            phase = index[0] - start.start_time
        info = {"freq": offset.freqstr} | ({"phase": str(phase)} if phase else {})
    bad |= ordinals % n != _mode(ordinals % n)
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
    last = begins + pd.to_timedelta(begins.days_in_month - 1, unit="D") + phase % _DAY
    return stamps.where(stamps <= last, last)


def same_stamps(
    start: pd.Period, length: int, one: Mapping[str, Any], other: Mapping[str, Any]
) -> bool:
    """Whether two ways to stamp steps give these the same timestamps."""
    if one.get("phase") == other.get("phase"):
        return True
    return stamps_of(start, length, dict(one)).equals(stamps_of(start, length, dict(other)))


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


def _offsets(freq: str) -> list[pd.offsets.BaseOffset]:
    """The layouts a frequency may mean: one for an offset alias, several for a bare period."""
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(?:-([A-Z]{3}))?", freq)
    count, name, anchor = match.groups() if match else ("", "", None)
    names = [freq]
    if name in _TICKS:
        names = [count + _TICKS[name]]
    elif name in ("M", "Q", "Y", "A") and (anchor or "DEC") in _MONTHS:
        unit = "Y" if name == "A" else name
        end = anchor or "DEC"
        begin = _MONTHS[(_MONTHS.index(end) + 1) % 12]
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


def _period_alias(offset: pd.offsets.BaseOffset) -> str:
    match = re.fullmatch(r"(\d*)B?([MQY])([SE])(?:-([A-Z]{3}))?", offset.freqstr)
    alias = offset.freqstr
    if match:
        count, unit, kind, month = match.groups()
        if kind == "S" and month:  # the span ends in the month before the one it starts in
            month = _MONTHS[_MONTHS.index(month) - 1]
        if unit == "Q":  # the same quarters under their usual name: Q-DEC, not Q-MAR
            month = _MONTHS[9 + _MONTHS.index(month) % 3]
        alias = f"{count}{unit}" + (f"-{month}" if month else "")
    try:
        period("2000-01-03", alias)
    except ValueError as error:
        raise OptionError(
            f"frequency {offset.freqstr!r} has no period GluonTS could count in: use one of "
            "s, min, h, D, B, W, MS, ME, QS, QE, YS, YE or a multiple of it"
        ) from error
    return alias


def _layout(
    stamps: pd.DatetimeIndex, freq: str
) -> tuple[pd.offsets.BaseOffset, np.ndarray, np.ndarray]:
    """The offset, each timestamp's ordinal in its base frequency, its phase in nanoseconds."""
    layouts = []
    values = stamps.as_unit("ns").asi8
    for offset in _offsets(freq):
        if isinstance(offset, pd.offsets.Tick):
            # phases of a step, not of its unit: 15min data may run at :07, :22, ...
            phases = values % offset.nanos
            return offset, (values - phases) // offset.nanos * offset.n, phases
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            periods = stamps.to_period(_period_alias(offset.base))
            begins = _stamp(periods, offset)
            phases = values - begins.as_unit("ns").asi8
        if _begins_spans(offset.freqstr):
            phases = _in_long_months(phases, begins)
        layouts.append((offset, periods.asi8, phases))

    def explained(layout: tuple[Any, Any, np.ndarray]) -> tuple[int, int]:
        phases = layout[2]
        within = (phases >= 0) & (phases < _DAY.value)
        return int((phases == _mode(phases)).sum()), int(within.sum())

    # A bare period ("M") does not say where it is stamped: the layout that explains most does.
    return max(layouts, key=explained)


def _in_long_months(phases: np.ndarray, begins: pd.DatetimeIndex) -> np.ndarray:
    """Phases in nanoseconds where all months are long: the 28th of February is a 30th, too.

    That is so if the others are of the 29th or 30th; of the 31st they are ends of months.
    """
    days, time = np.divmod(phases, _DAY.value)
    most, last = days.max(), begins.days_in_month.to_numpy() - 1
    cut = (days == last) & (last < most) & (most < _LAST_DAY.days)
    return np.where(cut, most * _DAY.value + time, phases)


def _begins_spans(freq: str) -> bool:
    """Whether it stamps months, quarters or years with their first day."""
    return re.match(r"\d*[MQY]S", freq) is not None


def _stamp(periods: pd.PeriodIndex, offset: pd.offsets.BaseOffset) -> pd.DatetimeIndex:
    """The timestamp, at midnight, that an offset gives to each period of its base frequency."""
    ends = isinstance(offset, pd.offsets.Week) or re.match(r"\d*B?[MQY]E", offset.freqstr)
    stamps = periods.end_time.normalize() if ends else periods.start_time
    if re.match(r"\d*B[MQY][SE]", offset.freqstr):
        move = offset.base.rollback if ends else offset.base.rollforward
        stamps = pd.DatetimeIndex([move(stamp) for stamp in stamps])
    return stamps


def _mode(values: np.ndarray) -> int:
    unique, first, counts = np.unique(values, return_index=True, return_counts=True)
    return int(unique[np.lexsort((first, -counts))[0]])
