"""Batches of windows, of single series of them, and of what was computed from them once."""

from collections.abc import Iterator

import torch

from timediff.network.batch import Batch, Innovations, RowBatch
from timediff.store import SeriesStore
from timediff.types import Int, Tensor

AHEAD = 2**24  # numbers that forecasts from the windows gathered at once may take


class WindowLoader:
    """Batches of windows, or of single series of them, as Lightning takes a data loader.

    Several small batches are gathered together and handed out one by one.

    Args:
        store: the data.
        windows: ``(n, 2)``: entry and start of the horizon of every window there is.
        batch_size: windows, or rows, of a batch.
        num_batches: random batches of an epoch; None goes through all windows in order.
        generator: source of the random windows.
        rows: give the pasts of single series instead of windows.
    """

    def __init__(
        self,
        store: SeriesStore,
        windows: Int[Tensor, "n 2"],
        batch_size: int,
        num_batches: int | None = None,
        generator: torch.Generator | None = None,
        rows: bool = False,
    ):
        self.store, self.batch_size = store, batch_size
        self.num_batches, self.generator, self.rows = num_batches, generator, rows
        self.windows = windows
        self.series = store.values.shape[1]

    @property
    def _total(self) -> int:
        return len(self.windows) * (self.series if self.rows else 1)

    def __len__(self) -> int:
        return self.num_batches or -(-self._total // self.batch_size)

    def __iter__(self) -> Iterator[Batch | RowBatch]:
        total, size, number = self._total, self.batch_size, len(self)
        columns = 1 if self.rows else self.series
        together = max(1, AHEAD // (self.store.spec.floats(0) * columns * size))
        for i in range(0, number, together):
            last = min(number, i + together) * size
            if self.num_batches is None:
                pick = torch.arange(i * size, min(total, last))
            else:
                pick = torch.randint(total, (last - i * size,), generator=self.generator)
            yield from self._gather(pick).split(size)

    def _gather(self, pick: Int[Tensor, " n"]) -> Batch | RowBatch:
        """Windows, or rows, of these numbers."""
        if not self.rows:
            entry, start = self.windows.index_select(0, pick).unbind(1)
            return self.store.gather(entry, start)
        entry, start = self.windows.index_select(0, pick // self.series).unbind(1)
        return self.store.gather_rows(entry, start, pick % self.series)


class PoolLoader:
    """Batches of innovations that were computed once.

    Args:
        pool: all of them.
        batch_size: windows of a batch.
        num_batches: random batches of an epoch; None goes through all windows in order.
        generator: source of the random windows.
    """

    def __init__(
        self,
        pool: Innovations,
        batch_size: int,
        num_batches: int | None = None,
        generator: torch.Generator | None = None,
    ):
        self.pool, self.batch_size = pool, batch_size
        self.num_batches, self.generator = num_batches, generator

    def __len__(self) -> int:
        return self.num_batches or -(-len(self.pool.w) // self.batch_size)

    def __iter__(self) -> Iterator[Innovations]:
        total = len(self.pool.w)
        for i in range(len(self)):
            if self.num_batches is None:
                pick = torch.arange(i * self.batch_size, min(total, (i + 1) * self.batch_size))
            else:
                pick = torch.randint(total, (self.batch_size,), generator=self.generator)
            pick = pick.to(self.pool.w.device)
            yield Innovations(*(part[pick] for part in self.pool))
