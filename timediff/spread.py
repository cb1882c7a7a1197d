r"""How wide to draw: what held-out windows say of the spread of the paths.

A prior knows its training windows better than those that come, and what it misses of all series at
once is missed in few windows: of many series with a short history the total is then far too
certain, although each of them is nearly calibrated. So one number is found last of all, on windows
that nothing was trained on: a factor of the standard deviation of the innovations along their first
principal component, which most series share (:meth:`timediff.network.Whitening.stretch`).
"""

import logging
import math

import torch

from timediff.network import Batch, ResidualNetwork
from timediff.network.residuals import ResidualPast
from timediff.scores import coverage, crps_ensemble
from timediff.scores.combination import summed
from timediff.types import Float, Tensor
from timediff.validation import Source

logger = logging.getLogger(__name__)

PATHS, LEAST_PATHS, WINDOWS, LEAST_WINDOWS, BATCH = 50, 10, 64, 4, 8
# paths × steps × series: of many series there are fewer windows, and of very many fewer paths
NUMBERS, MOST_NUMBERS = 4_000_000, 100_000_000
FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0)
LEVEL, MISS = 0.9, 0.1  # of an interval of the sum, and what it costs if none is within it
# what a factor of e must be worth of the loss of one window: much more if it is narrower, since the
# held-out windows, by which training was stopped, are forecast a little better than those to come
WIDER, NARROWER = 0.5, 4.0
Losses = tuple[float, float, float]


class HeldOutPaths:
    """Paths of held-out windows, drawn once, that can be had in any width.

    The RNN reads white innovations, so these are the same whatever the width.

    Args:
        network: draws them; how wide is changed by each call.
        held_out: the windows; some of them, if there are many.
        unit: of each series; in these all series count alike.

    Attributes:
        target: what was observed, ``(W, P, D)`` in units, NaN where nothing was.
        windows: those with an observation.
        level: the share of sums that is to be within an interval.
    """

    @torch.no_grad()
    def __init__(self, network: ResidualNetwork, held_out: Source, unit: Float[Tensor, " d"]):
        p, d = network.prediction_length, network.target_dim
        most = max(LEAST_WINDOWS, min(WINDOWS, NUMBERS // (PATHS * p * d)))
        count = max(LEAST_PATHS, min(PATHS, MOST_NUMBERS // (LEAST_WINDOWS * p * d)))
        self.level = LEVEL * (count - 1) / (count + 1)  # see coverage
        self.network, self.unit = network, unit
        self.parts: list[tuple[ResidualPast, Tensor, Batch]] = []
        targets = []
        for i, batch in enumerate(held_out.thinned(most).batches(BATCH)):
            assert isinstance(batch, Batch)
            past = network.pasts(batch)
            w = network.innovation_paths(past, count, i * BATCH + torch.arange(len(batch.target)))
            self.parts.append((past, w, batch._replace(rows=None)))
            targets.append(torch.where(batch.observed, batch.target, torch.nan)[:, -p:] / unit)
        self.target = torch.cat(targets)
        self.windows = int((~self.target.isnan()).any(2).any(1).sum())

    def losses(self, factor: float) -> Losses:
        """CRPS of the series and of their sum, and the share of sums within their interval.

        The first two are infinite where a path is not finite; the last NaN where all is certain.
        """
        self.network.whitening.stretch(factor)
        paths = torch.cat([self.network.unrolled(*part) for part in self.parts]) / self.unit
        if not paths.isfinite().all():  # they are not kept within any bounds yet
            return math.inf, math.inf, math.nan
        sums, totals = summed(paths, self.target)
        each, total = (
            float(crps_ensemble(x, y, "fair")) for x, y in ((paths, self.target), (sums, totals))
        )
        totals[sums.amin(1) == sums.amax(1)] = torch.nan  # of what is certain no width can be told
        known = bool((~totals.isnan()).any())
        return each, total, float(coverage(sums, totals, LEVEL)) if known else math.nan

    def cost(self, losses: Losses, now: Losses, factor: float) -> float:
        """What speaks against a factor: the losses with it, beside those without."""
        loss = sum(x / y for x, y in zip(losses[:2], now[:2], strict=True)) / 2
        miss = 0.0 if math.isnan(losses[2]) else abs(losses[2] - self.level)
        price = (WIDER if factor > 1 else NARROWER) * math.log(factor) ** 2
        return loss + MISS * miss + price / self.windows


def held_out_spread(network: ResidualNetwork, held_out: Source, unit: Float[Tensor, " d"]) -> float:
    """How much wider than in training what the series share is to be drawn.

    By the CRPS of the series and of their sum in the held-out windows, each relative to what it is
    now, and by how far the share of sums within their 90 % interval is from what it should be: near
    its least value the CRPS hardly tells one width from another. The fewer windows there are, the
    more the factor must be worth.

    Args:
        network: in evaluation; it draws as wide as is found then.
        held_out: the windows.
        unit: of each series.
    """
    paths, best = HeldOutPaths(network, held_out, unit), 1.0
    now = paths.losses(best) if paths.windows else (0.0, 0.0, 0.0)
    if 0 < min(now[:2]) < math.inf:
        costs = {best: paths.cost(now, now, best)}
        for way in (FACTORS, FACTORS[::-1]):
            for factor in way[way.index(1.0) + 1 :]:  # away from 1 as long as it helps
                costs[factor] = paths.cost(paths.losses(factor), now, factor)
                if not costs[factor] < costs[best]:
                    break
                best = factor
            if best != 1.0:
                break
        logger.info("what the series share is drawn wider by %s: costs %s", best, costs)
    network.whitening.stretch(best)
    return best
