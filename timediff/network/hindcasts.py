"""Forecasts of a past that is known, as prior and dynamics would have made them: what they missed.

The past is read in blocks of one horizon, each forecast from what was known before it.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch

from timediff.network.batch import Batch, pick
from timediff.network.dynamics import LIMIT
from timediff.types import Float, Shaped, Tensor

if TYPE_CHECKING:
    from timediff.network.residuals import ResidualNetwork

ROWS, ROWS_OF_CPU = 2**17, 2**12  # worked on at once: no gradient is needed


class Residuals(NamedTuple):
    """What prior and dynamics make of windows; the context is blocks of one horizon each.

    Attributes:
        loc: location of the prior, in the units of the data.
        scale: its scale.
        z: its residuals, in that scale; 0 where nothing was observed.
        e: their innovations; likewise.
        spread: scale of the residuals given those before them, by which innovations are divided.
    """

    loc: Float[Tensor, "b t d"]
    scale: Float[Tensor, "b t d"]
    z: Float[Tensor, "b t d"]
    e: Float[Tensor, "b t d"]
    spread: Float[Tensor, "b t d"]


@torch.no_grad()
def hindcast(network: "ResidualNetwork", batch: Batch) -> Residuals:
    """See :meth:`timediff.network.ResidualNetwork.residuals`."""
    assert batch.rows is not None
    b, t, d = batch.target.shape
    p, factors = network.prediction_length, network.factors
    rows, target, observed = batch.rows, batch.target, batch.observed
    forecasts = [network.prior(pick(rows, part)) for part in _parts(b * t // p * d, target.device)]
    loc, scale = (by_window(torch.cat(part), b, d) for part in zip(*forecasts, strict=True))
    if factors.any:
        z = _residual(target, observed, loc, scale)
        z, seen = (part.unflatten(1, (-1, p))[:, :-1] for part in (z, observed))
        read = factors.summary(z, seen, network.standing(batch)[:, 1:])
        shift = factors(read).flatten(1, 2)
        number = torch.arange(b * t // p * d, device=loc.device).view(b, -1, d)
        rows = pick(rows, number[:, 1:].flatten())
        target, observed, loc, scale = (part[:, p:] for part in (target, observed, loc, scale))
        loc = torch.addcmul(loc, scale, shift)
        scale = scale * factors.ratio.repeat(t // p - 1, 1)
    z, seen = (by_row(x, p) for x in (_residual(target, observed, loc, scale), observed))
    found = []
    for part in _parts(len(z), z.device):
        own, there = z[part], seen[part]
        series, calendar = rows.series[part], rows.calendar[part]
        mu, sigma = network.dynamics.innovations(own, there, series, calendar)
        found.append((torch.where(there, (own - mu) / sigma, 0.0), sigma))
    e, spread = (torch.cat(part) for part in zip(*found, strict=True))
    return Residuals(loc, scale, *(by_window(part, b, d) for part in (z, e, spread)))


def _parts(total: int, device: torch.device) -> list[slice]:
    """So many rows, a few at a time."""
    rows = ROWS_OF_CPU if device.type == "cpu" else ROWS
    return [slice(k, k + rows) for k in range(0, total, rows)]


def _residual(target: Tensor, observed: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return torch.where(observed, (target - loc) / scale, 0.0).clamp(-LIMIT, LIMIT)


def by_row(x: Shaped[Tensor, "b t d"], p: int) -> Shaped[Tensor, "r p"]:
    """Windows as rows of one series over one horizon of ``p`` steps."""
    b, t, d = x.shape
    return x.view(b, t // p, p, d).transpose(2, 3).reshape(-1, p)


def by_window(x: Shaped[Tensor, "r p"], b: int, d: int) -> Shaped[Tensor, "b t d"]:
    """What :func:`by_row` made of ``b`` windows of ``d`` series as it was."""
    return x.view(b, -1, d, x.shape[1]).transpose(2, 3).reshape(b, -1, d)
