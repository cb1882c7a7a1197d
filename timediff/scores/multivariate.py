"""Proper scores of the joint law of the series."""

import torch

from timediff.errors import DataError
from timediff.scores._inputs import check, windows
from timediff.types import Bool, Float, Tensor

CHUNK = 2**23
"""Numbers held at once in the arrays of pairwise distances (64 MiB in float64)."""


def energy_score(
    samples: Float[Tensor, "w s p d"], target: Float[Tensor, "w p d"], fair: bool = False
) -> Float[Tensor, ""]:
    r"""Energy score of the vector of series, the mean over windows and steps.

    .. math::

        \mathrm{ES} = \frac1S \sum_i \lVert x_i - y \rVert
        - \frac{1}{2 S^2} \sum_{i,j} \lVert x_i - x_j \rVert

    with the Euclidean norm over the series, at each (window, step) on its own: it judges the joint
    law across series, not across time. ``fair=True`` divides the second sum by
    :math:`S (S - 1)` instead of :math:`S^2`, which makes the score of few samples an unbiased
    estimate of that of infinitely many. For one series it is the (exact empirical) CRPS.

    A missing observation is left out: the norms of its step run over the observed series. Steps
    at which nothing is observed are left out of the mean. Series of large values dominate the
    norm; scale them first if that is not wanted.

    Args:
        samples: sample paths: windows, samples, steps, series; in the units of the target.
        target: what was observed. NaN means missing.
        fair: the unbiased estimator; needs two samples.

    Returns:
        A scalar in the units of the target, lower is better.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target, no
            observation, or fewer than two samples with ``fair``.

    References:
        Gneiting & Raftery 2007, section 4.3; Ferro 2014 (the fair version).
    """
    check(samples, target)
    if fair and samples.shape[1] < 2:
        raise DataError("the fair energy score needs at least 2 samples; got 1")
    scores = [
        _energy(x.transpose(0, 1), y, observed, fair)[observed.any(-1)]
        for x, y, observed in windows(samples, target)
    ]
    return torch.cat(scores).mean()


def _energy(
    x: Float[Tensor, "p s d"], y: Float[Tensor, "p d"], observed: Bool[Tensor, "p d"], fair: bool
) -> Float[Tensor, " p"]:
    x = torch.where(observed[:, None], x, 0.0)  # y is 0 there too: the norm does not see it
    s = x.shape[1]
    error = torch.linalg.vector_norm(x - y[:, None], dim=-1).mean(1)
    rows = max(1, min(s, CHUNK // s))
    steps = max(1, CHUNK // (rows * s))
    # The product form of cdist is faster, but loses half of the digits by cancellation.
    exact = "donot_use_mm_for_euclid_dist"
    spread = torch.zeros_like(error)
    for at in (slice(i, i + steps) for i in range(0, len(x), steps)):
        for block in x[at].split(rows, dim=1):
            spread[at] += torch.cdist(block, x[at], compute_mode=exact).sum((1, 2))
    return error - spread / (2 * s * (s - 1 if fair else s))
