"""Generated series that owe much to features: what a model with them has to beat one without."""

import numpy as np
import pandas as pd


def noise(length: int, dim: int, rng: np.random.Generator, phi: float = 0.7) -> np.ndarray:
    """``(D, T)``: an autoregression of order 1 whose innovations are correlated by 0.5."""
    e = np.sqrt(0.5) * (rng.standard_normal(length) + rng.standard_normal((dim, length)))
    x = np.zeros((dim, length))
    for t in range(1, length):
        x[:, t] = phi * x[:, t - 1] + e[:, t]
    return x


def season(length: int, dim: int) -> np.ndarray:
    """``(D, T)``: a day of 24 hours, a peak for each series."""
    return np.sin(2 * np.pi * (np.arange(length) + 3 * np.arange(dim)[:, None]) / 24)


def known_ahead(length: int, dim: int = 5, seed: int = 0, own: bool = False) -> dict:
    """A promotion of some hours now and then, and a temperature: both known ahead.

    The effects differ from series to series. With ``own`` so do the promotions.
    """
    rng = np.random.default_rng(seed)
    width = dim if own else 1
    promotion = np.zeros((width, length))
    for row in promotion:
        for start in rng.choice(length, length // 30, replace=False):
            row[start : start + rng.integers(2, 9)] = 1
    temperature = noise(length, width, rng, phi=0.95)
    temperature /= temperature.std()
    beta = rng.uniform(2, 6, (2, dim, 1)) * rng.choice([-1, 1], (2, dim, 1))
    y = 20 + 3 * season(length, dim) + beta[0] * promotion + beta[1] / 2 * temperature
    features = np.stack([promotion, temperature])
    return entry(y + 0.5 * noise(length, dim, rng), features if own else features[:, 0])


def leading(length: int, dim: int = 4, steps: int = 4, seed: int = 0) -> dict:
    """Noise known of the past only, which the series follow so many steps later."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(length + steps)
    beta = rng.uniform(1, 3, (dim, 1))
    y = 20 + season(length, dim) + beta * x[:length] + 0.3 * noise(length, dim, rng)
    return entry(y, past=x[None, steps:])


def by_kind(items: int, length: int, seed: int = 0) -> list[dict]:
    """Many short single series: what the promotion does, now and again, depends on the kind."""
    rng = np.random.default_rng(seed)
    entries = []
    for i in range(items):
        kind = i % 3
        promotion = (rng.random(length) < 0.1).astype(float)
        y = 20 + season(length, 1) + (-6, 0, 6)[kind] * promotion + 0.5 * noise(length, 1, rng)
        entries.append({**entry(y, promotion[None]), "feat_static_cat": np.array([kind])})
        entries[-1]["target"] = entries[-1]["target"][0]
    return entries


def entry(target: np.ndarray, known: np.ndarray | None = None, past: np.ndarray | None = None):
    """An entry with those of these features that are given."""
    made = {"start": pd.Period("2024-01-01", "h"), "target": target.astype(np.float32)}
    fields = {"feat_dynamic_real": known, "past_feat_dynamic_real": past}
    return made | {k: v.astype(np.float32) for k, v in fields.items() if v is not None}


def windows(data: dict, prediction_length: int, number: int) -> list[dict]:
    """The entry up to each of the last horizons, its features known over the horizon."""
    p, total = prediction_length, data["target"].shape[-1]
    cut = []
    for k in range(number, 0, -1):
        end = total - k * p
        stop = {"target": end, "past_feat_dynamic_real": end, "feat_dynamic_real": end + p}
        cut.append({k: v[..., : stop[k]] if k in stop else v for k, v in data.items()})
    return cut


def without(data: dict, *fields: str) -> dict:
    """The entry without these features, or without any."""
    fields = fields or ("feat_dynamic_real", "past_feat_dynamic_real", "feat_static_cat")
    return {k: v for k, v in data.items() if k not in fields}
