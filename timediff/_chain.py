"""A sampler's reverse chain as a list of sums, for a runner that knows no samplers."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from timediff.diffusion import ConditionalDiffusion, Denoiser, Sampler
from timediff.diffusion.samplers import Chain
from timediff.errors import OptionError
from timediff.types import Float, Int

EACH = 8  # vectors at most that a step of a sampler may make: noise and predictions

Instruction = tuple[str, Any]


class Recorder(Denoiser):
    """A denoiser of symbolic vectors: coordinates over all vectors that were made so far.

    Samplers are linear in what the network predicts, so a run with these says with which weights
    they add what.

    Args:
        size: vectors at most.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size, self.program = size, [("start", None)]

    def make(self, kind: str, detail: Any = None) -> Float[Tensor, "1 d"]:
        """A vector of its own."""
        vector = torch.zeros(1, self.size, dtype=torch.float64)
        vector[0, len(self.program)] = 1.0
        self.program.append((kind, detail))
        return vector

    def first(self) -> Float[Tensor, "1 d"]:
        """The vector that the chain starts from, number 0."""
        vector = torch.zeros(1, self.size, dtype=torch.float64)
        vector[0, 0] = 1.0
        return vector

    def kept(self, x: Float[Tensor, "1 d"]) -> int:
        """The number of a vector, which is summed up if it is a sum."""
        parts = [(int(i), float(x[0, i])) for i in x[0].nonzero().flatten()]
        if len(parts) == 1 and parts[0][1] == 1.0:
            return parts[0][0]
        self.make("sum", parts)
        return len(self.program) - 1

    def noise(self) -> Float[Tensor, "1 d"]:
        """A vector of noise."""
        return self.make("noise")

    def condition(self, h: Any) -> Any:
        """Nothing."""
        return h

    def denoise(
        self, x: Float[Tensor, "*b d"], k: Int[Tensor, "*#b"], condition: Any
    ) -> Float[Tensor, "*b d"]:
        """A prediction."""
        return self.make("denoise", (self.kept(x), int(k)))


class RecordedChain(Chain):
    """A chain of symbolic vectors."""

    def learned_noise(
        self, x: Float[Tensor, "1 d"], k: int, small: float, large: float
    ) -> Float[Tensor, "1 d"]:
        """A vector of noise that is as wide as the model will say."""
        recorder = self.model.denoiser
        assert isinstance(recorder, Recorder)
        return recorder.make("learned", (recorder.kept(x), k, small, large))


def record(sampler: Sampler, model: ConditionalDiffusion) -> dict[str, Any]:
    """The chain as plain JSON.

    Vector 0 is the start, ``alpha * mean + sqrt(alpha² variance + sigma²) * noise``. Each
    instruction makes the next one: noise; a sum, given as numbers of vectors and weights; the
    prediction for a vector at a step; or noise as wide as was learned for a vector at a step,
    between two variances. Last come the numbers that are not used any more.

    Raises:
        OptionError: the sampler is none that goes from step to step.
    """
    if type(sampler).sample is not Sampler.sample:
        raise OptionError(f"sampler {sampler} draws in a way of its own, and cannot be exported")
    visited = sampler.timesteps(model)
    recorder = Recorder(EACH * len(visited))
    symbolic = ConditionalDiffusion(recorder, model.schedule, model.parameterization)
    chain, x = RecordedChain(symbolic, None, recorder.noise), recorder.first()
    try:
        for k, j in pairwise(visited):
            number = recorder.kept(sampler.step(chain, x, k, j))
            x = torch.zeros_like(x)
            x[0, number] = 1.0
    except (IndexError, RuntimeError, TypeError) as error:
        raise OptionError(f"sampler {sampler} cannot be exported: {error}") from error
    program = recorder.program
    if number != len(program) - 1:  # the last vector is the result
        recorder.make("sum", [(number, 1.0)])
    alpha, sigma = chain.at(visited[0])
    return {"alpha": alpha, "sigma": sigma, "program": _with_ends(program)}


def _with_ends(program: list[Instruction]) -> list[tuple[str, Any, list[int]]]:
    """Each instruction with the vectors that none after it uses."""
    last = dict.fromkeys(range(len(program)), 0)
    for number, (kind, detail) in enumerate(program):
        used = [i for i, _ in detail] if kind == "sum" else detail[:1] if detail else []
        last |= dict.fromkeys(used, number)
    ends: dict[int, list[int]] = {}
    for vector, number in last.items():
        if vector < len(program) - 1:
            ends.setdefault(max(number, vector), []).append(vector)
    return [
        (kind, detail, ends.get(number, []))
        for number, (kind, detail) in enumerate(program)
        if number > 0
    ]
