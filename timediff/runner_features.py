"""Features of an exported model: what the runner is given, and what the model reads of it.

With numpy alone; see ``runner.py``, beside which this lies.
"""

from typing import Any

import numpy as np

KINDS = ("known", "past", "real", "category")

Arrays = dict[str, np.ndarray]


def read(
    given: dict[str, Any], rules: dict[str, Any], dim: int, length: int, horizon: int
) -> Arrays:
    """Features by kind, standardised, with an axis of series: ``(T, w, k)``, or ``(w, k)``.

    Args:
        given: see ``Runner.predict``.
        rules: what the model was trained with, of each kind, from the manifest.
        dim: D.
        length: T.
        horizon: P.

    Raises:
        ValueError: features are missing, or not those of the model.
    """
    steps = {"known": (length + horizon,), "past": (length,)}
    shapes = {
        kind: (*steps.get(kind, ()), *(dim,) * rules[kind]["own"], rules[kind]["size"])
        for kind in KINDS
        if rules and rules[kind]["size"]
    }
    there = [kind for kind, value in given.items() if value is not None]
    unknown = [kind for kind in there if kind not in shapes]
    if unknown:
        reads = ", ".join(shapes) or "no features"
        raise ValueError(f"the model knows no features {unknown[0]!r}: it reads {reads}")
    wanted = {kind: f"{kind} of the shape {shape}" for kind, shape in shapes.items()}
    wanted |= {k: f"{text}, {n}" for k, text in wanted.items() if (n := rules[k]["names"])}
    missing = [text for kind, text in wanted.items() if kind not in there]
    if missing:
        raise ValueError(f"the model reads features: give {'; '.join(missing)}")
    found = {}
    for kind, shape in shapes.items():
        x = np.asarray(given[kind], object if kind == "category" else float)
        x = x[: shape[0]] if kind in steps and x.ndim else x  # a past, or more than the horizon
        if x.shape != shape:
            raise ValueError(f"{kind} has the shape {np.shape(given[kind])}: give {wanted[kind]}")
        x = x if rules[kind]["own"] else x[..., None, :]
        if kind == "category":
            found[kind] = _codes(x, rules[kind]["labels"])
            continue
        with np.errstate(over="ignore"):
            single = x.astype(np.float32)
        bad = np.isinf(single) if kind in steps else ~np.isfinite(single)
        if kind == "known":  # the horizon
            bad[length:] |= np.isnan(x[length:])
        if bad.any():
            place = tuple(map(int, np.argwhere(bad)[0]))
            raise ValueError(
                f"{kind} is {x[place]} at {place[: len(steps.get(kind, ()))] or place}: "
                "only of the past may a feature be NaN where it is missing"
            )
        loc, scale = np.array(rules[kind]["loc"]), np.array(rules[kind]["scale"])
        found[kind] = ((x - loc) / scale).astype(np.float32)
    return found


def _codes(labels: np.ndarray, known: list[list[Any]]) -> np.ndarray:
    """Numbers of the categories, ``(w, c)``."""
    for row in labels:
        for label, own in zip(row, known, strict=True):
            if label not in own:
                raise ValueError(f"the category {label!r} was not in the training data: {own}")
    rows = [[own.index(x) for x, own in zip(row, known, strict=True)] for row in labels]
    return np.array(rows)


def soften(x: np.ndarray) -> np.ndarray:
    """The identity near 0, a square root far from it."""
    return x / np.sqrt(1 + np.abs(x))


def joint(tables: Arrays, steps: np.ndarray, origin: int, mean: bool) -> np.ndarray:
    """What the RNN reads of features beside the calendar, ``(t, f)``.

    Args:
        tables: ``known`` and ``past``, gaps filled, from the first step on that is kept.
        steps: of the window.
        origin: the first of the horizon.
        mean: of what is known, over the series, and nothing else: there is a prior.
    """
    parts = []
    if "known" in tables:
        known = tables["known"][steps]
        parts.append(known.mean(1) if mean else known.reshape(len(steps), -1))
    if "past" in tables and not mean:
        latest = tables["past"][np.minimum(steps, origin) - 1]
        parts.append(latest.reshape(len(steps), -1))
    return soften(np.concatenate([np.zeros((len(steps), 0), "f4"), *parts], axis=1))


def pasts(
    tables: Arrays, origins: np.ndarray, rule: dict[str, Any], dim: int, horizon: int
) -> Arrays:
    """What the prior reads of features, for every block of one horizon and every series.

    Args:
        tables: as in :func:`joint`; besides, from the first origin on, ``mean (t, w, k)`` of what
            is known and ``profile (t, w, k, s)``.
        origins: of the blocks, ``(n,)``.
        rule: the window, from the manifest.
        dim: D.
        horizon: P.

    Returns:
        Arrays ``(n, D, ...)``.
    """
    recent = origins[:, None] + np.arange(-rule["lookback"], 0)
    steps = origins[:, None] + np.arange(horizon)
    found = {}
    if "known" in tables:
        known, first = tables["known"], origins[0]
        seasonal = steps[..., None] - np.array(rule["seasonal"], int)
        found = {
            "known_recent": known[recent],
            "known_seasonal": known[seasonal],
            "known_profile": np.moveaxis(tables["profile"][steps - first], -1, 2),
            "known_past": tables["mean"][origins - first],
            "known_horizon": known[steps],
        }
    if "past" in tables:
        found["past_recent"] = tables["past"][recent[:, -rule["feature_steps"] :]]
    found = {name: np.moveaxis(x, -2, 1) for name, x in found.items()}
    return {n: np.broadcast_to(x, (len(x), dim, *x.shape[2:])) for n, x in found.items()}
