r"""The log density of the probability flow (Song et al. 2021, eq. 39).

The samplers without noise follow an ordinary differential equation from noise to data. Followed the
other way, with the signal :math:`\alpha` as time, it says of a vector how dense it is:

.. math:: \frac{dx}{d\alpha} = f(x, \alpha) = \frac{\hat x_0(x, \alpha) - \alpha x}{\sigma^2},
    \qquad \log p(x_0) = \log p_K(x_K) - \int_{\alpha_K}^1 \nabla \cdot f \, d\alpha

It is no bound but an estimate: of a perfect network the log density itself, up to the error of the
steps; of another one the density of what its flow draws, which is not what its chain draws.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

from timediff.diffusion.model import ConditionalDiffusion
from timediff.diffusion.samplers import Start
from timediff.errors import OptionError
from timediff.types import Float, Tensor

EXACT = 32  # dimensions up to which the divergence is computed, not estimated
PROBES = 8  # vectors from which it is estimated


def flow_log_density(
    model: ConditionalDiffusion,
    x0: Float[Tensor, "*b d"],
    h: Float[Tensor, "*b h"],
    noise: Callable[[], Tensor] | None = None,
    *,
    start: Start | None = None,
    steps: int | None = None,
    probes: int | None = None,
) -> Float[Tensor, "*b"]:
    """The log density of whole vectors in nats; it carries no gradient.

    Heun's method over the steps of the schedule, two evaluations and two divergences each: of
    second order. Where there is no noise the network was not trained: the first interval, to step
    1, takes its slope from there.

    Args:
        model: the diffusion, in evaluation.
        x0: clean data; not changed.
        h: conditions.
        noise: returns standard normal ``[*b, D]``, for the probes; of a fixed seed if None.
        start: moments of the clean data from which the chain starts; standardised if None.
        steps: how many intervals to take, evenly in k beyond step 1; all K if None.
        probes: vectors of random signs from which the divergence is estimated (Hutchinson 1990;
            Grathwohl et al. 2019), the same along the whole way; 0 computes it, which takes D
            times as long. If None, 0 up to 32 dimensions and 8 beyond.

    Raises:
        OptionError: fewer steps than 1, more than the schedule has, or a negative number of probes.
    """
    top, dim = model.schedule.num_steps, x0.shape[-1]
    if steps is not None and not 1 <= steps <= top:
        raise OptionError(f"steps is {steps}: the flow takes from 1 to {top}")
    if probes is None:
        probes = 0 if dim <= EXACT else PROBES
    if probes < 0:
        raise OptionError(f"probes is {probes}, must not be negative")
    if noise is None:
        generator = torch.Generator(x0.device).manual_seed(0)

        def noise() -> Tensor:
            return torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)

    signs = [noise().sign() for _ in range(probes)]
    with torch.no_grad():
        condition = model.denoiser.condition(h)
    later = np.linspace(1, top, steps or top).round().astype(int)
    way = [0, *dict.fromkeys(map(int, later if len(later) > 1 else [top]))]
    x, gathered = x0.detach(), x0.new_zeros(x0.shape[:-1])
    for j, k in pairwise(way):
        length = model.schedule.at(k)[0] - model.schedule.at(j)[0]
        before = _slope(model, x, max(j, 1), condition, signs)
        after = _slope(model, x + length * before[0], k, condition, signs)
        x = x + length / 2 * (before[0] + after[0])
        gathered = gathered + length / 2 * (before[1] + after[1])
    mean, spread = start or Start()
    alpha, sigma = model.schedule.at(top)
    variance = alpha**2 * torch.as_tensor(spread, dtype=x.dtype, device=x.device) + sigma**2
    end = (x - alpha * mean) ** 2 / variance + (2 * torch.pi * variance).log()
    return gathered - 0.5 * end.sum(-1)


def _slope(
    model: ConditionalDiffusion,
    x: Float[Tensor, "*b d"],
    k: int,
    condition: object,
    signs: list[Tensor],
) -> tuple[Float[Tensor, "*b d"], Float[Tensor, "*b"]]:
    """The slope of the flow and its divergence; without signs, exactly."""
    alpha, sigma = model.schedule.at(k)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        x0 = model.predict(x, k, condition).x0
        trace = torch.zeros_like(x[..., 0])
        for i in range(x.shape[-1] if not signs else 0):
            trace = trace + _gradient(x0[..., i].sum(), x)[..., i]
        for sign in signs:
            trace = trace + (sign * _gradient((sign * x0).sum(), x)).sum(-1) / len(signs)
    x, x0 = x.detach(), x0.detach()
    return (x0 - alpha * x) / sigma**2, (trace.detach() - alpha * x.shape[-1]) / sigma**2


def _gradient(value: Tensor, x: Tensor) -> Tensor:
    """Of a sum over the rows, each of which depends on its own row of x alone."""
    (gradient,) = torch.autograd.grad(value, x, retain_graph=True, materialize_grads=True)
    return gradient
