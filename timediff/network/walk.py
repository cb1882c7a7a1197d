"""From step to step of the horizon: as it is, or, on a GPU, recorded once and replayed.

A step of the horizon is some hundreds of small operations. On a GPU it takes longer to ask for them
than to do them: a CUDA graph asks for all at once.
"""

import contextlib
import copy
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from timediff.diffusion import Sampler
from timediff.types import Float, Int, Tensor

if TYPE_CHECKING:
    from timediff.network.base import TimeGradNetwork

logger = logging.getLogger(__name__)

MOST_RECORDINGS = 64  # that are compiled in one process
MOST_COMPILED = 20  # reverse steps compiled as one piece; of more, the denoiser alone is
LOCK = threading.Lock()  # a recording draws for one thread at a time
PRECISIONS = ("float32", "tf32", "bfloat16")


class Walk(NamedTuple):
    """Paths to draw.

    Attributes:
        past: of their windows; see ``TimeGradNetwork._read``.
        window: of each path.
        seeds: of the noise, of each path's window.
        path: number of each path within its window.
    """

    past: Any
    window: Int[Tensor, " n"]
    seeds: Int[Tensor, " n"]
    path: Int[Tensor, " n"]


@contextlib.contextmanager
def products(precision: str, device: torch.device) -> Iterator[None]:
    """Products of matrices on a GPU in this precision."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"  # of RNNs and convolutions
    half = precision == "bfloat16"
    try:
        with torch.autocast("cuda", torch.bfloat16, enabled=half, cache_enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def leaves(tree: Any) -> list[Tensor]:
    """All tensors of nested tuples, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    return [tensor for part in tree for tensor in leaves(part)]


def cloned(tree: Any) -> Any:
    """Nested tuples with copies of their tensors."""
    if isinstance(tree, Tensor):
        return tree.clone(memory_format=torch.contiguous_format)
    parts = [cloned(part) for part in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


def overwrite(tree: Any, other: Any) -> None:
    """Take the values of other tensors over into these."""
    for mine, theirs in zip(leaves(tree), leaves(other), strict=True):
        if mine is not theirs:
            mine.copy_(theirs)


def walk(network: "TimeGradNetwork", start: Walk, sampler: Sampler) -> Float[Tensor, "n p d"]:
    """Draw the horizon, step by step."""
    past, window, seeds, path = start
    state, drawn = network.begin(past, window), []
    noise = network.noise(seeds, path)
    for j in range(network.prediction_length):
        step = torch.tensor([j], device=window.device)
        x, state = network.advance(past, window, state, step, noise, sampler)
        drawn.append(x)
    return torch.stack(drawn, dim=1)


def recorded(network: "TimeGradNetwork", start: Walk, sampler: Sampler) -> Float[Tensor, "n p d"]:
    """The same, from a recording of one step, made at the first call for paths of this kind."""
    with LOCK, torch.inference_mode(False), torch.no_grad():
        recording = network.recording
        if recording is None or not recording.fits(network, start, sampler):
            network.recording = None  # its memory is free before more is taken
            network.recording = recording = Recording(network, start, sampler)
        return recording.draw(network, start).clone()


class Recording:
    """One step of the horizon in memory that stays where it is: all others replay it.

    What was recorded holds for paths of as many windows, and for these weights, the values of which
    may change. Where something cannot be recorded (a denoiser of one's own that asks the
    GPU for a number), the steps are taken one by one.

    Args:
        network: draws the paths.
        start: what is drawn from; any of this kind.
        sampler: goes down the reverse chain.
    """

    def __init__(self, network: "TimeGradNetwork", start: Walk, sampler: Sampler):
        self.kind = self._kind(network, start, sampler)
        self.start, self.sampler = cloned(start), sampler
        device, d = start.window.device, network.target_dim
        self.state = cloned(network.begin(start.past, start.window))
        self.step = torch.zeros(1, dtype=torch.long, device=device)
        self.calls = torch.zeros(1, dtype=torch.long, device=device)
        size = len(start.window), network.prediction_length, d
        self.drawn = torch.empty(size, dtype=network.low.dtype, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.known = False  # whether it was tried to record a step
        self.next: Callable[..., tuple[Tensor, Any, Tensor]] = self._next
        visited = sampler.timesteps(network.diffusion)[:-1]
        if network.diffusion.denoiser.is_compiled and len(visited) <= MOST_COMPILED:
            self.next = torch.compile(self._next, dynamic=False)
            self.sampler = copy.copy(sampler)  # one that has nothing to work out
            self.sampler.steps = visited

    @staticmethod
    def _kind(network: "TimeGradNetwork", start: Walk, sampler: Sampler) -> tuple[Any, ...]:
        """What must not have changed: how it is drawn, shapes, and where the weights lie."""
        shapes = [(x.shape, x.dtype, x.device) for x in leaves(start)]
        places = [x.data_ptr() for x in (*network.parameters(), *network.buffers())]
        how = network.diffusion.denoiser.is_compiled, network.options.matmul_precision
        return sampler, how, shapes, places

    def fits(self, network: "TimeGradNetwork", start: Walk, sampler: Sampler) -> bool:
        """Whether it does for such paths."""
        return self.kind == self._kind(network, start, sampler)

    @staticmethod
    def _next(
        network: "TimeGradNetwork",
        start: Walk,
        state: Any,
        step: Tensor,
        calls: Tensor,
        sampler: Sampler,
    ) -> tuple[Tensor, Any, Tensor]:
        """The next values, what is passed on, and how many draws of noise there were."""
        noise = network.noise(start.seeds, start.path, calls)
        x, state = network.advance(start.past, start.window, state, step, noise, sampler)
        assert isinstance(noise.calls, Tensor)
        return x, state, noise.calls

    def _take(self, network: "TimeGradNetwork") -> None:
        """One step, in place."""
        with contextlib.ExitStack() as stack:
            if self.next is not self._next:
                # the compiler may see the weights of an RNN, and many networks; its settings are
                # part of what it keeps
                settings = {"allow_rnn": True, "recompile_limit": MOST_RECORDINGS}
                stack.enter_context(torch._dynamo.config.patch(settings))
            x, state, calls = self.next(
                network, self.start, self.state, self.step, self.calls, self.sampler
            )
        self.drawn.index_copy_(1, self.step, x.unsqueeze(1))
        overwrite(self.state, state)
        self.calls.copy_(calls)
        self.step += 1

    def _begin(self, network: "TimeGradNetwork", start: Walk) -> None:
        """Go to the start of these paths."""
        overwrite(self.start, start)
        overwrite(self.state, network.begin(start.past, start.window))
        self.step.zero_()
        self.calls.zero_()

    def draw(self, network: "TimeGradNetwork", start: Walk) -> Float[Tensor, "n p d"]:
        """The paths; memory that the next call writes over."""
        if not self.known:
            self._record(network, start)
        self._begin(network, start)
        for _ in range(network.prediction_length):
            if self.graph is None:
                self._take(network)
            else:
                self.graph.replay()
        return self.drawn

    def _record(self, network: "TimeGradNetwork", start: Walk) -> None:
        """Take a step twice, so that all that is made or compiled once is there; then record it."""
        device = self.step.device
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(2):
                self._begin(network, start)
                try:
                    self._take(network)
                except torch.cuda.OutOfMemoryError:
                    raise
                except Exception as error:
                    if self.next is self._next:
                        raise
                    logger.info("the steps are not compiled: %s", error)
                    self.next = self._next
                    self._take(network)
        torch.cuda.current_stream(device).wait_stream(side)
        self.known = True
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                self._take(network)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:
            torch.cuda.synchronize(device)
            logger.info("the steps are not recorded: %s", error)
        else:
            self.graph = graph
