"""Proper scores of the joint law of the series."""

import torch

from timediff.errors import DataError, OptionError
from timediff.scores._inputs import checked, reduced
from timediff.types import Bool, Float, Tensor

CHUNK = 2**23
"""Numbers held at once in the arrays of pairwise distances (64 MiB in float64)."""


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
    scores, present = [], []
    for x, y, observed in inputs.windows():
        if over == "path":
            x, y, observed = x.flatten(1).unsqueeze(1), y.reshape(1, -1), observed.reshape(1, -1)
        scores.append(_energy(x.transpose(0, 1), y, observed, fair))
        present.append(observed.any(-1))
    values, there = torch.stack(scores), torch.stack(present)
    if over == "path":
        values, there = values.squeeze(1), there.squeeze(1)
    return reduced(values, there, inputs.lead, reduction)


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


def variogram_score(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    p: float = 0.5,
    weights: Float[Tensor, "i j"] | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Variogram score of order p of the vector of series, the mean over windows and steps.

    .. math::

        \mathrm{VS}_p = \sum_{i,j} w_{ij} \Big( |y_i - y_j|^p
        - \frac1S \sum_s |x_{s,i} - x_{s,j}|^p \Big)^2

    It asks whether the *differences* between series are as large as the forecast says: far more
    sensitive to a wrong dependence than the energy score, and blind to an error that all series
    share. Both (i, j) and (j, i) are counted. A pair with a missing series is left out.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing.
        p: the order, above 0; 0.5 is the authors' choice.
        weights: of the pairs, not negative; all 1 if None. Symmetric weights are usual.
        reduction: ``"mean"``, or ``"none"``.

    Returns:
        A scalar (units of the target to the power 2p), or ``[*b, p]`` with NaN where no pair is
        observed; lower is better. One series has no pair: 0. Differentiable in the samples.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target, or no
            observation.
        OptionError: p is not above 0, weights of another shape, or an unknown reduction.

    References:
        Scheuerer & Hamill 2015.
    """
    if not p > 0:
        raise OptionError(f"p must be above 0, like 0.5; got {p}")
    inputs = checked(samples, target)
    d = samples.shape[-1]
    if weights is not None and weights.shape != (d, d):
        raise OptionError(f"weights must be of the shape {(d, d)}; got {tuple(weights.shape)}")
    scores = [_variogram(*window, p, weights) for window in inputs.windows()]
    return reduced(torch.stack(scores), inputs.observed.any(-1), inputs.lead, reduction)


def _variogram(
    x: Float[Tensor, "s p d"],
    y: Float[Tensor, "p d"],
    observed: Bool[Tensor, "p d"],
    order: float,
    weights: Tensor | None,
) -> Float[Tensor, " p"]:
    s, steps, d = x.shape
    both = x.new_ones(d, d) if weights is None else weights.to(x)
    both = both + both.T  # each unordered pair once
    total = torch.zeros_like(y[:, 0])
    rows = max(1, CHUNK // (8 * s * steps * d))
    for i in range(0, d - 1, rows):
        # the series i .. i + rows against all after i; what is not above the diagonal weighs 0
        block = slice(i, min(i + rows, d - 1))
        apart = _power(x[:, :, block, None] - x[:, :, None, i + 1 :], order).mean(0)
        real = _power(y[:, block, None] - y[:, None, i + 1 :], order)
        w = torch.triu(both[block, i + 1 :]) * (
            observed[:, block, None] & observed[:, None, i + 1 :]
        ).to(x)
        total = total + (w * (real - apart) ** 2).sum((1, 2))
    return total


def _power(difference: Tensor, order: float) -> Tensor:
    # away from 0 by nothing that shows: the derivative of a root is infinite there
    size = difference.abs().clamp_min(torch.finfo(difference.dtype).tiny)
    return size.sqrt() if order == 0.5 else size**order


def dawid_sebastiani(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    shrinkage: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    r"""Dawid-Sebastiani score: only the mean and the covariance of the forecast count.

    .. math:: \mathrm{DSS} = \log\det\Sigma + (y - \mu)^\top \Sigma^{-1} (y - \mu)

    at each (window, step), with the sample mean and covariance (divided by S - 1) over the
    observed series: up to constants, the Gaussian log score. With S samples of the true law it is
    biased upwards, more so the nearer D is to S.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed, in the same units. NaN means missing and is left out.
        shrinkage: from 0 to 1, towards the diagonal: ``(1 - a) Sigma + a diag(Sigma)``.
        reduction: ``"mean"``, or ``"none"``.

    Returns:
        A scalar, or ``[*b, p]`` with NaN where nothing is observed; lower is better. Other units
        of the data change it by a constant. Differentiable in the samples.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target, no
            observation, or a singular covariance.
        OptionError: shrinkage out of range, or an unknown reduction.

    References:
        Dawid & Sebastiani 1999.
    """
    if not 0 <= shrinkage <= 1:
        raise OptionError(f"shrinkage must be from 0 to 1; got {shrinkage}")
    inputs = checked(samples, target)
    s = inputs.samples.shape[1]
    scores = []
    for number, (x, y, observed) in enumerate(inputs.windows()):
        x = x.transpose(0, 1)
        mean = x.mean(1)
        z = torch.where(observed[:, None], x - mean[:, None], 0.0)
        covariance = z.transpose(1, 2) @ z / max(1, s - 1)
        diagonal = torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))
        covariance = (1 - shrinkage) * covariance + shrinkage * diagonal
        # a missing series becomes one of its own, of variance 1, hit exactly: it adds nothing
        covariance = covariance + torch.diag_embed((~observed).to(x))
        factor, info = torch.linalg.cholesky_ex(covariance)
        few = (observed.sum(-1) >= s) & (shrinkage == 0)
        if ((info > 0) | few).any():
            step = int(((info > 0) | few).nonzero()[0, 0])
            raise DataError(
                f"the covariance of the {s} samples of {int(observed[step].sum())} series is"
                f" singular in window {number}, step {step}: draw more samples than there are"
                " series, leave out series that are constant or copies, or set shrinkage, like 0.1"
            )
        error = torch.where(observed, y - mean, 0.0)
        solved = torch.linalg.solve_triangular(factor, error[..., None], upper=False)
        log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(-1)
        scores.append(log_det + (solved**2).sum((1, 2)))
    return reduced(torch.stack(scores), inputs.observed.any(-1), inputs.lead, reduction)
