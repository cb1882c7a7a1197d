r"""Noise by counter: every path of every window has a stream of its own.

A vector depends on the seed, the window, the path, the draw and its length, and on nothing else:
not on what is drawn beside it, in which order, or on how much at a time. It is the
generator Philox 4x32-10 (Salmon et al. 2011), of which four 32-bit words at a time become four
normal numbers (Box and Muller 1958), in operations that every device has. ``noise.cpp`` does the
same on a CPU in a fraction of the time.
"""

import math
from pathlib import Path

import torch

from timediff.diffusion import compiler
from timediff.types import Float, Int, Tensor

SOURCE = Path(__file__).with_suffix(".cpp")
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85  # added to the key in every round
ROUNDS = 10
WORD = 0xFFFFFFFF
AHEAD, NUMBERS = 32, 2**16  # calls drawn at once, at most, and numbers if it is more than one


def philox(
    counter: tuple[Int[Tensor, "*#b"], ...], key: tuple[Int[Tensor, "*#b"], ...]
) -> tuple[Int[Tensor, "*b"], ...]:
    """Four random 32-bit words for each counter.

    Args:
        counter: four words, as int64.
        key: two words.
    """
    a, b, c, d = counter
    k, l = key  # noqa: E741
    for _ in range(ROUNDS):
        first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]  # their low 64 bits
        a, c = (second >> 32 & WORD) ^ b ^ k, (first >> 32 & WORD) ^ d ^ l
        b, d = second & WORD, first & WORD
        k, l = k + WEYL[0] & WORD, l + WEYL[1] & WORD  # noqa: E741
    return a, b, c, d


class PathNoise:
    """Standard normal vectors for some paths, the next ones with every call.

    Args:
        seeds: of each path's window, from 0 to 2^63 - 1.
        paths: number of each path within its window, below 2^32.
        dim: length of the vectors.
        dtype: of the result.
        first: how many vectors of each path were drawn before; a tensor ``[1]`` where one piece of
            recorded work draws other ones each time.
        compiled: in single precision on a CPU let ``noise.cpp`` draw, where it can be compiled: the
            same numbers up to rounding.
    """

    def __init__(
        self,
        seeds: Int[Tensor, " n"],
        paths: Int[Tensor, " n"],
        dim: int,
        dtype: torch.dtype = torch.float32,
        first: int | Int[Tensor, "1"] = 0,
        compiled: bool = False,
    ):
        few = isinstance(first, Tensor)  # and so none that may not be wanted
        self.number = 1 if few else max(1, min(AHEAD, NUMBERS // (len(paths) * dim)))  # at once
        self.dim, self.dtype, self.calls = dim, dtype, first
        able = not few and seeds.device.type == "cpu" and dtype == torch.float32
        self.library = compiler.library(SOURCE) if compiled and able else None
        self.seeds, self.paths = seeds.contiguous(), paths.contiguous()
        self.ahead: list[Tensor] = []

    def __call__(self) -> Float[Tensor, "n d"]:
        """The next vector of each path."""
        if not self.ahead:
            self.ahead = list(self._draw().unbind(1))[::-1]
        return self.ahead.pop()

    def _draw(self) -> Float[Tensor, "n c d"]:
        """The vectors of the next calls."""
        first, self.calls = self.calls, self.calls + self.number
        if self.library is not None:
            drawn = torch.empty(len(self.seeds), self.number, self.dim, dtype=self.dtype)
            shape = len(drawn), self.dim, int(first), self.number
            compiler.call(self.library.normals, self.seeds, self.paths, drawn, *shape)
            return drawn
        each = -(-self.dim // 4)
        device = self.seeds.device
        place = torch.arange(each, device=device).repeat(self.number)
        call = (first + torch.arange(self.number, device=device)).repeat_interleave(each)
        seeds, paths = self.seeds.unsqueeze(1), self.paths.unsqueeze(1)
        key = seeds & WORD, seeds >> 32
        words = philox((place, call, paths, torch.zeros_like(call)), key)
        a, b, c, d = (word.to(self.dtype).view(len(word), -1, each) for word in words)
        normal = []
        for u, v in ((a, b), (c, d)):
            # u in (0, 1]: the largest number is 6.7
            radius = u.add_(1.0).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
            angle = v.mul_(2.0 * math.pi * 2.0**-32)
            normal += [radius * angle.cos(), radius * angle.sin()]
        return torch.cat(normal, dim=2)[..., : self.dim]
