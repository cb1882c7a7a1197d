r"""The variational bound of the log density, term by term (Sohl-Dickstein 2015, Ho 2020).

.. math:: \log p(x_0) \ge \underbrace{E \log p(x_0 \mid x_1)}_{decoder}
    - \sum_{k=2}^{K} \underbrace{E\, KL\big(q(x_{k-1} \mid x_k, x_0)\,\|\,p(x_{k-1} \mid x_k)\big)}
    _{steps} - \underbrace{KL\big(q(x_K \mid x_0)\,\|\,p(x_K)\big)}_{prior}

The expectations are over :math:`x_k = \alpha_k x_0 + \sigma_k \varepsilon`, here of some draws. All
terms are in nats for each dimension, of continuous data with a normal decoder.

Where p is the exact reverse of the forward process the bound is the log density itself. Of normal
data with independent dimensions it is, if the network is perfect and each step has the variance
:math:`\tilde\beta_k + b^2\,Var(x_0 \mid x_k)`. For standard normal data that is beta, ``"large"``:
however few the steps, nothing is lost. For others ``"large"`` loses O(1/K), and ``"small"`` a
constant that more steps do not mend.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from timediff.diffusion.denoisers import LearnedVariance
from timediff.diffusion.model import ConditionalDiffusion
from timediff.diffusion.reverse import ReverseSteps
from timediff.diffusion.samplers import Start
from timediff.errors import OptionError
from timediff.registry import unknown_name
from timediff.types import Float, Tensor

VARIANCES = ("large", "small", "learned")


class Bound(NamedTuple):
    """The terms of the bound, unreduced, in nats.

    They are averages over draws, from which most of the scatter is taken out; so a divergence may
    come out a little below 0.

    Attributes:
        prior: divergence of the noisiest data from where the chain starts.
        steps: divergences of the steps k = 2 .. K, step k in row k - 2.
        decoder: expected log density of the data given the last step.
    """

    prior: Float[Tensor, "*b d"]
    steps: Float[Tensor, "k *b d"]
    decoder: Float[Tensor, "*b d"]

    @property
    def total(self) -> Float[Tensor, "*b d"]:
        """The bound; its sum over the dimensions is at most the log density, in expectation."""
        return self.decoder - self.steps.sum(0) - self.prior


def bound_terms(
    model: ConditionalDiffusion,
    x0: Float[Tensor, "*b d"],
    h: Float[Tensor, "*b h"],
    noise: Callable[[], Tensor],
    *,
    start: Start | None = None,
    variance: str | Tensor | None = None,
    draws: int = 1,
) -> Bound:
    """All terms of the bound.

    Args:
        model: the diffusion.
        x0: clean data; not changed.
        h: conditions.
        noise: called without arguments, returns standard normal ``[*b, D]``.
        start: moments of the clean data from which the chain starts; standardised if None.
        variance: of the reverse steps: ``"large"`` (beta, the best for standardised data),
            ``"small"`` (the posterior's), ``"learned"``, or a table ``[K, 1]`` or ``[K, D]``; if
            None, as was learned, else large.
        draws: of the noise at each step, over which is averaged. Every second one is minus the one
            before, which takes most of the scatter out.

    Raises:
        OptionError: an unknown variance, a learned one of a model that has not, or no draw.
    """
    decoder, *steps = _terms(model, x0, h, noise, start or Start(), variance, draws)
    rest = torch.stack(steps) if steps else x0.new_zeros(0, *x0.shape)
    return Bound(_prior(model, x0, start), rest, -decoder)


def lower_bound(
    model: ConditionalDiffusion,
    x0: Float[Tensor, "*b d"],
    h: Float[Tensor, "*b h"],
    noise: Callable[[], Tensor],
    *,
    start: Start | None = None,
    variance: str | Tensor | None = None,
    draws: int = 1,
) -> Float[Tensor, "*b d"]:
    """The bound alone: as :func:`bound_terms`, in memory that does not grow with K."""
    total = -_prior(model, x0, start)
    for term in _terms(model, x0, h, noise, start or Start(), variance, draws):
        total = total - term
    return total


def _prior(model: ConditionalDiffusion, x0: Tensor, start: Start | None) -> Tensor:
    """Divergence of the law of the noisiest data, given the clean ones, from the chain's start."""
    mean, variance = start or Start()
    alpha, sigma = model.schedule.at(model.schedule.num_steps)
    own = alpha**2 * torch.as_tensor(variance, dtype=x0.dtype, device=x0.device) + sigma**2
    ratio = sigma**2 / own
    return 0.5 * (ratio + (alpha * (x0 - mean)) ** 2 / own - 1 - ratio.log())


def _terms(
    model: ConditionalDiffusion,
    x0: Tensor,
    h: Tensor,
    noise: Callable[[], Tensor],
    start: Start,
    variance: str | Tensor | None,
    draws: int,
) -> Iterator[Tensor]:
    """The decoder's term, its sign changed, then those of the steps 2 .. K."""
    if draws < 1:
        raise OptionError(f"draws is {draws}: at least one is needed")
    learns = isinstance(model.denoiser, LearnedVariance)
    if variance is None:
        variance = "learned" if learns else "large"
    if isinstance(variance, str):
        if variance not in VARIANCES:
            raise unknown_name("variance", variance, list(VARIANCES))
        if variance == "learned" and not learns:
            raise OptionError("the model has learned no variance: take 'large' or 'small'")
    condition = model.denoiser.condition(h)
    for k in range(1, model.schedule.num_steps + 1):
        steps = ReverseSteps(*(table[k - 1].to(x0) for table in model.reverse))
        alpha, sigma = model.schedule.at(k)
        total, eps = torch.zeros_like(x0), x0
        for draw in range(draws):
            eps = -eps if draw % 2 else noise()
            x = alpha * x0 + sigma * eps
            error = x0 - model.predict(x, k, condition).x0
            total = total + steps.nats(error, _variance(model, variance, x, k, condition, steps))
            total = total - _scatter(x0, eps, alpha, sigma, start) * steps.on_x0**2 / steps.large
        yield total / draws


def _scatter(
    x0: Tensor, eps: Tensor, alpha: float, sigma: float, start: Start
) -> Float[Tensor, "*b d"]:
    """Half the squared error that normal data of these moments would have, less its expectation.

    As a control variate it takes out most of the scatter where the data are about so, and all of it
    where they are just so; on average it is 0, whatever they are.
    """
    mean, variance = (torch.as_tensor(m, dtype=x0.dtype, device=x0.device) for m in start)
    gain = alpha * variance / (alpha**2 * variance + sigma**2)
    fixed, random = (1 - gain * alpha) * (x0 - mean), gain * sigma * eps
    return 0.5 * ((fixed - random) ** 2 - fixed**2 - (gain * sigma) ** 2)


def _variance(
    model: ConditionalDiffusion,
    variance: str | Tensor,
    x: Tensor,
    k: int,
    condition: object,
    steps: ReverseSteps,
) -> Tensor:
    """Of the reverse step from x at k, something that broadcasts to x."""
    if isinstance(variance, Tensor):
        return variance[k - 1].to(x)
    if variance != "learned":
        return steps.large if variance == "large" else steps.small
    step = torch.full((1,) * (x.ndim - 1), k, device=x.device)
    return steps.between(model.denoiser.fraction(x, step, condition))  # type: ignore[operator]
