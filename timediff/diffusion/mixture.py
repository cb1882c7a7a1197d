r"""Mixtures of normal laws of a single number: the law of it, and the best guess of it from noise.

.. math:: x_0 \sim \sum_c \pi_c\, N(m_c, s_c^2), \qquad
    E(x_0 \mid x) = \sum_c \rho_c(x)
    \Big(m_c + \frac{\alpha s_c^2}{t_c} (x - \alpha m_c)\Big), \qquad
    \rho_c(x) \propto \pi_c\, N(x;\ \alpha m_c,\ t_c)

with :math:`x = \alpha x_0 + \sigma \varepsilon` and :math:`t_c = \alpha^2 s_c^2 + \sigma^2`: the
perfect denoiser of such a law is known.
"""

import math
from functools import reduce
from typing import NamedTuple

import torch
from torch import nn

from timediff.diffusion.schedule import NoiseSchedule
from timediff.types import Float, Int, Number, Tensor

ITERATIONS = 200  # of the EM algorithm
EDGE, WIDTH = 20.0, 0.02  # numbers are counted up to here, in bins of this width
PSEUDO = 100.0  # observations of standard normal noise that are added to the data
NARROWEST, WIDEST = 0.4, 2.5  # standard deviations from which components start
LEAST_VARIANCE = 0.02  # of a component: few steps of a sampler draw no sharper peaks


class NormalMixture(NamedTuple):
    """A mixture of C normal laws.

    Attributes:
        weights: their probabilities.
        means: of each.
        variances: of each.
    """

    weights: Float[Tensor, " c"]
    means: Float[Tensor, " c"]
    variances: Float[Tensor, " c"]

    @classmethod
    def standard(cls, components: int) -> "NormalMixture":
        """Components that are all the standard normal law."""
        one = torch.ones(components, dtype=torch.float64)
        return cls(one / components, torch.zeros_like(one), one)

    @classmethod
    def fit(cls, x: Float[Tensor, " n"], components: int, independent: Number) -> "NormalMixture":
        """By maximum likelihood, with some standard normal noise among the data.

        Args:
            x: data of about mean 0 and variance 1.
            components: C.
            independent: how many of the n are about independent; the rest only repeats them.
        """
        bins = round(2 * EDGE / WIDTH)
        which = ((x.clamp(-EDGE, EDGE) + EDGE) / WIDTH).long().clamp(max=bins - 1)
        counts = torch.bincount(which, minlength=bins).double().cpu()  # small from here on
        x = -EDGE + WIDTH * (torch.arange(bins, dtype=torch.float64) + 0.5)
        noise = (-0.5 * x.square()).exp()
        counts = counts * (independent / counts.sum().clamp(min=1))
        counts = counts + PSEUDO * noise / noise.sum()
        ends = math.log(NARROWEST), math.log(WIDEST)
        deviations = torch.linspace(*ends, components, dtype=torch.float64).exp()
        found = cls.standard(components)._replace(variances=deviations**2)
        for _ in range(ITERATIONS):
            share = found.log_densities(x).softmax(0) * counts
            total = share.sum(1).clamp(min=1e-12)
            means = share @ x / total
            variances = (share * (x - means.unsqueeze(1)).square()).sum(1) / total
            found = cls(total / total.sum(), means, variances.clamp(min=LEAST_VARIANCE))
        return found

    def log_densities(self, x: Float[Tensor, " n"]) -> Float[Tensor, "c n"]:
        """Log density of each component, times its probability."""
        weights, means, variances = (part.to(x).unsqueeze(1) for part in self)
        square = (x - means).square() / variances
        return weights.log() - 0.5 * (square + (2 * math.pi * variances).log())

    def log_density(self, x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Log density of each number."""
        return self.log_densities(x).logsumexp(0)

    def guess(
        self, alpha: Float[Tensor, " k"], sigma: Float[Tensor, " k"]
    ) -> Float[Tensor, "k c 5"]:
        """What :class:`MarginalLaw` needs, for several levels of noise.

        Of each component the coefficients of 1, x and x squared in the logarithm of its
        probability, up to a constant, and those of 1 and x in its expectation of the clean number.
        """
        alpha, sigma = (part.double().unsqueeze(1) for part in (alpha, sigma))
        weights, means, variances = (part.to(alpha) for part in self)
        total = alpha**2 * variances + sigma**2
        constant = weights.log() - 0.5 * (total.log() + alpha**2 * means**2 / total)
        odds = [constant, alpha * means / total, -0.5 / total]
        return torch.stack([*odds, means * sigma**2 / total, alpha * variances / total], dim=-1)


class MarginalLaw(nn.Module):
    """The law of every single number of a vector, as if they were independent.

    Args:
        schedule: signal and noise at each step.
        components: C, normal laws in the mixture; the standard normal law until :meth:`set`.
    """

    def __init__(self, schedule: NoiseSchedule, components: int):
        super().__init__()
        self.schedule = schedule
        self.register_buffer("guess", torch.zeros(schedule.num_steps + 1, components, 5))
        self.guess: Float[Tensor, "k c 5"]
        self.set(NormalMixture.standard(components))

    @torch.no_grad()
    def set(self, law: NormalMixture) -> None:
        """Let numbers have this law."""
        alpha, sigma = self.schedule(torch.arange(len(self.guess)), torch.float64)
        self.guess.copy_(law.guess(alpha.squeeze(1), sigma.squeeze(1)))

    def forward(self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"]) -> Float[Tensor, "*b d"]:
        """The clean numbers expected given those at step k, each by itself."""
        guess = self.guess[k].to(x.dtype).unsqueeze(-1)
        components = [part.unbind(-2) for part in guess.unbind(-3)]  # each [*b, 1]
        odds = [torch.addcmul(c, torch.addcmul(b, a, x), x) for c, b, a, *_ in components]
        most = reduce(torch.maximum, odds)
        total, weight = torch.zeros_like(x), torch.zeros_like(x)
        for log, (*_, mean, slope) in zip(odds, components, strict=True):
            share = (log - most).exp_()
            total.addcmul_(share, torch.addcmul(mean, slope, x))
            weight += share
        return total / weight
