"""What is fitted in closed form between the stages of training, to windows that are read once.

After the prior: the common factors of what it misses. Before the diffusion: the whitening of the
innovations that it is trained on, and the law of single ones.
"""

import dataclasses
import logging
from collections.abc import Iterator

import torch
from torch import Tensor

from timediff.diffusion.mixture import NormalMixture
from timediff.network import Batch, Innovations, ResidualNetwork, TimeGradNetwork
from timediff.network.pools import Pool
from timediff.options import Options
from timediff.store import SeriesStore
from timediff.validation import Source

logger = logging.getLogger(__name__)

POOL_ROWS = 600_000  # pasts whose innovations the diffusion is trained on
FACTOR_ROWS = 1_000_000  # those that common factors are found in
BATCH_ROWS = 2**16  # of them read at a time


class Fitting:
    """What the windows say without a gradient.

    Args:
        options: the model's.
        train: what to fit to.
        held_out: what decides whether it is kept.
        generator: of the choice of windows, if there are many.
        normal: whether single innovations are taken to be normal, until held-out ones tell.

    Attributes:
        effects: of the common factors, as found without each part of the windows; None before they
            are fitted; see :meth:`timediff.network.CommonFactors.fit`.
    """

    def __init__(
        self,
        options: Options,
        train: Source,
        held_out: Source,
        generator: torch.Generator,
        normal: bool = False,
    ):
        self.options, self.train, self.held_out = options, train, held_out
        self.generator, self.normal = generator, normal
        self.steps = sum(train.store.lengths)
        self.effects: Tensor | None = None

    def follow(self, network: TimeGradNetwork) -> None:
        """Gather windows as long as the network reads."""
        if not isinstance(network, ResidualNetwork):
            return
        for store in {self.train.store, self.held_out.store}:
            store.spec = dataclasses.replace(store.spec, before=int(network.factors.any))

    def fit_factors(self, network: ResidualNetwork) -> None:
        """Common factors of what the trained prior misses.

        Not kept if the prior forecasts the held-out windows worse with them: what held for most of
        the history has changed then.
        """
        if not self.options.factors:
            return
        network.factors.clear()
        self.follow(network.eval())
        validated = len(self.held_out.windows) > 0
        held_out = Pool.read(network, self._whole(self.held_out)) if validated else None
        read = Pool.read(network, self._whole(self.train, FACTOR_ROWS))
        self.effects = read.fit_factors(network, self.steps)
        if network.factors.any and held_out is not None:
            losses = held_out.factor_losses(network, self.train.store.unit.mean(0))
            without, having = (float(loss.mean()) for loss in losses)
            logger.info("common factors: loss of held-out windows %s, without %s", having, without)
            if not having <= without:  # both are 0 where nothing was observed
                network.factors.clear()

    def innovations(
        self, network: ResidualNetwork, whiten: bool = True, fresh: bool = True
    ) -> tuple[Innovations, Innovations]:
        """Those of training windows, at most ``POOL_ROWS`` pasts, and of those held out.

        Args:
            network: whose prior and factors are fitted.
            whiten: fit the whitening to the former.
            fresh: the diffusion is untrained: fit the law of single innovations to them, too.
        """
        self.follow(network.eval())
        number = len(self.train.windows)
        count = max(self.options.batch_size, POOL_ROWS // self._pasts(self.train.store))
        pick = torch.randperm(number, generator=self.generator)[:count]
        read = self._read(network, pick)
        pool = read.innovations(network, self.steps if whiten else None)
        held = Innovations(*(part[:0] for part in pool))
        if len(self.held_out.windows):
            held = Pool.read(network, self._whole(self.held_out)).innovations(network, None)
        if whiten and fresh:
            self._fit_marginal(network, pool, held)
        return pool, held

    def _fit_marginal(self, network: ResidualNetwork, pool: Innovations, held: Innovations) -> None:
        """The law of single innovations, which the denoiser need not learn.

        The normal one if it says more of those held out, now or when there were some.
        """
        marginal = network.diffusion.marginal
        if marginal is None:
            return
        components = self.train.store.spec.components
        normal = NormalMixture.standard(components)
        share = pool.observed.float().mean().item()
        x, p = pool.w[pool.observed], network.prediction_length
        # what a series varies follows from the whitening: only their shape does from here
        x = x / x.square().mean().sqrt().clamp(min=1e-3)
        law = NormalMixture.fit(x, components, share * self.steps * network.target_dim)
        logger.info("single innovations: %s", law)
        held_out = held.w[:, -p:][held.observed[:, -p:]]
        if len(held_out):
            gain = law.log_density(held_out) - normal.log_density(held_out)
            self.normal = bool(gain.mean() < 0)
        marginal.set(normal if self.normal else law)

    def _read(self, network: ResidualNetwork, pick: Tensor) -> Pool:
        """Windows to train on, each with the effects of factors that were found without it."""
        store, windows, _ = self.train
        if not network.factors.any or self.effects is None:
            return Pool.read(network, self._whole(Source(store, windows[pick])))
        effects, parts = network.factors.effects.clone(), []
        for fold, found in enumerate(self.effects):
            own = windows[pick[pick * len(self.effects) // len(windows) == fold]]
            if len(own):
                network.factors.effects.copy_(found)
                parts.append(Pool.read(network, self._whole(Source(store, own))))
        network.factors.effects.copy_(effects)
        return Pool(*map(torch.cat, zip(*parts, strict=True)))

    def _pasts(self, store: SeriesStore) -> int:
        """How many a window has."""
        return len(store.spec.blocks) * store.values.shape[1]

    def _whole(self, source: Source, most: int | None = None) -> Iterator[Batch]:
        """All windows of a source, or evenly spaced ones with at most so many pasts."""
        store, windows, _ = source
        rows = self._pasts(store)
        if most is not None:
            windows = windows[:: -(-len(windows) * rows // most)]
        size = max(1, min(self.options.batch_size, BATCH_ROWS // rows))
        return (b for b in Source(store, windows).batches(size) if isinstance(b, Batch))
