"""What the networks make of features: embeddings of those that do not change, linear effects."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from timediff.network.batch import RowFeatures, Rows, Static
from timediff.types import Bool, Float

LIMIT = 20.0  # errors are cut off here, in units
START_ROUNDS = 2  # of the regression
RIDGE = 1e-3  # of the variance of a feature
PSEUDO_ROWS = 4  # of all series, by which the effects on one are drawn towards those on all


class FeatureSizes(NamedTuple):
    """How many features a network is given; none of them by default.

    Attributes:
        known: known ahead.
        past: known of the past only.
        steps: latest steps of both that the encoder reads.
        real: numbers that do not change.
        categories: how many categories each of those has that do not change.
    """

    known: int = 0
    past: int = 0
    steps: int = 0
    real: int = 0
    categories: tuple[int, ...] = ()


NONE = FeatureSizes()


class StaticFeatures(nn.Module):
    """Numbers as they are, beside a learned embedding of each category.

    Args:
        sizes: see :class:`FeatureSizes`.
        embedding_dim: length of an embedding, at most; at least 2.
    """

    def __init__(self, sizes: FeatureSizes, embedding_dim: int = 8):
        super().__init__()
        lengths = [min(max(embedding_dim, 2), number) for number in sizes.categories]
        self.embeddings = nn.ModuleList(map(nn.Embedding, sizes.categories, lengths))
        self.width = sizes.real + sum(lengths)

    def forward(self, static: Static) -> Float[Tensor, "*b w"]:
        """Of length ``width``."""
        numbers = static.category.unbind(-1)
        embedded = [e(n) for e, n in zip(self.embeddings, numbers, strict=True)]
        return torch.cat([static.real, *embedded], dim=-1)


class LinearEffects(nn.Module):
    r"""What a series owes to features known ahead, as far as that is linear.

    .. math:: y_t = u\, \beta \cdot x_t + \text{rest}_t, \qquad \beta = \beta_d + W s

    in units u of the series, with the features :math:`x_t` and those s that do not change. The rest
    is what there is to forecast.

    Args:
        target_dim: D, the number of series.
        known: features known ahead.
        static: width of those that do not change.
    """

    def __init__(self, target_dim: int, known: int, static: int):
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(target_dim, known))
        self.static = nn.Linear(static, known, bias=False) if static else None
        if self.static is not None:
            nn.init.zeros_(self.static.weight)

    def forward(
        self, rows: Rows, static: Float[Tensor, "r w"]
    ) -> tuple[Rows, Float[Tensor, "r p"]]:
        """The rows without the effects, and the effects over the horizon, in units of the data."""
        assert rows.features is not None
        beta = self.beta[rows.series]
        if self.static is not None:
            beta = beta + self.static(static)
        beta = beta * rows.unit.unsqueeze(1)

        def effect(x: Tensor) -> Tensor:
            return (x @ beta.view(beta.shape[0], *[1] * (x.ndim - 3), -1, 1)).squeeze(-1)

        x = rows.features
        left = rows._replace(
            recent=rows.recent - effect(x.recent),
            seasonal=rows.seasonal - effect(x.seasonal),
            profile=rows.profile - effect(x.profile),
            past=rows.past - (x.past * beta).sum(-1),
        )
        return left, effect(x.horizon)

    @staticmethod
    def as_values(rows: Rows) -> list[Rows]:
        """Rows that hold the values of each feature in place of those of the series."""
        x: RowFeatures | None = rows.features
        assert x is not None
        one = torch.ones_like(rows.unit)
        return [
            rows._replace(
                recent=x.recent[..., k],
                seasonal=x.seasonal[..., k],
                profile=x.profile[..., k],
                past=x.past[..., k],
                unit=one,
            )
            for k in range(x.past.shape[-1])
        ]

    @torch.no_grad()
    def start(
        self,
        rows: Rows,
        static: Float[Tensor, "r w"],
        target: Float[Tensor, "r p"],
        observed: Bool[Tensor, "r p"],
        anchors: Callable[[Rows], tuple[Tensor, Tensor, Tensor]],
        weigh: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> None:
        """Regress the errors of a simple forecast on the same errors of the features.

        Args:
            rows: the pasts.
            static: their features that do not change.
            target: the values of the horizon.
            observed: where there is one.
            anchors: simple forecasts of some rows in units around a level; level and unit.
            weigh: logarithms of what these weigh, from them, the target and where there is one.
        """
        assert rows.features is not None
        for _ in range(START_ROUNDS):  # the weights depend on the effects, and they on these
            left, effect = self(rows, static)
            simple, level, unit = anchors(left)
            y = torch.where(observed, (target - effect - level) / unit, 0.0)
            weights = weigh(simple, y, observed).softmax(-1)

            def error(values: Rows, truth: Tensor, weights: Tensor = weights) -> Tensor:
                simple, level, unit = anchors(values)
                return (truth - level) / unit - (weights * simple).sum(-1)

            horizon = rows.features.horizon.unbind(-1)
            change = [error(*both) for both in zip(self.as_values(rows), horizon, strict=True)]
            left_out = error(rows, target).clamp(-LIMIT, LIMIT)
            self._solve(torch.stack(change, dim=-1), left_out, observed, rows, static)

    def _solve(
        self,
        change: Float[Tensor, "r p k"],
        error: Float[Tensor, "r p"],
        observed: Bool[Tensor, "r p"],
        rows: Rows,
        static: Float[Tensor, "r w"],
    ) -> None:
        """Least squares; the effects on a series are drawn towards those on all that are like it.

        Args:
            change: of the features, from what a simple forecast takes as given.
            error: of this forecast, in units.
            observed: where there is one.
            rows: of which series.
            static: their features that do not change.
        """
        x = torch.where(observed.unsqueeze(-1), change, 0.0).double()
        e = torch.where(observed, error, 0.0).double()
        size, k = self.beta.shape
        like = torch.cat([static.new_ones(len(static), 1), static], dim=1).double()
        gram, right = x.transpose(1, 2) @ x, (x * e.unsqueeze(-1)).sum(1)
        # of all series, as a linear function of what they are like
        both = torch.einsum("rv,rkl,rw->vkwl", like, gram, like).reshape(k * like.shape[1], -1)
        right_both = torch.einsum("rv,rk->vk", like, right).flatten()
        ridge = RIDGE * observed.sum() * torch.eye(len(both), dtype=x.dtype, device=x.device)
        shared = torch.linalg.solve(both + ridge, right_both).view(-1, k)
        # of each series, what it has beyond that
        right = right - (gram @ (like @ shared).unsqueeze(-1)).squeeze(-1)
        grams = x.new_zeros(size, k, k).index_add_(0, rows.series, gram)
        rights = x.new_zeros(size, k).index_add_(0, rows.series, right)
        weight = (gram.sum(0) + ridge[:k, :k]) * PSEUDO_ROWS / len(x)
        beta = shared[0] + torch.linalg.solve(grams + weight, rights)
        self.beta.copy_(beta.to(self.beta.dtype))
        if self.static is not None:
            self.static.weight.copy_(shared[1:].T.to(self.beta.dtype))
