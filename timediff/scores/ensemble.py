"""CRPS of an ensemble, element by element, in three estimators."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from timediff.errors import DataError, OptionError
from timediff.scores._inputs import checked, reduced
from timediff.scores.quantile_loss import LEVELS
from timediff.types import Float, Tensor

CHUNK = 2**22
"""Sampled values sorted at once."""
SMALL = 2**18
"""Sampled values for which threads are not worth their start."""
_NUMPY = (torch.float32, torch.float64)


def crps_ensemble(
    samples: Float[Tensor, "*b s p d"],
    target: Float[Tensor, "*b p d"],
    estimator: str = "energy",
    reduction: str = "mean",
) -> Tensor:
    r"""Continuous ranked probability score of each element's ensemble, in the units of the data.

    .. math::

        \text{energy:}\quad \frac1S \sum_i |x_i - y| - \frac{1}{2 S^2} \sum_{i,j} |x_i - x_j|
        \qquad
        \text{fair:}\quad \frac1S \sum_i |x_i - y| - \frac{1}{2 S (S - 1)} \sum_{i,j} |x_i - x_j|

    ``"energy"`` is the exact CRPS of the empirical distribution of the S samples; ``"fair"`` is
    unbiased for the distribution they were drawn from; ``"quantile"`` is twice the mean pinball
    loss over the 19 levels of the published tables, with quantiles by nearest rank: what
    :func:`~timediff.scores.crps` pools and divides. The double sum takes a sort,
    :math:`\sum_{i,j} |x_i - x_j| = 2 \sum_i (2i - S - 1)\, x_{(i)}`, never S² numbers.

    Args:
        samples: sample paths: windows, samples, steps, series; any number of leading axes.
        target: what was observed. NaN means missing.
        estimator: ``"energy"``, ``"fair"`` or ``"quantile"``.
        reduction: ``"mean"`` over all observed elements, or ``"none"``.

    Returns:
        A scalar, or ``[*b, p, d]`` with NaN where the target is missing; lower is better. In the
        precision of the samples (float64 in, float64 out). Differentiable in the samples.

    Raises:
        DataError: shapes that do not fit, a NaN or infinite sample, an infinite target, no
            observation, or fewer than two samples for the fair estimator.
        OptionError: an unknown estimator or reduction.

    References:
        Gneiting & Raftery 2007, eq. 20; Ferro 2014 (fair); Jordan, Krüger & Lerch 2019 (sorting).
    """
    kernel = ESTIMATORS.get(estimator)
    if kernel is None:
        raise OptionError(f"estimator must be one of {list(ESTIMATORS)}, not {estimator!r}")
    inputs = checked(samples, target)
    if estimator == "fair" and inputs.samples.shape[1] < 2:
        raise DataError("the fair CRPS needs at least 2 samples; got 1")
    num, s, p, d = inputs.samples.shape
    y = inputs.target.to(samples.dtype).reshape(num, -1)
    x = inputs.samples.reshape(num, s, -1)
    rows = max(1, CHUNK // s)
    values = [
        kernel(_sorted(xx), yy)
        for xw, yw in zip(x, y, strict=True)
        for xx, yy in zip(xw.split(rows, dim=1), yw.split(rows), strict=True)
    ]
    return reduced(torch.cat(values).view(num, p, d), inputs.observed, inputs.lead, reduction)


def _sorted(x: Float[Tensor, "s n"]) -> Float[Tensor, "n s"]:
    """Every ensemble in rising order.

    Where no gradient is wanted, on the CPU, by numpy: its sort uses the processor's vectors and is
    ten times as fast as torch's, and it lets other threads run meanwhile.
    """
    rows = x.T.contiguous()
    if rows.requires_grad or rows.device.type != "cpu" or rows.dtype not in _NUMPY:
        return rows.sort(dim=-1).values
    rows = rows.clone() if rows.data_ptr() == x.data_ptr() else rows  # S = 1 or n = 1: a view
    parts = np.array_split(rows.numpy(), torch.get_num_threads())
    if rows.numel() < SMALL:
        rows.numpy().sort(axis=-1)
    else:
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(lambda part: part.sort(axis=-1), parts))
    return rows


def _energy(ordered: Tensor, y: Tensor, pairs: int) -> Tensor:
    s = ordered.shape[1]
    weight = 2 * torch.arange(1, s + 1, dtype=ordered.dtype, device=ordered.device) - s - 1
    z = ordered - y[:, None]  # the weights add up to 0, so shifting changes only the rounding
    return torch.linalg.vector_norm(z, ord=1, dim=1) / s - (z @ weight) / pairs


def _quantile(ordered: Tensor, y: Tensor) -> Tensor:
    q = torch.tensor(LEVELS, dtype=ordered.dtype, device=ordered.device)
    quantiles = ordered[:, [round((ordered.shape[1] - 1) * level) for level in LEVELS]]
    error = y[:, None] - quantiles
    return 2 * (error * (q - (error <= 0).to(q))).mean(1)


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "energy": lambda x, y: _energy(x, y, x.shape[1] ** 2),
    "fair": lambda x, y: _energy(x, y, x.shape[1] * (x.shape[1] - 1)),
    "quantile": _quantile,
}
