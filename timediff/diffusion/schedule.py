r"""Noise schedules: how much signal and how much noise is left after k steps.

.. math:: x_k = \alpha_k x_0 + \sigma_k \varepsilon, \qquad \alpha_k^2 + \sigma_k^2 = 1

with :math:`k = 0` clean data and :math:`k = K` the noisiest. The classical schedules are given by
:math:`\beta_k`, the variance added in step k: :math:`\alpha_k^2 = \prod_{i \le k} (1 - \beta_i)`.
"""

import math

import numpy as np
import torch

from timediff.errors import OptionError
from timediff.registry import Registry
from timediff.types import Float, Int, Tensor


class NoiseSchedule:
    """A variance-preserving schedule, tabulated in float64 for k = 0 .. K.

    Args:
        alpha_squared: ``alpha_k ** 2`` for k = 0 .. K; starts at 1, falls, never below 0.

    Raises:
        OptionError: the table does not start at 1, is not decreasing, or leaves [0, 1].
    """

    def __init__(self, alpha_squared: np.ndarray):
        table = np.asarray(alpha_squared, dtype=np.float64)
        if table.ndim != 1 or len(table) < 2 or table[0] != 1.0:
            raise OptionError("a noise schedule is a 1-D table of at least two values, the first 1")
        if not (np.diff(table) < 0).all() or table[-1] < 0:
            raise OptionError("a noise schedule must fall strictly, and stay in [0, 1]")
        self._alpha, self._sigma = np.sqrt(table), np.sqrt(1.0 - table)
        self._numbers = list(zip(self._alpha.tolist(), self._sigma.tolist(), strict=True))
        self._tables: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    @property
    def num_steps(self) -> int:
        """K, the number of noising steps."""
        return len(self._alpha) - 1

    def at(self, k: int) -> tuple[float, float]:
        """``(alpha_k, sigma_k)`` of one step as Python floats, for a sampler's coefficients."""
        return self._numbers[k]

    def __call__(
        self, k: Int[Tensor, "*b"], dtype: torch.dtype | None = None
    ) -> tuple[Float[Tensor, "*b 1"], Float[Tensor, "*b 1"]]:
        """``(alpha_k, sigma_k)`` for a tensor of steps, ready to multiply ``x[*b, D]``."""
        key = (k.device, dtype or torch.get_default_dtype())
        tables = self._tables.get(key)
        if tables is None:
            alpha, sigma = (
                torch.as_tensor(table).to(key[1]).to(key[0]) for table in (self._alpha, self._sigma)
            )
            tables = alpha, sigma
            if not torch.compiler.is_exporting():  # then they hold no numbers
                self._tables[key] = tables
        alpha, sigma = tables
        return alpha[k].unsqueeze(-1), sigma[k].unsqueeze(-1)

    def posterior(self, k: int, j: int) -> tuple[float, float, float]:
        r"""The law of :math:`x_j` given :math:`x_k` and :math:`x_0`.

        :math:`q(x_j \mid x_k, x_0) = N(a\,x_k + b\,x_0,\ s^2)` for any
        j < k (Ho et al. 2020, eq. 7).

        Returns:
            ``a``, ``b`` and the variance ``s ** 2``.
        """
        (alpha_k, sigma_k), (alpha_j, sigma_j) = self.at(k), self.at(j)
        ratio = alpha_k / alpha_j
        added = sigma_k**2 - ratio**2 * sigma_j**2  # variance the forward process adds from j to k
        variance = added * sigma_j**2 / sigma_k**2
        return ratio * sigma_j**2 / sigma_k**2, alpha_j * added / sigma_k**2, variance

    @property
    def is_zero_terminal(self) -> bool:
        """Whether ``x_K`` is pure noise. Epsilon and score networks cannot recover x0 from it."""
        return bool(self._alpha[-1] == 0.0)


SCHEDULES: Registry[NoiseSchedule] = Registry("schedule", NoiseSchedule)


def _from_betas(betas: np.ndarray) -> NoiseSchedule:
    return NoiseSchedule(np.concatenate([[1.0], np.cumprod(1.0 - betas)]))


def _check(num_steps: int, beta_start: float, beta_end: float) -> None:
    if num_steps < 1:
        raise OptionError(f"num_steps is {num_steps}: a diffusion has at least one step")
    if not 0.0 < beta_start <= beta_end < 1.0:
        raise OptionError(
            f"need 0 < beta_start <= beta_end < 1, got beta_start={beta_start}, beta_end={beta_end}"
        )


@SCHEDULES.register("linear")
def linear(num_steps: int, beta_start: float = 1e-4, beta_end: float = 0.1) -> NoiseSchedule:
    """Beta rises linearly (Ho et al. 2020); the defaults are TimeGrad's for K = 100."""
    _check(num_steps, beta_start, beta_end)
    return _from_betas(np.linspace(beta_start, beta_end, num_steps))


@SCHEDULES.register("quadratic")
def quadratic(num_steps: int, beta_start: float = 1e-4, beta_end: float = 0.1) -> NoiseSchedule:
    """The square root of beta rises linearly."""
    _check(num_steps, beta_start, beta_end)
    return _from_betas(np.linspace(beta_start**0.5, beta_end**0.5, num_steps) ** 2)


@SCHEDULES.register("sigmoid")
def sigmoid(num_steps: int, beta_start: float = 1e-4, beta_end: float = 0.1) -> NoiseSchedule:
    """Beta rises along a logistic curve from -6 to 6."""
    _check(num_steps, beta_start, beta_end)
    rise = 1.0 / (1.0 + np.exp(-np.linspace(-6.0, 6.0, num_steps)))
    return _from_betas(beta_start + rise * (beta_end - beta_start))


@SCHEDULES.register("constant")
def constant(num_steps: int, beta_start: float = 1e-4, beta_end: float = 0.1) -> NoiseSchedule:
    """Beta is ``beta_end`` in every step."""
    _check(num_steps, beta_start, beta_end)
    return _from_betas(np.full(num_steps, beta_end))


@SCHEDULES.register("jsd")
def jsd(num_steps: int, beta_start: float = 1e-4, beta_end: float = 0.1) -> NoiseSchedule:
    """beta_k = 1 / (K - k + 1) (Sohl-Dickstein et al. 2015): alpha_k^2 falls linearly to 0.

    It ends in pure noise, so it takes x0 or v prediction.
    """
    _check(num_steps, beta_start, beta_end)
    return NoiseSchedule(np.linspace(1.0, 0.0, num_steps + 1))


@SCHEDULES.register("cosine")
def cosine(
    num_steps: int, beta_start: float = 1e-4, beta_end: float = 0.1, offset: float = 0.008
) -> NoiseSchedule:
    """alpha_k follows a quarter cosine, beta capped at 0.999 (Nichol & Dhariwal 2021).

    ``beta_start`` and ``beta_end`` are not used; they are taken so that schedules can be swapped.
    """
    _check(num_steps, beta_start, beta_end)
    angle = (np.arange(num_steps + 1) / num_steps + offset) / (1 + offset) * math.pi / 2
    level = np.cos(angle) ** 2
    return _from_betas(np.minimum(1.0 - level[1:] / level[:-1], 0.999))


def zero_terminal_snr(schedule: NoiseSchedule) -> NoiseSchedule:
    """The schedule shifted and scaled so that ``alpha_K = 0`` and ``alpha_1`` stays (Lin 2024).

    Raises:
        OptionError: the schedule has a single step, so that nothing would be left of alpha_1.
    """
    alpha = np.array([schedule.at(k)[0] for k in range(schedule.num_steps + 1)])
    if schedule.num_steps < 2:
        raise OptionError("zero_terminal_snr needs a schedule of at least two steps")
    alpha[1:] = (alpha[1:] - alpha[-1]) * alpha[1] / (alpha[1] - alpha[-1])
    return NoiseSchedule(alpha**2)
