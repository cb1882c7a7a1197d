r"""What all series together missed of late, and how each of them goes on from there.

The prior reads each series by itself. Where a shock runs through many of them, or one leads
another, its misses of the last horizon say more: their principal components are common factors,
and each residual of the next horizon is regressed on them (a dynamic factor model by principal
components, Stock and Watson 2002, of the forecast errors). How far the effects on a series are
shrunk, cross-validation says, so that chance is not taken for an effect.
"""

import math

import torch
from torch import nn

from timediff.network.prior import soften
from timediff.types import Bool, Float, Number, Tensor

# penalties of a ridge regression, in units of the variance of what it reads
PENALTIES = (math.inf, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
FOLDS = 5  # spans of time, each forecast by what was found in the others
APART = 2  # horizons left out between them, which both would know of
LEAST_HORIZONS = 4 * FOLDS
LEAST_SHARE = 1e-4  # of the largest principal component's variance


class CommonFactors(nn.Module):
    r"""Shift and scale of the residuals of a horizon, from those of the horizon before.

    .. math:: z_{jd} \to \frac{z_{jd} - \sum_k b_{kjd}\, f_k}{r_{jd}}, \qquad
              f = A^T (\operatorname{soft}(x) - m)

    where x are of every series the last residual that was observed and the mean of all, and the K
    factors f have unit variance. All is in closed form; a new module changes nothing.

    Args:
        target_dim: D.
        prediction_length: P.
        number: K, factors at most.
    """

    def __init__(self, target_dim: int, prediction_length: int, number: int):
        super().__init__()
        number = min(number, 2 * target_dim)
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
    ) -> None:
        r"""Find the factors, and regress the residuals of the next horizon on them.

        A ridge regression: of the effects of the factor with variance v, as a share of the
        variance of all that it reads, a part :math:`v / (v + \lambda)` is kept. Of each series
        that :math:`\lambda` is taken by which, found in four fifths of the time, the remaining
        fifth is forecast with the least absolute error; none of its effects, if that is best.

        Args:
            before: residuals of horizons and where they were observed, in the order of time.
            after: the same of the horizons that follow.
            independent: how many horizons are independent; the rest only repeats them.
        """
        self.clear()
        n, p, d = before[0].shape
        if independent < LEAST_HORIZONS:
            return
        x = self.summary(*before).double()
        mean = x.mean(0)
        x = x - mean
        deviation = x.square().mean(0).sqrt()
        scale = deviation.clamp(min=1e-3 * float(deviation.max()) + 1e-12)
        variances, vectors = self._principal(x / scale)
        if not variances[0] > 0:
            return
        number = min(self.loadings.shape[1], int((variances > LEAST_SHARE * variances[0]).sum()))
        variances, loadings = variances[:number], vectors[:, :number] / scale.unsqueeze(1)
        seen = after[1].flatten(1)
        data = x @ loadings, torch.where(seen, after[0].flatten(1), 0.0), seen
        penalty, ratio = self._validate(data, math.ceil(APART * n / independent), d)
        # all from here on in factors of unit variance
        kept = variances.unsqueeze(1) / (variances.unsqueeze(1) + penalty)
        effects = data[0].to(before[0].dtype).T @ data[1] / seen.sum(0).clamp(min=1)
        effects = effects.view(-1, p, d) / variances.sqrt().view(-1, 1, 1) * kept.unsqueeze(1)
        self.mean.copy_(mean)
        self.loadings[:, :number] = loadings / variances.sqrt()
        self.effects[:number] = effects
        self.ratio.copy_(ratio.view(p, d))

    @staticmethod
    def _validate(
        data: tuple[Float[Tensor, "n k"], Float[Tensor, "n c"], Bool[Tensor, "n c"]],
        apart: int,
        d: int,
    ) -> tuple[Float[Tensor, "d"], Float[Tensor, "c"]]:
        """The penalty of each series, and what it leaves of the spread of its residuals.

        Args:
            data: uncorrelated factors, residuals of every step and series, 0 where not observed,
                and where they were.
            apart: horizons left out between what is fitted and what is forecast.
            d: series, of which the columns are made.
        """
        x, y, seen = data
        n, penalties = len(x), x.new_tensor(PENALTIES)
        gram, moment, count = x.T @ x, (x.to(y.dtype).T @ y).double(), seen.sum(0)
        error, square = (x.new_zeros(len(PENALTIES), y.shape[1]) for _ in range(2))
        for fold in range(FOLDS):
            first, last = fold * n // FOLDS, (fold + 1) * n // FOLDS
            out = slice(max(0, first - apart), min(n, last + apart))
            own = (x[out].T @ x[out], (x[out].to(y.dtype).T @ y[out]).double(), seen[out].sum(0))
            values, vectors = torch.linalg.eigh(gram - own[0])
            rows = n - (out.stop - out.start)
            slope = vectors.T @ (moment - own[1]) * (rows / (count - own[2]).clamp(min=1))
            read, found = x[first:last] @ vectors, y[first:last]
            for i, penalty in enumerate(penalties):
                shift = (read / (values.clamp(min=0) + penalty * rows + 1e-9)) @ slope
                left = torch.where(seen[first:last], found - shift, 0.0)
                error[i] += left.abs().sum(0)
                square[i] += left.square().sum(0)
        best = error.view(len(PENALTIES), -1, d).sum(1).argmin(0)
        left = square.view(len(PENALTIES), -1, d).gather(0, best.expand(1, y.shape[1] // d, d))[0]
        ratio = (left.flatten() / square[0].clamp(min=1e-12)).clamp(0.01, 1.0).sqrt()
        return penalties[best], torch.where(count > 1, ratio, 1.0)

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
