"""What a known law can do: simulate histories, and continue one as it would go on."""

from abc import ABC, abstractmethod

import numpy as np

from timediff.errors import DataError


class Law(ABC):
    r"""A law of D series, a level that repeats itself plus a scaled stationary process.

    .. math:: x_t = \ell_{t \bmod m} + s \odot y_t

    A new law is a subclass that writes the two abstract methods, which know only of y.

    Args:
        level: :math:`\ell`, ``(m, D)``: one row for a constant level, 24 for a daily profile.
        scale: s, ``(D,)``, in the units of x.
        memory: steps of history without which the next step's law is not known.
        name: for tables.
    """

    def __init__(self, level: np.ndarray, scale: np.ndarray, memory: int, name: str) -> None:
        self._level, self.scale = np.atleast_2d(level).astype(float), np.asarray(scale, float)
        self.memory, self.name = memory, name
        if self._level.ndim != 2 or self._level.shape[1:] != self.scale.shape:
            raise DataError(
                f"level must be (m, D) and scale (D,); got {self._level.shape}, {self.scale.shape}"
            )

    @property
    def num_series(self) -> int:
        """D."""
        return len(self.scale)

    @abstractmethod
    def _simulate(self, length: int, size: int, rng: np.random.Generator) -> np.ndarray:
        """Paths of y ``(size, length, D)``."""

    @abstractmethod
    def _continue(
        self, y: np.ndarray, steps: int, count: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Draws ``(count, steps, D)`` of what follows the history ``y`` ``(T, D)``."""

    def level(self, start: int | np.ndarray, steps: int) -> np.ndarray:
        """The level at ``steps`` times from each start on, ``(*start.shape, steps, D)``."""
        times = np.asarray(start)[..., None] + np.arange(steps)
        return self._level[times % len(self._level)]

    def simulate(
        self,
        length: int,
        rng: np.random.Generator,
        size: int = 1,
        start: int | np.ndarray = 0,
    ) -> np.ndarray:
        """Independent histories, ``(size, length, D)`` in float64.

        Args:
            length: T, steps of each.
            rng: source of all randomness.
            size: how many.
            start: time of their first step, one for all or one each; it sets the season's phase.
        """
        return self.level(start, length) + self.scale * self._simulate(length, size, rng)

    def sample(
        self, history: np.ndarray, steps: int, count: int, rng: np.random.Generator, start: int = 0
    ) -> np.ndarray:
        """Paths from the exact predictive law given a history, ``(count, steps, D)`` in float64.

        Args:
            history: ``(T, D)``, in the units of x, without gaps.
            steps: P, to forecast.
            count: S, paths.
            rng: source of all randomness.
            start: time of the history's first step.

        Raises:
            DataError: the history has another number of series, a gap, or is too short.
        """
        history = np.asarray(history, float)
        if history.ndim != 2 or history.shape[1] != self.num_series:
            raise DataError(f"the law has {self.num_series} series, the history {history.shape}")
        if len(history) < self.memory:
            raise DataError(f"the law needs {self.memory} steps of history; got {len(history)}")
        if not np.isfinite(history).all():
            step, series = np.argwhere(~np.isfinite(history))[0].tolist()
            raise DataError(
                f"step {step} of series {series} is missing: the law is exact only for complete "
                "histories"
            )
        y = (history - self.level(start, len(history))) / self.scale
        paths = self._continue(y, steps, count, rng)
        return self.level(start + len(history), steps) + self.scale * paths
