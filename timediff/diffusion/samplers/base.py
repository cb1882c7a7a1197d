r"""The loop of the reverse chain, from :math:`x_K` down to :math:`x_0`.

A sampler writes one method, ``step``: from step k to an earlier step j. Which steps are visited,
where the chain starts and where the noise comes from is decided here.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from timediff.diffusion.model import ConditionalDiffusion, Prediction
from timediff.errors import OptionError
from timediff.registry import Registry, unknown_name
from timediff.types import Float, Tensor

LEAST_SIGNAL = 0.05  # alpha, from which few steps of a network that predicts the noise begin
SPACINGS = ("uniform", "quadratic", "logsnr")

Noise = Callable[[], Tensor]
Project = Callable[[Tensor], Tensor]


class Start(NamedTuple):
    r"""Mean and variance of the clean data, tensors that broadcast to ``[*b, D]`` or floats.

    A schedule that does not end at zero signal ends, for such data, at
    :math:`N(\alpha_K m,\ \alpha_K^2 v + \sigma_K^2)`, not at N(0, 1) (compare Lin et al.
    2024). The default is right for standardised data and for schedules that end in pure noise.
    """

    mean: Tensor | float = 0.0
    variance: Tensor | float = 1.0


class Chain:
    """One run of the reverse chain: the model with its condition, the noise, and the past.

    Args:
        model: the diffusion.
        condition: see :meth:`Sampler.sample`, through ``denoiser.condition``.
        noise: see :meth:`Sampler.sample`.
        project: see :meth:`Sampler.sample`.

    Attributes:
        past: for multistep methods, k and what they keep of the earlier evaluations of this run,
            ``[*b, D]``: x0, or the slope.
    """

    def __init__(
        self,
        model: ConditionalDiffusion,
        condition: object,
        noise: Noise,
        project: Project | None = None,
    ):
        self.model, self.condition, self.noise = model, condition, noise
        self.project = project
        self.past: list[tuple[int, Tensor]] = []

    def predict(self, x: Float[Tensor, "*b d"], k: int) -> Prediction:
        """Clean data and noise that the network sees in ``x``; the former as it must be."""
        prediction = self.model.predict(x, k, self.condition)
        if self.project is None:
            return prediction
        alpha, sigma = self.at(k)
        x0 = self.project(prediction.x0)
        return Prediction(x0, (x - alpha * x0) / sigma)

    def at(self, k: int) -> tuple[float, float]:
        """``(alpha_k, sigma_k)``."""
        return self.model.schedule.at(k)

    def learned_noise(
        self, x: Float[Tensor, "*b d"], k: int, small: float, large: float
    ) -> Float[Tensor, "*b d"]:
        """Noise as wide as the model has learned, between two variances.

        Args:
            x: where the chain is.
            k: its step.
            small: the variance for a share of 0.
            large: that for a share of 1.
        """
        denoiser: Any = self.model.denoiser
        step = torch.full((1,) * (x.ndim - 1), k, device=x.device)
        return between(small, large, denoiser.fraction(x, step, self.condition)) * self.noise()


def between(small: float, large: float, share: Any) -> Any:
    """The deviation whose variance is geometrically between two."""
    return (small ** (1 - share) * large**share) ** 0.5


class Sampler(ABC):
    """A way down the reverse chain.

    Args:
        steps: how many steps to take: a number up to K, None for all K, or the very steps to
            visit, falling, each in 1 .. K (0 is always the end). A number below K begins,
            where the network predicts the noise or the score, where alpha is at least 0.05.
        spacing: how a number of steps is laid out: ``"uniform"`` in k, ``"quadratic"`` (denser near
            the data) or ``"logsnr"`` (uniform in the logarithm of alpha / sigma).

    Raises:
        OptionError: a number of steps below 1, one that is not whole, or an unknown spacing.
    """

    def __init__(self, steps: int | Sequence[int] | None = None, spacing: str = "uniform"):
        if spacing not in SPACINGS:
            raise unknown_name("spacing", spacing, list(SPACINGS))
        self.steps, self.spacing = _read_steps(steps), spacing
        if isinstance(self.steps, int) and self.steps < 1:
            raise OptionError(f"steps is {steps}: a sampler takes at least one step")

    @abstractmethod
    def step(self, chain: Chain, x: Float[Tensor, "*b d"], k: int, j: int) -> Float[Tensor, "*b d"]:
        """From ``x`` at step k to step j < k."""

    def timesteps(self, model: ConditionalDiffusion) -> list[int]:
        """The steps visited, from K (or the first one asked for) down to 0.

        Raises:
            OptionError: more steps than the schedule has, or a step outside 1 .. K.
        """
        top, schedule = model.schedule.num_steps, model.schedule
        if self.steps is not None and not isinstance(self.steps, int):
            visited = [*self.steps, 0]
            if not 1 <= visited[0] <= top or not all(k > j for k, j in pairwise(visited)):
                raise OptionError(f"steps must fall from at most {top} to at least 1: {self.steps}")
            return visited
        count = top if self.steps is None else self.steps
        if count > top:
            raise OptionError(f"steps is {count}, but the model was trained with {top}: take fewer")
        if count < top and model.parameterization.needs_signal:
            # x0 from the noise, divided by next to no signal, would be off by a multiple of the
            # network's error, and a long step carries it on: begin where there is some signal
            while top > count and schedule.at(top)[0] < LEAST_SIGNAL:
                top -= 1
        if self.spacing == "logsnr":
            levels = np.array([schedule.at(k) for k in range(1, top + 1)])
            if schedule.is_zero_terminal:  # K is infinitely far: lay out the steps before it
                levels[-1] = levels[-2:][0]
            ratio = np.log(np.maximum(levels[:, 0], 1e-12) / levels[:, 1])
            wanted = np.linspace(ratio[-1], ratio[0], count)
            nearest = 1 + np.abs(ratio[None, :] - wanted[:, None]).argmin(axis=1)
            nearest[0] = top
        else:
            power = 2 if self.spacing == "quadratic" else 1
            nearest = np.round(top * np.linspace(1.0, 0.0, count, endpoint=False) ** power)
        visited = [*nearest.astype(int), 0]
        # rounding may let two steps fall on one k: push apart, without leaving 1 .. K
        for i in range(1, count):
            visited[i] = min(visited[i], visited[i - 1] - 1)
        for i in range(count - 1, -1, -1):
            visited[i] = max(visited[i], visited[i + 1] + 1)
        return [int(k) for k in visited]

    def sample(
        self,
        model: ConditionalDiffusion,
        h: Float[Tensor, "*b h"],
        noise: Noise,
        start: Start | None = None,
        project: Project | None = None,
    ) -> Float[Tensor, "*b d"]:
        """Draw one vector for each condition.

        Args:
            model: the diffusion.
            h: conditions.
            noise: called without arguments, returns standard normal ``[*b, D]``; the first call
                gives the start.
            start: moments of the clean data; standardised if None.
            project: what is known of the clean data: moves a vector to the nearest one that fits.
                Applied to every estimate of the clean data and to the result (the null space of
                Wang et al. 2023, the pseudo-inverse guidance of Song et al. 2023 without noise).
        """
        chain = Chain(model, model.denoiser.condition(h), noise, project)
        visited = self.timesteps(model)
        start = start or Start()
        alpha, sigma = chain.at(visited[0])
        deviation = (alpha**2 * start.variance + sigma**2) ** 0.5
        x = alpha * start.mean + deviation * noise()
        for k, j in pairwise(visited):
            x = self.step(chain, x, k, j)
        return x if project is None else project(x)


def _read_steps(steps: Any) -> int | list[int] | None:
    """The steps as numbers of Python.

    Raises:
        OptionError: neither a whole number nor several of them, nor None.
    """
    try:
        if isinstance(steps, str | bytes | bool):
            raise TypeError
        if steps is None or not np.ndim(steps):
            return None if steps is None else operator.index(steps)
        return [operator.index(k) for k in steps]
    except (TypeError, ValueError):  # the latter of rows of other lengths
        raise OptionError(
            f"steps is {steps!r}: give a whole number, the steps to visit, or None for all"
        ) from None


SAMPLERS: Registry[Sampler] = Registry("sampler", Sampler)
