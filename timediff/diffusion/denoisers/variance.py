"""A denoiser with a second network beside it, which learns the variance of the reverse steps."""

from typing import Any, NamedTuple

from timediff.diffusion.denoisers.base import Denoiser
from timediff.types import Float, Int, Tensor


class BothConditions(NamedTuple):
    """What the condition is to both networks."""

    mean: Any
    variance: Any


class LearnedVariance(Denoiser):
    r"""Predicts as the first network does; the second says how wide a reverse step is.

    With an output o it is :math:`s^2 = \beta^f\, \tilde\beta^{1-f}`, :math:`f = (1 + o) / 2`,
    between the variance of the forward process and that of the posterior (Nichol & Dhariwal 2021,
    eq. 15); as there, nothing keeps f from leaving [0, 1].

    Two networks instead of one with two outputs: so it goes with any denoiser, and the first has
    the weights and the random numbers that it has without.

    Args:
        denoiser: predicts.
        variance: any denoiser of the same vectors and conditions; starts near 0, half way.
    """

    def __init__(self, denoiser: Denoiser, variance: Denoiser):
        super().__init__()
        self.denoiser, self.variance = denoiser, variance

    def condition(self, h: Float[Tensor, "*b h"]) -> BothConditions:
        """Of both."""
        return BothConditions(self.denoiser.condition(h), self.variance.condition(h))

    def denoise(
        self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"], condition: BothConditions
    ) -> Float[Tensor, "*b d"]:
        """The first network's prediction."""
        return self.denoiser.denoise(x, k, condition.mean)

    def fraction(
        self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"], condition: BothConditions
    ) -> Float[Tensor, "*b d"]:
        """The share f of the forward variance; see above."""
        return 0.5 * (1.0 + self.variance.denoise(x, k, condition.variance))

    def compile_kernel(self) -> None:
        """Compile that of the first; see :meth:`Denoiser.compile_kernel`."""
        self.denoiser.compile_kernel()

    @property
    def is_compiled(self) -> bool:
        """Whether :meth:`compile_kernel` was called."""
        return self.denoiser.is_compiled
