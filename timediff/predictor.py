"""The trained model as a GluonTS predictor."""

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from gluonts.model.predictor import Predictor
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.transform import Identity

from timediff._arguments import whole
from timediff.device import best_device
from timediff.diffusion import SAMPLERS, Sampler
from timediff.entries import Panel, check_names, read_entry
from timediff.errors import DataError
from timediff.forecast import JointForecast
from timediff.network import Batch, TimeGradNetwork
from timediff.sampling import forecasts
from timediff.saving import load, save
from timediff.scenarios import Given
from timediff.store import SeriesStore
from timediff.windows import WindowSpec, build_network


class TimeGradPredictor(PyTorchPredictor):
    """Draws joint sample paths; made by :meth:`timediff.TimeGradEstimator.train`.

    Args:
        network: the trained network.
        spec: what a window of its data holds.
        columns: names of the series it was trained on, if they have any.
        device: where to draw: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        curves: losses of its training: ``stage, run, epoch, train_loss, val_loss``.
    """

    def __init__(
        self,
        network: TimeGradNetwork,
        spec: WindowSpec,
        columns: list[Any] | None = None,
        device: str | torch.device = "auto",
        curves: pd.DataFrame | None = None,
    ):
        super().__init__(
            input_names=[],
            prediction_net=network,
            batch_size=network.options.prediction_batch,
            prediction_length=spec.prediction_length,
            input_transform=Identity(),
            device=best_device(device),
        )
        self.spec, self.columns, self.curves = spec, columns, curves

    def __reduce__(self) -> Any:
        parts = (self.network, self.spec, self.columns, self.device, self.curves)
        return type(self), parts, {"batch_size": self.batch_size}

    def _around(
        self, network: TimeGradNetwork, device: torch.device | None = None
    ) -> "TimeGradPredictor":
        """The same predictor with another network."""
        other = type(self)(network, self.spec, self.columns, device or self.device, self.curves)
        other.batch_size = self.batch_size
        return other

    def with_sampler(
        self, sampler: str | Sampler, steps: int | None = None, **options: Any
    ) -> "TimeGradPredictor":
        """The same predictor, drawing with another sampler.

        Args:
            sampler: ``"adams"``, ``"dpm_solver"``, ``"ddim"``, ``"ddpm"`` or a sampler object.
            steps: reverse steps; all that the model was trained with if None.
            options: further arguments of the sampler, such as ``eta`` or ``order``.

        Raises:
            OptionError: an unknown sampler or option, or more steps than there are.
        """
        network = self.network
        built = SAMPLERS.build(sampler, steps=steps, **options)
        built.timesteps(network.diffusion)
        changed = dataclasses.replace(
            network.options, sampler=sampler, steps=steps, sampler_options=options
        )
        other = build_network(changed, self.spec, network.target_dim)
        other.load_state_dict(network.state_dict(), assign=True)
        if network.diffusion.denoiser.is_compiled:
            other.diffusion.denoiser.compile_kernel()
        return self._around(other)

    def on(
        self,
        device: str | torch.device | None = None,
        batch_size: int | None = None,
        matmul_precision: str | None = None,
    ) -> "TimeGradPredictor":
        """The predictor on another device, or drawing in another way there.

        Args:
            device: where to draw; None for where it is.
            batch_size: entries drawn at a time at most; None for as many as now.
            matmul_precision: of the products of matrices on a GPU, ``"float32"``, ``"tf32"`` or
                ``"bfloat16"``; None for that of now.

        Returns:
            A copy, with weights of its own on another device; itself if nothing changes.

        Raises:
            OptionError: ``batch_size`` is below 1, the precision is unknown, or there is no such
                device.
        """
        if batch_size is not None:
            batch_size = whole("batch_size", batch_size, 1)
        place = self.device if device is None else best_device(device)
        options = self.network.options
        if matmul_precision not in (None, options.matmul_precision):
            options = dataclasses.replace(options, matmul_precision=matmul_precision)
        if batch_size is None and place == self.device and options is self.network.options:
            return self
        network = self.network if place == self.device else copy.deepcopy(self.network)
        if options is not network.options:
            network = copy.copy(network)  # of the same weights
            network.options, network.recording = options, None
        other = self._around(network, place)
        other.batch_size = batch_size or self.batch_size
        return other

    def compiled(self) -> "TimeGradPredictor":
        """The same predictor, compiled when it is first used.

        On a CPU that is its denoiser, on a GPU all of a step of the horizon. ``torch.compile``
        takes half a minute and pays where many reverse steps are taken, or often. On a CPU the
        noise (``noise.cpp``) and the published denoiser (``wavenet.cpp``) have kernels of their
        own in its place; see ``benchmarks/results/sampling.md``. Paths differ from those of the
        plain predictor by rounding. Where there is no compiler, or it fails, paths are drawn as
        before. What was compiled is kept on disk, for the next process.
        """
        network = copy.deepcopy(self.network)
        other = self._around(network)
        other.network.diffusion.denoiser.compile_kernel()
        return other

    @property
    def network(self) -> TimeGradNetwork:
        """The trained network."""
        return self.prediction_net  # type: ignore[return-value]

    def predict(  # type: ignore[override]
        self,
        dataset: Iterable[Any],
        num_samples: int | None = None,
        seed: int | None = None,
        *,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        given: Given | Sequence[Given | None] | None = None,
    ) -> Iterator[JointForecast]:
        """Forecast the ``prediction_length`` steps after the end of each entry.

        Args:
            dataset: entries as in training; the history is taken to their end. A generator will do.
            num_samples: S, joint paths of each entry; 100 if None.
            seed: the paths of an entry depend on the seed and the entry's position alone; None
                takes a seed from torch's global generator.
            sampler: draw with another sampler this time; see :meth:`with_sampler`.
            steps: with another number of steps this time.
            given: values and totals of the horizon that all paths of a forecast have, the rest
                drawn to fit: one :class:`~timediff.Given` for every entry, or a list with one, or
                None, for each. ``info["given"]`` of the forecast then says what the scenario is
                worth; a warning says where it is far outside of the law.

        Yields:
            A forecast for each entry, with samples ``(S, P, D)``, or ``(S, P)`` for targets of
            one axis, in the units of the data. Of a series without any observation they are NaN,
            and a warning names it.

        Raises:
            DataError: an entry does not fit the model, or has no observation at all, or what is
                given does not fit the entries.
            OptionError: ``num_samples`` or ``seed`` is no whole number, or too small.
            TimediffError: a path is not finite.
        """
        num_samples = 100 if num_samples is None else whole("num_samples", num_samples, 1)
        seed = int(torch.randint(2**62, ())) if seed is None else whole("seed", seed, 0)
        other = self
        if sampler is not None:
            other = self.with_sampler(sampler, steps)
        elif steps is not None:
            o = self.network.options
            other = self.with_sampler(o.sampler, steps, **o.sampler_options)
        return forecasts(other, dataset, num_samples, seed, given)

    def log_likelihood(
        self,
        dataset: Iterable[Any],
        *,
        last: int | None = None,
        draws: int = 2,
        flow_steps: int = 25,
        variance: str | None = None,
        seed: int = 0,
    ) -> Iterator[pd.DataFrame]:
        """How likely what was observed at each step was, in nats: low where it was a surprise.

        Each entry is cut into whole horizons, counted from its end. A horizon is judged by the
        forecast that would have been made just before it, from nothing later; each of its steps
        is given also what was observed in the horizon before that step. So the steps of a horizon
        add up to the log density of its whole path, and all horizons to that of the entry given its
        first steps. The weights of the model are as they are, also of data it was trained on.

        The density is that of all observed series of a step together, in the units of the data:
        of values ten times as large it is lower by 2.3 nats a series. It is the density of the
        model's law before paths are kept within bounds or made whole numbers.

        Args:
            dataset: entries as in training.
            last: only so many steps at the end of each entry; all that can be told if None.
            draws: of the noise in the bound; see :func:`timediff.diffusion.bound.bound_terms`.
            flow_steps: of the probability flow, at most K; 0 leaves it out. Up to 32 series each
                takes the time of 2 D evaluations of the network.
            variance: of the reverse steps in the bound: ``"large"``, ``"small"`` or ``"learned"``;
                if None, as was learned, else large.
            seed: of the noise in the bound, and in the flow of more than 32 series.

        Yields:
            For each entry a table over its time stamps: ``bound``, a lower bound of the log density
            up to the scatter of the draws; ``flow``, an estimate of it; ``observed``, how many
            series were; ``beyond``, how many of these have a value where no path goes, outside of
            what training saw or more than ten scales off the forecast. There the network was not
            trained, and both numbers say "very unlikely", but not how much. Both are NaN before
            the first horizon, where no series was observed, and without a prior where one was not.
            With a prior a missing series costs nothing but itself: it is put at its mean given the
            others, and its density there, under a normal law, is taken out.

        Raises:
            DataError: an entry does not fit the model, or is too short.
            OptionError: an impossible argument.
        """
        from timediff.likelihood import log_likelihoods

        return log_likelihoods(self, dataset, last, draws, flow_steps, variance, seed)

    def chunks(self, dataset: Iterable[Any], num_samples: int) -> Iterator[list[tuple[int, Panel]]]:
        """The entries with their positions, as many at a time as the memory budget allows."""
        chunk: list[tuple[int, Panel]] = []
        budget, used = self.network.options.memory_budget * 2**30, 0
        own = 4 * self.network.target_dim * self.spec.floats(num_samples)
        for i, entry in enumerate(dataset):
            panel = self.read(entry, i)
            self._check(panel)
            size = own + panel.values.nbytes
            if chunk and (used + size > budget or len(chunk) == self.batch_size):
                yield chunk
                chunk, used = [], 0
            chunk.append((i, panel))
            used += size
        if chunk:
            yield chunk

    def read(self, entry: Mapping[str, Any], position: int) -> Panel:
        """An entry, its features in the model's order; counted from 0 without a prior."""
        panel = self.spec.features.in_order(read_entry(entry, position, self.spec.freq))
        return panel if self.spec.lookback else panel.absolute()

    def gather(self, panels: list[Panel]) -> Batch:
        """The windows after the ends of these entries, on the device."""
        store = SeriesStore(panels, self.spec, for_forecast=True, device=self.device)
        return store.gather(torch.arange(len(panels)), torch.tensor(store.lengths))

    def _check(self, panel: Panel) -> None:
        """Raise a DataError unless this entry can be forecast."""
        width = panel.values.shape[1]
        if width != self.network.target_dim:
            raise DataError(
                f"{panel.title} has {width} series, but the model was trained on "
                f"{self.network.target_dim}"
            )
        check_names([panel], self.columns, "the model was trained with")
        self.spec.features.check(panel)
        self.spec.features.check_future(panel, self.spec.prediction_length)
        panel.check_observed()
        panel.warn_of_dead()

    # -- saving ------------------------------------------------------------------------------

    def serialize(self, path: Path) -> None:
        """Save to an existing folder: weights as safetensors, everything else as plain JSON.

        Raises:
            SavedModelError: the model holds an object that has no name to save it under.
        """
        save(path, self.network, self.spec, self.columns, self.curves)
        Predictor.serialize(self, Path(path))  # the files by which GluonTS finds this class

    @classmethod
    def deserialize(  # type: ignore[override]
        cls, path: Path, device: str | torch.device | None = None
    ) -> "TimeGradPredictor":
        """Load what :meth:`serialize` saved. Runs no code and imports nothing the files name.

        Raises:
            SavedModelError: a file is missing, damaged or of a newer format.
        """
        saved = load(path)
        device = "auto" if device is None else device
        return cls(saved.network, saved.spec, saved.columns, device, saved.curves)
