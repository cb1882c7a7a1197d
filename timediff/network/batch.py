"""What the network is given: windows of the data, in the data's own units."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any, NamedTuple

from torch import Tensor

from timediff.types import Bool, Float, Int


def pick(parts: Any, index: Any) -> Any:
    """The same of a batch, a tensor or None for some of its windows or rows."""
    if parts is None or isinstance(parts, Tensor):
        return parts if parts is None else parts[index]
    return type(parts)(*(pick(part, index) for part in parts))


def cut(parts: Any, size: int) -> Iterator[Any]:
    """A batch, a tensor or None, so many of its windows or rows at a time."""
    if parts is None:
        return repeat(None)
    if isinstance(parts, Tensor):
        return iter(parts.split(size))
    return map(type(parts)._make, zip(*(cut(part, size) for part in parts), strict=False))


class Static(NamedTuple):
    """Features of series that do not change.

    Attributes:
        real: standardised numbers.
        category: number of the category.
    """

    real: Float[Tensor, "*b v"]
    category: Int[Tensor, "*b c"]


class RowFeatures(NamedTuple):
    """Features of ``r`` pasts, standardised; of width 0 where there is none of a kind.

    Those that are known ahead come as the values of the series do: see :class:`Rows`.

    Attributes:
        recent: the latest known ones before the origin.
        seasonal: for each step of the horizon, those of the same season.
        profile: for each step, for each length of season, the mean of many such.
        past: mean of all before the origin.
        horizon: those of the horizon.
        lagged: the latest before the origin of those that are known of the past only.
        static: those that do not change.
    """

    recent: Float[Tensor, "r l k"]
    seasonal: Float[Tensor, "r p a k"]
    profile: Float[Tensor, "r p s k"]
    past: Float[Tensor, "r k"]
    horizon: Float[Tensor, "r p k"]
    lagged: Float[Tensor, "r n g"]
    static: Static


class Rows(NamedTuple):
    """``r`` pasts, each of one series up to one origin, and what is known of the horizon.

    Gaps are filled from what was observed before them.

    Attributes:
        recent: the latest values before the origin.
        seasonal: for each step of the horizon, values of the same season, the latest one first.
        profile: for each step, for each length of season, the mean of many such values.
        past: mean of all values before the origin.
        calendar: features of the horizon's time stamps, and those known ahead.
        series: number of the series.
        unit: the mean absolute error of the best simple forecast of the series; positive.
        change: the mean absolute change from one step to the next; positive.
        scale: standard deviation of the series; positive.
        features: what is known beside the values; None without features.
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
    features: RowFeatures | None = None


class RowBatch(NamedTuple):
    """Rows with what was observed in their horizons; nothing else enters a loss."""

    rows: Rows
    target: Float[Tensor, "r p"]
    observed: Bool[Tensor, "r p"]

    def split(self, size: int) -> Iterator["RowBatch"]:
        """The rows so many at a time."""
        return cut(self, size)


class Batch(NamedTuple):
    """``b`` windows of ``t`` steps: the context, then the horizon.

    Where a network has common factors, one more horizon is before the context.

    When predicting, the horizon's target is not there to be read: it is unobserved.

    Attributes:
        target: the values; arbitrary where not observed.
        observed: where a value was measured. Nothing else enters a loss.
        calendar: features of the time stamps, and what is known ahead of all series together.
        lags: earlier values for every step, gaps filled from what was observed before them; for
            a network that diffuses levels.
        loc: per window and series, what scaling subtracts.
        scale: per window and series, what scaling divides by; positive.
        floor: per series, the least value a path may take: 0 if no value is negative.
        whole: per series, whether all values are whole numbers.
        static: features that do not change, ``[b, d, ...]``, for a network that diffuses levels;
            None without features.
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
    static: Static | None = None
    rows: Rows | None = None

    def split(self, size: int) -> Iterator["Batch"]:
        """The windows so many at a time."""
        each = 0 if self.rows is None else len(self.rows.unit) // len(self.target)
        rows = cut(self.rows, size * each)
        for part in cut(self._replace(rows=None), size):
            yield part._replace(rows=next(rows))


class Innovations(NamedTuple):
    """What the diffusion of residuals is trained on, ``b`` windows of ``t`` steps.

    Attributes:
        w: white innovations; those that were not observed are completed from the others.
        observed: where there is one.
        calendar: features of the time stamps.
    """

    w: Float[Tensor, "b t d"]
    observed: Bool[Tensor, "b t d"]
    calendar: Float[Tensor, "b t f"]


TrainingBatch = Batch | RowBatch | Innovations
