"""Does the paper preset reach the published accuracy on exchange_rate_nips?

    TIMEDIFF_DATASETS=... python -m benchmarks.exchange_rate [--seeds 0 1 2] [--presets paper]

Trains each preset once per seed on the training data of the archive, as published (20 epochs of
100 batches for ``paper``), forecasts its five windows of 30 days with 100 paths, and scores them
as published. Writes ``benchmarks/results/exchange_rate.csv`` and ``.md``.
"""

import argparse
import time
from pathlib import Path

from benchmarks.common import evaluate, write_results
from timediff import TimeGradEstimator, load_dataset

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--presets", nargs="+", default=["paper", "default"])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    data = load_dataset("exchange_rate_nips")
    rows = []
    for preset in arguments.presets:
        for seed in arguments.seeds:
            start = time.perf_counter()
            estimator = TimeGradEstimator(
                data.freq, data.prediction_length, preset=preset, seed=seed
            )
            predictor = estimator.train(data.train)
            seconds = time.perf_counter() - start
            scores, _ = evaluate(predictor, data, seed)
            rows.append({"preset": preset, "seed": seed, **scores, "train_seconds": seconds})
            print(rows[-1], flush=True)
            write_results(
                arguments.output,
                "exchange_rate",
                "exchange_rate_nips, 5 windows of 30 days, 100 samples, 19 quantiles",
                rows,
            )


if __name__ == "__main__":
    main()
