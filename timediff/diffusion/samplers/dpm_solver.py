"""DPM-Solver++, the multistep form for data prediction (Lu et al. 2022)."""

import math
from collections.abc import Sequence

from timediff.diffusion.samplers.base import SAMPLERS, Chain, Sampler
from timediff.errors import OptionError
from timediff.types import Float, Tensor


@SAMPLERS.register("dpm_solver")
class DPMSolver(Sampler):
    r"""Solves the probability-flow equation with the predictions of earlier steps.

    In :math:`\lambda = \log(\alpha / \sigma)` a step of size h from k to j is

    .. math:: x_j = \frac{\sigma_j}{\sigma_k} x_k + \alpha_j (1 - e^{-h}) D

    where D extrapolates the predicted x0 through the last ``order`` evaluations. Order 1 is DDIM;
    order 2 is 2M. The last step, to clean data, is of order 1: there h is infinite.

    Args:
        steps: see :class:`Sampler`; 5 to 20 do the work of 100 ancestral ones.
        spacing: see :class:`Sampler`.
        order: 1 to 3.
    """

    def __init__(
        self,
        steps: int | Sequence[int] | None = None,
        spacing: str = "uniform",
        order: int = 2,
    ):
        super().__init__(steps, spacing)
        if order not in (1, 2, 3):
            raise OptionError(f"order is {order}, must be 1, 2 or 3")
        self.order = order

    def step(self, chain: Chain, x: Float[Tensor, "*b d"], k: int, j: int) -> Float[Tensor, "*b d"]:
        """One step of the formula above."""
        x0 = chain.predict(x, k).x0
        (alpha_k, sigma_k), (alpha_j, sigma_j) = chain.at(k), chain.at(j)
        ratio = sigma_j / sigma_k
        gain = alpha_j - alpha_k * ratio  # = alpha_j (1 - exp(-h)), finite also at alpha_k = 0
        x_next = ratio * x + gain * x0
        # a past point at alpha = 0 is infinitely far in lambda and says nothing of the slope
        past = [(i, p) for i, p in chain.past if chain.at(i)[0] > 0.0]
        chain.past = [*chain.past, (k, x0)][-2:]
        if j == 0 or self.order == 1 or not past or alpha_k == 0.0:
            return x_next

        def lam(i: int) -> float:
            alpha, sigma = chain.at(i)
            return math.log(alpha / sigma)

        h = lam(j) - lam(k)
        before, x0_before = past[-1]
        r0 = (lam(k) - lam(before)) / h
        slope = (x0 - x0_before) / r0
        if self.order == 2 or len(past) < 2:
            return x_next + 0.5 * gain * slope
        before2, x0_before2 = past[-2]
        r1 = (lam(before) - lam(before2)) / h
        slope_before = (x0_before - x0_before2) / r1
        curve = (slope - slope_before) / (r0 + r1)
        first = slope + r0 * curve
        e = math.expm1(-h)
        return x_next + alpha_j * (e / h + 1.0) * first - alpha_j * ((e + h) / h**2 - 0.5) * curve
