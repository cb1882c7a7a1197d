r"""What all series together missed of late, and how each of them goes on from there.

The prior reads each series by itself. Where a shock runs through many of them, or one leads
another, its misses of the last horizon say more: their principal components are common factors,
and each residual of the next horizon is regressed on them (a dynamic factor model by principal
components, Stock and Watson 2002, of the forecast errors). How far the effects on a series are
shrunk, cross-validation says, so that chance is not taken for an effect.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

from timediff.network.prior import soften
from timediff.types import Bool, Float, Int, Number, Tensor

# penalties of a ridge regression, in units of the variance of what it reads
PENALTIES = (math.inf, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
FOLDS = 5  # spans of time, each forecast by what was found in the others
APART = 2  # horizons left out between them, which both would know of
LEAST_HORIZONS = 4 * FOLDS
LEAST_SHARE = 1e-4  # of the largest principal component's variance
MOST = 500_000  # factors times series


class CommonFactors(nn.Module):
    r"""Shift and scale of the residuals of a horizon, from those of the horizon before.

    .. math:: z_{jd} \to \frac{z_{jd} - \sum_k b_{kjd}\, f_k}{r_{jd}}, \qquad
              f = A^T (\operatorname{soft}(x) - m)

    where x are of every series the last residual that was observed and the mean of all, and the K
    factors f are their principal components. All is in closed form; a new module changes nothing.

    Args:
        target_dim: D.
        prediction_length: P.
        number: K, factors at most; fewer of more than 5000 series.
    """

    def __init__(self, target_dim: int, prediction_length: int, number: int):
        super().__init__()
        number = min(number, 2 * target_dim, MOST // target_dim)
        self.register_buffer("mean", torch.zeros(2 * target_dim))
        self.register_buffer("loadings", torch.zeros(2 * target_dim, number))
        self.register_buffer("effects", torch.zeros(number, prediction_length, target_dim))
        self.register_buffer("ratio", torch.ones(prediction_length, target_dim))
        self.mean: Tensor
        self.loadings: Tensor
        self.effects: Tensor
        self.ratio: Tensor

    @property
    def any(self) -> bool:
        """Whether there are factors that have an effect."""
        return bool(self.effects.any())

    def clear(self) -> None:
        """Change nothing from now on."""
        for buffer in self.buffers():
            buffer.zero_()
        self.ratio.fill_(1.0)

    @staticmethod
    def summary(
        z: Float[Tensor, "*b p d"], observed: Bool[Tensor, "*b p d"]
    ) -> Float[Tensor, "*b f"]:
        """Of each series the last observed residual and the mean of all; 0 if there is none.

        Args:
            z: residuals of a horizon; 0 where not observed.
            observed: where there is one.
        """
        count = observed.cumsum(-2)
        total = count[..., -1:, :]
        last = torch.where(observed & (count == total), z, 0.0).sum(-2)
        mean = z.sum(-2) / total.squeeze(-2).clamp(min=1)
        return soften(torch.cat([last, mean], dim=-1))

    def forward(
        self, z: Float[Tensor, "*b p d"], observed: Bool[Tensor, "*b p d"]
    ) -> Float[Tensor, "*b p d"]:
        """What to take from the residuals of the next horizon; then divide them by ``ratio``.

        Args:
            z: residuals of the horizon before; 0 where not observed.
            observed: where there is one.
        """
        factors = (self.summary(z, observed) - self.mean) @ self.loadings
        return (factors @ self.effects.flatten(1)).unflatten(-1, self.ratio.shape)

    @torch.no_grad()
    def fit(
        self,
        before: tuple[Float[Tensor, "n p d"], Bool[Tensor, "n p d"]],
        after: tuple[Float[Tensor, "n p d"], Bool[Tensor, "n p d"]],
        independent: Number,
    ) -> Float[Tensor, "v k p d"] | None:
        r"""Find the factors, and regress the residuals of the next horizon on them.

        A ridge regression: of the effects of a factor with variance v, x in units of its standard
        deviation, a part :math:`v / (v + \lambda)` is kept. Each series has that :math:`\lambda`
        by which, found in four fifths of the time, the remaining fifth is forecast with the least
        absolute error; no effects at all, if that is best. The ratio is that of these forecasts.

        Args:
            before: residuals of horizons and where they were observed, in the order of time.
            after: the same of the horizons that follow.
            independent: how many horizons are independent; the rest only repeats them.

        Returns:
            For each fifth of the horizons the effects found in the others, by which the residuals
            of the fifth look no better than those of the future will; None if nothing was fitted.
        """
        self.clear()
        n, p, d = before[0].shape
        if independent < LEAST_HORIZONS:
            return None
        x = self.summary(*before).double()
        mean = x.mean(0)
        x = x - mean
        deviation = x.square().mean(0).sqrt()
        scale = deviation.clamp(min=1e-3 * float(deviation.max()) + 1e-12)
        variances, vectors = self._principal(x / scale)
        if not variances[0] > 0:
            return None
        number = min(self.loadings.shape[1], int((variances > LEAST_SHARE * variances[0]).sum()))
        loadings = vectors[:, :number] / scale.unsqueeze(1)
        x, seen = x @ loadings, after[1].flatten(1)
        y = torch.where(seen, after[0].flatten(1), 0.0)
        whole = _Moments.of(x, y, seen)
        apart = math.ceil(APART * n / independent)
        penalties = x.new_tensor(PENALTIES)
        error, square = (x.new_zeros(len(penalties), p * d) for _ in range(2))
        ridges = []
        for fold in range(FOLDS):
            first, last = fold * n // FOLDS, (fold + 1) * n // FOLDS
            near = slice(max(0, first - apart), last + apart)
            ridges.append(_Ridge(whole.without(_Moments.of(x[near], y[near], seen[near]))))
            for i, penalty in enumerate(penalties):
                left = y[first:last] - x[first:last] @ ridges[-1](penalty)
                left = torch.where(seen[first:last], left, 0.0)
                error[i] += left.abs().sum(0)
                square[i] += left.square().sum(0)
        best = error.view(-1, p, d).sum(1).argmin(0)
        penalty = penalties[best].repeat(p)
        left = square.view(-1, p, d).gather(0, best.expand(1, p, d))[0]
        ratio = (left / square[0].view(p, d).clamp(min=1e-12)).clamp(0.01, 1.0).sqrt()
        self.mean.copy_(mean)
        self.loadings[:, :number] = loadings
        self.effects[:number] = _Ridge(whole)(penalty).view(-1, p, d)
        self.ratio.copy_(torch.where(seen.sum(0).view(p, d) > 1, ratio, 1.0))
        found = self.effects.new_zeros(FOLDS, *self.effects.shape)
        for effects, ridge in zip(found, ridges, strict=True):
            effects[:number] = ridge(penalty).view(-1, p, d)
        return found

    @staticmethod
    def _principal(x: Float[Tensor, "n f"]) -> tuple[Float[Tensor, "k"], Float[Tensor, "f k"]]:
        """Variances, the largest first, and directions of the principal components."""
        n, width = x.shape
        if width <= n:
            variances, vectors = torch.linalg.eigh(x.T @ x / n)
        else:
            variances, left = torch.linalg.eigh(x @ x.T / n)
            vectors = x.T @ left * (n * variances.clamp(min=1e-12)).rsqrt()
        return variances.flip(0).clamp(min=0), vectors.flip(1)


class _Moments(NamedTuple):
    """Sums over horizons."""

    number: int
    gram: Float[Tensor, "k k"]
    moment: Float[Tensor, "k c"]
    observed: Int[Tensor, "c"]

    @classmethod
    def of(cls, x: Tensor, y: Tensor, seen: Tensor) -> "_Moments":
        """Of regressors and what is regressed on them, 0 where it was not observed."""
        return cls(len(x), x.T @ x, (x.to(y.dtype).T @ y).to(x.dtype), seen.sum(0))

    def without(self, part: "_Moments") -> "_Moments":
        """The sums over the other horizons."""
        return _Moments(
            self.number - part.number,
            self.gram - part.gram,
            self.moment - part.moment,
            self.observed - part.observed,
        )


class _Ridge:
    """Ridge regressions of many columns, for any penalties."""

    def __init__(self, sums: _Moments):
        self.number = sums.number
        self.values, self.vectors = torch.linalg.eigh(sums.gram)
        self.slopes = self.vectors.T @ sums.moment * (sums.number / sums.observed.clamp(min=1))

    def __call__(self, penalty: Float[Tensor, "*c"]) -> Float[Tensor, "k c"]:
        """Coefficients by the penalty of each column, in units of the variance of a regressor."""
        size = self.values.clamp(min=0).unsqueeze(1) + penalty * self.number
        return self.vectors @ (self.slopes / size.clamp(min=1e-12))
