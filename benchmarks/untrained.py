"""Forecasters with random weights and data of any size, for what does not depend on either."""

from typing import Any

import numpy as np
import pandas as pd

from timediff.options import Options
from timediff.predictor import TimeGradPredictor
from timediff.splits import window_spec
from timediff.windows import build_network

FREQ = "h"


def untrained(
    preset: str, dim: int, horizon: int, history: int, device: str = "cpu"
) -> TimeGradPredictor:
    """A predictor of a preset as it is before training.

    Args:
        preset: its name.
        dim: D, the number of series.
        horizon: P, steps of a forecast.
        history: steps that would be there to train on, on which some sizes depend.
        device: where it draws.
    """
    options = Options.from_preset(preset)
    spec = window_spec(options, FREQ, horizon, history)
    network = build_network(options, spec, dim).eval().requires_grad_(False)
    return TimeGradPredictor(network, spec, device=device)


def entries(dim: int, history: int, windows: int, step: int) -> list[dict[str, Any]]:
    """Noisy daily seasons: as many entries, the last of this length, each longer by a step."""
    rng = np.random.default_rng(0)
    hours = np.arange(history, dtype=np.float32)
    phase = rng.uniform(0, 6, (dim, 1)).astype(np.float32)
    target = 5 + np.sin(np.float32(2 * np.pi / 24) * hours + phase)
    target += 0.1 * rng.standard_normal(target.shape, dtype=np.float32)
    start = pd.Period("2024-01-01 00:00", FREQ)
    ends = [history - step * k for k in reversed(range(windows))]
    return [{"start": start, "target": target[:, :end]} for end in ends]
