"""Can the core learn a spiral, and what do the chains to noise and back look like?

    python -m benchmarks.spiral [--output benchmarks/results]

The figure of Sohl-Dickstein et al. 2015: above, the forward chain, which dissolves a Swiss roll of
two dimensions into noise; below it the reverse chain, which a small network has learned; last,
where the network sees the clean data of a point. Colours follow the roll from the inside out: above
by where a point came from, below by where it ends.

``distance`` is the (fair) energy distance of what was drawn to fresh points of the roll, beside
that of two fresh samples of it (mean and deviation over 20 pairs) and that of a normal law with the
roll's moments. A minute on two cores.
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure

from benchmarks.common import write, write_results
from benchmarks.figures import FAINT, INK, reduce_colours
from timediff.diffusion import DENOISERS, SAMPLERS, SCHEDULES, ConditionalDiffusion
from timediff.plot_training import Recorder
from timediff.scores import energy_distance
from timediff.types import Float, Tensor

K, WIDTH, BLOCKS, BATCH, STEPS, LR, DECAY = 100, 128, 3, 512, 2000, 3e-3, 0.995
POINTS, PAIRS, DRAWN = 4000, 20, 1600
SHOWN, NEAR = (0, 8, 20, 45, K), 3
PICTURES = (
    "![The chain to noise, the learned chain back, and the network's way](spiral.png)\n\n"
    "![The same as a film: left to noise, right back from other noise](spiral.gif)"
)
TURNS, NOISE = (1.5 * math.pi, 4.5 * math.pi), 0.02  # angles of the roll, its thickness
MAP, LIMIT, ARROW = "viridis", 2.9, 0.42


def roll(
    count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
    """Points of the spiral, of variance near 1, and where on it they lie, from 0 to 1.

    They are spread evenly along the angle, as in the figure: denser inside.
    """
    place = torch.rand(count, generator=generator)
    angle = TURNS[0] + (TURNS[1] - TURNS[0]) * place
    x = (angle * torch.stack([angle.cos(), angle.sin()])).T / 7.0
    return x + NOISE * torch.randn(x.shape, generator=generator), place


def train(
    steps: int, generator: torch.Generator
) -> tuple[ConditionalDiffusion, Float[Tensor, " s"]]:
    """A network without a condition, v-prediction, cosine schedule; an average of its weights."""
    torch.manual_seed(0)
    denoiser = DENOISERS.build("mlp", target_dim=2, cond_dim=1, width=WIDTH, blocks=BLOCKS)
    model = ConditionalDiffusion(denoiser, SCHEDULES.build("cosine", num_steps=K), "v")
    optimizer = torch.optim.Adam(model.parameters(), LR)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    mean = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(DECAY)
    )
    nothing, losses = torch.zeros(BATCH, 1), []
    for _ in range(steps):
        x0, _ = roll(BATCH, generator)
        loss = model.loss(x0, nothing, generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        mean.update_parameters(model)
        losses.append(loss.detach())
    trained = mean.module.eval()
    assert isinstance(trained, ConditionalDiffusion)
    return trained, torch.stack(losses)


@torch.no_grad()
def reverse(
    model: ConditionalDiffusion, count: int, sampler: str, steps: int | None, seed: int
) -> tuple[list[int], np.ndarray]:
    """The steps of the reverse chain, and the points at each: ``(steps, points, 2)``."""
    generator = torch.Generator().manual_seed(seed)
    recorder = Recorder(SAMPLERS.build(sampler, steps=steps))
    recorder.sample(
        model, torch.zeros(count, 1), lambda: torch.randn(count, 2, generator=generator)
    )
    return recorder.chain()


def forward(
    model: ConditionalDiffusion, x0: Float[Tensor, "n 2"], generator: torch.Generator
) -> Float[Tensor, "k n 2"]:
    """The forward chain, step by step: each point keeps its path."""
    chain, before = [x0], 1.0
    for k in range(1, K + 1):
        alpha = model.schedule.at(k)[0]
        keep = alpha / before
        noise = torch.randn(x0.shape, generator=generator)
        chain.append(keep * chain[-1] + math.sqrt(1 - keep**2) * noise)
        before = alpha
    return torch.stack(chain)


def places(x: np.ndarray) -> np.ndarray:
    """Where on the roll the nearest point lies, from 0 to 1."""
    line = np.linspace(0, 1, 500)
    angle = TURNS[0] + (TURNS[1] - TURNS[0]) * line
    curve = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / 7.0
    return line[np.linalg.norm(x[:, None] - curve[None], axis=-1).argmin(axis=1)]


@torch.no_grad()
def drift(model: ConditionalDiffusion, k: int, cells: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Places on a grid, and the way from them to where the network sees clean data."""
    axis = torch.linspace(-LIMIT * 0.9, LIMIT * 0.9, cells)
    x = torch.cartesian_prod(axis, axis)
    x0 = model.predict(x, k, model.denoiser.condition(torch.zeros(len(x), 1))).x0
    return x.numpy(), (x0 - x).numpy()


def picture(
    model: ConditionalDiffusion,
    there: np.ndarray,
    of: np.ndarray,
    back: np.ndarray,
    ends: np.ndarray,
) -> Figure:
    """Forward chain, reverse chain and drift, side by side in time."""
    with rc_context({"font.size": 10}):
        figure = Figure(figsize=(2.2 * len(SHOWN), 6.9), layout="constrained")
        axes = figure.subplots(3, len(SHOWN))
        for column, k in enumerate(SHOWN):
            top, middle, bottom = axes[:, column]
            points(top, there[k], of)
            points(middle, back[K - k], ends)
            top.set_title(f"k = {k}", loc="left", fontsize=11)
            at, way = drift(model, max(NEAR, k))
            length = np.linalg.norm(way, axis=1)
            arrow = way * (np.minimum(length, ARROW) / length)[:, None]
            bottom.scatter(*there[0].T, c=FAINT, s=1.5, lw=0)
            bottom.quiver(
                *at.T, *arrow.T, length, cmap="plasma_r", angles="xy", scale_units="xy", scale=1,
                width=0.008, clim=(0, LIMIT), zorder=2,
            )  # fmt: skip
            bottom.set_title("" if k >= NEAR else f"k = {NEAR}", loc="left", fontsize=11)
            for ax in (top, middle, bottom):
                frame(ax)
        rows = [
            "forward chain →", "← reverse chain", "the network's way\nto the clean data"
        ]  # fmt: skip
        for ax, name in zip(axes[:, 0], rows, strict=True):
            ax.set_ylabel(name, fontsize=11, labelpad=8)
    return figure


def points(ax: Any, x: np.ndarray, color: np.ndarray) -> Any:
    """A cloud, coloured along the roll."""
    return ax.scatter(x[:, 0], x[:, 1], c=color, cmap=MAP, s=2.2, lw=0, vmin=0, vmax=1)


def frame(ax: Any) -> None:
    """The same window everywhere, without numbers."""
    ax.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), xticks=[], yticks=[])
    ax.set_aspect("equal")
    for spine in ax.spines.values():
        spine.set(color=FAINT, lw=0.8)


def animate(
    path: Path, there: np.ndarray, of: np.ndarray, back: np.ndarray, ends: np.ndarray, frames: int
) -> None:
    """The roll dissolves, and comes back out of other noise."""
    figure = Figure(figsize=(4.0, 2.25), dpi=90)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.88, wspace=0.03)
    clouds = [points(left, there[0], of), points(right, back[0], ends)]
    for ax in (left, right):
        frame(ax)
    titles = [ax.set_title("", fontsize=8, loc="left", color=INK, pad=4) for ax in (left, right)]

    def show(k: int) -> list[Any]:
        clouds[0].set_offsets(there[k])
        clouds[1].set_offsets(back[k])
        titles[0].set_text(f"forward, k = {k}")
        titles[1].set_text(f"reverse, k = {K - k}")
        return clouds

    shown = np.linspace(0, K, frames).round().astype(int)
    shown = np.concatenate([[0] * 4, shown, [K] * 10])
    FuncAnimation(figure, show, [int(k) for k in shown]).save(path, PillowWriter(fps=12))


def main(words: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--steps", type=int, default=STEPS, help="of training")
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--frames", type=int, default=36)
    given = parser.parse_args(words)
    torch.set_num_threads(1)  # the network is too small to share the work
    given.output.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    generator = torch.Generator().manual_seed(1)
    model, losses = train(given.steps, generator)
    trained = time.perf_counter() - begin
    n = given.points
    fresh = [[roll(n, generator)[0] for _ in range(2)] for _ in range(PAIRS)]
    pairs = [energy_distance(a, b, fair=True).item() for a, b in fresh]
    truth = fresh[0][0]
    normal = (
        truth.mean(0)
        + torch.randn(n, 2, generator=generator) @ torch.linalg.cholesky(truth.T.cov()).T
    )
    rows = []

    def row(name: str, x: Tensor, steps: int | None = None) -> None:
        found = energy_distance(x, truth, fair=True).item()
        rows.append({"drawn by": name, "steps": steps or "", "distance": found})
        print(rows[-1], flush=True)

    for sampler, steps in (("ddpm", None), ("adams", None), ("adams", 10), ("adams", 5)):
        _, back = reverse(model, n, sampler, steps, seed=2)
        row(sampler, torch.from_numpy(back[-1]), steps or K)
    row("normal law of the same moments", normal)
    mean, deviation = float(np.mean(pairs)), float(np.std(pairs, ddof=1))
    rows.append({"drawn by": "the roll itself", "steps": "", "distance": mean})
    rows = [{**r, "two samples of the roll": f"{mean:.5f} ± {deviation:.5f}"} for r in rows]
    _, back = reverse(model, n, "ddpm", None, seed=2)
    x0, of = roll(n, generator)
    there, ends = forward(model, x0, generator).numpy(), places(back[-1])
    some = slice(0, DRAWN)
    there, back, of, ends = there[:, some], back[:, some], of[some], ends[some]
    picture(model, there, of.numpy(), back, ends).savefig(given.output / "spiral.png", dpi=100)
    reduce_colours(given.output / "spiral.png")
    animate(given.output / "spiral.gif", there, of.numpy(), back, ends, given.frames)
    seconds = time.perf_counter() - begin
    rows = [{**r, "training, s": trained, "all, s": seconds} for r in rows]
    title = f"A spiral, learned in {trained:.0f} s: the last loss is {losses[-100:].mean():.3f}"
    write_results(given.output, "spiral", title, rows)
    page = given.output / "spiral.md"
    head, _, rest = page.read_text().partition("\n\n")
    write(page, f"{head}\n\n{PICTURES}\n\n{rest}")


if __name__ == "__main__":
    main()
