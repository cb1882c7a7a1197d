"""The main job on real data: train, forecast a week, score it beside two simple forecasts.

    python -m benchmarks.demo --output demo-output

20 road sensors, hourly, 2015-01-01 to 2016-07-31 for training; then the 24 hours of each of the 7
days from 2016-08-01 on, 100 joint paths each. Leaves in the output folder: ``scores.csv`` and
``.md``, ``forecasts.csv`` (mean and quantiles), ``fan_charts.png``, the predictor in ``model/``.
"""

import argparse
import dataclasses
import logging
import time
from pathlib import Path

import pandas as pd
from lightning.pytorch.callbacks import TQDMProgressBar

from benchmarks.common import evaluate, machine, markdown, write
from timediff import TimeGradEstimator, load_dataset, to_frame
from timediff.baselines import PastSeasons, SeasonalNaive
from timediff.plot import fan_chart

WINDOWS, WEEK = 7, 168
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-epochs", type=int, help="fewer for a quick look")
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    data = load_dataset("traffic")
    data = dataclasses.replace(data, test=data.test[:WINDOWS])
    p, seed = data.prediction_length, arguments.seed
    print(f"{data.title}: {len(data.columns)} series, {data.train[0]['target'].shape[1]} hours")

    number = arguments.max_epochs
    options = {} if number is None else {"max_epochs": number, "prior_epochs": number}
    estimator = TimeGradEstimator(
        data.freq,
        p,
        seed=seed,
        trainer_kwargs={"callbacks": [TQDMProgressBar(refresh_rate=10)]},
        **options,
    )
    start = time.perf_counter()
    predictor = estimator.train(data.train)
    models = {
        "timediff": (predictor, time.perf_counter() - start),
        "seasonal naive (week) + residuals": (SeasonalNaive(p, season=WEEK), 0.0),
        "same hours of the past 20 weeks": (PastSeasons(p, season=WEEK, num_seasons=20), 0.0),
    }
    rows, drawn = [], {}
    for name, (model, seconds) in models.items():
        scores, drawn[name] = evaluate(model, data, seed)
        rows.append({"forecast": name, **scores, "train_seconds": seconds})
    table = pd.DataFrame(rows)

    output = arguments.output
    write(output / "scores.csv", table.to_csv(index=False))
    notes = "\n".join(f"- {key}: {value}" for key, value in {**machine(), "seed": seed}.items())
    write(output / "scores.md", f"{markdown(table)}\n{notes}\n")
    forecasts = pd.concat([to_frame(f, QUANTILES) for f in drawn["timediff"]])
    write(output / "forecasts.csv", forecasts.to_csv(index=False))
    figure = fan_chart(drawn["timediff"], history=data.train_frame, target=data.frame)
    figure.savefig(output / "fan_charts.png", dpi=150)
    (output / "model").mkdir(exist_ok=True)
    predictor.serialize(output / "model")

    print(
        f"\nThe {p} hours of {WINDOWS} days from {forecasts['timestamp'].min():%Y-%m-%d}, 100 paths"
    )
    print(markdown(table))
    ours, naive = table.iloc[0], table.iloc[1]
    for name, other in zip(table["forecast"][1:], (naive, table.iloc[2]), strict=True):
        change = [
            f"{score} {ours[score] / other[score] - 1:+.0%}" for score in ("crps", "crps_sum")
        ]
        print(f"timediff against {name}: {', '.join(change)}")
    print(f"\nscores, forecasts, picture and model are in {output}/")
    if not (ours[["crps", "crps_sum"]] < naive[["crps", "crps_sum"]]).all():
        raise SystemExit("timediff did not beat the seasonal naive forecast")


if __name__ == "__main__":
    main()
