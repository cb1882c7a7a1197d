"""How a network is trained: its stages one after the other, each kept only if it helps."""

import copy
import dataclasses
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor

from timediff.checkpoints import BestWeights, Curves, weights
from timediff.diffusion.mixture import NormalMixture
from timediff.lightning_module import TimeGradModule
from timediff.loader import PoolLoader, WindowLoader
from timediff.network import Batch, Innovations, ResidualNetwork, RowBatch, TimeGradNetwork
from timediff.network.pools import Pool
from timediff.options import Options
from timediff.spread import held_out_spread
from timediff.store import SeriesStore
from timediff.validation import Source, improved, losses, path_energy
from timediff.windows import build_network

logger = logging.getLogger(__name__)

START_ROWS = 4096  # from which the constants of the prior are computed
POOL_ROWS = 600_000  # pasts whose innovations the diffusion is trained on
FACTOR_ROWS = 1_000_000  # those that common factors are found in
BATCH_ROWS = 2**16  # of them read at a time
BOUND_BATCHES = 50  # from which the range of samples is taken

Loader = WindowLoader | PoolLoader


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
        self.options, self.trainer_kwargs, self.scratch = options, trainer_kwargs, scratch
        self.train, self.held_out, self.everything = train, held_out, everything
        self.generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        self.steps = sum(train.store.lengths)
        self.curves = Curves()
        self.best_epochs: dict[str, int] = {}  # of each stage, 0 where its start was kept
        self.effects: Tensor | None = None  # of common factors; see CommonFactors.fit
        self.normal = False  # whether single innovations are taken to be normal
        callbacks = trainer_kwargs.get("callbacks") or []
        self.callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
        # as they are before they have seen anything
        self.unused = {
            id(c): copy.deepcopy(c) for c in self.callbacks if isinstance(c, EarlyStopping)
        }
        self.device = torch.device("cpu")
        if torch.cuda.is_available():  # what is done between the stages is done there, too
            root = self._trainer(validated=False, epochs=1, whole=False)[0].strategy.root_device
            self.device = root if root.type == "cuda" else self.device

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
        network.to(self.device)
        for source in (self.train, self.held_out):
            source.store.to(self.device)
        train: Loader
        validation: Loader
        if isinstance(network, ResidualNetwork):
            if ckpt_path is None:
                network = self._fit_prior(network, fresh)
                self._fit_factors(network)
            else:
                network.load_state_dict(weights(ckpt_path))
            train, validation = self._loaders(network, ckpt_path is None, fresh)
        else:
            number = self._diffusion_batches(network)
            train = self.train.batches(o.batch_size, num_batches=number, generator=self.generator)
            validation = self.held_out.batches(o.batch_size)
        module, trainer = self.stage("diffusion", network, train, validation, ckpt_path)
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
        """Its stage; see :meth:`stage` for a number of epochs."""
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
        trained = self.stage("prior", network, train, validation, epochs=epochs)[0].trained
        assert isinstance(trained, ResidualNetwork)
        return trained

    def _loaders(
        self, network: ResidualNetwork, whiten: bool = True, fresh: bool = True
    ) -> tuple[PoolLoader, PoolLoader]:
        """The innovations of training windows, at most ``POOL_ROWS`` pasts, and of those held out.

        Args:
            network: whose prior and factors are fitted.
            whiten: fit the whitening to the former.
            fresh: the diffusion is untrained: fit the law of single innovations to them, too.
        """
        self._follow(network.eval())
        size, number = self.options.batch_size, len(self.train.windows)
        count = max(size, POOL_ROWS // self._pasts(self.train.store))
        pick = torch.randperm(number, generator=self.generator)[:count]
        read = self._read(network, pick)
        pool = read.innovations(network, self.steps if whiten else None)
        held = Innovations(*(part[:0] for part in pool))
        if len(self.held_out.windows):
            held = Pool.read(network, self._whole(self.held_out)).innovations(network, None)
        if whiten and fresh:
            self._fit_marginal(network, pool, held)
        train = PoolLoader(pool, size, self._diffusion_batches(network), self.generator)
        return train, PoolLoader(held, size)

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

    def _follow(self, network: TimeGradNetwork) -> None:
        """Gather windows as long as the network reads."""
        if not isinstance(network, ResidualNetwork):
            return
        for store in {self.train.store, self.held_out.store}:
            store.spec = dataclasses.replace(store.spec, before=int(network.factors.any))

    def _fit_factors(self, network: ResidualNetwork) -> None:
        """Common factors of what the trained prior misses.

        Not kept if the prior forecasts the held-out windows worse with them: what held for most of
        the history has changed then.
        """
        if not self.options.factors:
            return
        network.factors.clear()
        self._follow(network.eval())
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

    def _best_run(
        self, module: TimeGradModule, trainer: pl.Trainer, train: Loader, validation: Loader
    ) -> tuple[TimeGradModule, pl.Trainer, Loader]:
        """Of this run of the diffusion and more, that with the best paths of held-out windows.

        Every third, or of two the second, is without the common factors: where the RNN finds as
        much by itself, as of a few series, they only add to what has to be estimated.
        """
        start, unit = module.trained, self.train.store.unit.mean(0)
        best = module, trainer, train
        least, epochs = path_energy(start, self.held_out, unit), dict(self.best_epochs)
        normal = self.normal
        runs = self.options.diffusion_runs
        for run in range(1, runs):
            again, loaders = self._again(start, "diffusion"), (train, validation)
            without = run % 3 == min(runs, 3) - 1
            if without and isinstance(again, ResidualNetwork) and again.factors.any:
                again.factors.clear()
                loaders = self._loaders(again)
            self._follow(again)
            other = self.stage("diffusion", again, *loaders, again=True)
            energy = path_energy(other[0].trained, self.held_out, unit)
            logger.info("run %s: energy score %s of held-out paths, least %s", run, energy, least)
            if energy < least:
                least, best, epochs = energy, (*other, loaders[0]), dict(self.best_epochs)
                normal = self.normal
        self.best_epochs, self.normal = epochs, normal
        self._follow(best[0].trained)
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
        return "diffusion" in self.best_epochs and held_out >= share * self.steps

    def _refit(self, network: TimeGradNetwork) -> tuple[TimeGradModule, pl.Trainer, PoolLoader]:
        """Train it once more, with the held-out windows, each stage for as long as they found best.

        Common factors are left out where they were; of several runs of the diffusion only the
        number of epochs of the best one counts.
        """
        epochs = self.best_epochs
        logger.info("trained again on all of the history, for so many epochs: %s", epochs)
        assert self.everything is not None
        self.train = self.everything
        self.held_out = Source(self.held_out.store, self.held_out.windows[:0])
        other = self._again(network, "prior")
        assert isinstance(other, ResidualNetwork)
        other = self._fit_prior(other, fresh=True, epochs=epochs.get("prior", 0))
        if other.factors.any:
            self._fit_factors(other)
        train, nothing = self._loaders(other)
        again, number = self._again(other, "diffusion"), epochs["diffusion"]
        module, trainer = self.stage("diffusion", again, train, nothing, again=True, epochs=number)
        return module, trainer, train

    def _again(self, network: TimeGradNetwork, stage: str) -> TimeGradNetwork:
        """The same network before a stage, from other random weights of it."""
        other = build_network(self.options, self.train.store.spec, network.target_dim)
        own = {id(p) for p in network.stage_parameters(stage)}
        names = {name for name, p in network.named_parameters() if id(p) in own}
        known = {name: t for name, t in network.state_dict().items() if name not in names}
        other.load_state_dict(known, strict=False)
        return other.to(self.device)

    def stage(
        self,
        stage: str,
        network: TimeGradNetwork,
        train: Loader,
        validation: Loader,
        ckpt_path: str | None = None,
        again: bool = False,
        epochs: int | None = None,
    ) -> tuple[TimeGradModule, pl.Trainer]:
        """Train one stage, for the first time or again; its start is kept unless it is beaten.

        With a number of epochs it ends after so many, the learning rate as if it went on.
        """
        o = self.options
        most = o.prior_epochs if stage == "prior" else o.max_epochs
        most = self.trainer_kwargs.get("max_epochs") or most
        validated = len(validation) > 0
        whole = stage == "diffusion" and not again
        trainer, checkpoint = self._trainer(validated, epochs or most, whole, epochs is not None)
        module = TimeGradModule(network, stage, max(1, most * len(train))).train()
        started = copy.deepcopy(module.state_dict())
        before, first = losses(module, validation), len(self.curves.rows)
        if epochs != 0:
            trainer.fit(module, train, validation if validated else None, ckpt_path=ckpt_path)
        module.to(self.device)
        if checkpoint is not None and checkpoint.best_model_path:
            best = torch.load(
                checkpoint.best_model_path, map_location=self.device, weights_only=True
            )
            Path(checkpoint.best_model_path).unlink()
            module.load_state_dict(best["state_dict"])
            after = losses(module, validation)
            found = [row["val_loss"] for row in self.curves.rows[first:]]
            self.best_epochs[stage] = 1 + found.index(min(found)) if found else 0
            if ckpt_path is None and not improved(before, after, *self.held_out[1:]):
                logger.info("training the %s did not improve on its start, which is kept", stage)
                module.load_state_dict(started)
                self.best_epochs[stage] = 0
        return module, trainer

    def _trainer(
        self, validated: bool, epochs: int, whole: bool, fixed: bool = False
    ) -> tuple[pl.Trainer, ModelCheckpoint | None]:
        """A trainer that writes to the scratch folder only, and the callback that keeps the best.

        Args:
            validated: whether there are windows to validate on.
            epochs: how many.
            whole: with the user's checkpoints, and early stopping that remembers what it saw: in
                the first run of the diffusion, not of what comes before and after.
            fixed: no epoch fewer, whatever a callback says of stopping early.
        """
        o = self.options
        given = {**self.trainer_kwargs}
        given.pop("callbacks", None)
        callbacks = [*self.callbacks, self.curves]
        if fixed:
            callbacks = [c for c in callbacks if not isinstance(c, EarlyStopping)]
        if not whole:
            callbacks = [c for c in callbacks if not isinstance(c, ModelCheckpoint)]
            callbacks = [
                copy.deepcopy(self.unused[id(c)]) if id(c) in self.unused else c for c in callbacks
            ]
        checkpoint = None
        if validated and given.get("enable_checkpointing", True):
            checkpoint = BestWeights(
                dirpath=self.scratch, monitor="val_loss", mode="min", save_weights_only=True
            )
            callbacks.append(checkpoint)
            if not any(isinstance(callback, EarlyStopping) for callback in callbacks):
                callbacks.append(EarlyStopping("val_loss", patience=o.patience))
        defaults: dict[str, Any] = {
            "accelerator": "auto",
            "devices": 1,
            "gradient_clip_val": o.gradient_clip,
            "logger": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks),
        }
        if not given.get("logger"):
            defaults["default_root_dir"] = self.scratch
        own = {"callbacks": callbacks, "max_epochs": epochs}
        return pl.Trainer(**{**defaults, **given, **own}), checkpoint
