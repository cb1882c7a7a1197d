r"""What the network predicts, and how to get everything else from it (Luo 2022).

With :math:`x = \alpha x_0 + \sigma \varepsilon`, each of :math:`x_0`, :math:`\varepsilon`,
:math:`v = \alpha\varepsilon - \sigma x_0` and the score :math:`-\varepsilon / \sigma` determines
the others.
"""

from abc import ABC, abstractmethod

import torch

from timediff.registry import Registry
from timediff.types import Float, Tensor

Vector = Float[Tensor, "*b d"]
Level = Float[Tensor, "*#b 1"]


class Parameterization(ABC):
    """The meaning of a network's output. ``alpha`` and ``sigma`` are ``[*b, 1]``."""

    needs_signal = False
    """Whether x0 cannot be recovered where ``alpha = 0``."""

    @abstractmethod
    def target(self, x0: Vector, eps: Vector, alpha: Level, sigma: Level) -> Vector:
        """What a perfect network would put out."""

    @abstractmethod
    def to_x0(self, output: Vector, x: Vector, alpha: Level, sigma: Level) -> Vector:
        """The clean data that an output stands for."""

    @abstractmethod
    def to_eps(self, output: Vector, x: Vector, alpha: Level, sigma: Level) -> Vector:
        """The noise that an output stands for."""

    def weight(self, alpha: Level, sigma: Level) -> Level:
        """The factor on the squared error; 1 unless the target has another scale at each step."""
        return torch.ones_like(alpha)


PARAMETERIZATIONS: Registry[Parameterization] = Registry("parameterization", Parameterization)


@PARAMETERIZATIONS.register("epsilon")
class Epsilon(Parameterization):
    """The network predicts the noise (Ho et al. 2020)."""

    needs_signal = True

    def target(self, x0, eps, alpha, sigma):  # noqa: D102
        return eps

    def to_x0(self, output, x, alpha, sigma):  # noqa: D102
        return (x - sigma * output) / alpha

    def to_eps(self, output, x, alpha, sigma):  # noqa: D102
        return output


@PARAMETERIZATIONS.register("x0")
class X0(Parameterization):
    """The network predicts the clean data. At k = 0 there is no noise to recover."""

    def target(self, x0, eps, alpha, sigma):  # noqa: D102
        return x0

    def to_x0(self, output, x, alpha, sigma):  # noqa: D102
        return output

    def to_eps(self, output, x, alpha, sigma):  # noqa: D102
        return (x - alpha * output) / sigma


@PARAMETERIZATIONS.register("v")
class V(Parameterization):
    """The network predicts v = alpha eps - sigma x0 (Salimans & Ho 2022).

    For standard normal data the best prediction is 0 at every step: an untrained network already
    draws the prior.
    """

    def target(self, x0, eps, alpha, sigma):  # noqa: D102
        return alpha * eps - sigma * x0

    def to_x0(self, output, x, alpha, sigma):  # noqa: D102
        return alpha * x - sigma * output

    def to_eps(self, output, x, alpha, sigma):  # noqa: D102
        return sigma * x + alpha * output


@PARAMETERIZATIONS.register("score")
class Score(Parameterization):
    """The network predicts the score of the noisy data, -eps / sigma (Song & Ermon 2019).

    Its squared error is weighted by sigma squared, as there, so that every step counts alike.
    """

    needs_signal = True

    def target(self, x0, eps, alpha, sigma):  # noqa: D102
        return -eps / sigma

    def to_x0(self, output, x, alpha, sigma):  # noqa: D102
        return (x + sigma**2 * output) / alpha

    def to_eps(self, output, x, alpha, sigma):  # noqa: D102
        return -sigma * output

    def weight(self, alpha, sigma):  # noqa: D102
        return sigma**2
