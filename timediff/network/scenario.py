r"""Paths of a horizon of which something is given: particles, weighted and drawn anew.

A network says how to draw the next step so that it fits what is given (a :class:`Course`), and how
likely that was for each path. Paths that had to be bent much count little; where few count, they
are drawn anew in proportion to their weights. This is a particle filter whose proposal looks ahead
(twisted sequential Monte Carlo; Guarniero et al. 2017, Wu et al. 2023).
"""

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import torch

from timediff.errors import OptionError
from timediff.types import Float, Int, Tensor

if TYPE_CHECKING:
    from timediff.diffusion import Sampler
    from timediff.network.base import TimeGradNetwork
    from timediff.network.batch import Batch

PARTICLES = 4  # drawn for each path asked for
FEWEST = 0.25  # of them that may be left by one step
ROUNDING = 1e-6  # of the largest value of a series, by which what is at its floor may be below
ROUNDS = 20  # in which a total is made to fit what is never negative
TOLERANCE = 1e-6  # relative, from which directions count as the same


class Conditions(NamedTuple):
    """What is given of one window's horizon, in the units of the data.

    Attributes:
        values: values of series; NaN is free.
        weights: of the series in each total.
        totals: values of the totals; NaN is free.
    """

    values: Float[Tensor, "p d"]
    weights: Float[Tensor, "c d"]
    totals: Float[Tensor, "p c"]

    def at(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """What is given at a step.

        Returns:
            Which series are fixed ``[d]``; the weights ``[c, d]`` of the totals, 0 for those, and
            what these must sum to ``[c]``. Totals without a free series are left out.
        """
        value = self.values[step]
        fixed = ~value.isnan()
        there = ~self.totals[step].isnan()
        weights = self.weights[there]
        target = self.totals[step, there] - weights @ value.nan_to_num(0.0)
        weights = torch.where(fixed, 0.0, weights)
        some = weights.any(dim=1)
        return fixed, weights[some], target[some]


class Scenarios(NamedTuple):
    """What was drawn.

    Attributes:
        paths: the paths, all of the same weight.
        effective: how many independent paths they are worth.
        distance: how far from the law what was given is, in standard deviations: the root of the
            mean square of its innovations. About 1 for what really happens; NaN if not known.
        tempered: steps at which weights were made more alike, or few paths would have been left.
    """

    paths: Float[Tensor, "s p d"]
    effective: float
    distance: float
    tempered: int


class Projection:
    """Moves a vector to the nearest one that has given coordinates.

    Args:
        basis: orthonormal directions.
        coordinates: in these, of each path.

    Attributes:
        first: the first vector that was moved: what a network expects when it sees noise only.
    """

    def __init__(self, basis: Float[Tensor, "r d"], coordinates: Float[Tensor, "n r"]):
        self.basis, self.coordinates = basis, coordinates
        self.first: Tensor | None = None

    @classmethod
    def of(
        cls,
        rows: Float[Tensor, "c d"],
        values: Float[Tensor, "n c"],
        like: Tensor,
    ) -> "Projection":
        """That onto all x with ``x @ rows.T == values``; rows may repeat each other.

        Args:
            rows: in double precision.
            values: likewise.
            like: a tensor of the type and device that are wanted.
        """
        length = rows.norm(dim=1, keepdim=True).clamp(min=1e-30)
        left, size, basis = torch.linalg.svd(rows / length, full_matrices=False)
        kept = size > TOLERANCE * size.amax() if len(size) else size > 0
        coordinates = values / length.T @ left[:, kept] / size[kept]
        return cls(basis[kept].to(like), coordinates.to(like))

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The nearest vectors."""
        if self.first is None:
            self.first = x
        return x + (self.coordinates - x @ self.basis.T) @ self.basis


def meet(
    x: Float[Tensor, "*n d"],
    weights: Float[Tensor, "c d"],
    target: Float[Tensor, "c"],
    room: Float[Tensor, "*#n d"],
) -> Float[Tensor, "*n d"]:
    """Values whose totals are right, each changed in proportion to its room (a variance)."""
    if not len(weights):
        return x
    like, w = x, weights.cpu().double()  # double precision is not on every device
    x, room = x.cpu().double(), room.cpu().double()
    room = room / room.amax(-1, keepdim=True).clamp(min=1e-30)
    spread = room.unsqueeze(-2) * w  # [*n, c, d]
    gram = spread @ w.T
    missing = target.cpu().double() - x @ w.T
    share = torch.linalg.pinv(gram, rtol=1e-9, hermitian=True) @ missing.unsqueeze(-1)
    return (x + (spread.transpose(-1, -2) @ share).squeeze(-1)).to(like)


class Course(ABC):
    """All paths of one window on their way through the horizon."""

    @abstractmethod
    def step(self, j: int) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"], Float[Tensor, "n"]]:
        """Draw the next values.

        Returns:
            The values, in the units of the data; for each path the logarithm by which its weight
            changes; and the squares of the innovations that what is given asks of it.
        """

    @abstractmethod
    def select(self, index: Int[Tensor, " n"]) -> None:
        """Go on with these paths."""


def systematic(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """So many numbers in proportion to the weights, as evenly as possible."""
    places = (torch.arange(count) + torch.rand((), generator=generator)) / count
    bounds = weights.cpu().double().cumsum(0)
    return torch.searchsorted(bounds / bounds[-1], places.double()).clamp(max=len(weights) - 1)


def weighted(log_weight: Tensor, change: Tensor) -> tuple[Tensor, bool]:
    """The next weights, and whether a part of the change was left out.

    Where much is given at a time, next to all weight falls to one path, by chance more than by
    right: so much of the change is taken that a share of the paths keeps its weight.
    """

    def left(part: float) -> float:
        return float(1 / torch.softmax(log_weight + part * change, 0).square().sum())

    least = FEWEST * len(change)
    if left(1.0) >= least or left(0.0) < least:
        return log_weight + change, False
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) >= least else (low, middle)
    return log_weight + low * change, True


def draw_scenarios(
    network: "TimeGradNetwork",
    batch: "Batch",
    num_samples: int,
    seed: Int[Tensor, "1"],
    sampler: "Sampler | None",
    conditions: Conditions,
) -> Scenarios:
    """Paths of a window given something of its horizon; see ``TimeGradNetwork.scenarios``."""
    count, device = PARTICLES * num_samples, batch.target.device
    generator = torch.Generator().manual_seed(int(seed))
    number = torch.arange(count, device=device)
    noise = network.noise(seed.to(device).expand(count), number)
    sampler = sampler or network.sampler
    if "project" not in inspect.signature(sampler.sample).parameters:
        raise OptionError(
            f"{type(sampler).__name__}.sample takes no project=, so nothing can be given: take "
            "another sampler, or write its step instead"
        )
    course = network.course(batch, conditions, noise, sampler)
    log_weight, ancestor = torch.zeros(count, dtype=torch.float64), torch.arange(count)
    drawn = batch.target.new_empty(count, network.prediction_length, network.target_dim)
    squares, tempered = 0.0, 0
    for j in range(network.prediction_length):
        drawn[:, j], change, square = course.step(j)
        squares += float(torch.softmax(log_weight, 0) @ square.cpu().double())
        log_weight, flattened = weighted(log_weight, change.cpu().double())
        tempered += flattened
        weight = torch.softmax(log_weight, 0)
        if 1 / weight.square().sum() < count / 2:
            index = systematic(weight, count, generator)
            log_weight, ancestor = torch.zeros_like(log_weight), ancestor[index]
            drawn = drawn[index.to(device)]
            course.select(index.to(device))
    weight = torch.softmax(log_weight, 0)
    family = torch.zeros_like(weight).index_add_(0, ancestor, weight)
    effective = min(float(num_samples), float(1 / family.square().sum()))
    chosen = systematic(weight, num_samples, generator)
    given = (~conditions.values.isnan()).sum() + (~conditions.totals.isnan()).sum()
    paths = _finished(network, drawn[chosen.to(device)], batch, conditions)
    return Scenarios(paths, effective, float((max(squares, 0.0) / given) ** 0.5), tempered)


def _finished(
    network: "TimeGradNetwork",
    paths: Float[Tensor, "s p d"],
    batch: "Batch",
    conditions: Conditions,
) -> Float[Tensor, "s p d"]:
    """What a network does to all paths at last, without losing what is given.

    Fixed values stay as they are. Members of a total are kept above their floor, the rest of the
    total on the others; they are not rounded.
    """
    finished = network._finish(paths.clone().unsqueeze(0), batch)[0]
    least = network._finish(torch.full_like(paths[:1], -torch.inf).unsqueeze(0), batch)[0, 0]
    for j in range(paths.shape[1]):
        fixed, weights, target = conditions.at(j)
        if len(weights):
            member, x = weights.any(dim=0), paths[:, j]
            room = paths[:, j].var(dim=0, correction=0).clamp(min=1e-12).expand_as(x)
            for _ in range(ROUNDS):
                below = member & (x < least[j])
                if not below.any():
                    break
                x = torch.where(below, least[j], x)
                room = torch.where(below, 0.0, room)
                x = meet(x, weights, target, room)
            # a total that is too small for the floors is kept, and they are not
            x = meet(x, weights, target, member * room.clamp(min=1e-12))
            dust = ROUNDING * x.abs().amax(0)
            x = torch.where((x < least[j]) & (x >= least[j] - dust), least[j], x)
            finished[:, j] = torch.where(member, x, finished[:, j])
        finished[:, j] = torch.where(fixed, conditions.values[j], finished[:, j])
    return finished
