"""What the runner of an exported model computes as timediff does: noise, calendar, scales.

With numpy alone; see ``runner.py``, beside which this lies.
"""

from typing import Any

import numpy as np

WORD = 0xFFFFFFFF


class PathNoise:
    """timediff's noise by counter (Philox 4x32-10, Box and Muller): see its ``noise.py``.

    Args:
        seed: of the window.
        paths: number of each path.
        dim: length of the vectors.
    """

    def __init__(self, seed: int, paths: np.ndarray, dim: int):
        self.key = np.uint64(seed & WORD), np.uint64(seed >> 32)
        self.paths = paths.astype(np.uint64)[:, None]
        self.places = np.arange(-(-dim // 4), dtype=np.uint64)
        self.dim, self.calls = dim, 0

    def __call__(self) -> np.ndarray:
        """The next vector of each path, ``(n, D)``."""
        call = np.full_like(self.places, self.calls)
        self.calls += 1
        words = philox((self.places, call, self.paths, np.zeros_like(call)), self.key)
        a, b, c, d = (word.astype(np.float32) for word in words)
        normal = []
        for u, v in ((a, b), (c, d)):
            radius = np.sqrt(np.float32(-2.0) * np.log((u + np.float32(1.0)) * np.float32(2**-32)))
            angle = v * np.float32(2.0 * np.pi * 2**-32)
            normal += [radius * np.cos(angle), radius * np.sin(angle)]
        return np.concatenate(normal, axis=1)[:, : self.dim]


def philox(counter: tuple[Any, ...], key: tuple[Any, Any]) -> tuple[np.ndarray, ...]:
    """Four random 32-bit words for each counter of four words, as uint64."""
    (a, b, c, d), (k, m) = counter, key
    low, half = np.uint64(WORD), np.uint64(32)
    for _ in range(10):
        first, second = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, c = (second >> half) ^ b ^ k, (first >> half) ^ d ^ m
        b, d = second & low, first & low
        k, m = (k + np.uint64(0x9E3779B9)) & low, (m + np.uint64(0xBB67AE85)) & low
    return a, b, c, d


def _given(times: Any, steps: np.ndarray) -> np.ndarray:
    """The times of steps of a calendar that is closed at times."""
    stamps, needed = np.asarray(times, "M8[s]"), int(steps[-1]) + 1
    if stamps.shape != (needed,):
        raise ValueError(
            "the model counts the open steps of a calendar: give as start the times of all rows "
            f"and of the steps to forecast, {needed} in all, not {stamps.size}"
        )
    if steps[0] < 0:
        raise ValueError(
            "the model counts the open steps of a calendar and reads the times of its context: "
            f"give {-steps[0]} more rows and times before these, NaN where a value is missing"
        )
    return stamps[steps]


def _counted(start: Any, steps: np.ndarray, rule: dict[str, Any]) -> np.ndarray:
    """The times of steps of a frequency that has periods."""
    first, kind, anchor = np.datetime64(start, "s"), rule["kind"], rule["anchor"]
    moved = steps * rule["multiple"]
    if kind in ("M", "Q", "Y"):
        months = moved * {"M": 1, "Q": 3, "Y": 12}[kind]
        return (first.astype("M8[M]") + months).astype("M8[s]")
    if kind == "B":
        return np.busday_offset(first.astype("M8[D]"), moved, roll="forward").astype("M8[s]")
    if kind == "W":  # a week is named by its last day
        day = first.astype("M8[D]")
        day = day + (anchor - (int(day.astype(int)) + 3)) % 7
        return (day + 7 * moved).astype("M8[s]")
    unit = {"D": 86400, "h": 3600, "min": 60, "s": 1}[kind]
    return first + (moved * unit).astype("m8[s]")


def calendar(start: Any, steps: np.ndarray, rule: dict[str, Any]) -> np.ndarray:
    """Sines and cosines of the calendar fields, ``(len(steps), F)``.

    Args:
        start: time of step 0; of the kind ``"times"`` those of all steps up to the last.
        steps: numbers of the steps.
        rule: how steps are counted and which fields there are, from the manifest.
    """
    kind, anchor = rule["kind"], rule["anchor"]
    time = _given(start, steps) if kind == "times" else _counted(start, steps, rule)
    seconds, days, month = time.astype(int), time.astype("M8[D]"), time.astype("M8[M]").astype(int)
    weekday = (days.astype(int) + 3) % 7
    thursday = days + (3 - weekday)

    def day_of_year(day: np.ndarray) -> np.ndarray:
        return (day - day.astype("M8[Y]").astype("M8[D]")).astype(int) + 1

    fields = {
        "second": seconds % 60,
        "minute": seconds // 60 % 60,
        "hour": seconds // 3600 % 24,
        "dayofweek": weekday,
        "day": (days - days.astype("M8[M]").astype("M8[D]")).astype(int) + 1,
        "dayofyear": day_of_year(days),
        "weekofyear": (day_of_year(thursday) - 1) // 7 + 1,
        "month": month % 12 + 1,
        "quarter": (month - (anchor or 0)) % 12 // 3 + 1,
    }
    columns = []
    for name, period in rule["fields"].items():
        angle = 2 * np.pi * fields[name] / period
        columns += [np.sin(angle), np.cos(angle)]
    if not columns:
        return np.zeros((len(steps), 0), "f4")
    return np.stack(columns, axis=1).astype("f4")


def scaling(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is subtracted and divided by, of each series; see ``network/scaling.py`` of timediff."""
    nothing = np.zeros(x.shape[1], "f4")

    def mean(values: np.ndarray) -> np.ndarray:
        return np.nansum(values, 0) / (~np.isnan(values)).sum(0).clip(min=1)

    def positive(scale: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        return np.where(scale > 0, scale, np.where(otherwise > 0, otherwise, 1.0)).astype("f4")

    if name == "none":
        return nothing, nothing + 1
    if name == "mean":
        return nothing, positive(mean(np.abs(x)), nothing)
    loc = mean(x).astype("f4")
    deviation = np.sqrt(mean((x - loc) ** 2))
    deviation = np.where(deviation > 1e-6 * np.abs(loc), deviation, 0.0)
    scale = positive(deviation, np.abs(loc))
    if name == "standard":
        return loc, scale
    some = np.where(np.isnan(x).all(0), 0.0, x)
    low, loc, high = np.nanquantile(some, (0.25, 0.5, 0.75), axis=0)
    return loc.astype("f4"), positive((high - low) / 1.349, scale)


def units(x: np.ndarray, horizon: int, seasonal: list[int]) -> tuple[np.ndarray, ...]:
    """Unit, change and deviation of each series; see ``store.py`` of timediff."""
    deviation = scaling("standard", x)[1]

    def error(distance: int) -> np.ndarray:
        """Mean absolute change over so many steps; NaN where it is not known."""
        change = np.abs(x[distance:] - x[: len(x) - distance])
        known = (~np.isnan(change)).sum(0)
        mean = np.nansum(change, 0, dtype=np.float64) / known.clip(min=1)
        return np.maximum(np.where(known > 0, mean, np.nan), 1e-3 * deviation)

    change = error(1)
    simple = [(change + error(min(horizon, len(x) - 1))) / 2]
    simple += [error(distance) for distance in seasonal if distance < len(x)]
    unit = np.where(np.isnan(simple), np.inf, simple).min(0)
    unit, change = (np.where(np.isfinite(v), v, deviation) for v in (unit, change))
    return unit.astype("f4"), change.astype("f4"), deviation
