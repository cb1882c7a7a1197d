"""Ancestral sampling (Ho et al. 2020)."""

from collections.abc import Sequence

from timediff.diffusion.denoisers import LearnedVariance
from timediff.diffusion.model import ConditionalDiffusion
from timediff.diffusion.samplers.base import SAMPLERS, Chain, Sampler, between
from timediff.errors import OptionError
from timediff.registry import unknown_name
from timediff.types import Float, Tensor

VARIANCES = ("posterior", "forward", "interpolated", "learned")


@SAMPLERS.register("ddpm")
class DDPM(Sampler):
    r"""Each step draws from :math:`q(x_j \mid x_k, x_0)` with the predicted :math:`x_0`.

    Args:
        steps: see :class:`Sampler`.
        spacing: see :class:`Sampler`.
        variance: of the noise added in a step: that of the ``"posterior"`` (right when x0 is known
            exactly; draws too little spread otherwise), of the ``"forward"`` process (right for
            standard normal data), or geometrically between the two, ``"interpolated"`` as is said
            here, or as was ``"learned"`` for each vector and step (Nichol & Dhariwal 2021).
        interpolation: 0 is the posterior's, 1 the forward variance.
    """

    def __init__(
        self,
        steps: int | Sequence[int] | None = None,
        spacing: str = "uniform",
        variance: str = "posterior",
        interpolation: float = 0.5,
    ):
        super().__init__(steps, spacing)
        if variance not in VARIANCES:
            raise unknown_name("variance", variance, list(VARIANCES))
        if not 0.0 <= interpolation <= 1.0:
            raise OptionError(f"interpolation is {interpolation}, must be from 0 to 1")
        weights = {"posterior": 0.0, "forward": 1.0, "interpolated": interpolation}
        self.interpolation = weights.get(variance)  # None if it is learned

    def timesteps(self, model: ConditionalDiffusion) -> list[int]:
        """See :meth:`Sampler.timesteps`.

        Raises:
            OptionError: also, the variance is to be learned, and the model has not.
        """
        if self.interpolation is None and not isinstance(model.denoiser, LearnedVariance):
            raise OptionError(
                'variance="learned" needs a model that has learned it: train with '
                "variance_weight=0.001, or take another variance"
            )
        return super().timesteps(model)

    def step(self, chain: Chain, x: Float[Tensor, "*b d"], k: int, j: int) -> Float[Tensor, "*b d"]:
        """``x_j = a x_k + b x0 + s noise``; the last step adds none."""
        x0 = chain.predict(x, k).x0
        a, b, variance = chain.model.schedule.posterior(k, j)
        mean = a * x + b * x0
        if j == 0:
            return mean
        sigma_j, sigma_k = chain.at(j)[1], chain.at(k)[1]
        forward = variance * sigma_k**2 / sigma_j**2
        if self.interpolation is None:
            return mean + chain.learned_noise(x, k, variance, forward)
        return mean + between(variance, forward, self.interpolation) * chain.noise()
