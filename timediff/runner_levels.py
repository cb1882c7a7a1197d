"""How an exported model without a prior draws: the diffusion of scaled values.

With numpy alone; see ``runner.py``, beside which this lies.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from timediff.runner_steps import Steps

Arrays = dict[str, np.ndarray]
Noise = Callable[[], np.ndarray]


class Levels:
    """Reads a window, and draws its paths; see ``network/levels.py`` of timediff.

    Args:
        manifest: the model's.
        constants: arrays beside its graphs.
        steps: its RNN and its chain.
    """

    def __init__(self, manifest: dict[str, Any], constants: Arrays, steps: "Steps"):
        self.manifest, self.constants, self.steps = manifest, constants, steps

    def read(self, window: Arrays) -> Arrays:
        """Lags and scale of the horizon, and the moments that the chain starts from."""
        c, loc, scale = self.manifest["context_length"], window["loc"], window["scale"]
        lags = ((window["lags"] - loc) / scale).astype("f4")
        seen = window["observed"][:c]
        x = np.where(seen, (window["target"][:c] - loc) / scale, 0.0)
        stamps = window["calendar"]
        if "static" in self.steps.graphs:
            (static,) = self.steps.graphs["static"](window)
            stamps = np.concatenate([stamps, np.tile(static.ravel(), (len(stamps), 1))], axis=1)
        state = self.steps.read(self._inputs(lags[:c], stamps[:c]))
        count = seen.sum(0).clip(min=1)
        mean = x.sum(0) / count
        past = {"calendar": stamps[c:], "lags": lags[c:], "loc": loc, "scale": scale}
        past |= {f"state{i}": part for i, part in enumerate(state)}
        if self.manifest["start"] == "standard":
            return past
        variance = (np.where(seen, x - mean, 0.0) ** 2).sum(0) / count
        return past | {"mean": mean.astype("f4"), "variance": variance.astype("f4")}

    def _inputs(self, lags: np.ndarray, stamps: np.ndarray) -> np.ndarray:
        own = np.tile(self.constants["embedding"].ravel(), (len(lags), 1))
        return np.concatenate([stamps, lags.reshape(len(lags), -1), own], axis=1)

    def draw(self, past: Arrays, n: int, noise: Noise) -> np.ndarray:
        """``n`` paths; see ``LevelNetwork.advance`` of timediff."""
        state = self.steps.repeat(past, n)
        drawn: list[np.ndarray] = []
        for j in range(self.manifest["prediction_length"]):
            lags = np.tile(past["lags"][j], (n, 1, 1))
            for i, lag in enumerate(self.manifest["window"]["lags"]):
                if lag <= j:  # it falls into the horizon: it is the path's own value
                    lags[:, i] = drawn[j - lag]
            u = self._inputs(lags, np.tile(past["calendar"][j], (n, 1)))
            h, *state = self.steps.encode(u, state)
            x = self.steps.chain(h, noise, past.get("mean", 0.0), past.get("variance", 1.0))
            drawn.append(x.clip(self.constants["low"], self.constants["high"]))
        return past["loc"] + past["scale"] * np.stack(drawn, axis=1)
