"""What each part of the default is worth: one change at a time, on windows before the test start.

``python -m benchmarks.ablation --datasets traffic --changes default "lr=1e-3" --seeds 0 1 2``

The test windows are not touched: the last windows of the training data take their place, and
everything is trained on what lies before them. A change is options, ``no diffusion`` (white noise
in its place), or a simple forecast; ``all`` is the list below, ``simple`` every simple forecast.
In all of them the diffusion is trained once, where the default keeps the best of three runs (the
change ``diffusion_runs=3``), and nothing is trained again on all of the history (the change
``refit=0.05``): so the differences are of the changes, not of the luck of a choice.
What does not concern the prior takes over the default's prior of the same seed, what concerns the
sampler alone its whole model. With ``--rolling`` the windows of seed k lie k times their number
further back, everything trained on what lies before those: for data whose nature changes. With
``--history N`` only the N horizons before the windows are known. Rows are added to
``results/ablation.csv``; a row that is there already is not computed again. At the end
``ablation.md`` is written from all rows.
"""

import argparse
import ast
import dataclasses
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.common import evaluate, kept_rows, machine, markdown, write
from timediff import TimeGradEstimator
from timediff.baselines import simple_forecasts
from timediff.datasets import ForecastDataset, load_dataset
from timediff.diffusion import Sampler
from timediff.errors import OptionError
from timediff.network import ResidualNetwork
from timediff.options import Options
from timediff.predictor import TimeGradPredictor
from timediff.training import Training

RESULTS = Path(__file__).parent / "results" / "ablation.csv"
WINDOWS = {"exchange_rate_nips": 10, "electricity_uci": 7, "metr_la": 14}  # elsewhere 28
KEY = ["dataset", "change", "seed"]


def before_the_test(
    data: ForecastDataset, windows: int, back: int = 0, history: int | None = None
) -> ForecastDataset:
    """The same data ending where the test begins; its last windows are forecast instead.

    Args:
        data: of one entry.
        windows: how many.
        back: how often as many windows at the end are left out.
        history: horizons before the windows that are known; all if None.

    Raises:
        OptionError: nothing is left to train on, or not so much.
    """
    (entry,) = data.train
    p = data.prediction_length
    length = entry["target"].shape[1] - p * windows * back
    if length <= p * windows:
        raise OptionError(f"{data.name} has nothing before {back + 1} times {windows} windows")

    first = 0 if history is None else length - p * (windows + history)
    if first < 0:
        raise OptionError(f"{data.name} has fewer than {history} horizons before the windows")

    def until(end: int) -> dict[str, Any]:
        return {**entry, "start": entry["start"] + first, "target": entry["target"][:, first:end]}

    ends = [length - p * k for k in reversed(range(windows))]
    return dataclasses.replace(
        data, train=[until(length - p * windows)], test=[until(end) for end in ends]
    )


def parse(change: str) -> dict[str, Any]:
    """``"lr=1e-3 prior_loss=nll"`` as options."""
    options = {}
    for part in change.split():
        name, value = part.split("=", 1)
        try:
            options[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            options[name] = value
    return options


class WhiteNoise(Sampler):
    """In place of the reverse chain: innovations that depend on nothing."""

    def step(self, *_: Any) -> Any:
        """There are no steps."""
        raise NotImplementedError

    def sample(
        self, model: Any, h: Any, noise: Any, start: Any = None, project: Any = None
    ) -> torch.Tensor:
        """The noise itself."""
        return noise() if project is None else project(noise())


NO_DIFFUSION = "no diffusion"
OF_THE_SAMPLER = {"sampler", "steps", "sampler_options"}
OF_THE_PRIOR = (  # the first letters of options that matter in its training
    *(
        "prior",
        "lookback",
        "seasonal_values",
        "embedding_dim",
        "validation_windows",
        "patience",
        "refit",
    ),
    *("ema_decay", "gradient_clip", "weight_decay", "max_lr", "num_batches_per_epoch"),
)
CHANGES = {  # what each is about, for the table
    "factors=0": "no common factors of what the prior missed",
    "spread=False": "drawn as wide as training windows say",
    "prior_epochs=0": "the prior stays the best mixture of simple forecasts",
    "prior=False": "no prior: the scaled values are diffused, as published",
    "prior_members=1 prior_rows=2048": "one prior, batches of twice the size",
    "prior_loss=nll": "the prior by likelihood",
    "prior_balance=0.5": "larger series weigh more",
    "prior_members=5": "five priors",
    "prior_reach=None": "no cost of outcomes out of the prior's reach",
    "refit=0.05": "trained again on all of the history: the default's choice",
    "validation_windows=0": "nothing held out: no early stopping, every stage kept",
    "ema_decay=None": "no average of weights",
    "embedding_dim=0": "no embedding of the series",
    "seasonal_values=2": "fewer values of past seasons",
    "prior_dropout=0.0": "no dropout in the prior",
    NO_DIFFUSION: "white noise in place of the diffusion",
    "diffusion_runs=3": "the best of three runs of the diffusion: the default's choice",
    "parameterization=epsilon": "epsilon for v",
    "parameterization=x0": "x0 for v",
    "zero_terminal=True": "a schedule that ends in pure noise",
    "min_snr=5.0": "a loss weighted by min-SNR",
    "schedule=linear": "the published schedule for the cosine",
    "loss_window=horizon": "loss on the horizon only",
    "dropout=0.0": "no dropout in the diffusion",
    "denoiser=wavenet": "the published denoiser",
    "hidden_size=16": "a smaller RNN",
    "hidden_size=128 num_layers=2": "a larger RNN",
    "context_length=96": "a longer context",
    "passes=160.0 max_epochs=40": "four times the training of the diffusion",
    "steps=2": "2 steps of the sampler",
    "steps=20": "20 steps of the sampler",
    "sampler=dpm_solver": "DPM-Solver++, 5 steps",
    "sampler=ddpm steps=100": "100 ancestral steps",
}


class Trained:
    """Models by seed, with their priors, for those changes that leave these as they are."""

    def __init__(self, data: ForecastDataset) -> None:
        self.data = data
        self.models: dict[int, tuple[TimeGradPredictor, float]] = {}

    def default(self, seed: int) -> tuple[TimeGradPredictor, float]:
        """The default, and the seconds that its training took."""
        if seed not in self.models:
            start = time.perf_counter()
            predictor = self.train(seed)
            self.models[seed] = predictor, time.perf_counter() - start
        return self.models[seed]

    def train(self, seed: int, source: TimeGradPredictor | None = None, **options: Any) -> Any:
        """Train with these options, from scratch or with the prior of another model."""
        estimator = WithPrior(
            self.data.freq,
            self.data.prediction_length,
            seed=seed,
            trainer_kwargs={"enable_progress_bar": False},
            **{"preset": "default", "diffusion_runs": 1, "refit": None, **options},
        )
        estimator.source = source
        return estimator.train(self.data.train)

    def predictor(self, change: str, seed: int) -> tuple[Any, float]:
        """The forecaster of a change, and the seconds that its training took."""
        simple = simple_of(self.data)
        if change in simple:
            return simple[change], 0.0
        if change == "default":
            return self.default(seed)
        if change == NO_DIFFUSION:
            predictor, seconds = self.default(seed)
            return predictor.with_sampler(WhiteNoise()), seconds
        options = parse(change)
        if set(options) <= OF_THE_SAMPLER:
            predictor, seconds = self.default(seed)
            options = {"sampler": "adams", "steps": 5, **options}
            options.update(options.pop("sampler_options", {}))
            return predictor.with_sampler(**options), seconds
        own = any(name.startswith(OF_THE_PRIOR) for name in options)
        prior = None if own or "preset" in options else self.default(seed)[0]
        start = time.perf_counter()
        predictor = self.train(seed, prior, **options)
        return predictor, time.perf_counter() - start


class WithPrior(TimeGradEstimator):
    """An estimator that can take over the trained prior of a predictor."""

    source: TimeGradPredictor | None = None

    def _training(self, *parts: Any) -> Training:
        training = super()._training(*parts)
        if self.source is not None:
            training._fit_prior = self._take_over  # type: ignore[method-assign]
        return training

    def _take_over(
        self, network: ResidualNetwork, fresh: bool, epochs: int | None = None
    ) -> ResidualNetwork:
        assert self.source is not None
        for part in ("priors", "dynamics"):
            known = getattr(self.source.network, part).state_dict()
            getattr(network, part).load_state_dict(known)
        return network


def simple_of(data: ForecastDataset) -> dict[str, Any]:
    """The simple forecasts for a data set."""
    history = data.train[0]["target"].shape[1]
    return simple_forecasts(data.freq, data.prediction_length, history)


SHOWN = ["crps", "crps_sum", "energy_score", "variogram_score"]


def report(rows: pd.DataFrame) -> str:
    """Tables in Markdown: scores of the default, and of each change relative to it."""
    parts = ["# What each part of the default is worth", NOTES]
    for name, part in rows.groupby("dataset", sort=True):
        part = beside_the_default(part)
        if part.empty:
            continue
        mean = part.groupby("change", sort=False).mean(numeric_only=True)
        order = ["default", *[change for change in mean.index if change != "default"]]
        spread = part[part["change"] == "default"].std(numeric_only=True)
        lines = []
        for change in order:
            own, seeds = mean.loc[change], part.loc[part["change"] == change, "seed"]
            same = part[(part["change"] == "default") & part["seed"].isin(seeds)]
            base = same.mean(numeric_only=True)
            line = {"change": change, "seeds": len(seeds)}
            for score in SHOWN:
                plain = change == "default"
                ratio = f"{own[score] / base[score] - 1:+.1%}"
                line[score] = f"{own[score]:.4g}" if plain else ratio
            line["coverage"] = f"{own['coverage90']:.2f}"
            line["of the sum"] = f"{own['coverage90_sum']:.2f}"
            line["training, s"] = f"{own['train_seconds']:.0f}"
            line["prediction, s"] = f"{own['predict_seconds']:.2g}"
            line["what it is"] = CHANGES.get(change, "")
            lines.append(line)
            if change == "default" and len(seeds) > 1:
                noise = {score: f"± {spread[score] / base[score]:.1%}" for score in SHOWN}
                lines.append({**dict.fromkeys(line, ""), "change": "its spread", **noise})
        parts += [f"## {name}", markdown(pd.DataFrame(lines)).strip()]
    return "\n\n".join(parts) + "\n"


def beside_the_default(rows: pd.DataFrame) -> pd.DataFrame:
    """Those with whose data set and seed the default was run, too."""
    known = rows.loc[rows["change"] == "default", ["dataset", "seed"]]
    return rows.merge(known, on=["dataset", "seed"])


def overview(rows: pd.DataFrame) -> str:
    """A row per change, a column per data set: how much worse, in CRPS and in the energy score.

    Bold where the mean over the seeds is more than twice its standard error away from 0, each seed
    compared with the default of the same seed.
    """
    table = beside_the_default(rows).set_index(KEY)[["crps", "energy_score"]].sort_index()
    names = table.index.unique("dataset")
    lines = []
    for change in dict.fromkeys([*CHANGES, *rows["change"]]):
        cells = {name: _ratios(table.loc[name], change) for name in names}
        if change != "default" and any(cells.values()):
            lines.append({"change": change, "what it is": CHANGES.get(change, ""), **cells})
    return markdown(pd.DataFrame(lines))


def _ratios(table: pd.DataFrame, change: str) -> str:
    """One cell of the overview, from the scores of a data set by change and seed."""
    if change not in table.index.get_level_values("change"):
        return ""
    own = table.loc[change]
    ratio = own / table.loc["default"].loc[own.index] - 1
    mean, error = ratio.mean(), ratio.std() / len(ratio) ** 0.5
    texts = [
        f"{m:+.1%}" if abs(m) <= 2 * e or len(ratio) == 1 else f"**{m:+.1%}**"
        for m, e in zip(mean, error, strict=True)
    ]
    return " / ".join(texts) + (" (1 seed)" if len(ratio) == 1 else "")


NOTES = """\
Means over the seeds, on windows before the test start, everything trained on what lies before
these. The diffusion is trained once in all rows but the one that says otherwise: the default keeps
the best of three runs, and where much was held out trains again on all of the history. The first
row of a table has the default's scores, the others how much higher (worse) or lower (better) each
score is than the default's with the same seeds; coverage of the 90 % interval should be .90.
Differences within the spread of the default over its seeds, in the second row, say nothing (of data
called rolling each seed has other windows, further back: there the spread is that of times).
Changes of the diffusion keep the default's priors, changes of the sampler its models, and their
seconds are those of what was trained anew (of the whole default, for the sampler). Seconds are of a
shared machine, and rough."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--changes", nargs="+", default=["default"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rolling", action="store_true", help="windows of seed k lie further back")
    parser.add_argument("--windows", type=int, help="how many; as many as usual if not given")
    parser.add_argument("--history", type=int, help="horizons known before them; all if not given")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    changes = [c for given_change in given.changes for c in expand(given_change)]
    for change in changes:
        if "=" in change:
            Options.from_preset(**{"preset": "default", **parse(change)})  # a mistake shows now
    for name in given.datasets:
        whole, windows = load_dataset(name), given.windows or WINDOWS.get(name, 28)
        title = f"{name}, rolling" if given.rolling else name
        if given.history is not None:
            title += f", {given.history} horizons"
        for seed in given.seeds:
            data = before_the_test(whole, windows, seed if given.rolling else 0, given.history)
            trained = Trained(data)
            simple = list(simple_of(data))
            for change in [c for k in changes for c in (simple if k == "simple" else [k])]:
                key = {"dataset": title, "change": change, "seed": seed}
                rows = kept_rows(given.output) if given.output.exists() else pd.DataFrame()
                if len(rows) and (rows[KEY] == list(key.values())).all(axis=1).any():
                    continue
                predictor, seconds = trained.predictor(change, seed)
                scores, _ = evaluate(predictor, data, seed)
                row = {**key, "train_seconds": seconds, **scores, **machine()}
                table = pd.concat([rows, pd.DataFrame([row])])
                write(given.output, table.to_csv(index=False))
                shown = {k: round(v, 5) for k, v in row.items() if isinstance(v, float)}
                print(name, change, seed, shown, flush=True)
    write(given.output.with_suffix(".md"), report(pd.read_csv(given.output)))


def expand(change: str) -> list[str]:
    """``all`` as the list of changes."""
    return ["default", *CHANGES] if change == "all" else [change]


if __name__ == "__main__":
    main()
