"""Draws paths of an exported model with numpy and onnxruntime alone.

This file, those named in ``BESIDE`` and an exported folder are all that is needed: nothing of
timediff is imported, and no torch. ``timediff.export_onnx`` puts the files into the folder.

>>> from runner import Runner
>>> paths = Runner("folder").predict(values, "2024-03-01T00:00", num_samples=100, seed=0)
"""

import importlib.util
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 5  # of the manifest
# files that lie beside this one
BESIDE = ("runner_graphs", "runner_parts", "runner_features", "history", "widths")
LIMIT = 10.0  # standardised residuals are cut off here
MOST_ITERATIONS = 100  # in which missing innovations are found
POSITIONS = 2**16  # paths × series drawn at a time

Arrays = dict[str, np.ndarray]
Noise = Callable[[], np.ndarray]


class Runner:
    """An exported model.

    Args:
        folder: that ``timediff.export_onnx`` or ``export_programs`` wrote.
        options: of ``onnxruntime.InferenceSession``, such as ``providers``.

    Raises:
        ValueError: the folder holds no exported model, or one of another format.
    """

    def __init__(self, folder: str | Path, **options: Any):
        self.folder = Path(folder)
        try:
            self.manifest = json.loads((self.folder / "manifest.json").read_text())
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder} holds no readable exported model: {error}") from error
        found = self.manifest.get("format")
        if found != FORMAT:
            raise ValueError(f"{folder} has format {found}, this runner reads {FORMAT}")
        m = self.manifest
        self.dim, self.horizon = m["target_dim"], m["prediction_length"]
        self.context = m["context_length"]
        self.first = self.context + self.horizon * m["window"]["before"]  # steps before the horizon
        with np.load(self.folder / "constants.npz") as file:
            self.constants: Arrays = dict(file)
        widths = [name for name in self.constants if name.startswith("widths_")]
        self.widths = {name[7:]: self.constants.pop(name) for name in widths}
        load = _graphs.onnx if m["runtime"] == "onnx" else _graphs.program
        self.graphs = {
            name: load(self.folder / graph["file"], graph["inputs"], options)
            for name, graph in m["graphs"].items()
        }

    def predict(
        self,
        values: np.ndarray,
        start: Any,
        num_samples: int = 100,
        seed: int = 0,
        position: int = 0,
        calibrated: bool | None = None,
        **features: Any,
    ) -> np.ndarray:
        """Joint paths of the steps after the end of a history.

        Args:
            values: ``(T, D)``, NaN where missing; series in the order of ``manifest["columns"]``.
            start: time of the first row, anything that ``numpy.datetime64`` takes; by the clock
                that the model counts in: UTC for zoned stamps of less than a day, else local. Of a
                model of a calendar that is closed at times, such as custom business days, the
                local times ``(T + P,)`` of all rows and of the steps to forecast.
            num_samples: S.
            seed: the same as in timediff gives the same paths, up to rounding.
            position: of the entry in its dataset; 0 for a single one.
            calibrated: whether the paths are recalibrated; if None, they are if the forecaster was
                when it was exported.
            features: those that the model was trained with, in the order of
                ``manifest["features"]``, with the axis D where each series has its own:
                ``known=(T + P, F)`` or ``(T + P, D, F)``, known ahead; ``past=(T, F)`` or
                ``(T, D, F)``, of the past only; ``real=(F,)`` or ``(D, F)``, numbers that do not
                change; ``category=(F,)`` or ``(D, F)``, labels that do not. NaN where a known one
                is missing in the past, or one of the past.

        Returns:
            ``(S, P, D)``, in the units of the data.

        Raises:
            ValueError: the values do not fit the model, or a feature does not, or is missing.
        """
        window = self.window(values, start, **features)
        return self.sample(window, num_samples, seed, position, calibrated=calibrated)

    def sample(
        self,
        window: Arrays,
        num_samples: int = 100,
        seed: int = 0,
        position: int = 0,
        noise: np.ndarray | None = None,
        calibrated: bool | None = None,
    ) -> np.ndarray:
        """Joint paths of a window that is given; see :meth:`window`.

        Args:
            window: its arrays.
            num_samples: S.
            seed: see :meth:`predict`.
            position: see :meth:`predict`.
            noise: standard normal ``(S, calls, D)`` in place of the seed.
            calibrated: see :meth:`predict`.

        Raises:
            ValueError: the paths cannot be recalibrated: the forecaster was not.
        """
        if calibrated and not self.widths:
            raise ValueError("the forecaster was not calibrated: calibrate() it, then export it")
        own = int(np.random.SeedSequence([seed, position]).generate_state(1, np.uint64)[0] >> 1)
        past = self._read_residuals(window) if self.is_residual else self._read_levels(window)
        draw = self._draw_residuals if self.is_residual else self._draw_levels
        size, parts = max(1, POSITIONS // self.dim), []
        for first in range(0, num_samples, size):
            paths = np.arange(first, min(first + size, num_samples))
            source: Noise = _parts.PathNoise(own, paths, self.dim)
            if noise is not None:
                calls = iter(noise[paths].swapaxes(0, 1).astype(np.float32))
                source = calls.__next__
            parts.append(draw(past, len(paths), source))
        paths, shift = self._finish(np.concatenate(parts), window), window["shift"]
        kind = np.float64 if np.nan_to_num(shift).any() else paths.dtype
        paths = paths + shift.astype(kind) if np.any(shift != 0) else paths
        if calibrated is False or not self.widths:
            return paths
        mapped: np.ndarray = _widths.mapped(paths, **self.widths)
        return mapped

    @property
    def is_residual(self) -> bool:
        """Whether the model has a prior, else it is TimeGrad as published."""
        return self.manifest["network"] == "residual"

    # -- the window --------------------------------------------------------------------------

    def window(self, values: np.ndarray, start: Any, **features: Any) -> Arrays:
        """What the model reads of a history; ``timediff.export.windows`` makes the same.

        Args:
            values: see :meth:`predict`.
            start: see :meth:`predict`.
            features: see :meth:`predict`.

        Returns:
            ``target, observed, calendar, floor, whole, shift``; and ``lags, loc, scale``, or with a
            prior ``recent, seasonal, profile, past, unit, change, deviation``. Of features ``real``
            and ``category``, and with a prior ``known_recent, known_seasonal, known_profile,
            known_past, known_horizon, past_recent``; what changes is in ``calendar``, too.
        """
        exact = np.asarray(values)
        exact = exact if exact.dtype == np.float32 else exact.astype(np.float64)
        if exact.ndim != 2 or exact.shape[1] != self.dim:
            raise ValueError(f"values have the shape {exact.shape}, expected (time, {self.dim})")
        offset = _history.offsets(exact) if self.is_residual else None
        offset = np.zeros(self.dim) if offset is None else offset
        x = (exact - offset.astype(exact.dtype)).astype(np.float32)
        if np.isinf(x).any() or np.isnan(x).all():
            raise ValueError("a value is infinite, or there is no observation at all")
        m, c, p = self.manifest["window"], self.first, self.horizon
        given = _features.read(features, self.manifest["features"], self.dim, len(x), p)
        skipped = max(0, len(x) - m["reach"])
        length = m["pad"] + len(x) - skipped + p
        padded = np.pad(x, ((m["pad"], p), (0, 0)), constant_values=np.nan)
        filled = _history.fill_gaps(padded, m["season"], length)
        observed = ~np.isnan(padded[-length:])
        steps = np.arange(length - p - c, length)
        stamps = _parts.calendar(
            start, np.arange(len(x) - c, len(x) + p), self.manifest["calendar"]
        )
        tables = {
            kind: _history.fill_features(given[kind], m["pad"], m["pad"] + len(x) + p)
            for kind in ("known", "past")
            if kind in given
        }
        kept = {kind: table[skipped:] for kind, table in tables.items()}
        stamps = [stamps, _features.joint(kept, steps, length - p, self.is_residual)]
        window = {"target": filled[steps], "observed": observed[steps]}
        window["calendar"] = np.concatenate(stamps, axis=1)
        for kind in ("real", "category"):
            if kind in given:
                window[kind] = np.broadcast_to(given[kind], (self.dim, given[kind].shape[1]))
        zero = (0.0 - offset).astype("f4")
        window["floor"] = np.where((x < zero).any(0), -np.inf, zero)
        window["shift"] = np.where(np.isnan(x).all(0), np.nan, offset)
        window["whole"] = ((x == x.round()) | np.isnan(x)).all(0)
        if self.is_residual:
            if "known" in tables:
                kept |= self._feature_means(tables["known"], len(x))
            return window | self._pasts(x, filled, kept)
        whole = m["scale_window"] == "series"
        known = x if whole else np.where(window["observed"], window["target"], np.nan)[:c]
        loc, scale = _parts.scaling(m["scaling"], known)
        return window | {
            "lags": filled[steps[:, None] - np.array(m["lags"], int)],
            "loc": loc,
            "scale": scale,
        }

    def _feature_means(self, known: np.ndarray, length: int) -> Arrays:
        """Long means of what is known ahead, from the first origin on; see ``FeatureStore``."""
        own = known.shape[1:]
        past = known[self.manifest["window"]["pad"] :][:length].reshape(length, -1)
        mean, profile = self._long_means(past)
        return {
            "mean": mean.reshape(-1, *own),
            "profile": profile.reshape(len(profile), *own, profile.shape[2]),
        }

    def _long_means(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = self.horizon
        spec = types.SimpleNamespace(**self.manifest["window"], prediction_length=p)
        means: tuple[np.ndarray, np.ndarray] = _history.long_means(x, spec, len(x) - self.first, p)
        return means

    def _pasts(self, x: np.ndarray, filled: np.ndarray, features: Arrays) -> Arrays:
        """What the prior reads, for every block of one horizon and every series."""
        m, p, length = self.manifest["window"], self.horizon, len(filled)
        past, profile = self._long_means(x)
        origin = np.arange(length - p - self.first, length - p + 1, p)
        horizon = origin[:, None] + np.arange(p)
        recent = filled[origin[:, None] + np.arange(-m["lookback"], 0)]
        seasonal = filled[horizon[..., None] - np.array(m["seasonal"], int)]  # [n, p, a, d]
        unit, change, deviation = _parts.units(x, p, m["seasonal"])
        return {
            "recent": recent.transpose(0, 2, 1),
            "seasonal": seasonal.transpose(0, 3, 1, 2),
            "profile": profile[horizon - origin[0]].swapaxes(1, 2),
            "past": past[origin - origin[0]],
            "unit": unit,
            "change": change,
            "deviation": deviation,
            **_features.pasts(features, origin, m, self.dim, p),
        }

    # -- a prior, and the diffusion of what it leaves open -------------------------------------

    def _read_residuals(self, window: Arrays) -> Arrays:
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
        rows |= {name: flat(window[name]) for name in _features.PASTS if name in window}
        if "known_horizon" in rows:
            stamps = np.concatenate([stamps, _features.soften(rows["known_horizon"])], axis=-1)
        rows |= {name: np.tile(window[own], blocks) for name, own in names.items()}
        for name in ("real", "category"):
            if name in window:
                rows[name] = np.tile(window[name], (blocks, 1))
        rows |= {"past": window["past"].ravel(), "calendar": stamps, "series": series}
        loc, scale = self.graphs["prior"](rows)
        (contexts,) = self.graphs["context"]({"series": series, "calendar": stamps})
        observed, target = by_row(window["observed"][:-p]), by_row(window["target"][:-p])
        z = self._residual(target, observed, loc[:-d], scale[:-d])
        if self.first > c:  # common factors
            standing = _parts.standing(rows, self.manifest["window"]["level"])
            loc, scale = self._shifted(z, observed, standing[d:], loc, scale)
            z = self._residual(target, observed, loc[:-d], scale[:-d])
        within = slice(len(loc) - (c // p + 1) * d, -d)  # the rows of the context
        z, observed = z[within.start :], observed[within.start :]
        rows = {"z": z, "seen": observed, "context_rows": contexts[within]}
        mu, sigma = self.graphs["filter"]({k: v.astype("f4") for k, v in rows.items()})
        e = by_window(np.where(observed, (z - mu) / sigma, 0.0).astype("f4"))
        seen = window["observed"][-p - c : -p]
        whole = self._complete(e, seen) / self.constants["deviation"]
        w = self._times(whole, -0.5).astype("f4")
        before = np.concatenate([np.zeros_like(w[:1]), w[:-1]])
        position = np.tile(self.constants["position"], (c // p, 1))
        u = np.concatenate([window["calendar"][-p - c : -p], before, position], axis=1)
        state = self._read(u)
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
        x = _features.soften(x).astype("f4")
        shift = (x - k["factor_mean"]) @ k["loadings"] @ k["effects"].reshape(-1, p * d)
        shift = shift.reshape(-1, p, d).swapaxes(1, 2).reshape(-1, p)
        ratio = np.tile(k["ratio"].T, (len(shift) // d, 1))
        loc, scale = loc.copy(), scale.copy()
        loc[d:] += scale[d:] * shift
        scale[d:] *= ratio
        return loc, scale

    def _draw_residuals(self, past: Arrays, n: int, noise: Noise) -> np.ndarray:
        """``n`` paths; see ``ResidualNetwork.advance`` of timediff."""
        k, drawn = self.constants, []
        state, w = self._repeat(past, n), np.tile(past["w"], (n, 1))
        back = np.zeros((n, self.dim, self._order), np.float32)  # the latest first
        for j in range(self.horizon):
            same = np.concatenate([past["calendar"][j], k["position"][j]])
            f = len(past["calendar"][j])
            u = np.concatenate([np.tile(same[:f], (n, 1)), w, np.tile(same[f:], (n, 1))], axis=1)
            h, *state = self._encode(u, state)
            w = self._chain(h, noise).clip(k["low"], k["high"])
            e = self._times(w, 0.5, drawn=True) * k["deviation"]
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
        loc, scale = self.graphs["dynamics"](inputs)
        return loc.reshape(shape), scale.reshape(shape)

    def _times(self, x: np.ndarray, power: float, drawn: bool = False) -> np.ndarray:
        """Times a power of the correlations of the innovations; see ``Whitening`` of timediff."""
        k = self.constants
        rest, values = k["rest"] ** np.float32(power), k["values"] ** np.float32(power)
        if drawn:
            values = values * k["widths"] ** np.float32(2 * power)
        return x * rest + (x @ k["vectors"] * (values - rest)) @ k["vectors"].T

    def _complete(self, e: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Missing innovations by their conditional mean, by conjugate gradients."""
        gaps = ~observed.all(-1)
        if not gaps.any():
            return e
        missing, deviation = ~observed[gaps], self.constants["deviation"]

        def times(x: np.ndarray) -> np.ndarray:
            """The precision of the missing times x."""
            return np.where(missing, self._times(x / deviation, -1.0) / deviation, 0.0)

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

    # -- the diffusion of scaled values --------------------------------------------------------

    def _read_levels(self, window: Arrays) -> Arrays:
        """Lags and scale of the horizon, and the moments that the chain starts from."""
        c, loc, scale = self.context, window["loc"], window["scale"]
        lags = ((window["lags"] - loc) / scale).astype("f4")
        seen = window["observed"][:c]
        x = np.where(seen, (window["target"][:c] - loc) / scale, 0.0)
        stamps = window["calendar"]
        if "static" in self.graphs:
            (static,) = self.graphs["static"](window)
            stamps = np.concatenate([stamps, np.tile(static.ravel(), (len(stamps), 1))], axis=1)
        state = self._read(self._level_inputs(lags[:c], stamps[:c]))
        count = seen.sum(0).clip(min=1)
        mean = x.sum(0) / count
        past = {"calendar": stamps[c:], "lags": lags[c:], "loc": loc, "scale": scale}
        past |= {f"state{i}": part for i, part in enumerate(state)}
        if self.manifest["start"] == "standard":
            return past
        variance = (np.where(seen, x - mean, 0.0) ** 2).sum(0) / count
        return past | {"mean": mean.astype("f4"), "variance": variance.astype("f4")}

    def _level_inputs(self, lags: np.ndarray, stamps: np.ndarray) -> np.ndarray:
        own = np.tile(self.constants["embedding"].ravel(), (len(lags), 1))
        return np.concatenate([stamps, lags.reshape(len(lags), -1), own], axis=1)

    def _draw_levels(self, past: Arrays, n: int, noise: Noise) -> np.ndarray:
        """``n`` paths; see ``LevelNetwork.advance`` of timediff."""
        state = self._repeat(past, n)
        drawn: list[np.ndarray] = []
        for j in range(self.horizon):
            lags = np.tile(past["lags"][j], (n, 1, 1))
            for i, lag in enumerate(self.manifest["window"]["lags"]):
                if lag <= j:  # it falls into the horizon: it is the path's own value
                    lags[:, i] = drawn[j - lag]
            u = self._level_inputs(lags, np.tile(past["calendar"][j], (n, 1)))
            h, *state = self._encode(u, state)
            x = self._chain(h, noise, past.get("mean", 0.0), past.get("variance", 1.0))
            drawn.append(x.clip(self.constants["low"], self.constants["high"]))
        return past["loc"] + past["scale"] * np.stack(drawn, axis=1)

    # -- what both have ------------------------------------------------------------------------

    def _read(self, u: np.ndarray) -> list[np.ndarray]:
        """The state of the RNN after these inputs ``[t, u]``."""
        layers, width = self.manifest["state"]["shape"]
        state = [np.zeros((layers, 1, width), np.float32)] * self.manifest["state"]["number"]
        for step in u:
            _, *state = self._encode(step[None], state)
        return state

    def _repeat(self, past: Arrays, n: int) -> list[np.ndarray]:
        number = self.manifest["state"]["number"]
        return [past[f"state{i}"].repeat(n, axis=1) for i in range(number)]

    def _encode(self, u: np.ndarray, state: list[np.ndarray]) -> list[np.ndarray]:
        """Conditions ``[b, h]`` of a step, and the state after it."""
        inputs = {"u": u} | {f"state{i}": part for i, part in enumerate(state)}
        return self.graphs["encoder"](inputs)

    def _chain(self, h: np.ndarray, noise: Noise, mean: Any = 0.0, variance: Any = 1.0) -> Any:
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

    def _finish(self, paths: np.ndarray, window: Arrays) -> np.ndarray:
        """Counts as whole numbers, and what is never negative at 0 or above."""
        if not self.manifest["finish"]:
            return paths
        whole = window["whole"] & self.constants["whole"]
        paths = np.where(whole, paths.round(), paths)
        return paths.clip(min=np.minimum(window["floor"], self.constants["floor"]))


def _beside(name: str) -> Any:
    """The module in the file beside this one, wherever both were copied."""
    file = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_runner_{name}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ImportError(f"{file} is missing: copy it along with {Path(__file__).name}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_graphs, _parts, _features, _history, _widths = map(_beside, BESIDE)
