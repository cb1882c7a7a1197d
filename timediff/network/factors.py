r"""What all series together missed of late, and how each of them goes on from there.

The prior reads each series by itself. Where a shock runs through many of them, or one leads
another, its misses of the last horizon say more: their principal components are common factors,
and each residual of the next horizon is regressed on them (a dynamic factor model by principal
components, Stock and Watson 2002, of the forecast errors).
"""

import torch
from torch import nn

from timediff.network.prior import soften
from timediff.types import Bool, Float, Number, Tensor

EVIDENCE = 1.2  # how much larger than by chance the squares of effects are to be
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

        An effect is shrunk by what chance alone would make of it: of its squares, summed over the
        horizon, as much is taken off as the variance of the residuals gives in that many
        independent horizons. A factor whose effects on all series are hardly larger is dropped.

        Args:
            before: residuals of horizons and where they were observed.
            after: the same of the horizons that follow.
            independent: how many horizons are independent; the rest only repeats them.
        """
        self.clear()
        n, p, d = before[0].shape
        x = self.summary(*before).double()
        mean = x.mean(0)
        x = x - mean
        deviation = x.square().mean(0).sqrt()
        scale = deviation.clamp(min=1e-3 * float(deviation.max()) + 1e-12)
        variances, vectors = self._principal(x / scale)
        number = min(self.loadings.shape[1], int((variances > LEAST_SHARE * variances[0]).sum()))
        number = min(number, max(1, int(independent) // 4))
        if not variances[0] > 0 or independent < 4:
            return
        loadings = vectors[:, :number] / variances[:number].sqrt() / scale.unsqueeze(1)
        factors = x @ loadings
        seen = after[1].flatten(1)
        z = torch.where(seen, after[0].flatten(1), 0.0)
        count = seen.sum(0).clamp(min=1)
        effects = (factors.to(z.dtype).T @ z) / count
        chance = z.square().sum(0) / count / (independent * count / n).clamp(min=1.0)
        square = effects.square()
        shared = square.sum(1) > EVIDENCE * chance.sum()
        square, expected = (part.view(-1, p, d).sum(1) for part in (square, chance.unsqueeze(0)))
        kept = (1 - expected / square.clamp(min=1e-12)).clamp(0, 1)
        kept = torch.where(shared.unsqueeze(1), kept, 0.0)
        effects = effects.view(-1, p, d) * kept.unsqueeze(1)
        left = z - factors.to(z.dtype) @ effects.flatten(1)
        left = torch.where(seen, left, 0.0)
        ratio = (left.square().sum(0) / z.square().sum(0).clamp(min=1e-12)).clamp(0.01, 1.0).sqrt()
        self.mean.copy_(mean)
        self.loadings[:, :number] = loadings.to(self.loadings.dtype)
        self.effects[:number] = effects
        self.ratio.copy_(torch.where(count > 1, ratio, 1.0).view(p, d))

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
