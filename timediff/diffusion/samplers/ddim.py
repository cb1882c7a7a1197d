"""Denoising diffusion implicit models (Song et al. 2021)."""

from collections.abc import Sequence

from timediff.diffusion.samplers.base import SAMPLERS, Chain, Sampler
from timediff.errors import OptionError
from timediff.types import Float, Tensor


@SAMPLERS.register("ddim")
class DDIM(Sampler):
    r"""Keeps the predicted noise instead of drawing it anew.

    .. math:: x_j = \alpha_j x_0 + \sqrt{\sigma_j^2 - s^2}\,\varepsilon + s\,\text{noise}

    Args:
        steps: see :class:`Sampler`.
        spacing: see :class:`Sampler`.
        eta: s as a fraction of the posterior's standard deviation: 0 is deterministic, 1 the
            ancestral sampler.
    """

    def __init__(
        self,
        steps: int | Sequence[int] | None = None,
        spacing: str = "uniform",
        eta: float = 0.0,
    ):
        super().__init__(steps, spacing)
        if not 0.0 <= eta <= 1.0:
            raise OptionError(f"eta is {eta}, must be from 0 (deterministic) to 1 (ancestral)")
        self.eta = eta

    def step(self, chain: Chain, x: Float[Tensor, "*b d"], k: int, j: int) -> Float[Tensor, "*b d"]:
        """One step of the formula above."""
        x0, eps = chain.predict(x, k)
        alpha, sigma = chain.at(j)
        variance = self.eta**2 * chain.model.schedule.posterior(k, j)[2]
        x = alpha * x0 + max(sigma**2 - variance, 0.0) ** 0.5 * eps
        return x + variance**0.5 * chain.noise() if variance > 0.0 else x
