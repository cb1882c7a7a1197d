r"""What all series together missed of late, where they stand, and how each goes on from there.

The prior reads each series by itself. Where a shock runs through many of them, or one leads
another, their misses of the last horizon say more, and so may where they stand: their principal
components are common factors, and each residual of the next horizon is regressed on them (a dynamic
factor model by principal components, Stock and Watson 2002, of the forecast errors). Whether where
they stand is read, and how far the effects on a series are shrunk, cross-validation says, so that
chance is not taken for an effect.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

from timediff.network.batch import Rows
from timediff.network.prior import soften
from timediff.types import Bool, Float, Int, Number, Tensor

# penalties of a ridge regression, in units of the variance of what it reads
PENALTIES = (math.inf, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
FOLDS = 5  # spans of time, each forecast by what was found in the others
APART = 2  # horizons left out between them, which both would know of
LEAST_HORIZONS = 4 * FOLDS
LEAST_SHARE = 1e-4  # of the largest principal component's variance
MOST = 250_000  # factors times series, of each kind
MISSED, STANDING = 2, 3  # numbers that are read of a series


def standing(rows: Rows, level: int) -> Float[Tensor, "r n"]:
    """Where single series stand: three numbers, in units of the error of a simple forecast.

    By how much the last value is above the one before, the mean of the last ``level``, and what is
    usual in its season. Not how far that mean is above that of all of the past: it would tell the
    time of a series that drifts, and folds of a cross-validation that lie within it.
    """
    last, recent = rows.recent[:, -1], rows.recent[:, -level:].mean(1)
    season = min(level, rows.profile.shape[1]) - 1  # about a season after the last value
    usual = rows.profile[:, season, 0] if rows.profile.shape[2] else recent
    found = [last - rows.recent[:, -2:].select(1, 0), last - recent, last - usual]
    return torch.stack(found, dim=1) / rows.unit.unsqueeze(1)


class CommonFactors(nn.Module):
    r"""Shift and scale of the residuals of a horizon, from what is known at its origin.

    .. math:: z_{jd} \to \frac{z_{jd} - \sum_k b_{kjd}\, f_k}{r_{jd}}, \qquad
              f = A^T (\operatorname{soft}(x) - m)

    where x are of every series the last residual that was observed in the horizon before, the mean
    of all there, and :func:`standing`. The first K factors f are principal components of the
    residuals, the next K of all; those of one kind have effects on a series. All is in closed form;
    a new module changes nothing.

    Args:
        target_dim: D.
        prediction_length: P.
        number: K, factors of each kind at most; fewer of more than 2500 series.
    """

    def __init__(self, target_dim: int, prediction_length: int, number: int):
        super().__init__()
        width = (MISSED + STANDING) * target_dim
        number = min(number, width, MOST // target_dim)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("loadings", torch.zeros(width, 2 * number))
        self.register_buffer("effects", torch.zeros(2 * number, prediction_length, target_dim))
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
        z: Float[Tensor, "*b p d"],
        observed: Bool[Tensor, "*b p d"],
        standing: Float[Tensor, "*b d n"],
    ) -> Float[Tensor, "*b f"]:
        """Of each series the last observed residual and the mean of all, 0 if none; standing.

        Args:
            z: residuals of the horizon before; 0 where not observed.
            observed: where there is one.
            standing: see the function of this name.
        """
        count = observed.cumsum(-2)
        total = count[..., -1:, :]
        last = torch.where(observed & (count == total), z, 0.0).sum(-2)
        mean = z.sum(-2) / total.squeeze(-2).clamp(min=1)
        return soften(torch.cat([last, mean, standing.transpose(-1, -2).flatten(-2)], dim=-1))

    def forward(self, read: Float[Tensor, "*b f"]) -> Float[Tensor, "*b p d"]:
        """What to take from the residuals of the next horizon; then divide them by ``ratio``.

        Args:
            read: see :meth:`summary`.
        """
        factors = (read - self.mean) @ self.loadings
        return (factors @ self.effects.flatten(1)).unflatten(-1, self.ratio.shape)

    @torch.no_grad()
    def fit(
        self,
        read: Float[Tensor, "n f"],
        after: tuple[Float[Tensor, "n p d"], Bool[Tensor, "n p d"]],
        independent: Number,
    ) -> Float[Tensor, "v k p d"] | None:
        r"""Find the factors, and regress the residuals of the next horizon on them.

        A ridge regression: of the effects of a factor with variance v, x in units of its standard
        deviation, a part :math:`v / (v + \lambda)` is kept. Each series has that :math:`\lambda`,
        and those factors, by which, found in four fifths of the time, the remaining fifth is
        forecast with the least absolute error; no effects at all, if that is best. The ratio is
        that of these forecasts.

        Nothing is found unless it helps all series together where it was not chosen: of each fifth,
        with the penalties that are best for the others, the error must fall on average. Of the
        least of many errors it would seem to fall always, most of all where series drift: there are
        few instances of how far they are from where they were.

        Args:
            read: what is known at the origins, in the order of time; see :meth:`summary`.
            after: residuals of the horizons that follow, and where they were observed.
            independent: how many horizons are independent; the rest only repeats them.

        Returns:
            For each fifth of the horizons the effects found in the others, by which the residuals
            of the fifth look no better than those of the future will; None if nothing was fitted.
        """
        self.clear()
        n, p, d = after[0].shape
        seen, most = after[1].flatten(1), self.loadings.shape[1] // 2
        if independent < LEAST_HORIZONS or not most:
            return None
        x = read.double()
        mean = x.mean(0)
        x = x - mean
        y = torch.where(seen, after[0].flatten(1), 0.0)
        apart = math.ceil(APART * n / independent)
        kinds = [
            _Regression(x[:, :width], y, seen, most, apart) for width in (MISSED * d, x.shape[1])
        ]
        parts = zip(*(regression.errors(p) for regression in kinds), strict=True)
        error, square = (torch.cat(part, dim=-2) for part in parts)  # one kind after the other
        if not _helps(error):
            return None
        best = error.sum(0).argmin(0)
        kind, penalty = best // len(PENALTIES), x.new_tensor(PENALTIES)[best % len(PENALTIES)]
        square = square.view(-1, p, d)
        left = square.gather(0, best.expand(1, p, d))[0]
        ratio = (left / square[0].clamp(min=1e-12)).clamp(0.01, 1.0).sqrt()
        self.mean.copy_(mean)
        self.ratio.copy_(torch.where(seen.sum(0).view(p, d) > 1, ratio, 1.0))
        found = self.effects.new_zeros(FOLDS, *self.effects.shape)
        for i, regression in enumerate(kinds):
            width, number = regression.loadings.shape
            own = slice(i * most, i * most + number)
            self.loadings[:width, own] = regression.loadings
            penalties = torch.where(kind == i, penalty, math.inf).repeat(p)
            for effects, ridge in zip((self.effects, *found), regression.ridges, strict=True):
                effects[own] = ridge(penalties).view(-1, p, d)
        return found


def _helps(error: Float[Tensor, "v l d"]) -> bool:
    """Whether folds are forecast better, on average, with the penalties best for the others.

    Args:
        error: of each fold and series, by penalty; the first leaves no effects.
    """
    error = error[error[:, 0].any(1)]  # folds in which something was observed
    others = (error.sum(0) - error).argmin(1, keepdim=True)
    fall = (error[:, :1] - error.gather(1, others)).sum((1, 2)) / error[:, 0].sum(1)
    return bool(fall.sum() > 0)


class _Regression:
    """Ridge regressions of many columns on the principal components of what is read.

    Args:
        x: what is read; its mean is 0.
        y: what is regressed on it; 0 where not observed.
        seen: where it was observed.
        most: components at most.
        apart: rows left out beside those that are forecast.

    Attributes:
        loadings: components from what is read.
        ridges: of all rows; then of those beside each fold.
    """

    def __init__(
        self,
        x: Float[Tensor, "n f"],
        y: Float[Tensor, "n c"],
        seen: Bool[Tensor, "n c"],
        most: int,
        apart: int,
    ):
        deviation = x.square().mean(0).sqrt()
        scale = deviation.clamp(min=1e-3 * float(deviation.max()) + 1e-12)
        variances, vectors = self._principal(x / scale)
        number = min(most, int((variances > LEAST_SHARE * variances[0]).sum()))
        self.loadings = vectors[:, :number] / scale.unsqueeze(1)
        self.x, self.y, self.seen = x @ self.loadings, y, seen
        whole = _Moments.of(self.x, y, seen)
        self.ridges, self.folds = [_Ridge(whole)], []
        for fold in range(FOLDS):
            first, last = fold * len(x) // FOLDS, (fold + 1) * len(x) // FOLDS
            near = slice(max(0, first - apart), last + apart)
            part = _Moments.of(self.x[near], y[near], seen[near])
            self.ridges.append(_Ridge(whole.without(part)))
            self.folds.append(slice(first, last))

    def errors(self, steps: int) -> tuple[Float[Tensor, "v l d"], Float[Tensor, "l c"]]:
        """What the folds' forecasts miss, by penalty.

        Args:
            steps: of a series, of which the columns hold one after another.

        Returns:
            Of each fold the absolute errors of each series; of all folds the squared errors.
        """
        number, columns = len(PENALTIES), self.y.shape[1]
        error = self.x.new_zeros(FOLDS, number, columns // steps)
        square = self.x.new_zeros(number, columns)
        for k, (fold, ridge) in enumerate(zip(self.folds, self.ridges[1:], strict=True)):
            for i, penalty in enumerate(self.x.new_tensor(PENALTIES)):
                left = self.y[fold] - self.x[fold] @ ridge(penalty)
                left = torch.where(self.seen[fold], left, 0.0)
                error[k, i] = left.abs().sum(0).view(steps, -1).sum(0)
                square[i] += left.square().sum(0)
        return error, square

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
