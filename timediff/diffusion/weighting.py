r"""How much the error of each diffusion step weighs in the training loss.

A weighting is a factor on the squared error of :math:`x_0` at every step; what the network predicts
instead has another factor, which follows from it. With the signal-to-noise ratio
:math:`r = \alpha^2 / \sigma^2` an error of :math:`\varepsilon` is :math:`r` times one of
:math:`x_0`, one of v :math:`1 + r` times.
"""

from abc import ABC, abstractmethod

import torch

from timediff.diffusion.reverse import reverse_steps
from timediff.diffusion.schedule import NoiseSchedule
from timediff.errors import OptionError
from timediff.registry import Registry
from timediff.types import Float, Tensor


class Weighting(ABC):
    """Weights of the steps; scaled afterwards so that their mean is 1."""

    @abstractmethod
    def of_x0(self, schedule: NoiseSchedule) -> Float[Tensor, "k 1"] | None:
        """Weights of the squared error of x0 at the steps 1 .. K.

        None leaves it as it is: all steps alike in what the network predicts.
        """

    @staticmethod
    def levels(schedule: NoiseSchedule) -> tuple[Float[Tensor, "k 1"], Float[Tensor, "k 1"]]:
        """``alpha`` and ``sigma`` of the steps 1 .. K."""
        return schedule(torch.arange(1, schedule.num_steps + 1))


WEIGHTINGS: Registry[Weighting] = Registry("weighting", Weighting)


@WEIGHTINGS.register("simple")
class Simple(Weighting):
    """All steps alike, in what the network predicts (Ho et al. 2020, eq. 14)."""

    def of_x0(self, schedule):  # noqa: D102
        return None


@WEIGHTINGS.register("variational")
class Variational(Weighting):
    """As in the variational bound, with beta as the reverse variance (Ho et al. 2020, eq. 12).

    The mean loss is then the bound in nats up to a factor and a constant.
    """

    def of_x0(self, schedule):  # noqa: D102
        steps = reverse_steps(schedule)
        return (steps.on_x0**2 / (2 * steps.large)).to(torch.get_default_dtype())


@WEIGHTINGS.register("min_snr")
class MinSNR(Weighting):
    """The signal-to-noise ratio, up to a highest one (Hang et al. 2023).

    Args:
        most: the highest weight.

    Raises:
        OptionError: ``most`` is not positive.
    """

    def __init__(self, most: float = 5.0):
        if not most > 0:
            raise OptionError(f"min_snr is {most}, must be positive")
        self.most = most

    def of_x0(self, schedule):  # noqa: D102
        alpha, sigma = self.levels(schedule)
        return (alpha**2 / sigma**2).clamp(max=self.most)


@WEIGHTINGS.register("p2")
class P2(Weighting):
    r"""Less weight where there is little noise: :math:`(k + r)^{-\gamma}` on the error of epsilon.

    "Perception prioritized" (Choi et al. 2022).

    Args:
        gamma: how much less; 0 is the simple loss of epsilon.
        k: keeps the weight finite where there is only noise; positive.

    Raises:
        OptionError: ``gamma`` is negative or ``k`` not positive.
    """

    def __init__(self, gamma: float = 1.0, k: float = 1.0):
        if not (gamma >= 0 and k > 0):
            raise OptionError(f"p2 needs gamma >= 0 and k > 0, got gamma={gamma}, k={k}")
        self.gamma, self.k = gamma, k

    def of_x0(self, schedule):  # noqa: D102
        alpha, sigma = self.levels(schedule)
        ratio = alpha**2 / sigma**2
        return ratio * (self.k + ratio) ** -self.gamma
