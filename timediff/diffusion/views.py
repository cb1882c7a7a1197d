r"""One trained network, seen in several ways (Luo 2022).

With :math:`x = \alpha x_0 + \sigma \varepsilon` known, a prediction of :math:`x_0`, of
:math:`\varepsilon`, of v or of the score says the same thing in other words. A view is a model
that says it in the words that are wanted.
"""

from typing import Any

from timediff.diffusion.denoisers import Denoiser
from timediff.diffusion.model import ConditionalDiffusion
from timediff.diffusion.parameterization import PARAMETERIZATIONS, Parameterization
from timediff.types import Float, Int, Tensor


class Translated(Denoiser):
    """A denoiser whose output is put into the words of another parameterization.

    Args:
        inner: the model; shared, not copied.
        wanted: what this one predicts.
    """

    def __init__(self, inner: ConditionalDiffusion, wanted: Parameterization):
        super().__init__()
        self.inner, self.wanted = inner, wanted

    def condition(self, h: Float[Tensor, "*b h"]) -> Any:
        """That of the network."""
        return self.inner.denoiser.condition(h)

    def denoise(
        self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"], condition: Any
    ) -> Float[Tensor, "*b d"]:
        """The network's prediction, translated by way of clean data and noise."""
        output = self.inner.output(x, k, condition)
        alpha, sigma = self.inner.schedule(k, x.dtype)
        x0 = self.inner.parameterization.to_x0(output, x, alpha, sigma)
        eps = self.inner.parameterization.to_eps(output, x, alpha, sigma)
        return self.wanted.target(x0, eps, alpha, sigma)


def view(
    model: ConditionalDiffusion, parameterization: str | Parameterization
) -> ConditionalDiffusion:
    r"""The same trained model as one that predicts something else.

    From the same noise every sampler draws the same from all views, up to rounding, at the same
    steps. A *number* of steps is laid out anew where the view predicts the noise or the score (see
    :class:`~timediff.diffusion.Sampler`): give the steps themselves where this matters. The loss of
    a view is another one: an error of :math:`\varepsilon` is :math:`\alpha / \sigma` times the
    error of :math:`x_0`.

    Args:
        model: the trained model; its network is shared with the view.
        parameterization: what the view predicts: ``"epsilon"``, ``"x0"``, ``"v"``, ``"score"`` or
            an object.

    Raises:
        OptionError: an unknown name, or epsilon or the score under a schedule that ends in pure
            noise.
    """
    wanted = PARAMETERIZATIONS.build(parameterization)
    seen = ConditionalDiffusion(Translated(model, wanted), model.schedule, wanted)
    seen.error = model.error
    return seen.train(model.training)
