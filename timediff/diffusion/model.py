r"""Conditional diffusion: the forward process, the loss, and the law of one reverse step.

.. math:: q(x_k \mid x_0) = N(\alpha_k x_0,\ \sigma_k^2 I)

A network, given :math:`x_k`, k and a condition h, predicts the noise or something equivalent; the
mean squared error of that prediction is the training loss (Ho et al. 2020).
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from timediff.diffusion.denoisers import Denoiser, LearnedVariance
from timediff.diffusion.mixture import MarginalLaw
from timediff.diffusion.parameterization import PARAMETERIZATIONS, Parameterization
from timediff.diffusion.reverse import ReverseSteps, reverse_steps
from timediff.diffusion.schedule import NoiseSchedule
from timediff.diffusion.weighting import WEIGHTINGS, Weighting
from timediff.registry import unknown_name
from timediff.types import Float, Int, Tensor

LOSSES = {"l2": F.mse_loss, "l1": F.l1_loss, "huber": F.smooth_l1_loss}


class Prediction(NamedTuple):
    """What the network says of a noisy ``x``: the clean data and the noise, each ``[*b, D]``."""

    x0: Tensor
    eps: Tensor


class ConditionalDiffusion(nn.Module):
    """A diffusion model of a vector ``x0[*b, D]`` given a condition ``h[*b, H]``.

    Args:
        denoiser: the network, ``forward(x[*b, D], k[*b], h[*b, H]) -> [*b, D]``; with
            :class:`~timediff.diffusion.denoisers.LearnedVariance` its loss has a second part.
        schedule: signal and noise at each of the steps 0 .. K.
        parameterization: what the network predicts: ``"epsilon"``, ``"x0"``, ``"v"``, ``"score"``
            or an object.
        loss: ``"l2"``, ``"l1"`` or ``"huber"`` (quadratic up to 1, then linear).
        weighting: how much the error of each step weighs: ``"simple"`` (all alike),
            ``"variational"``, ``"min_snr"``, ``"p2"`` or an object; the mean weight is 1.
        variance_weight: of the variational bound, in nats, from which a variance is learned, beside
            the error of the prediction (Nichol & Dhariwal 2021).
        marginal: the law of single numbers, if it is known: what is best if they are independent is
            added to what the network puts out, so that it need not learn this law; None for
            nothing.

    Raises:
        OptionError: an unknown name, or a network that predicts epsilon or the score under a
            schedule that ends in pure noise, from which it could not start.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        schedule: NoiseSchedule,
        parameterization: str | Parameterization = "epsilon",
        loss: str = "l2",
        weighting: str | Weighting = "simple",
        variance_weight: float = 1e-3,
        marginal: MarginalLaw | None = None,
    ):
        super().__init__()
        if loss not in LOSSES:
            raise unknown_name("loss", loss, list(LOSSES))
        self.denoiser, self.schedule = denoiser, schedule
        self.parameterization = PARAMETERIZATIONS.build(parameterization)
        self.error = LOSSES[loss]
        if schedule.is_zero_terminal and self.parameterization.needs_signal:
            raise unknown_name(
                "parameterization for a schedule that ends in pure noise",
                parameterization,
                ["x0", "v"],
            )
        weights = self._weights(WEIGHTINGS.build(weighting))
        self.register_buffer("weights", weights, persistent=False)
        self.weights: Float[Tensor, "k 1"] | None
        self.variance_weight, self.reverse = variance_weight, reverse_steps(schedule)
        self.marginal = marginal

    def _weights(self, weighting: Weighting) -> Float[Tensor, "k 1"] | None:
        """What the errors of the steps 1 .. K weigh beside the parameterization's own weight."""
        of_x0 = weighting.of_x0(self.schedule)
        if of_x0 is None:
            return None
        alpha, sigma = self.schedule(torch.arange(1, self.schedule.num_steps + 1))
        one, nothing = torch.ones_like(alpha), torch.zeros_like(alpha)
        slope = self.parameterization.to_x0(one, nothing, alpha, sigma)
        weights = slope**2 * of_x0
        weights = weights / self.parameterization.weight(alpha, sigma)
        return weights / weights.mean()

    def q_sample(
        self, x0: Float[Tensor, "*b d"], k: Int[Tensor, "*b"], eps: Float[Tensor, "*b d"]
    ) -> Float[Tensor, "*b d"]:
        """Noisy data after k steps: ``alpha_k x0 + sigma_k eps``."""
        alpha, sigma = self.schedule(k, x0.dtype)
        return alpha * x0 + sigma * eps

    def loss(
        self,
        x0: Float[Tensor, "*b d"],
        h: Float[Tensor, "*b h"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "*b d"]:
        """The denoising error at a random step, UNREDUCED: masking and averaging are the caller's.

        Args:
            x0: clean data; not changed.
            h: condition.
            generator: source of the steps and the noise; the global one if None.
        """
        device = x0.device
        k = torch.randint(
            1, self.schedule.num_steps + 1, x0.shape[:-1], generator=generator, device=device
        )
        eps = torch.randn(x0.shape, generator=generator, device=device, dtype=x0.dtype)
        alpha, sigma = self.schedule(k, x0.dtype)
        target = self.parameterization.target(x0, eps, alpha, sigma)
        x, condition = self.q_sample(x0, k, eps), self.denoiser.condition(h)
        output = self.output(x, k, condition)
        weight = self.parameterization.weight(alpha, sigma)
        if self.weights is not None:
            weight = weight * self.weights[k - 1].to(x0.dtype)
        loss = weight * self.error(output, target, reduction="none")
        if not isinstance(self.denoiser, LearnedVariance):
            return loss
        error = x0 - self.parameterization.to_x0(output.detach(), x, alpha, sigma)
        steps = ReverseSteps(*(table.to(x0)[k - 1] for table in self.reverse))
        variance = steps.between(self.denoiser.fraction(x, k, condition))
        return loss + self.variance_weight * self.schedule.num_steps * steps.nats(error, variance)

    def output(
        self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"], condition: object
    ) -> Float[Tensor, "*b d"]:
        """The prediction, in the words of the parameterization.

        Args:
            x: noisy data.
            k: their step.
            condition: ``denoiser.condition(h)``.
        """
        return self.with_marginal(self.denoiser.denoise(x, k, condition), x, k)

    def with_marginal(
        self, output: Float[Tensor, "*b d"], x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"]
    ) -> Float[Tensor, "*b d"]:
        """What the network put out, and what is known of single numbers."""
        if self.marginal is None:
            return output
        alpha, sigma = self.schedule(k, x.dtype)
        x0 = self.marginal(x, k)
        eps = (x - alpha * x0) / sigma
        return output + self.parameterization.target(x0, eps, alpha, sigma)

    def predict(self, x: Float[Tensor, "*b d"], k: int, condition: object) -> Prediction:
        """Clean data and noise in ``x`` at step k; ``condition`` is ``denoiser.condition(h)``."""
        step = torch.full((1,) * (x.ndim - 1), k, device=x.device)
        output = self.output(x, step, condition)
        alpha, sigma = self.schedule(step, x.dtype)
        to = self.parameterization
        return Prediction(to.to_x0(output, x, alpha, sigma), to.to_eps(output, x, alpha, sigma))
