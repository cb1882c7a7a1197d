"""The data in memory: everything that does not depend on the window is computed once per series.

All entries lie one after another on one time axis; a batch is a gather of rows from it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from timediff._frequency import moved
from timediff.entries import Panel
from timediff.feature_store import FeatureStore
from timediff.history import fill_gaps, long_means
from timediff.network.batch import Batch, RowBatch, Rows, Static
from timediff.network.prior import soften
from timediff.network.scaling import SCALERS, Affine
from timediff.seasonality import calendar
from timediff.types import Bool, Float, Int, Shaped, Tensor
from timediff.windows import WindowSpec


def stretches(table: Shaped[Tensor, "t *f"], first: Int[Tensor, "n"], length: int) -> Tensor:
    """So many rows of a table from each of the given ones on, ``[n, length, *f]``.

    As one block of memory each, not row by row.
    """
    shape = len(table) - length + 1, length, *table.shape[1:]
    blocks = table.as_strided(shape, (table.stride(0), *table.stride()))
    return blocks.index_select(0, first)


def earlier(
    table: Shaped[Tensor, "t *f"], first: Int[Tensor, "n"], length: int, lags: Int[Tensor, "l"]
) -> Tensor:
    """What lies so many rows before each row of stretches, ``[n, length, l, *f]``."""
    begin = (first.unsqueeze(1) - lags).flatten()
    found = stretches(table, begin, length)
    return found.view(len(first), len(lags), length, *table.shape[1:]).transpose(1, 2)


def cells(
    table: Shaped[Tensor, "t d"], row: Int[Tensor, "n"], column: Int[Tensor, "n"]
) -> Shaped[Tensor, "n"]:
    """What a table holds in these rows and columns."""
    return table.view(-1).index_select(0, row * table.shape[1] + column)


def everything(mask: Bool[Tensor, "*b"]) -> bool:
    """Whether a mask holds everywhere, by way of bytes: of these the least is found quickly."""
    return not mask.numel() or bool(mask.view(torch.uint8).amin())


class SeriesStore:
    """All entries of a dataset as one table of rows, from which windows are gathered.

    Args:
        panels: the entries.
        spec: what a window holds.
        for_forecast: keep of each entry only the rows that the forecast after its end looks back
            to, and add the rows of the horizon.
        device: where everything is kept, and windows are gathered.
    """

    def __init__(
        self,
        panels: Sequence[Panel],
        spec: WindowSpec,
        for_forecast: bool = False,
        device: torch.device | str = "cpu",
    ):
        self.spec = spec
        self.names = [panel.title for panel in panels]
        self.lengths: list[int] = []  # steps of each entry that were kept
        begins: list[int] = []
        shifts: list[int] = []
        pad, parts, first, last = spec.pad, [], 0, 0
        moments: list[tuple[Tensor, ...]] = []
        means: list[tuple[np.ndarray, np.ndarray]] = []
        for panel in panels:
            values = panel.values
            offset = np.zeros(values.shape[1]) if panel.offset is None else panel.offset
            zero = torch.from_numpy((0.0 - offset).astype(np.float32)).to(device)
            moments.append(self._moments(torch.from_numpy(values).to(device), zero))
            start = moved(panel.start, -pad)
            skipped, future, begin = 0, 0, -pad
            if for_forecast:
                skipped, future = max(0, len(values) - spec.reach), spec.prediction_length
                begin = len(values) + spec.first
            start, length = moved(start, skipped), pad + len(values) - skipped + future
            means.append(long_means(values, spec, begin, future))
            last += len(means[-1][0])
            self.lengths.append(len(values) - skipped)
            values = np.pad(values, ((pad, future), (0, 0)), constant_values=np.nan)
            filled = fill_gaps(values, spec.season, length)
            stamps = calendar(start, length, spec.freq, spec.yearly, panel.info)
            parts.append((filled, ~np.isnan(values[-length:]), stamps))
            begins.append(first + pad)
            first += length
            shifts.append(first - last)
        self.values, self.observed, self.calendar = (
            torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True)
        )
        self.past, self.profile = (
            torch.from_numpy(np.concatenate(part)) for part in zip(*means, strict=True)
        )
        known = [torch.cat(part) for part in zip(*moments, strict=True)]
        self.loc, self.scale, self.floor, self.whole = known[:4]
        self.deviation, self.unit, self.change = known[4:]
        self.features = FeatureStore(panels, spec, for_forecast) if spec.features else None
        self.first = torch.tensor(begins)  # of each entry, row of the first step that was kept
        self.shift = torch.tensor(shifts)  # how many rows further up the means of a row lie
        self._lags = torch.tensor((0, *spec.lags))  # the first is of the steps themselves
        self._seasonal = torch.tensor((0, *spec.seasonal))
        self.to(torch.device(device))

    def to(self, device: torch.device) -> None:
        """Keep everything there, so that windows are gathered there."""
        self._columns: dict[str, Tensor] = {}  # see _column
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(self, name, value.to(device))
        if self.features is not None:
            self.features.to(device)

    def _moments(self, x: Float[Tensor, "t d"], zero: Float[Tensor, "d"]) -> tuple[Tensor, ...]:
        """What is known of each series as a whole, each ``[1, D]``; ``zero`` is counted as 0."""
        spec, observed = self.spec, ~x.isnan()
        complete = everything(observed)
        known, seen = (x, None) if complete else (x.nan_to_num(0.0), observed)
        loc, scale = SCALERS[spec.scaling](known, seen)
        deviation = scale if spec.scaling == "standard" else SCALERS["standard"](known, seen).scale
        floor = torch.where((x < zero).any(0, keepdim=True), -torch.inf, zero)
        whole = ((x == x.round()) | ~observed).all(0, keepdim=True)
        if not spec.lookback:
            return loc, scale, floor, whole, deviation, deviation, deviation

        mean = torch.mean if complete else torch.nanmean  # the former is quicker

        def error(distance: int) -> Tensor:
            """Mean absolute change over so many steps; NaN where it is not known."""
            change = mean((x[distance:] - x[:-distance]).abs_(), 0, keepdim=True)
            return change.maximum(1e-3 * deviation)

        change = error(1)
        # on average over the horizon, the last value is about this far off
        simple = [(change + error(min(spec.prediction_length, len(x) - 1))) / 2]
        simple += [error(distance) for distance in spec.seasonal if distance < len(x)]
        unit = torch.cat(simple).nan_to_num(torch.inf).amin(0, keepdim=True)
        unit, change = (torch.where(v.isfinite(), v, deviation) for v in (unit, change))
        return loc, scale, floor, whole, deviation, unit, change

    def gather(self, entry: Int[Tensor, "b"], start: Int[Tensor, "b"]) -> Batch:
        """Windows of the given entries whose horizons start at the given steps (0 the first)."""
        spec, device = self.spec, self.values.device
        entry, start = entry.to(device), start.to(device)
        first = self.first.index_select(0, entry) + start
        begin, length = first + spec.first, spec.prediction_length - spec.first
        found = earlier(self.values, begin, length, self._lags)
        target, observed = found[:, :, 0], stretches(self.observed, begin, length)
        affine = self._affine(entry, target, observed)
        # beyond the end of an entry lie rows of the next: a lag must not reach into the horizon
        # further than the horizon does, and lags are positive, so none does
        return Batch(
            target=target,
            observed=observed,
            calendar=self._known(begin, length, first),
            lags=found[:, :, 1:],
            loc=affine.loc,
            scale=affine.scale,
            floor=self.floor.index_select(0, entry).unsqueeze(1),
            whole=self.whole.index_select(0, entry).unsqueeze(1),
            static=self._static(entry),
            rows=self._pasts(entry, first) if spec.lookback else None,
        )

    def _affine(
        self,
        entry: Int[Tensor, "b"],
        target: Float[Tensor, "b t d"],
        observed: Bool[Tensor, "b t d"],
    ) -> Affine:
        """How windows of these entries are scaled."""
        spec = self.spec
        if spec.scale_window == "series":
            loc, scale = (table.index_select(0, entry) for table in (self.loc, self.scale))
            return Affine(loc.unsqueeze(1), scale.unsqueeze(1))
        context = slice(0, spec.context_length)
        known = None if everything(observed) else observed[:, context]
        return SCALERS[spec.scaling](target[:, context], known)

    def _known(
        self, begin: Int[Tensor, "b"], length: int, first: Int[Tensor, "b"]
    ) -> Float[Tensor, "b t f"]:
        """What is known of all series together in windows with these horizons."""
        calendar = stretches(self.calendar, begin, length)
        if self.features is None:
            return calendar
        rows = begin.unsqueeze(1) + torch.arange(length, device=begin.device)
        return torch.cat([calendar, self.features.joint(rows, first)], dim=-1)

    def _column(self, name: str) -> Tensor:
        """The table of that name, ``[t, D, ...]``, as one row after another of each series."""
        if name not in self._columns:
            table = getattr(self, name)
            self._columns[name] = table.transpose(0, 1).flatten(0, 1)
        return self._columns[name]

    def _static(self, entry: Int[Tensor, "b"]) -> Static | None:
        """What does not change, of all series of these entries, for a network of levels."""
        if self.features is None or self.spec.lookback:
            return None
        series = torch.arange(self.values.shape[1], device=entry.device)
        return self.features.static(entry.unsqueeze(1), series)

    def _pasts(self, entry: Int[Tensor, "b"], first: Int[Tensor, "b"]) -> Rows:
        """Rows of all blocks and all series of windows."""
        spec, device, d = self.spec, self.values.device, self.values.shape[1]
        p = spec.prediction_length
        blocks = torch.tensor(spec.blocks, device=device)
        origin = (first.unsqueeze(1) + blocks).flatten()
        up = self.shift[entry].repeat_interleave(len(blocks))
        recent = stretches(self.values, origin - spec.lookback, spec.lookback)
        seasonal = earlier(self.values, origin, p, self._seasonal[1:])
        series = torch.arange(d, device=device).repeat(len(origin))
        return Rows(
            recent=recent.transpose(1, 2).flatten(0, 1),
            seasonal=seasonal.permute(0, 3, 1, 2).flatten(0, 1),
            profile=stretches(self.profile, origin - up, p).transpose(1, 2).flatten(0, 1),
            past=self.past[origin - up].flatten(),
            series=series,
            **self._beside(
                stretches(self.calendar, origin, p).repeat_interleave(d, dim=0),
                entry.repeat_interleave(len(blocks) * d),
                origin.repeat_interleave(d),
                series,
            ),
            **self._own(entry.repeat_interleave(len(blocks))),
        )

    def _beside(
        self, calendar: Float[Tensor, "r p f"], entry: Tensor, origin: Tensor, series: Tensor
    ) -> dict[str, Any]:
        """Calendar and features of the pasts of these series up to these rows."""
        if self.features is None:
            return {"calendar": calendar}
        features = self.features.gather(entry, origin, series)
        known = torch.cat([calendar, soften(features.horizon)], dim=-1)
        return {"calendar": known, "features": features}

    def _own(self, entry: Tensor, series: Tensor | None = None) -> dict[str, Any]:
        """What is known as a whole of these series, or of all series of these entries."""
        tables = {
            "unit": self.unit,
            "change": self.change,
            "scale": self.deviation,
        }
        if series is None:
            return {name: table[entry].flatten() for name, table in tables.items()}
        return {name: cells(table, entry, series) for name, table in tables.items()}

    def gather_rows(
        self, entry: Int[Tensor, "r"], start: Int[Tensor, "r"], series: Int[Tensor, "r"]
    ) -> RowBatch:
        """The past of single series up to the given steps, and the horizons from there."""
        spec, device = self.spec, self.values.device
        entry, start, series = (part.to(device) for part in (entry, start, series))
        first = self.first.index_select(0, entry) + start
        above = first - self.shift.index_select(0, entry)
        p, at = spec.prediction_length, series * len(self.values) + first
        values, profile = self._column("values"), self._column("profile")
        found = earlier(values, at, p, self._seasonal)
        rows = Rows(
            recent=stretches(values, at - spec.lookback, spec.lookback),
            seasonal=found[:, :, 1:],
            profile=stretches(profile, series * len(self.profile) + above, p),
            past=cells(self.past, above, series),
            series=series,
            **self._beside(stretches(self.calendar, first, p), entry, first, series),
            **self._own(entry, series),
        )
        observed = stretches(self._column("observed"), at, p)
        return RowBatch(rows, found[:, :, 0], observed)
