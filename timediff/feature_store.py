"""The features of a dataset in memory, in the rows of the store they belong to."""

from collections.abc import Sequence

import numpy as np
import torch

from timediff.entries import Panel
from timediff.feature_spec import Numbers
from timediff.history import fill_features, long_means
from timediff.network.batch import RowFeatures, Static
from timediff.network.prior import soften
from timediff.types import Float, Int, Tensor
from timediff.windows import WindowSpec


class FeatureStore:
    """Features of all entries, gaps filled from the past, in deviations of the training data.

    Whatever a prior reads of the values, it reads of the known features, too: so it can take out
    of a past value what that owes to them. (Where values are missing this is not exact: a mean is
    over what was observed of the values, but over all of a feature.)

    Args:
        panels: the entries.
        spec: what a window holds.
        for_forecast: see :class:`timediff.store.SeriesStore`.
    """

    def __init__(self, panels: Sequence[Panel], spec: WindowSpec, for_forecast: bool):
        self.spec = spec
        tables = [self._tables(panel, for_forecast) for panel in panels]
        self.known, self.profile, self.mean, self.past = (
            torch.from_numpy(np.concatenate(part)) for part in zip(*tables, strict=True)
        )
        static = [self._of_entry(panel) for panel in panels]
        self.real, self.category = (
            torch.from_numpy(np.stack(part)) for part in zip(*static, strict=True)
        )
        self._seasonal = torch.tensor(spec.seasonal, dtype=torch.long)

    def to(self, device: torch.device) -> None:
        """Keep everything there."""
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(self, name, value.to(device))

    def _tables(self, panel: Panel, for_forecast: bool) -> tuple[np.ndarray, ...]:
        """Of each row of an entry: known ones ``(t, w, k)``, profiles, means; past-only ones."""
        spec, features, length = self.spec, panel.features, len(panel.values)
        assert features is not None
        skipped = future = 0
        if for_forecast:
            skipped, future = max(0, length - spec.reach), spec.prediction_length
        total = spec.pad + length + future

        def filled(field: Numbers, values: np.ndarray | None) -> np.ndarray:
            """Of the padding, the entry and the future ``(t, w, k)``."""
            if values is None:
                return np.zeros((total, 1, 0), "f4")
            return fill_features(field.standardise(values[: length + future]), spec.pad, total)

        known = filled(spec.features.known, features.known)
        past = filled(spec.features.past, features.past)[skipped:]
        shape, seasons = known[skipped:].shape, len(spec.profiles)
        mean, profile = np.zeros(shape, "f4"), np.zeros((*shape, seasons), "f4")
        if spec.lookback and known.size:
            history = known[spec.pad :][:length].reshape(length, -1)
            begin = length + spec.first if for_forecast else -spec.pad
            found = long_means(history, spec, begin, future)
            rows = len(found[0])
            mean[len(mean) - rows :] = found[0].reshape(rows, *shape[1:])
            profile[len(mean) - rows :] = found[1].reshape(rows, *shape[1:], seasons)
        return known[skipped:], profile, mean, past

    def _of_entry(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """What does not change, of each series: ``(d, v)`` and ``(d, c)``."""
        f, features, width = self.spec.features, panel.features, panel.values.shape[1]
        assert features is not None
        real, category = np.zeros((1, 0), "f4"), np.zeros((1, 0), "i8")
        if features.real is not None:
            real = f.real.standardise(features.real)[0]
        if f.category.size and features.category is not None:
            category = f.category.codes(features.category)
        both = (np.broadcast_to(x, (width, x.shape[1])) for x in (real, category))
        return tuple(both)  # type: ignore[return-value]

    def joint(self, rows: Int[Tensor, "b t"], first: Int[Tensor, "b"]) -> Float[Tensor, "b t f"]:
        """What is known of all series together at some rows.

        With a prior, the mean over the series of what is known ahead: of each on its own, the prior
        has read it. Without, what is known of each, and the latest that is of the past only.

        Args:
            rows: of the windows.
            first: the first row of each horizon.
        """
        known = self.known[rows]
        if self.spec.lookback:
            return soften(known.mean(2))
        latest = torch.minimum(rows, first.unsqueeze(1)) - 1
        return soften(torch.cat([known.flatten(2), self.past[latest].flatten(2)], dim=-1))

    def static(self, entry: Int[Tensor, "*#b"], series: Int[Tensor, "*#b"]) -> Static:
        """What does not change, of these series of these entries."""
        return Static(self.real[entry, series], self.category[entry, series])

    def gather(
        self, entry: Int[Tensor, "r"], origin: Int[Tensor, "r"], series: Int[Tensor, "r"]
    ) -> RowFeatures:
        """The features of the pasts of these series up to these rows."""
        spec, device = self.spec, self.known.device
        own = series if self.known.shape[1] > 1 else torch.zeros_like(series)
        column = own.unsqueeze(1)
        recent = origin.unsqueeze(1) + torch.arange(-spec.lookback, 0, device=device)
        horizon = origin.unsqueeze(1) + torch.arange(spec.prediction_length, device=device)
        lagged = recent[:, -spec.feature_steps :]
        past = series if self.past.shape[1] > 1 else torch.zeros_like(series)
        return RowFeatures(
            recent=self.known[recent, column],
            seasonal=self.known[horizon.unsqueeze(2) - self._seasonal, column.unsqueeze(2)],
            profile=self.profile[horizon, column].transpose(2, 3),
            past=self.mean[origin, own],
            horizon=self.known[horizon, column],
            lagged=self.past[lagged, past.unsqueeze(1)],
            static=self.static(entry, series),
        )
