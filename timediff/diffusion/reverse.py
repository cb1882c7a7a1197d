r"""One reverse step in numbers, for the bound, the loss of a learned variance, and the weightings.

The chain's step :math:`p(x_{k-1} \mid x_k) = N(a x_k + b \hat x_0,\ s_k^2)` is compared with
:math:`q(x_{k-1} \mid x_k, x_0) = N(a x_k + b x_0,\ \tilde\beta_k)` (Ho et al. 2020, eq. 7 and 8):

.. math:: KL_k = \tfrac12 \Big(\frac{\tilde\beta_k + b^2 (x_0 - \hat x_0)^2}{s_k^2} - 1
    - \log \frac{\tilde\beta_k}{s_k^2}\Big)

The last step has no such law to compare with: it is the decoder :math:`N(x_0; \hat x_0, s_1^2)`.
"""

import math
from typing import NamedTuple

import torch

from timediff.diffusion.schedule import NoiseSchedule
from timediff.types import Float, Tensor


class ReverseSteps(NamedTuple):
    """Numbers of the steps 1 .. K of a schedule, step k in row k - 1.

    Attributes:
        on_x0: b above; 1 in the first step.
        spread: variance of the posterior, 0 in the first step.
        small: the same as a reverse variance: in the first step that of the second (Nichol &
            Dhariwal 2021), as a density needs one; beta if there is no second.
        large: beta, the variance that the forward process adds.
        constant: what of twice the nats depends on neither network nor data.
    """

    on_x0: Float[Tensor, "*k 1"]
    spread: Float[Tensor, "*k 1"]
    small: Float[Tensor, "*k 1"]
    large: Float[Tensor, "*k 1"]
    constant: Float[Tensor, "*k 1"]

    def between(self, fraction: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """A variance between the small one (0) and the large one (1), in logarithms."""
        return self.small ** (1 - fraction) * self.large**fraction

    def nats(
        self, error: Float[Tensor, "*b d"], variance: Float[Tensor, "*#b #d"]
    ) -> Float[Tensor, "*b d"]:
        """The divergence of a step, or of the first one minus the log density of the decoder.

        Args:
            error: of the predicted clean data.
            variance: of the reverse step.
        """
        square = (self.spread + (self.on_x0 * error) ** 2) / variance
        return 0.5 * (square + variance.log() + self.constant)


def reverse_steps(schedule: NoiseSchedule) -> ReverseSteps:
    """The numbers of all steps, ``[K, 1]`` in float64."""
    rows = [schedule.posterior(k, k - 1) for k in range(1, schedule.num_steps + 1)]
    _, on_x0, spread = torch.tensor(rows, dtype=torch.float64).unsqueeze(-1).unbind(1)
    levels = [schedule.at(k) for k in range(schedule.num_steps + 1)]
    alpha, sigma = torch.tensor(levels, dtype=torch.float64).unsqueeze(-1).unbind(1)
    large = sigma[1:] ** 2 - (alpha[1:] / alpha[:-1] * sigma[:-1]) ** 2
    small = spread.clone()
    small[0] = spread[1] if len(spread) > 1 else large[0]
    constant = torch.full_like(spread, math.log(2 * math.pi))
    constant[1:] = -1 - spread[1:].log()
    return ReverseSteps(on_x0, spread, small, large, constant)
