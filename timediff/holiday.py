"""Holidays as features that are known ahead."""

from typing import Any

import numpy as np
import pandas as pd

from timediff._arguments import check_options, whole
from timediff._frequency import is_subdaily, offset_of, text_of
from timediff._inferred import infer
from timediff.errors import DataError, OptionError


def holiday_features(
    index: pd.Index,
    country: str,
    subdivision: str | None = None,
    *,
    periods: int = 0,
    freq: str | pd.offsets.BaseOffset | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Whether the day of each step is a public holiday, the day before one, or the day after.

    Needs the package ``holidays`` (the extra ``holidays``).

    Args:
        index: timestamps of a table, or of any span: ``pd.date_range(start, end, freq=...)``. Time
            zones are kept; the day is the local one.
        country: code of a country as ISO 3166-1 has it, such as ``"DE"``.
        subdivision: code of a part of it, such as ``"BY"``.
        periods: so many steps more after the end of the index: the prediction length, to forecast.
        freq: of the steps, if the index does not have one and it cannot be told from its stamps: as
            :func:`timediff.from_wide` takes it.
        options: further arguments of ``holidays.country_holidays``, such as ``categories``.

    Returns:
        Columns ``holiday``, ``before_holiday`` and ``after_holiday`` of 0 and 1, as ``known=`` of
        :func:`timediff.from_wide` takes them.

    Raises:
        ImportError: the package is not installed.
        OptionError: no such country or subdivision, several of them, an unknown option, ``freq`` is
            no frequency, or steps longer than a day.
        DataError: the index holds no timestamps.

    Example:
        >>> from timediff import holiday_features
        >>> days = holiday_features(pd.date_range("2024-12-24", periods=4, freq="D"), "DE")
        >>> days["holiday"].tolist(), days["before_holiday"].tolist()
        ([0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0])
    """
    try:
        import holidays
    except ImportError as error:
        raise ImportError(
            "holiday_features needs the package holidays: pip install 'timediff[holidays]', or "
            "pip install holidays"
        ) from error
    if not isinstance(index, pd.DatetimeIndex | pd.PeriodIndex) or not len(index):
        raise DataError("the index holds no timestamps: set it with frame.set_index(...)")
    if "subdiv" in options:
        raise OptionError("subdiv is called subdivision here: give subdivision=")
    check_options(holidays.country_holidays, options, ("country", "subdiv", "years"))
    if not isinstance(country, str):
        raise OptionError(
            f"country is {country!r}: give one code; of several countries, join their tables "
            "(pd.concat(..., axis=1, keys=...))"
        )
    index = _longer(index, whole("periods", periods, 0), freq)
    stamps = index.to_timestamp() if isinstance(index, pd.PeriodIndex) else index
    days = stamps.tz_localize(None).normalize()
    years = range(days.min().year - 1, days.max().year + 2)
    try:
        found = holidays.country_holidays(country, subdiv=subdivision, years=years, **options)
    except (NotImplementedError, ValueError) as error:
        raise OptionError(
            f"no holidays are known of {country!r}, {subdivision!r}: {error}"
        ) from error
    dates = pd.DatetimeIndex(sorted(found))
    day = pd.Timedelta(days=1)
    columns = {"holiday": days, "before_holiday": days + day, "after_holiday": days - day}
    return pd.DataFrame(
        {name: moved.isin(dates).astype(np.float64) for name, moved in columns.items()}, index=index
    )


def _longer(
    index: pd.DatetimeIndex | pd.PeriodIndex, periods: int, given: Any
) -> pd.DatetimeIndex | pd.PeriodIndex:
    """The index with so many steps more after its end."""
    if isinstance(index, pd.PeriodIndex):
        offset = index.freq
        more = pd.period_range(index.max(), periods=periods + 1, freq=offset)[1:]
    else:
        freq = index.freq if given is None else text_of(given)
        if freq is None:
            freq = infer(_plain(index)) if len(index) > 1 else "D"
        offset = offset_of(freq) if isinstance(freq, str) else freq
        more = pd.date_range(index.max(), periods=periods + 1, freq=offset)
        more = more[more > index.max()][:periods]  # the last stamp may be none of the calendar
    if not _within_days(offset):
        raise OptionError(f"steps of {offset.freqstr!r} are longer than a day: a holiday is one")
    return index.append(more) if periods else index


def _within_days(offset: pd.offsets.BaseOffset) -> bool:
    """Whether a step is a day, open or not, or shorter."""
    if isinstance(offset, pd.offsets.BusinessHour):
        return True
    return is_subdaily(offset.freqstr) or offset.freqstr in ("D", "B", "C")


def _plain(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Sorted, without time zone, by the clock on the wall unless its steps are hours."""
    index = index.sort_values().unique()
    if index.tz is None:
        return index
    utc = index.tz_convert("UTC").tz_localize(None)
    hourly = pd.Series(utc).diff().median() < pd.Timedelta(hours=23)
    return utc if hourly else index.tz_localize(None)
