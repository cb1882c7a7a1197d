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
BESIDE = (
    "runner_graphs",
    "runner_parts",
    "runner_features",
    "runner_steps",
    "runner_residuals",
    "runner_levels",
    "history",
    "widths",
)
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
        # steps before the horizon
        self.first = m["context_length"] + self.horizon * m["window"]["before"]
        with np.load(self.folder / "constants.npz") as file:
            self.constants: Arrays = dict(file)
        widths = [name for name in self.constants if name.startswith("widths_")]
        self.widths = {name[7:]: self.constants.pop(name) for name in widths}
        load = _graphs.onnx if m["runtime"] == "onnx" else _graphs.program
        self.graphs = {
            name: load(self.folder / graph["file"], graph["inputs"], options)
            for name, graph in m["graphs"].items()
        }
        steps = _steps.Steps(m, self.graphs)
        self.network: Any = (
            _residuals.Residuals(m, self.constants, steps, _features.soften)
            if self.is_residual
            else _levels.Levels(m, self.constants, steps)
        )

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
        past = self.network.read(window)
        size, parts = max(1, POSITIONS // self.dim), []
        for first in range(0, num_samples, size):
            paths = np.arange(first, min(first + size, num_samples))
            source: Noise = _parts.PathNoise(own, paths, self.dim)
            if noise is not None:
                calls = iter(noise[paths].swapaxes(0, 1).astype(np.float32))
                source = calls.__next__
            parts.append(self.network.draw(past, len(paths), source))
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

    def _finish(self, paths: np.ndarray, window: Arrays) -> np.ndarray:
        """Counts as whole numbers, and what is never negative at 0 or above."""
        if not self.manifest["finish"]:
            return paths
        whole = window["whole"] & self.constants["whole"]
        paths = np.where(whole, paths.round() + 0.0, paths)  # no -0
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


_graphs, _parts, _features, _steps, _residuals, _levels, _history, _widths = map(_beside, BESIDE)
