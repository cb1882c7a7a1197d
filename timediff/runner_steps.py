"""What every exported model does at a step: its RNN goes on, and a reverse chain draws.

With numpy alone; see ``runner.py``, beside which this lies.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Noise = Callable[[], np.ndarray]


class Steps:
    """The RNN and the chain of an exported model.

    Args:
        manifest: the model's.
        graphs: its networks.
    """

    def __init__(self, manifest: dict[str, Any], graphs: dict[str, Any]):
        self.manifest, self.graphs = manifest, graphs

    def read(self, u: np.ndarray) -> list[np.ndarray]:
        """The state of the RNN after these inputs ``[t, u]``."""
        layers, width = self.manifest["state"]["shape"]
        state = [np.zeros((layers, 1, width), np.float32)] * self.manifest["state"]["number"]
        for step in u:
            _, *state = self.encode(step[None], state)
        return state

    def repeat(self, past: Arrays, n: int) -> list[np.ndarray]:
        """The state that ``n`` paths start from."""
        number = self.manifest["state"]["number"]
        return [past[f"state{i}"].repeat(n, axis=1) for i in range(number)]

    def encode(self, u: np.ndarray, state: list[np.ndarray]) -> list[np.ndarray]:
        """Conditions ``[b, h]`` of a step, and the state after it."""
        inputs = {"u": u} | {f"state{i}": part for i, part in enumerate(state)}
        return self.graphs["encoder"](inputs)

    def chain(self, h: np.ndarray, noise: Noise, mean: Any = 0.0, variance: Any = 1.0) -> Any:
        """The reverse chain: sums of earlier vectors, noise, and what the network predicts."""
        conditions = self.graphs["condition"]({"h": h})  # of the denoiser, and of the variance
        chain = self.manifest["chain"]
        alpha, sigma = np.float32(chain["alpha"]), np.float32(chain["sigma"])
        spread = np.sqrt(alpha**2 * np.float32(variance) + sigma**2)
        known: dict[int, np.ndarray] = {0: np.float32(alpha * mean) + spread * noise()}
        for number, (kind, detail, last) in enumerate(chain["program"], start=1):
            if kind == "noise":
                known[number] = noise()
            elif kind == "sum":
                known[number] = sum(np.float32(weight) * known[i] for i, weight in detail)
            else:  # what a network says of a vector at a step: a prediction, or a variance
                i, k, *variances = detail
                inputs = {"x": known[i], "k": np.array([k]), "condition": conditions[0]}
                if kind == "learned":
                    inputs["condition"] = conditions[1]
                    (share,) = self.graphs["variance"](inputs)
                    small, large = np.float32(variances)
                    known[number] = np.sqrt(small ** (1 - share) * large**share) * noise()
                else:
                    (known[number],) = self.graphs["denoiser"](inputs)
            for i in last:  # not used any more
                del known[i]
        return known[len(chain["program"])]
