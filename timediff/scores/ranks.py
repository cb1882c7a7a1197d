"""Where the observation falls among the samples: uniformly, if the forecast is right."""

import torch

from timediff.errors import OptionError
from timediff.scores._inputs import Checked, checked
from timediff.types import Bool, Float, Int, Tensor

KINDS = ("marginal", "average", "band_depth")


def pit(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*b p d"]:
    r"""Probability integral transform of each observation under its ensemble.

    .. math:: u = \frac{\#\{x_i < y\} + v\,(\#\{x_i = y\} + 1)}{S + 1}

    With v drawn uniformly from [0, 1) it is uniform if the observation is one more draw of the
    forecast's law: exactly so, for any number of samples and with ties. Without a generator
    v = 1/2, the middle of the rank: no randomness, S + 1 possible values.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units.
        generator: source of v; on the device of the samples.

    Returns:
        Values between 0 and 1; NaN where the target is missing.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.

    References:
        Dawid 1984; Czado, Gneiting & Held 2009 (ties).
    """
    inputs = checked(samples, target).elements()
    below, same = _position(inputs, "marginal")
    v = torch.full(below.shape, 0.5, dtype=inputs.exact, device=samples.device)
    if generator is not None:
        v = torch.rand(below.shape, generator=generator, dtype=v.dtype, device=v.device)
    found = (below + v * (same + 1)) / (samples.shape[-3] + 1)
    return torch.where(inputs.observed.flatten(), found, torch.nan).reshape(target.shape)


def rank_histogram(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    kind: str = "marginal",
    generator: torch.Generator | None = None,
) -> Int[Tensor, " r"]:
    r"""How often the observation has each rank among the S samples; flat if the forecast is right.

    ``"marginal"``: the rank of each series' value. The other two rank the *vector* of series at
    each step, among the S + 1 vectors of samples and observation, by a number that describes it:
    ``"average"``, the mean over the series of its ranks (too certain: a U; too little dependence
    between the series: a U; too much: a hill); ``"band_depth"``, how central it is,

    .. math:: \frac1D \sum_d (S + 1 - r_d)(r_d - 1)

    (low ranks: outlying; too little dependence shows as a slope, too much as a slope the other way,
    wrong spread likewise). Ties are broken at random. Missing series are left out of a vector.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing.
        kind: ``"marginal"``, ``"average"`` or ``"band_depth"``.
        generator: breaks the ties; on the device of the samples. One seeded with 0 if None.

    Returns:
        Counts of the ranks 0 .. S.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target,
            or no observation.
        OptionError: an unknown kind.

    References:
        Hamill 2001; Thorarinsdottir, Scheuerer & Heinz 2016 (average, band depth).
    """
    if kind not in KINDS:
        raise OptionError(f"kind must be one of {list(KINDS)}, not {kind!r}")
    if generator is None:
        generator = torch.Generator(samples.device).manual_seed(0)
    inputs = checked(samples, target)
    if kind == "marginal":
        inputs = inputs.elements()
    below, same = _position(inputs, kind)
    v = torch.rand(below.shape, generator=generator, dtype=inputs.exact, device=samples.device)
    rank = below + (v * (same + 1)).floor().long()
    present = inputs.observed.any(-1).flatten()
    return torch.bincount(rank[present], minlength=samples.shape[-3] + 1)


def _position(inputs: Checked, kind: str) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """How many samples of each row are below the observation, and how many agree with it."""
    below, same = [], []
    for block in inputs.blocks():
        x, y, seen = block.to(inputs.exact)
        pool = torch.cat([y[:, None], x], 1)
        number = pool[..., 0] if kind == "marginal" else _describe(pool, seen, kind)
        below.append((number[:, 1:] < number[:, :1]).sum(1))
        same.append((number[:, 1:] == number[:, :1]).sum(1))
    return torch.cat(below), torch.cat(same)


def _describe(
    pool: Float[Tensor, "n r d"], observed: Bool[Tensor, "n d"], kind: str
) -> Float[Tensor, "n r"]:
    """A number for each vector, from the ranks of its series in the pool (ties: the middle)."""
    values = pool.transpose(1, 2).contiguous()
    ordered = values.sort(-1).values
    below = torch.searchsorted(ordered, values)
    upto = torch.searchsorted(ordered, values, right=True)
    rank = (below + upto + 1).to(pool) / 2  # from 1
    if kind == "band_depth":
        rank = (pool.shape[1] - rank) * (rank - 1)
    return torch.where(observed[..., None], rank, 0.0).sum(1)  # the same series in all: a sum does
