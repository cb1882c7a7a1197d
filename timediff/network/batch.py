"""What the network is given: windows of the data, in the data's own units."""

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import NamedTuple

from torch import Tensor

from timediff.types import Bool, Float, Int


class Rows(NamedTuple):
    """``r`` pasts, each of one series up to one origin, and what is known of the horizon.

    Gaps are filled from what was observed before them.

    Attributes:
        recent: the latest values before the origin.
        seasonal: for each step of the horizon, values of the same season, the latest one first.
        profile: for each step, for each length of season, the mean of many such values.
        past: mean of all values before the origin.
        calendar: features of the horizon's time stamps.
        series: number of the series.
        unit: the mean absolute error of the best simple forecast of the series; positive.
        change: the mean absolute change from one step to the next; positive.
        scale: standard deviation of the series; positive.
    """

    recent: Float[Tensor, "r l"]
    seasonal: Float[Tensor, "r p a"]
    profile: Float[Tensor, "r p s"]
    past: Float[Tensor, "r"]
    calendar: Float[Tensor, "r p f"]
    series: Int[Tensor, "r"]
    unit: Float[Tensor, "r"]
    change: Float[Tensor, "r"]
    scale: Float[Tensor, "r"]


class RowBatch(NamedTuple):
    """Rows with what was observed in their horizons; nothing else enters a loss."""

    rows: Rows
    target: Float[Tensor, "r p"]
    observed: Bool[Tensor, "r p"]


class Batch(NamedTuple):
    """``b`` windows of ``t`` steps: the context, then the horizon.

    When predicting, the horizon's target is not there to be read: it is unobserved.

    Attributes:
        target: the values; arbitrary where not observed.
        observed: where a value was measured. Nothing else enters a loss.
        calendar: features of the time stamps.
        lags: earlier values for every step, gaps filled from what was observed before them; for
            a network that diffuses levels.
        loc: per window and series, what scaling subtracts.
        scale: per window and series, what scaling divides by; positive.
        floor: per series, the least value a path may take: 0 if no value is negative.
        whole: per series, whether all values are whole numbers.
        rows: for a network that diffuses residuals, the past of every window, horizon-long block
            of it and series, in this order of nesting.
    """

    target: Float[Tensor, "b t d"]
    observed: Bool[Tensor, "b t d"]
    calendar: Float[Tensor, "b t f"]
    lags: Float[Tensor, "b t l d"]
    loc: Float[Tensor, "b 1 d"]
    scale: Float[Tensor, "b 1 d"]
    floor: Float[Tensor, "b 1 d"]
    whole: Bool[Tensor, "b 1 d"]
    rows: Rows | None = None

    def split(self, size: int) -> Iterator["Batch"]:
        """The windows so many at a time."""
        plain = zip(*(part.split(size) for part in self[:-1]), strict=True)
        rows: Iterable[Rows | None] = repeat(None)
        if self.rows is not None:
            each = size * (len(self.rows.unit) // len(self.target))
            rows = map(Rows._make, zip(*(part.split(each) for part in self.rows), strict=True))
        for parts, own in zip(plain, rows, strict=False):
            yield Batch._make([*parts, own])


class Innovations(NamedTuple):
    """What the diffusion of residuals is trained on, ``b`` windows of ``t`` steps.

    Attributes:
        w: white innovations; 0 where nothing was observed.
        observed: where there is one.
        calendar: features of the time stamps.
    """

    w: Float[Tensor, "b t d"]
    observed: Bool[Tensor, "b t d"]
    calendar: Float[Tensor, "b t f"]
