"""Which sampler draws a known law best, in how many steps, under which noise schedule?

    python -m benchmarks.samplers [--laws gaussian modes] [--steps 1 5 20]

Three laws of four elements, each of mean 0 and variance 1: a strongly correlated normal law, a
mixture of three heaps, and one with heavy tails (``benchmarks/laws.py``). Their perfect denoisers
are known in closed form, so what is measured is the sampler's own error and no network's. Every
sampler goes through every schedule of K = 100 in 1 to 100 steps, from the same noise, with
v-prediction, which all schedules take.

``distance`` is the (fair) energy distance of 3000 vectors drawn to 3000 of the law: 0 is none,
``floor`` what the distance of two samples of the law itself stays below in 19 of 20 cases.
``least`` and ``most`` are the smallest and the largest variance along the principal axes of the
law, over the law's own, of 10,000 vectors: 1 is right. ``seconds`` is the time of drawing these,
with the perfect denoiser, which costs less than a network; all samplers evaluate it once a step.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks.common import machine, markdown, write
from benchmarks.figures import COLORS, FAINT, INK, reduce_colours
from benchmarks.laws import DIM, LAWS, Mixture
from timediff.diffusion import SAMPLERS, SCHEDULES, NoiseSchedule, zero_terminal_snr
from timediff.options import Options
from timediff.scores import energy_distance

K, DRAWN, COMPARED, PAIRS = 100, 10_000, 3000, 40
STEPS = [1, 2, 3, 5, 10, 20, 50, 100]
USUAL = "cosine", 5  # the default's schedule and steps

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "adams": ("adams", {}),
    "adams, order 3": ("adams", {"order": 3}),
    "dpm_solver": ("dpm_solver", {}),
    "dpm_solver, logsnr": ("dpm_solver", {"spacing": "logsnr"}),
    "ddim": ("ddim", {}),
    "ddpm": ("ddpm", {}),
    "ddpm, interpolated": ("ddpm", {"variance": "interpolated"}),
}
STYLES = dict(zip(VARIANTS, ["-", "--", "-", "--", "-", "-", "--"], strict=True))
PAINT = dict(zip(VARIANTS, [COLORS[i] for i in (0, 0, 1, 1, 2, 3, 3)], strict=True))


def schedules() -> dict[str, NoiseSchedule]:
    """Every registered one, and the published one rescaled to end in pure noise."""
    found = {name: SCHEDULES.build(name, num_steps=K) for name in SCHEDULES}
    return {**found, "linear, zero terminal": zero_terminal_snr(found["linear"])}


def floor(law: Mixture, count: int, generator: torch.Generator) -> float:
    """What the distance of two samples of the law stays below in 19 of 20 cases."""
    found = [
        energy_distance(law.draw(count, generator), law.draw(count, generator), fair=True).item()
        for _ in range(PAIRS)
    ]
    return float(np.quantile(found, 0.95))


def measure(
    names: Sequence[str], steps: Sequence[int], drawn: int, compared: int, seed: int
) -> Iterator[dict[str, Any]]:
    """A row for each law, schedule, sampler and number of steps."""
    for name in names:
        law, generator = LAWS[name](), torch.Generator().manual_seed(seed)
        least = floor(law, compared, generator)
        truth = law.draw(compared, generator)
        h = torch.zeros(drawn, 1, dtype=torch.float64)
        for of, schedule in schedules().items():
            model = law.diffusion(schedule)
            for label, (sampler, options) in VARIANTS.items():
                for count in steps:
                    begin = time.perf_counter()
                    x = SAMPLERS.build(sampler, steps=count, **options).sample(
                        model, h, noise(drawn, seed + 1)
                    )
                    seconds = time.perf_counter() - begin
                    ratios = law.variance_ratios(x)
                    yield {
                        "law": name,
                        "schedule": of,
                        "sampler": label,
                        "steps": count,
                        "distance": energy_distance(x[:compared], truth, fair=True).item(),
                        "floor": least,
                        "least": ratios.min().item(),
                        "most": ratios.max().item(),
                        "seconds": seconds,
                    }


def noise(rows: int, seed: int) -> Callable[[], torch.Tensor]:
    """The same noise for every sampler."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(rows, DIM, generator=generator, dtype=torch.float64)


def grid(rows: pd.DataFrame, column: str, digits: int, over: str = "distance") -> str:
    """The mean over the laws, a row for each sampler."""
    table = rows.groupby(["sampler", column], sort=False)[over].mean().unstack()
    table = table.loc[[v for v in VARIANTS if v in table.index], rows[column].unique()]
    text = table.map(lambda value: f"{value:.{digits}f}").reset_index()
    return markdown(text)


def spans(rows: pd.DataFrame) -> str:
    """Smallest and largest variance ratio of each law."""
    text = rows["least"].map("{:.2f}".format) + " – " + rows["most"].map("{:.2f}".format)
    table = text.to_frame("ratio").join(rows[["sampler", "law"]])
    return markdown(
        table.pivot(index="sampler", columns="law", values="ratio")
        .loc[list(VARIANTS), rows["law"].unique()]
        .reset_index()
    )


def verdict(rows: pd.DataFrame) -> str:
    """What the table says of the default, ``Options.sampler``, ``steps`` and ``schedule``."""
    default = Options()
    mean = rows.groupby(["sampler", "schedule", "steps"])["distance"].mean()
    try:
        own = mean[default.sampler, default.schedule, default.steps]
    except KeyError:
        return ""
    least = rows.groupby("law")["floor"].first().mean()
    better = mean.xs(default.steps, level="steps")
    better = better[better < own - least].sort_values()
    names = ", ".join(f"`{name}` with {of} ({value:.4f})" for (name, of), value in better.items())
    return (
        f"## The default\n\n`{default.sampler}`, {default.steps} steps, {default.schedule}"
        f" schedule: {own:.4f}. With as many steps, better by more than the floor: "
        f"{names or 'none'}.\n\n"
    )


def report(rows: pd.DataFrame, seed: int) -> str:
    """The page beside the table."""
    schedule, few = USUAL
    few = few if (rows["steps"] == few).any() else int(rows["steps"].min())
    usual, short = rows[rows["schedule"] == schedule], rows[rows["steps"] == few]
    both = short[short["schedule"] == schedule]
    mean = both.groupby("sampler")["distance"].mean()
    best = short.groupby(["sampler", "schedule"])["distance"].mean()
    sampler, of = best.idxmin()
    least = rows.groupby("law")["floor"].first().mean()
    seconds = rows.groupby("sampler")["seconds"].sum() / rows.groupby("sampler")["steps"].sum()
    notes = "\n".join(f"- {key}: {value}" for key, value in {**machine(), "seed": seed}.items())
    return (
        f"# Samplers on known laws: in {few} steps of the {schedule} schedule `adams` is"
        f" {mean['adams']:.4f} from the law, `{mean.drop('adams').idxmin()}`"
        f" {mean.drop('adams').min():.4f}\n\n"
        "Energy distance to the true law, mean over the laws"
        f" {', '.join(map(str, rows['law'].unique()))}; the floor, below which two samples of a"
        f" law lie, is {least:.4f} on average; smaller"
        f" differences tell nothing. Perfect denoisers, v-prediction, K = {K}. What is"
        " measured is explained in `benchmarks/samplers.py`; every number, with times and each law"
        " by itself, is in [samplers.csv](samplers.csv).\n\n![Distance and variance against the"
        " number of steps, and the schedules](samplers.png)\n\n"
        f"## By the number of steps, {schedule} schedule\n\n{grid(usual, 'steps', 4)}\n"
        f"## By the schedule, {few} steps\n\n{grid(short, 'schedule', 4)}\n"
        f"The best of them: `{sampler}` with the schedule {of}, {best.min():.4f}.\n\n"
        f"## Variance drawn over the true one, {few} steps, {schedule} schedule\n\n"
        "Smallest and largest along the principal axes of the law; 1 is right.\n\n"
        f"{spans(both)}\n"
        f"{verdict(rows)}"
        "## Time\n\nMilliseconds a step of 10,000 vectors, of which most is the denoiser: "
        + ", ".join(f"{name} {1e3 * seconds[name]:.1f}" for name in VARIANTS)
        + f".\n\n{notes}\n"
    )


def draw(rows: pd.DataFrame) -> Figure:
    """Distance and variance against steps, a column for each law; below, every schedule."""
    laws = list(rows["law"].unique())
    usual = rows[rows["schedule"] == USUAL[0]]
    few = USUAL[1] if (rows["steps"] == USUAL[1]).any() else int(rows["steps"].min())
    with rc_context({"font.size": 9, "axes.titlesize": 10}):
        figure = Figure(figsize=(4.2 * len(laws), 10.5), layout="constrained")
        axes = figure.subplots(3, len(laws), squeeze=False, height_ratios=[1.1, 1, 1.2])
        high = rows["distance"].max()
        for column, law in enumerate(laws):
            top, middle, bottom = axes[:, column]
            part = usual[usual["law"] == law]
            least = part["floor"].iloc[0]
            for name, group in part.groupby("sampler", sort=False):
                style = {"color": PAINT[name], "ls": STYLES[name], "lw": 1.5, "label": name}
                style |= {"marker": "o", "ms": 3}
                top.plot(group["steps"], group["distance"].clip(lower=least / 2), **style)
                middle.fill_between(
                    group["steps"], group["least"], group["most"], color=PAINT[name], alpha=0.12
                ) if name in ("adams", "dpm_solver", "ddpm") else None
                middle.plot(group["steps"], group["least"], **style)
            top.axhspan(least / 3, least, color=FAINT, alpha=0.35, lw=0)
            top.text(1, least / 2.7, " two samples of the law", color=INK, fontsize=8)
            top.set(yscale="log", ylim=(least / 3, 1.5 * high))
            top.set_title(f"{law}, {USUAL[0]} schedule", loc="left")
            middle.axhline(1.0, color=INK, lw=0.8)
            middle.set(ylim=(0, 1.6), xlabel="steps")
            for ax in (top, middle):
                ax.set_xscale("log")
                ax.set_xticks(
                    sorted(part["steps"].unique()), map(str, sorted(part["steps"].unique()))
                )
                ax.minorticks_off()
                ax.spines[["top", "right"]].set_visible(False)
            heat(bottom, rows[(rows["law"] == law) & (rows["steps"] == few)], least)
            bottom.set_title(f"{law}, {few} steps: distance × 1000", loc="left")
        axes[0, 0].set_ylabel("energy distance to the law")
        axes[1, 0].set_ylabel(
            "variance drawn / true,\nsmallest of the axes (shaded: to the largest)"
        )
        axes[0, -1].legend(frameon=False, fontsize=8)
        for ax in axes[2, 1:]:
            ax.set_yticklabels([])
    return figure


def heat(ax: Any, rows: pd.DataFrame, least: float) -> None:
    """Distances of every sampler under every schedule."""
    table = rows.pivot(index="sampler", columns="schedule", values="distance")
    table = table.loc[list(VARIANTS), rows["schedule"].unique()]
    shade = np.log10(table.clip(lower=least).to_numpy() / least)
    ax.imshow(shade, cmap="Blues", aspect="auto", vmin=0, vmax=3)
    for (i, j), value in np.ndenumerate(table.to_numpy()):
        text = f"{1e3 * value:.1f}" if value < 0.1 else f"{1e3 * value:.0f}"
        color = "white" if shade[i, j] > 1.7 else INK
        ax.text(j, i, text, ha="center", va="center", fontsize=7.5, color=color)
    names = [str(name).replace(", ", ",\n") for name in table.columns]
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
    ax.set_yticks(range(len(table)), list(table.index))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def main(words: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--laws", nargs="+", choices=list(LAWS), default=list(LAWS))
    parser.add_argument("--steps", nargs="+", type=int, default=STEPS)
    parser.add_argument("--drawn", type=int, default=DRAWN)
    parser.add_argument("--compared", type=int, default=COMPARED)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    found = []
    for row in measure(given.laws, given.steps, given.drawn, given.compared, given.seed):
        found.append(row)
        if row["steps"] == given.steps[-1]:
            print(row["law"], row["schedule"], row["sampler"], f"{row['distance']:.5f}", flush=True)
    rows = pd.DataFrame(found)
    record = {**machine(), "seed": str(given.seed)}
    write(given.output / "samplers.csv", rows.round(6).assign(**record).to_csv(index=False))
    write(given.output / "samplers.md", report(rows, given.seed))
    draw(rows).savefig(given.output / "samplers.png", dpi=110)
    reduce_colours(given.output / "samplers.png")


if __name__ == "__main__":
    main()
