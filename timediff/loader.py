"""Windows by index: everything that does not depend on the window is computed once per series.

All entries lie one after another on one time axis; a batch is a gather of rows from it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from timediff.entries import Panel
from timediff.network.batch import Batch
from timediff.network.scaling import SCALERS, Affine
from timediff.seasonality import calendar
from timediff.types import Float, Int, Tensor


@dataclass(frozen=True)
class WindowSpec:
    """What a window holds; worked out from options and data when training starts.

    Attributes:
        freq: pandas frequency of the data.
        prediction_length: P, steps of the horizon.
        context_length: C, steps before it.
        lags: distances of the lagged values, rising.
        season: steps of the profile's season; None for no profile.
        profile_seasons: past seasons the profile is taken over.
        scaling: name of the scaling.
        scale_window: ``"series"`` or ``"context"``.
    """

    freq: str
    prediction_length: int
    context_length: int
    lags: tuple[int, ...]
    season: int | None
    profile_seasons: int
    scaling: str
    scale_window: str

    @property
    def pad(self) -> int:
        """Rows before the first value of an entry, so that every lag of every window exists."""
        return self.context_length + max(self.lags)

    @property
    def reach(self) -> int:
        """How many steps of the past a forecast looks back to."""
        season = self.season or 0
        first = -(-self.prediction_length // season) if season else 0
        return self.pad + (first + self.profile_seasons) * season


def fill_gaps(values: np.ndarray, season: int | None) -> np.ndarray:
    """Gaps filled from the past only: the last value for a short gap, else the last season's.

    Args:
        values: ``(T, D)``, NaN where missing.
        season: steps of a season, or None.

    Returns:
        ``(T, D)`` without NaN; before the first value of a series, its mean (0 if it has none).
    """
    missing = np.isnan(values)
    if not missing.any():
        return values
    frame = pd.DataFrame(values)
    if season is not None:
        frame = frame.ffill(limit=max(1, season // 12))
        frame = frame.fillna(frame.groupby(np.arange(len(frame)) % season).ffill())
    observed = np.where(missing, 0.0, values).sum(0) / np.maximum((~missing).sum(0), 1)
    frame = frame.ffill()
    return frame.fillna(dict(enumerate(observed))).to_numpy(values.dtype)


def seasonal_profile(
    values: np.ndarray, season: int, num_seasons: int, prediction_length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the same season over the latest seasons known in advance.

    A forecast of P steps never sees its own horizon: the latest season used lies P steps back.

    Args:
        values: ``(T, D)``, NaN where missing.
        season: steps of a season.
        num_seasons: how many seasons.
        prediction_length: P.

    Returns:
        Two arrays ``(T, D)``; where no past season was observed, mean and deviation of the series.
    """
    first = -(-prediction_length // season)
    count = np.zeros(values.shape, dtype=np.float32)
    total = np.zeros(values.shape, dtype=np.float64)
    square = np.zeros(values.shape, dtype=np.float64)
    observed = ~np.isnan(values)
    center = np.where(observed, values, 0.0).sum(0) / np.maximum(observed.sum(0), 1)
    centered = np.where(observed, values - center, 0.0)
    spread = np.sqrt((centered**2).sum(0) / np.maximum(observed.sum(0), 1))
    for shift in range(first * season, (first + num_seasons) * season, season):
        if shift >= len(values):
            break
        count[shift:] += observed[:-shift]
        total[shift:] += centered[:-shift]
        square[shift:] += centered[:-shift] ** 2
    mean = total / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(square / np.maximum(count, 1) - mean**2, 0.0))
    deviation = np.where(count > 1, deviation, spread)
    return (center + mean).astype(values.dtype), deviation.astype(values.dtype)


class SeriesStore:
    """All entries of a dataset as one table of rows, from which windows are gathered.

    Args:
        panels: the entries.
        spec: what a window holds.
        for_forecast: keep of each entry only the rows that the forecast after its end looks back
            to, and add the rows of the horizon.
    """

    def __init__(self, panels: Sequence[Panel], spec: WindowSpec, for_forecast: bool = False):
        self.spec = spec
        self.names = [panel.title for panel in panels]
        self.lengths: list[int] = []  # steps of each entry that were kept
        self.first: list[int] = []  # row of the first of them
        pad, parts, first = spec.pad, [], 0
        affines: list[tuple[Tensor, Tensor, Tensor]] = []
        for panel in panels:
            values = panel.values
            affines.append(self._moments(torch.from_numpy(values)))
            start = panel.start - pad
            future = 0
            if for_forecast:
                skipped = max(0, len(values) - spec.reach)
                values, start, future = values[skipped:], start + skipped, spec.prediction_length
            self.lengths.append(len(values))
            values = np.pad(values, ((pad, future), (0, 0)), constant_values=np.nan)
            filled = fill_gaps(values, spec.season)
            if spec.season is None:
                profile = np.zeros((len(values), 2, values.shape[1]), np.float32)
            else:
                profile = np.stack(
                    seasonal_profile(
                        values, spec.season, spec.profile_seasons, spec.prediction_length
                    ),
                    axis=1,
                )
            stamps = calendar(start, len(values), spec.freq)
            parts.append((filled, ~np.isnan(values), stamps, profile))
            self.first.append(first + pad)
            first += len(values)
        tables = [torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True)]
        self.values, self.observed, self.calendar, self.profile = tables
        self.loc, self.scale, self.spread = (torch.cat(part) for part in zip(*affines, strict=True))
        self._lags = torch.tensor(spec.lags)

    def _moments(self, x: Float[Tensor, "t d"]) -> tuple[Tensor, Tensor, Tensor]:
        """Location, scale and spread of one entry, each ``[1, D]``."""
        observed = ~x.isnan()
        loc, scale = SCALERS[self.spec.scaling](x.nan_to_num(0.0), observed)
        change = x.diff(dim=0).abs()
        known = ~change.isnan()
        spread = change.nan_to_num(0.0).sum(0, keepdim=True) / known.sum(0, keepdim=True).clamp(1)
        return loc, scale, torch.where(spread > 0, spread, 1e-3 * scale)

    def to(self, device: torch.device | str) -> "SeriesStore":
        """Move the tables; windows are gathered there from then on."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self

    def gather(self, entry: Int[Tensor, "b"], start: Int[Tensor, "b"]) -> Batch:
        """Windows of the given entries whose horizons start at the given steps (0 the first)."""
        spec, device = self.spec, self.values.device
        entry, start = entry.to(device), start.to(device)
        first = torch.tensor(self.first, device=device)[entry] + start
        steps = torch.arange(-spec.context_length, spec.prediction_length, device=device)
        rows = first.unsqueeze(1) + steps
        target, observed = self.values[rows], self.observed[rows]
        if spec.scale_window == "series":
            affine = Affine(self.loc[entry].unsqueeze(1), self.scale[entry].unsqueeze(1))
        else:
            context = slice(0, spec.context_length)
            affine = SCALERS[spec.scaling](target[:, context], observed[:, context])
        # beyond the end of an entry lie rows of the next: a lag must not reach into the horizon
        # further than the horizon does, and lags are positive, so none does
        return Batch(
            target=target,
            observed=observed,
            lags=self.values[rows.unsqueeze(2) - self._lags],
            calendar=self.calendar[rows],
            profile=self.profile[rows],
            loc=affine.loc,
            scale=affine.scale,
            spread=self.spread[entry].unsqueeze(1),
        )


class WindowLoader:
    """Batches of windows, as an iterable that Lightning takes for a data loader.

    Args:
        store: the data.
        windows: ``(n, 2)``: entry and start of the horizon of every window there is.
        batch_size: windows of a batch.
        num_batches: batches of random windows in an epoch; None goes through all windows in order.
        generator: source of the random windows.
    """

    def __init__(
        self,
        store: SeriesStore,
        windows: Int[Tensor, "n 2"],
        batch_size: int,
        num_batches: int | None = None,
        generator: torch.Generator | None = None,
    ):
        self.store, self.windows, self.batch_size = store, windows, batch_size
        self.num_batches, self.generator = num_batches, generator

    def __len__(self) -> int:
        return self.num_batches or -(-len(self.windows) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for i in range(len(self)):
            if self.num_batches is None:
                chosen = self.windows[i * self.batch_size : (i + 1) * self.batch_size]
            else:
                pick = torch.randint(
                    len(self.windows), (self.batch_size,), generator=self.generator
                )
                chosen = self.windows[pick]
            yield self.store.gather(chosen[:, 0], chosen[:, 1])
