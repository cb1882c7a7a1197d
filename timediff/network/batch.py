"""What the network is given: windows of the data, in the data's own units."""

from typing import NamedTuple

from torch import Tensor

from timediff.types import Bool, Float


class Batch(NamedTuple):
    """``b`` windows of ``t`` steps: the context, then the horizon.

    When predicting, the horizon's target is not there to be read: it is unobserved.

    Attributes:
        target: the values; arbitrary where not observed.
        observed: where a value was measured. Nothing else enters a loss.
        lags: earlier values for every step, gaps filled from what was observed before them.
        calendar: features of the time stamps.
        profile: mean and standard deviation of the same season over past seasons, gaps filled.
        loc: per window and series, what scaling subtracts.
        scale: per window and series, what scaling divides by; positive.
        spread: per window and series, the mean absolute change from one step to the next; positive.
    """

    target: Float[Tensor, "b t d"]
    observed: Bool[Tensor, "b t d"]
    lags: Float[Tensor, "b t l d"]
    calendar: Float[Tensor, "b t f"]
    profile: Float[Tensor, "b t 2 d"]
    loc: Float[Tensor, "b 1 d"]
    scale: Float[Tensor, "b 1 d"]
    spread: Float[Tensor, "b 1 d"]
