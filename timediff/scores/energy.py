"""Energy score: the CRPS of a vector; energy distance: how far one law is from another."""

import torch

from timediff.errors import DataError, OptionError
from timediff.scores._inputs import block_size, bounded, check_tensors, checked, reduced
from timediff.types import Bool, Float, Tensor


def energy_score(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    fair: bool = False,
    over: str = "series",
    reduction: str = "mean",
) -> Tensor:
    r"""Energy score of the vector of series, the mean over windows and steps.

    .. math::

        \mathrm{ES} = \frac1S \sum_i \lVert x_i - y \rVert
        - \frac{1}{2 S^2} \sum_{i,j} \lVert x_i - x_j \rVert

    with the Euclidean norm over the series, at each (window, step) on its own: it judges the joint
    law across series, not across time. With ``over="path"`` the norm runs over steps and series
    together, one value a window, and the dependence over time counts too. ``fair=True`` divides the
    second sum by :math:`S (S - 1)` instead of :math:`S^2`, which makes the score of few samples an
    unbiased estimate of that of infinitely many. For one series it is the (exact empirical) CRPS.

    A missing observation is left out: the norms run over what is observed. Steps (or windows) at
    which nothing is observed are left out of the mean. Series of large values dominate the norm;
    scale them first if that is not wanted.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing.
        fair: the unbiased estimator; needs two samples.
        over: the norm over the ``"series"`` of a step, or over the whole ``"path"``.
        reduction: ``"mean"``, or ``"none"``.

    Returns:
        A scalar in the units of the target, or ``[*b, p]`` (``[*b]`` over paths) with NaN where
        nothing is observed; lower is better. Differentiable in the samples.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target, no
            observation, or fewer than two samples with ``fair``.
        OptionError: an unknown ``over`` or reduction.

    References:
        Gneiting & Raftery 2007, section 4.3; Ferro 2014 (the fair version).
    """
    if over not in ("series", "path"):
        raise OptionError(f"over must be 'series' or 'path', not {over!r}")
    inputs = checked(samples, target)
    if fair and inputs.samples.shape[1] < 2:
        raise DataError("the fair energy score needs at least 2 samples; got 1")
    present = inputs.observed.any(-1).reshape(target.shape[:-1])
    if over == "path":
        inputs, present = inputs.paths(), present.any(-1)
    values = inputs.map(lambda block: _energy(*block.to(inputs.exact), fair))
    return reduced(torch.cat(values), present, reduction)


def energy_distance(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m e"], fair: bool = False
) -> Float[Tensor, ""]:
    r"""Energy distance between the laws that two samples were drawn from.

    .. math::

        2\, E\lVert X - Y \rVert - E\lVert X - X' \rVert - E\lVert Y - Y' \rVert

    with the Euclidean norm; 0 if and only if the laws are the same. It is twice what the expected
    energy score of X, as a forecast of Y, is above that of Y itself. That of two samples of one
    law is not 0 but their noise: show it beside. ``fair=True`` leaves the distance of a vector to
    itself out, so that the noise has mean 0.

    Args:
        x: vectors of the one law.
        y: vectors of the other, in the same units.
        fair: the unbiased estimator; needs two of each.

    Returns:
        A scalar in the units of the vectors, computed in float64.

    Raises:
        DataError: shapes that do not fit, too few vectors, or one that is NaN or infinite.

    References:
        Székely & Rizzo 2013.
    """
    check_tensors(x=x, y=y)
    least = 2 if fair else 1
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < least:
        raise DataError(
            f"needs at least {least} vectors of each law, (n, d), of one length;"
            f" got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
        raise DataError("a vector is NaN or infinite")

    def mean(a: Tensor, b: Tensor) -> Tensor:
        pairs = len(a) * (len(b) - 1 if fair and a is b else len(b))
        rows = a.split(max(1, block_size(a) // len(b)))
        return torch.stack([_distances(part[None], b[None])[0] for part in rows]).sum() / pairs

    x, y = x.double(), y.double()
    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


def _energy(
    x: Float[Tensor, "n s d"], y: Float[Tensor, "n d"], observed: Bool[Tensor, "n d"], fair: bool
) -> Float[Tensor, " n"]:
    x = torch.where(observed[:, None], x, 0.0)  # y is 0 there too: the norm does not see it
    n, s, _ = x.shape
    error = torch.linalg.vector_norm(x - y[:, None], dim=-1).mean(1)
    rows = x.split(max(1, block_size(x) // (n * s)), dim=1)
    spread = torch.stack([bounded(_distances, some, x) for some in rows]).sum(0)
    return error - spread / (2 * s * (s - 1 if fair else s))


def _distances(a: Float[Tensor, "n r d"], b: Float[Tensor, "n s d"]) -> Float[Tensor, " n"]:
    # The product form of cdist is faster, but loses half of the digits by cancellation.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").sum((1, 2))
