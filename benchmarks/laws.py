"""Laws of vectors whose perfect denoiser is known: mixtures of normal laws."""

from typing import Any

import torch

from timediff.diffusion import ConditionalDiffusion, Denoiser, NoiseSchedule, view
from timediff.types import Float, Int, Tensor

DIM = 4


class Mixture:
    """A mixture of normal laws, shifted and scaled to mean 0 and variance 1 of each element.

    Args:
        weights: of the components; they add up to 1.
        means: of the components.
        covariances: of the components.
    """

    def __init__(
        self,
        weights: Float[Tensor, " c"],
        means: Float[Tensor, "c d"],
        covariances: Float[Tensor, "c d d"],
    ):
        self.weights, mean = weights, weights @ means
        means = means - mean
        total = self._total(means, covariances)
        scale = total.diagonal().sqrt()
        self.means = means / scale
        self.covariances = covariances / scale / scale[:, None]
        self.covariance = self._total(self.means, self.covariances)

    def _total(self, means: Tensor, covariances: Tensor) -> Float[Tensor, "d d"]:
        within = torch.einsum("c,cij->ij", self.weights, covariances)
        return within + torch.einsum("c,ci,cj->ij", self.weights, means, means)

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """Vectors of this law."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        factor = torch.linalg.cholesky(self.covariances)[which]
        return self.means[which] + (factor @ noise[..., None])[..., 0]

    def diffusion(self, schedule: NoiseSchedule, parameterization: str = "v") -> Any:
        """A diffusion of this law whose network is perfect."""
        return view(ConditionalDiffusion(Perfect(self, schedule), schedule, "x0"), parameterization)

    def variance_ratios(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
        """Variance of a sample over that of the law, along each of the law's principal axes."""
        variance, axes = torch.linalg.eigh(self.covariance)
        return (x @ axes).var(dim=0) / variance


class Perfect(Denoiser):
    r"""The mean of the clean data given the noisy: E[x0 | x] of a mixture.

    Given the component c, it is the regression
    :math:`m_c + \alpha C_c (\alpha^2 C_c + \sigma^2)^{-1} (x - \alpha m_c)`; the components weigh
    what they are likely to be that of x.
    """

    def __init__(self, law: Mixture, schedule: NoiseSchedule):
        super().__init__()
        self.law, self.schedule = law, schedule
        self.variance, self.axes = torch.linalg.eigh(law.covariances)

    def condition(self, h: Tensor) -> Tensor:
        """Nothing is made of it: the law has no condition."""
        return h

    def denoise(
        self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"], condition: Any
    ) -> Float[Tensor, "*b d"]:
        """The mean of the clean data, in closed form."""
        alpha, sigma = (part.unsqueeze(-2) for part in self.schedule(k, x.dtype))
        noisy = alpha**2 * self.variance + sigma**2
        rest = x.unsqueeze(-2) - alpha * self.law.means
        rest = torch.einsum("...ci,cij->...cj", rest, self.axes)
        likely = self.law.weights.log() - 0.5 * (rest**2 / noisy + noisy.log()).sum(-1)
        clean = torch.einsum("...cj,cij->...ci", alpha * self.variance / noisy * rest, self.axes)
        return (likely.softmax(-1).unsqueeze(-1) * (self.law.means + clean)).sum(-2)


def equicorrelated(correlation: float) -> Float[Tensor, "d d"]:
    """Variances 1, all correlations alike."""
    part = torch.full((DIM, DIM), correlation, dtype=torch.float64)
    return part + (1 - correlation) * torch.eye(DIM, dtype=torch.float64)


def gaussian() -> Mixture:
    """All correlations .8: principal variances 3.4 and three times .2."""
    one = torch.ones(1, dtype=torch.float64)
    return Mixture(one, torch.zeros(1, DIM, dtype=torch.float64), equicorrelated(0.8)[None])


def modes() -> Mixture:
    """Three heaps of different place, size and shape, clearly apart."""
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    means = torch.tensor([[2, 2, 0, 0], [-2, 2, 2, 0], [0, -3, -2, 1]], dtype=torch.float64)
    parts = [equicorrelated(0.6), 0.25 * equicorrelated(0.0), 0.5 * equicorrelated(-0.2)]
    return Mixture(weights, means, torch.stack(parts))


def heavy_tails() -> Mixture:
    """One vector in ten has four times the deviation; correlations .5, kurtosis 12.7."""
    weights = torch.tensor([0.9, 0.1], dtype=torch.float64)
    parts = [equicorrelated(0.5), 16 * equicorrelated(0.5)]
    return Mixture(weights, torch.zeros(2, DIM, dtype=torch.float64), torch.stack(parts))


LAWS = {"gaussian": gaussian, "modes": modes, "heavy tails": heavy_tails}
