"""How a network is trained: its stages one after the other, each kept only if it helps."""

import itertools
import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from timediff.checkpoints import load_weights, weights
from timediff.fitting import Fitting
from timediff.lightning_module import TimeGradModule
from timediff.loader import PoolLoader
from timediff.network import Batch, Innovations, ResidualNetwork, RowBatch, TimeGradNetwork
from timediff.options import Options
from timediff.spread import held_out_spread
from timediff.stages import Loader, Stages
from timediff.validation import Source, path_energy
from timediff.windows import build_network

logger = logging.getLogger(__name__)

START_ROWS = 4096  # from which the constants of the prior are computed
BOUND_BATCHES = 50  # from which the range of samples is taken


class Training:
    """One run of training.

    Args:
        options: the model's.
        trainer_kwargs: for Lightning's ``Trainer``, over what the options say.
        scratch: folder for checkpoints.
        train: what to train on.
        held_out: what decides when to stop, and whether training helped.
        everything: the windows of both, if both are of the same data.
    """

    def __init__(
        self,
        options: Options,
        trainer_kwargs: dict[str, Any],
        scratch: Path,
        train: Source,
        held_out: Source,
        everything: Source | None = None,
    ):
        self.options = options
        self.train, self.held_out, self.everything = train, held_out, everything
        self.generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        self.steps = sum(train.store.lengths)
        self.stages = Stages(options, trainer_kwargs, scratch)
        self.fitting = Fitting(options, train, held_out, self.generator)

    def fit(
        self, network: TimeGradNetwork, fresh: bool = True, ckpt_path: str | None = None
    ) -> tuple[TimeGradModule, pl.Trainer]:
        """Train all stages; the module's ``trained`` network has the best weights.

        Args:
            network: what to train.
            fresh: its weights are random: the prior begins as the best simple forecast.
            ckpt_path: a checkpoint of the diffusion's stage to go on from.
        """
        o = self.options
        if ckpt_path is not None:
            load_weights(network, weights(ckpt_path), f"ckpt_path {ckpt_path!r}")
        network.to(self.stages.device)
        for source in (self.train, self.held_out):
            source.store.to(self.stages.device)
        train: Loader
        validation: Loader
        if isinstance(network, ResidualNetwork):
            if ckpt_path is None:
                network = self._fit_prior(network, fresh)
                self.fitting.fit_factors(network)
            train, validation = self._loaders(network, ckpt_path is None, fresh)
        else:
            number = self._diffusion_batches(network)
            train = self.train.batches(o.batch_size, num_batches=number, generator=self.generator)
            validation = self.held_out.batches(o.batch_size)
        module, trainer = self.stages.run(
            "diffusion", network, train, validation, self.held_out, ckpt_path
        )
        if fresh and ckpt_path is None and o.diffusion_runs > 1 and len(validation):
            module, trainer, train = self._best_run(module, trainer, train, validation)
        spread = self._spread(module.trained)
        if fresh and ckpt_path is None and self._worth_a_refit(module.trained):
            module, trainer, train = self._refit(module.trained)
        network = module.trained
        if isinstance(network, ResidualNetwork):
            network.whitening.stretch(spread)
        network.requires_grad_(False).eval()
        # of a series that is counted from elsewhere, only whether there is a floor
        network.floor.copy_(torch.where(self.train.store.floor.isinf().any(0), -torch.inf, 0.0))
        network.whole.copy_(self.train.store.whole.all(0))
        if o.bound_samples:
            for batch in itertools.islice(train, BOUND_BATCHES):
                if isinstance(batch, Innovations):
                    network.widen_bounds(batch.w)
                elif isinstance(batch, Batch):
                    network.widen_bounds(network.diffused(batch))
        return module, trainer

    def _diffusion_batches(self, network: TimeGradNetwork) -> int:
        o, horizons = self.options, self.steps / network.prediction_length
        return self._batches(o.passes, horizons, o.batch_size, o.max_epochs)

    def _batches(self, passes: float | None, items: float, size: int, epochs: int) -> int:
        """Batches of an epoch, so that all epochs together go over the items so often."""
        most = self.options.num_batches_per_epoch
        if passes is None:
            return most
        return min(most, max(2, round(passes * items / (size * epochs))))

    def _fit_prior(
        self, network: ResidualNetwork, fresh: bool, epochs: int | None = None
    ) -> ResidualNetwork:
        """Its stage; see :meth:`Stages.run` for a number of epochs."""
        o = self.options
        if fresh:
            start = self.train.batches(
                START_ROWS, num_batches=1, generator=self.generator, rows=True
            )
            network.start(next(b for b in start if isinstance(b, RowBatch)))
        if not (o.prior_epochs if epochs is None else epochs):
            return network
        rows = self.steps / network.prediction_length * network.target_dim
        number = self._batches(o.prior_passes, rows, o.prior_rows, o.prior_epochs)
        train = self.train.batches(
            o.prior_rows, num_batches=number, generator=self.generator, rows=True
        )
        validation = self.held_out.batches(o.prior_rows, rows=True)
        module, _ = self.stages.run(
            "prior", network, train, validation, self.held_out, epochs=epochs
        )
        assert isinstance(module.trained, ResidualNetwork)
        return module.trained

    def _loaders(
        self, network: ResidualNetwork, whiten: bool = True, fresh: bool = True
    ) -> tuple[PoolLoader, PoolLoader]:
        """Innovations to train the diffusion on, and held-out ones; see :class:`Fitting`."""
        size = self.options.batch_size
        pool, held = self.fitting.innovations(network, whiten, fresh)
        train = PoolLoader(pool, size, self._diffusion_batches(network), self.generator)
        return train, PoolLoader(held, size)

    def _best_run(
        self, module: TimeGradModule, trainer: pl.Trainer, train: Loader, validation: Loader
    ) -> tuple[TimeGradModule, pl.Trainer, Loader]:
        """Of this run of the diffusion and more, that with the best paths of held-out windows.

        Every third, or of two the second, is without the common factors: where the RNN finds as
        much by itself, as of a few series, they only add to what has to be estimated.
        """
        start, unit = module.trained, self.train.store.unit.mean(0)
        best = module, trainer, train
        least, epochs = path_energy(start, self.held_out, unit), dict(self.stages.best_epochs)
        normal = self.fitting.normal
        runs = self.options.diffusion_runs
        for run in range(1, runs):
            again, loaders = self._again(start, "diffusion"), (train, validation)
            without = run % 3 == min(runs, 3) - 1
            if without and isinstance(again, ResidualNetwork) and again.factors.any:
                again.factors.clear()
                loaders = self._loaders(again)
            self.fitting.follow(again)
            other = self.stages.run("diffusion", again, *loaders, self.held_out, again=True)
            energy = path_energy(other[0].trained, self.held_out, unit)
            logger.info("run %s: energy score %s of held-out paths, least %s", run, energy, least)
            if energy < least:
                least, best, epochs = energy, (*other, loaders[0]), dict(self.stages.best_epochs)
                normal = self.fitting.normal
        self.stages.best_epochs, self.fitting.normal = epochs, normal
        self.fitting.follow(best[0].trained)
        return best

    def _spread(self, network: TimeGradNetwork) -> float:
        """How much wider than in training what the series share is to be drawn."""
        wanted = self.options.spread and len(self.held_out.windows)
        if not wanted or not isinstance(network, ResidualNetwork):
            return 1.0
        network.eval()
        return held_out_spread(network, self.held_out, self.train.store.unit.mean(0))

    def _worth_a_refit(self, network: TimeGradNetwork) -> bool:
        """Whether much of the history was held out, and it is known how long to train on it."""
        share = self.options.refit
        if share is None or self.everything is None or not isinstance(network, ResidualNetwork):
            return False
        entry, start = self.train.windows.unbind(1)
        last = torch.zeros(len(self.train.store.lengths), dtype=torch.long)
        last.scatter_reduce_(0, entry, start, "amax")  # starts of the last horizons seen
        held_out = self.steps - int((last + network.prediction_length).sum())
        return "diffusion" in self.stages.best_epochs and held_out >= share * self.steps

    def _refit(self, network: TimeGradNetwork) -> tuple[TimeGradModule, pl.Trainer, PoolLoader]:
        """Train it once more, with the held-out windows, each stage for as long as they found best.

        Common factors are left out where they were; of several runs of the diffusion only the
        number of epochs of the best one counts.
        """
        epochs = self.stages.best_epochs
        logger.info("trained again on all of the history, for so many epochs: %s", epochs)
        assert self.everything is not None
        self.train = self.everything
        self.held_out = Source(self.held_out.store, self.held_out.windows[:0])
        normal = self.fitting.normal
        self.fitting = Fitting(self.options, self.train, self.held_out, self.generator, normal)
        other = self._again(network, "prior")
        assert isinstance(other, ResidualNetwork)
        other = self._fit_prior(other, fresh=True, epochs=epochs.get("prior", 0))
        if other.factors.any:
            self.fitting.fit_factors(other)
        train, nothing = self._loaders(other)
        again, number = self._again(other, "diffusion"), epochs["diffusion"]
        module, trainer = self.stages.run(
            "diffusion", again, train, nothing, self.held_out, again=True, epochs=number
        )
        return module, trainer, train

    def _again(self, network: TimeGradNetwork, stage: str) -> TimeGradNetwork:
        """The same network before a stage, from other random weights of it."""
        other = build_network(self.options, self.train.store.spec, network.target_dim)
        own = {id(p) for p in network.stage_parameters(stage)}
        names = {name for name, p in network.named_parameters() if id(p) in own}
        known = {name: t for name, t in network.state_dict().items() if name not in names}
        other.load_state_dict(known, strict=False)
        return other.to(self.stages.device)
