r"""How what is given later bears on the next step: the horizon as a linear normal law.

Around the path that the dynamics take on average, residuals are linear in the innovations, and
these are close to independent standard noise w once they are white. So all that is given, values
and totals, is :math:`g = G w_j + \eta` for the white noise of the next step, with the
covariance of :math:`\eta` from the steps after it.
"""

import itertools
from typing import TYPE_CHECKING, NamedTuple

import torch

from timediff.network.dynamics import ORDER
from timediff.network.scenario import Conditions, Projection
from timediff.types import Float, Tensor

if TYPE_CHECKING:
    from timediff.network.residuals import ResidualNetwork

MOST_ROWS = 256  # of what is given later, the nearest


class Ahead(NamedTuple):
    """What the steps after the next one ask of its white noise, each row of unit variance.

    Attributes:
        rows: G, made so that the covariance of the rest is the identity.
        values: g, likewise.
        left: of the singular value decomposition of the rows, where the next step is free.
        size: the singular values.
        right: likewise.
    """

    rows: Float[Tensor, "c d"]
    values: Float[Tensor, "n c"]
    left: Float[Tensor, "c r"]
    size: Float[Tensor, "r"]
    right: Float[Tensor, "r d"]

    def missing(self, w: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """What is left for later steps."""
        return self.values - w @ self.rows.T

    def square(self, w: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """Of the Gaussian density of what is given, w being the mean of the next step's noise."""
        missing = self.missing(w)
        share = self.size**2 / (1 + self.size**2)
        return missing.square().sum(1) - ((missing @ self.left) ** 2 * share).sum(1)

    def correct(self, w: Float[Tensor, "n d"], noise: Tensor) -> Float[Tensor, "n d"]:
        """A draw of the next noise as one given all this (Matheron's rule)."""
        size = self.size
        surprise = self.missing(w) @ self.left - noise[:, : len(size)]
        return w + (surprise * (size / (1 + size**2))) @ self.right


class Outlook:
    """What is given of one window, as seen from any step of it.

    Args:
        network: that draws the paths.
        loc: of the prior ``[p, d]``.
        scale: likewise.
        context: of the dynamics ``[d, p, w]``.
        conditions: what is given.
        limit: within which residuals are kept.
    """

    def __init__(
        self,
        network: "ResidualNetwork",
        loc: Tensor,
        scale: Tensor,
        context: Tensor,
        conditions: Conditions,
        limit: float,
    ):
        self.whitening = network.whitening
        given = ~conditions.values.isnan()
        totals = ~conditions.totals.isnan()
        steps = (given.any(1) | totals.any(1)).nonzero()
        self.last = int(steps[-1]) if len(steps) else -1
        # only series in a row matter: of many, few
        self.active = (given.any(0) | (conditions.weights[totals.any(0)] != 0).any(0)).nonzero()
        self.active = self.active.squeeze(1)
        own = self.active
        self.loc, self.scale = (x[:, own].cpu().double() for x in (loc, scale))
        eye = torch.eye(loc.shape[1], dtype=loc.dtype, device=loc.device)[own]
        white = self.whitening.back_transposed(eye).cpu().double()
        self.covariance = white @ white.T  # of the innovations
        # values beyond what a residual may be are aimed at as far as it may go
        low, high = loc - limit * scale, loc + limit * scale
        values = conditions.values.clamp(low, high)
        rows, goals, lengths = [], [], []
        for j in range(self.last + 1):
            fixed, weights, target = conditions._replace(values=values).at(j)
            single = torch.eye(len(fixed), dtype=loc.dtype, device=loc.device)[fixed]
            rows.append(torch.cat([single / scale[j, fixed, None], weights])[:, own].cpu().double())
            goals.append(torch.cat([values[j, fixed] / scale[j, fixed], target]).cpu().double())
            lengths.append(len(goals[-1]))
        self.first = [0, *itertools.accumulate(lengths)]  # row of a step
        self.linear = self._linear(network, context)
        self.answers = [self._answers(j) for j in range(self.last + 1)]
        if rows:
            self.weights, self.goals = torch.cat(rows), torch.cat(goals)
            self.step = torch.arange(self.last + 1).repeat_interleave(torch.tensor(lengths))

    def _linear(
        self, network: "ResidualNetwork", context: Float[Tensor, "d p w"]
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Constant, coefficients and scale of each step, around the path of no innovations."""
        past = context.new_zeros(context.shape[0], ORDER)
        parts = []
        for j in range(self.last + 1):
            constant, slope, spread = network.dynamics.tangent(past, context[:, j], j)
            z = constant + (slope * past).sum(-1)
            past = torch.cat([z.unsqueeze(-1), past[:, :-1]], dim=-1)
            own = self.active
            a, b, c = (x[own].cpu().double() for x in (constant, slope, spread))
            parts.append((a, b, c))
        return parts

    def _answers(self, step: int) -> Float[Tensor, "k a"]:
        """How the residuals of a step and of those after it answer to one at that step."""
        answers = [torch.ones_like(self.loc[0])]
        for i in range(step + 1, self.last + 1):
            slope = self.linear[i][1]
            recent = zip(slope.unbind(1), answers[::-1], strict=False)
            answers.append(torch.stack([c * z for c, z in recent]).sum(0))
        return torch.stack(answers)

    def _seen(self, step: int, rows: slice) -> Float[Tensor, "c a"]:
        """Rows as weights of the residuals of an earlier step."""
        when = self.step[rows]
        return self.weights[rows] * self.scale[when] * self.answers[step][when - step]

    def ahead(
        self,
        step: int,
        residuals: Float[Tensor, "n d k"],
        mu: Float[Tensor, "n d"],
        sigma: Float[Tensor, "d"],
        now: Projection,
    ) -> Ahead | None:
        """What is given after a step, for its white noise; None if nothing is.

        Args:
            step: its number j.
            residuals: before it, the latest first.
            mu: location of its residuals.
            sigma: their scale, on average over the paths.
            now: what is given at the step itself.
        """
        rows = self._rows(step)
        if rows.start == rows.stop:
            return None
        own, last = self.active, int(self.step[rows][-1])
        # where the paths go on average from here
        z = mu[:, own].cpu().double()
        past = [z, *(residuals[:, own, k].cpu().double() for k in range(ORDER - 1))]
        values = []
        for i in range(step + 1, last + 1):
            constant, slope, _ = self.linear[i]
            z = constant + sum(c * x for c, x in zip(slope.unbind(1), past, strict=True))
            past = [z, *past[:-1]]
            of = slice(self.first[i], self.first[i + 1])
            values.append(self.goals[of] - (self.loc[i] + self.scale[i] * z) @ self.weights[of].T)
        plain = mu.new_zeros(rows.stop - rows.start, mu.shape[1])
        plain[:, own] = (self._seen(step, rows) * sigma[own].cpu()).to(mu)
        factor = torch.linalg.cholesky(self._rest(step, rows))
        white = self.whitening.back_transposed(plain).cpu().double()
        white = torch.linalg.solve_triangular(factor, white, upper=False)
        goals = torch.linalg.solve_triangular(factor, torch.cat(values, 1).T, upper=False).T
        basis = now.basis.cpu().double()
        left, size, right = torch.linalg.svd(white - white @ basis.T @ basis, full_matrices=False)
        return Ahead(*(part.to(mu) for part in (white, goals, left, size, right)))

    def _rows(self, step: int) -> slice:
        """What is given in the steps after this one, as many steps as are looked at."""
        first = self.first[min(step + 1, self.last + 1)]
        ends = [end for end in self.first if first <= end <= first + MOST_ROWS]
        return slice(first, ends[-1])

    def _rest(self, step: int, rows: slice) -> Float[Tensor, "c c"]:
        """Covariance of what is given after a step, from the innovations after it."""
        total = self.goals.new_zeros(rows.stop - rows.start, rows.stop - rows.start)
        for i in range(step + 1, int(self.step[rows][-1]) + 1):
            first = max(self.first[i], rows.start)
            block = self._seen(i, slice(first, rows.stop)) * self.linear[i][2]
            total[first - rows.start :, first - rows.start :] += block @ self.covariance @ block.T
        # totals may repeat each other
        return total + torch.diag(1e-8 * total.diagonal().clamp(min=1e-30))
