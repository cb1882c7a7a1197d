"""The frequency that timestamps tell, where the caller gives none."""

import contextlib
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from timediff._calendars import describe
from timediff._frequency import DAY, MONTHS, begins_spans
from timediff._stamps import locate, most_common
from timediff.errors import DataError

# Mode of the steps in days -> the calendar frequencies that have such steps.
_CALENDAR = (
    (13, 17, ["SMS", "SME"]),
    (26, 35, ["MS", "ME", "BMS", "BME"]),
    (88, 95, [f"{kind}-{month}" for kind in ("QS", "QE", "BQS", "BQE") for month in MONTHS[-3:]]),
    (363, 368, [f"{kind}-{month}" for kind in ("YS", "YE", "BYS", "BYE") for month in MONTHS]),
)


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
    if step == 7 * DAY:
        candidates = [f"W-{stamps[0].strftime('%a').upper()}"]
    elif step in (DAY, 2 * DAY) and stamps[-1] - stamps[0] > 13 * DAY:
        candidates = ["B" if step == DAY else "2B"]  # two weekends went by without a single value
    if stamps[0].day > 1:
        candidates.sort(key=begins_spans)
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


def most_common_step(stamps: pd.DatetimeIndex) -> pd.Timedelta:
    """The most common difference of neighbouring timestamps; the first one among equals."""
    return pd.Timedelta(most_common(np.diff(stamps.as_unit("ns").asi8)))


def _fits(stamps: pd.DatetimeIndex, freq: str) -> bool:
    """Whether all of these timestamps are on the grid of a frequency."""
    try:
        locate(stamps, freq)
    except DataError:
        return False
    return True
