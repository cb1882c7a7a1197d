r"""What the innovations of all series have in common on average, taken out by a fixed linear map.

What remains is close to independent standard noise, from which the reverse chain starts; its true
joint law is the diffusion's.
"""

import copy
import math
from collections.abc import Iterator

import torch
from torch import nn

from timediff.types import Bool, Float, Tensor

MOST_ITERATIONS = 100  # in which missing innovations are found
LEAST_VARIANCE = 1e-3  # of a principal component
OBSERVATIONS = 4  # independent ones for each principal component, at least
LOG_2PI = math.log(2 * math.pi)
SAMPLED = 1024  # series at most whose correlations say how much these are shrunk


class Whitening(nn.Module):
    r"""The symmetric linear map that makes innovations uncorrelated with unit variance.

    With the deviations :math:`\Delta` the covariance is :math:`\Delta C \Delta`, and the
    correlations C, of which the first ``rank`` principal components are kept and the rest are taken
    to be alike (Tipping, Bishop 1999), are :math:`\delta I + V (\Lambda - \delta) V^T`. So both
    maps take time linear in D.

    What is drawn may be wider or narrower than what was read: :meth:`stretch` multiplies the
    standard deviation of the first principal component, which most series share. It changes
    :meth:`back`, :meth:`back_transposed` and :meth:`as_drawn`; what is read is made white as
    before.

    Args:
        target_dim: D.
        rank: principal components, at most D.
    """

    def __init__(self, target_dim: int, rank: int = 256):
        super().__init__()
        rank = min(rank, target_dim)
        self.register_buffer("deviation", torch.ones(target_dim))
        self.register_buffer("rest", torch.ones(()))
        self.register_buffer("values", torch.ones(rank))
        self.register_buffer("vectors", torch.eye(target_dim, rank))
        self.register_buffer("widths", torch.ones(rank))
        self.deviation: Tensor
        self.rest: Tensor
        self.values: Tensor
        self.vectors: Tensor
        self.widths: Tensor

    @torch.no_grad()
    def fit(self, e: Float[Tensor, "n d"], observed: Bool[Tensor, "n d"], independent: int) -> None:
        """Estimate the covariance, its correlations shrunk towards 0 (Schäfer, Strimmer 2005).

        What is drawn is then as wide as what is read.

        Args:
            e: innovations, of mean about 0.
            observed: where there is one.
            independent: how many of the n are about independent; the rest only repeats them.
        """
        e = torch.where(observed, e, 0.0).double()
        count = observed.sum(0).clamp(min=1)
        deviation = (e.square().sum(0) / count).clamp(min=1e-4).sqrt()
        x = e / (deviation * count.sqrt())  # without gaps, the correlations are x^T x
        n, d = x.shape
        independent = max(1, min(n, independent))
        # of more series than observations, some columns stand for all
        some = torch.arange(0, d, 1 if d <= n else -(-d // SAMPLED), device=e.device)
        both = observed.double().T @ observed[:, some].double()
        lacking = (count.unsqueeze(1) * count[some]).sqrt() / both.clamp(min=1)
        correlation = (x.T @ x[:, some]) * lacking
        others = torch.ones_like(correlation, dtype=torch.bool)
        others[some, torch.arange(len(some), device=e.device)] = False
        square = correlation[others].clamp(-1, 1) ** 2
        noise = ((1 - square) ** 2).sum() / independent
        kept = 1 - (noise / square.sum().clamp(min=1e-12)).clamp(0, 1)
        if d <= n:
            values, vectors = torch.linalg.eigh(correlation)
        else:  # the smaller product has the same; gaps make it too small, which is no harm
            values, left = torch.linalg.eigh(x @ x.T)
            vectors = x.T @ left * values.clamp(min=1e-12).rsqrt()
        if values[0] < 0:  # gaps can make some negative: shrunk until there is none
            kept = kept.clamp(max=(1 - LEAST_VARIANCE) / (1 - values[0]))
        values = kept * values + (1 - kept)
        rank = min(len(self.values), max(1, independent // OBSERVATIONS))
        values, vectors = values[-rank:], vectors[:, -rank:]
        rest = (d - values.sum()) / (d - rank) if rank < d else values[0]
        self.rest.copy_(rest.clamp(min=LEAST_VARIANCE))
        self.values.copy_(self.rest)
        self.values[:rank] = values.clamp(min=LEAST_VARIANCE).to(self.values.dtype)
        self.vectors.zero_()
        self.vectors[:, :rank] = vectors.to(self.vectors.dtype)
        kept_variance = self.rest + self.vectors**2 @ (self.values - self.rest)
        self.deviation.copy_(deviation / kept_variance.sqrt())  # of each series, all of it
        self.stretch(1.0)

    @torch.no_grad()
    def stretch(self, factor: float) -> None:
        """Draw wider, or narrower, than what was read.

        Args:
            factor: of the standard deviation along the first principal component.
        """
        self.widths.fill_(1.0)
        self.widths[self.values.argmax()] = factor

    def as_drawn(self) -> "Whitening":
        """The law of what is drawn, by itself."""
        drawn = copy.deepcopy(self)
        drawn.values *= self.widths**2
        drawn.stretch(1.0)
        return drawn

    def _times(
        self, x: Float[Tensor, "*b d"], power: float, drawn: bool = False
    ) -> Float[Tensor, "*b d"]:
        """Times a power of the correlations, of those that are read or that are drawn."""
        rest, values = self.rest**power, self.values**power
        if drawn:
            values = values * self.widths ** (2 * power)
        return x * rest + (x @ self.vectors * (values - rest)) @ self.vectors.T

    @torch.no_grad()
    def complete(
        self,
        e: Float[Tensor, "*b d"],
        observed: Bool[Tensor, "*b d"],
        noise: Float[Tensor, "*b d"] | None = None,
    ) -> Float[Tensor, "*b d"]:
        """What is missing, given what is there: else one gap would change the others' whitening.

        Args:
            e: innovations, arbitrary where not observed.
            observed: where there is one.
            noise: standard noise, for a draw from the conditional normal law; None for its mean.
        """
        gaps = ~observed.all(-1)
        if not gaps.any():
            return e
        known, missing = observed[gaps], ~observed[gaps]
        drawn = torch.zeros_like(e[gaps])
        if noise is not None:
            drawn = self._times(noise[gaps], 0.5) * self.deviation

        def times(x: Tensor) -> Tensor:
            """The precision of the missing times x."""
            image = self._times(x / self.deviation, -1.0) / self.deviation
            return torch.where(missing, image, 0.0)

        # conjugate gradients, all rows at once: precision of the missing x = right-hand side
        right = -times(torch.where(known, e[gaps] - drawn, 0.0))
        x, residual = torch.zeros_like(right), right
        direction, size = residual, residual.square().sum(-1, keepdim=True)
        enough = 1e-10 * size.clamp(min=1e-12)
        for _ in range(min(2 * e.shape[-1], MOST_ITERATIONS)):
            if (size <= enough).all():
                break
            image = times(direction)
            step = size / (direction * image).sum(-1, keepdim=True).clamp(min=1e-30)
            x, residual = x + step * direction, residual - step * image
            before, size = size, residual.square().sum(-1, keepdim=True)
            direction = residual + size / before.clamp(min=1e-30) * direction
        completed = e.clone()
        completed[gaps] = torch.where(known, e[gaps], drawn + x)
        return completed

    def log_change(self, observed: Bool[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
        """From the log density of whole white vectors to that of the innovations observed in them.

        The others are at their mean, as :meth:`complete` puts them there; under the normal law they
        have a density of their own at it, which is taken out.
        """
        d = len(self.deviation)
        kept = self.values.log().sum() + (d - len(self.values)) * self.rest.log()
        whole = -0.5 * kept - self.deviation.log().sum()
        change = whole.expand(observed.shape[:-1]).clone()
        gaps = ~observed.all(-1)
        if not gaps.any():
            return change
        patterns, which = torch.unique(observed[gaps], dim=0, return_inverse=True)
        unit = torch.eye(d, dtype=self.deviation.dtype, device=self.deviation.device)
        precision = (self._times(unit / self.deviation, -1.0) / self.deviation).double()
        taken = torch.stack(
            [
                0.5 * (len(part) * LOG_2PI - part.logdet())
                for part in self._missing(precision, patterns)
            ]
        )
        change[gaps] += taken.to(change)[which]
        return change

    @staticmethod
    def _missing(matrix: Tensor, patterns: Bool[Tensor, "n d"]) -> Iterator[Tensor]:
        """Rows and columns of what is missing in each pattern."""
        for observed in patterns:
            rows = (~observed).nonzero().squeeze(1)
            yield matrix[rows][:, rows]

    def forward(self, e: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Innovations made white."""
        return self._times(e / self.deviation, -0.5)

    def back(self, w: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """White noise as innovations, as wide as what is drawn."""
        return self._times(w, 0.5, drawn=True) * self.deviation

    def back_transposed(self, weights: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Weights of white noise that say the same as these of innovations."""
        return self._times(weights * self.deviation, 0.5, drawn=True)
