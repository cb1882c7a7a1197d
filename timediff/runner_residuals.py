"""How an exported model with a prior draws: the diffusion of what the prior leaves open.

With numpy alone; see ``runner.py``, beside which this lies.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from timediff.runner_steps import Steps

Arrays = dict[str, np.ndarray]
Noise = Callable[[], np.ndarray]

LIMIT = 10.0  # standardised residuals are cut off here
MOST_ITERATIONS = 100  # in which missing innovations are found
# of features, what a prior reads for each block of one horizon and each series
FEATURES = (
    "known_recent",
    "known_seasonal",
    "known_profile",
    "known_past",
    "known_horizon",
    "past_recent",
)


class Residuals:
    """Reads a window, and draws its paths; see ``network/residuals.py`` of timediff.

    Args:
        manifest: the model's.
        constants: arrays beside its graphs.
        steps: its RNN and its chain.
        soften: what features go through.
    """

    def __init__(
        self,
        manifest: dict[str, Any],
        constants: Arrays,
        steps: "Steps",
        soften: Callable[[np.ndarray], np.ndarray],
    ):
        self.manifest, self.constants, self.steps, self.soften = manifest, constants, steps, soften
        self.dim, self.horizon = manifest["target_dim"], manifest["prediction_length"]
        self.context = manifest["context_length"]
        self.first = self.context + self.horizon * manifest["window"]["before"]
        self.whitening = Whitening(constants)

    def read(self, window: Arrays) -> Arrays:
        """Location, scale, innovations before the horizon, and what the dynamics need of it."""
        c, d, p = self.context, self.dim, self.horizon
        blocks = self.first // p + 1

        def flat(x: np.ndarray) -> np.ndarray:
            return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])

        def by_row(x: np.ndarray) -> np.ndarray:
            """``[c, d]`` as rows of one horizon."""
            return flat(x.reshape(-1, p, d).swapaxes(1, 2))

        def by_window(x: np.ndarray) -> np.ndarray:
            return flat(x.reshape(-1, d, p).swapaxes(1, 2))

        stamps = window["calendar"][:, : 2 * len(self.manifest["calendar"]["fields"])]
        stamps = stamps.reshape(blocks, p, stamps.shape[1]).repeat(d, axis=0)
        series = np.tile(np.arange(d), blocks)
        names = {"unit": "unit", "change": "change", "scale": "deviation"}
        rows = {name: flat(window[name]) for name in ("recent", "seasonal", "profile")}
        rows |= {name: flat(window[name]) for name in FEATURES if name in window}
        if "known_horizon" in rows:
            stamps = np.concatenate([stamps, self.soften(rows["known_horizon"])], axis=-1)
        rows |= {name: np.tile(window[own], blocks) for name, own in names.items()}
        for name in ("real", "category"):
            if name in window:
                rows[name] = np.tile(window[name], (blocks, 1))
        rows |= {"past": window["past"].ravel(), "calendar": stamps, "series": series}
        loc, scale = self.steps.graphs["prior"](rows)
        (contexts,) = self.steps.graphs["context"]({"series": series, "calendar": stamps})
        observed, target = by_row(window["observed"][:-p]), by_row(window["target"][:-p])
        z = self._residual(target, observed, loc[:-d], scale[:-d])
        if self.first > c:  # common factors
            standing = standing_of(rows, self.manifest["window"]["level"])
            loc, scale = self._shifted(z, observed, standing[d:], loc, scale)
            z = self._residual(target, observed, loc[:-d], scale[:-d])
        within = slice(len(loc) - (c // p + 1) * d, -d)  # the rows of the context
        z, observed = z[within.start :], observed[within.start :]
        rows = {"z": z, "seen": observed, "context_rows": contexts[within]}
        mu, sigma = self.steps.graphs["filter"]({k: v.astype("f4") for k, v in rows.items()})
        e = by_window(np.where(observed, (z - mu) / sigma, 0.0).astype("f4"))
        seen = window["observed"][-p - c : -p]
        whole = self.whitening.complete(e, seen) / self.constants["deviation"]
        w = self.whitening.times(whole, -0.5).astype("f4")
        before = np.concatenate([np.zeros_like(w[:1]), w[:-1]])
        position = np.tile(self.constants["position"], (c // p, 1))
        u = np.concatenate([window["calendar"][-p - c : -p], before, position], axis=1)
        state = self.steps.read(u)
        return {f"state{i}": part for i, part in enumerate(state)} | {
            "calendar": window["calendar"][-p:],
            "loc": by_window(loc)[-p:],
            "scale": by_window(scale)[-p:],
            "w": w[-1],
            "contexts": contexts[-d:],
        }

    @staticmethod
    def _residual(
        target: np.ndarray, observed: np.ndarray, loc: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        return np.where(observed, (target - loc) / scale, 0.0).clip(-LIMIT, LIMIT)

    def _shifted(
        self,
        z: np.ndarray,
        observed: np.ndarray,
        standing: np.ndarray,
        loc: np.ndarray,
        scale: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Location and scale after what is known at the origin; see ``CommonFactors``."""
        k, d, p = self.constants, self.dim, self.horizon
        count = observed.cumsum(1)
        total = count[:, -1:]
        last = np.where(observed & (count == total), z, 0.0).sum(1)
        mean = z.sum(1) / total[:, 0].clip(min=1)
        x = np.concatenate([part.reshape(-1, d) for part in (last, mean)], axis=1)
        standing = standing.reshape(len(x), d, -1).swapaxes(1, 2).reshape(len(x), -1)
        x = np.concatenate([x, standing], axis=1)
        x = self.soften(x).astype("f4")
        shift = (x - k["factor_mean"]) @ k["loadings"] @ k["effects"].reshape(-1, p * d)
        shift = shift.reshape(-1, p, d).swapaxes(1, 2).reshape(-1, p)
        ratio = np.tile(k["ratio"].T, (len(shift) // d, 1))
        loc, scale = loc.copy(), scale.copy()
        loc[d:] += scale[d:] * shift
        scale[d:] *= ratio
        return loc, scale

    def draw(self, past: Arrays, n: int, noise: Noise) -> np.ndarray:
        """``n`` paths; see ``ResidualNetwork.advance`` of timediff."""
        k, drawn = self.constants, []
        state, w = self.steps.repeat(past, n), np.tile(past["w"], (n, 1))
        back = np.zeros((n, self.dim, self._order), np.float32)  # the latest first
        for j in range(self.horizon):
            same = np.concatenate([past["calendar"][j], k["position"][j]])
            f = len(past["calendar"][j])
            u = np.concatenate([np.tile(same[:f], (n, 1)), w, np.tile(same[f:], (n, 1))], axis=1)
            h, *state = self.steps.encode(u, state)
            w = self.steps.chain(h, noise).clip(k["low"], k["high"])
            e = self.whitening.times(w, 0.5, drawn=True) * k["deviation"]
            loc, scale = self._dynamics(back, past["contexts"][:, j], k["phi"][j], k["rho"][j])
            z = (loc + scale * e).clip(-LIMIT, LIMIT)
            back = np.concatenate([z[..., None], back[..., :-1]], axis=-1)
            drawn.append(past["loc"][j] + past["scale"][j] * z)
        return np.stack(drawn, axis=1)

    @property
    def _order(self) -> int:
        return self.constants["phi"].shape[1]

    def _dynamics(self, past: np.ndarray, *others: Any) -> tuple[np.ndarray, np.ndarray]:
        """Location and scale of the next residuals; the others broadcast to the past."""
        shape = past.shape[:-1]
        names, inner = ("context", "phi", "rho"), (1, 1, 0)
        inputs = {"past": past.reshape(-1, past.shape[-1])}
        for name, value, own in zip(names, others, inner, strict=True):
            tail = value.shape[value.ndim - own :]
            inputs[name] = np.broadcast_to(value, (*shape, *tail)).reshape(-1, *tail)
        loc, scale = self.steps.graphs["dynamics"](inputs)
        return loc.reshape(shape), scale.reshape(shape)


class Whitening:
    """What the innovations have in common; see ``network/whitening.py`` of timediff.

    Args:
        constants: see :class:`Residuals`.
    """

    def __init__(self, constants: Arrays):
        self.constants = constants

    def times(self, x: np.ndarray, power: float, drawn: bool = False) -> np.ndarray:
        """Times a power of the correlations of the innovations; see ``Whitening`` of timediff."""
        k = self.constants
        rest, values = k["rest"] ** np.float32(power), k["values"] ** np.float32(power)
        if drawn:
            values = values * k["widths"] ** np.float32(2 * power)
        return x * rest + (x @ k["vectors"] * (values - rest)) @ k["vectors"].T

    def complete(self, e: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Missing innovations by their conditional mean, by conjugate gradients."""
        gaps = ~observed.all(-1)
        if not gaps.any():
            return e
        missing, deviation = ~observed[gaps], self.constants["deviation"]

        def times(x: np.ndarray) -> np.ndarray:
            """The precision of the missing times x."""
            return np.where(missing, self.times(x / deviation, -1.0) / deviation, 0.0)

        def square(x: np.ndarray) -> np.ndarray:
            return (x**2).sum(-1, keepdims=True)

        residual = -times(np.where(missing, 0.0, e[gaps]))
        x, direction, size = np.zeros_like(residual), residual, square(residual)
        enough = 1e-10 * size.clip(min=1e-12)
        for _ in range(min(2 * e.shape[-1], MOST_ITERATIONS)):
            if (size <= enough).all():
                break
            image = times(direction)
            step = size / (direction * image).sum(-1, keepdims=True).clip(min=1e-30)
            x, residual = x + step * direction, residual - step * image
            before, size = size, square(residual)
            direction = residual + size / before.clip(min=1e-30) * direction
        completed = e.copy()
        completed[gaps] = np.where(missing, x, e[gaps])
        return completed


def standing_of(rows: dict[str, np.ndarray], level: int) -> np.ndarray:
    """Where single series stand, ``[r, 3]``; see ``network/factors.py`` of timediff."""
    recent = rows["recent"]
    last, mean = recent[:, -1], recent[:, -level:].mean(1)
    season = min(level, rows["profile"].shape[1]) - 1
    usual = rows["profile"][:, season, 0] if rows["profile"].shape[2] else mean
    found = [last - recent[:, -2:][:, 0], last - mean, last - usual]
    return np.stack(found, axis=1) / rows["unit"][:, None]
