"""How long does training take, and is the loader what is waited for?

    python -m benchmarks.training

On the embedded traffic data, in one run on two threads:

- **windows a second** that the loader gives, of the ``paper`` preset (scaled lags) and of single
  series for the default's prior, beside GluonTS's own pipeline (time features, observed values,
  ``InstanceSplitter``, batches of tensors) with the same context, horizon and reach;
- **training to the reference's accuracy**: TimeGrad as published takes 15 epochs of 100 batches of
  64 windows and reaches a CRPS-sum of .0652 on the first seven test windows (measured with its own
  code). One of these batches is timed here, with the ``paper`` preset's network (which has the
  same layers and does less twice), and multiplied; the presets, and ``fast`` with one epoch of the
  prior, one of the diffusion and neither factors nor a spread, are trained to their end and scored
  on the same windows. The ratio is that of their time to it.

``results/training.csv`` and ``training.md``.
"""

import argparse
import dataclasses
import itertools
import logging
import statistics
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from gluonts.dataset.field_names import FieldName
from gluonts.dataset.loader import TrainDataLoader
from gluonts.itertools import Cyclic
from gluonts.time_feature import time_features_from_frequency_str
from gluonts.torch.batchify import batchify
from gluonts.transform import (
    AddObservedValuesIndicator,
    AddTimeFeatures,
    Chain,
    ExpectedNumInstanceSampler,
    InstanceSplitter,
)

from benchmarks.common import evaluate, write_results
from timediff import TimeGradEstimator
from timediff.datasets import ForecastDataset, load_dataset
from timediff.entries import read_dataset
from timediff.loader import WindowLoader
from timediff.options import Options
from timediff.splits import split_windows, window_spec
from timediff.store import SeriesStore
from timediff.windows import build_network

THREADS, BATCH, WINDOWS = 2, 64, 7
GROUP = 24  # batches timed together
SHORT = ", few epochs"
FEW = {"prior_epochs": 1, "max_epochs": 1, "factors": 0, "spread": False}
REFERENCE_BATCHES, REFERENCE_CRPS_SUM, REFERENCE_CRPS = 15 * 100, 0.0652, 0.139


def main(words: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--presets", nargs="*", default=["fast" + SHORT, "fast", "default"])
    parser.add_argument("--batches", type=int, default=10, help="timed, of each loader")
    given = parser.parse_args(words)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    data = load_dataset("traffic")
    rows = loaders(data, given.batches)
    reference = REFERENCE_BATCHES * reference_batch(data, given.batches)
    rows.append(
        {
            "what": "training",
            "model": "reference",
            "seconds": reference,
            "ratio": 1.0,
            "crps_sum": REFERENCE_CRPS_SUM,
            "crps": REFERENCE_CRPS,
        }
    )
    first = dataclasses.replace(data, test=data.test[:WINDOWS])
    for name in given.presets:
        preset, short = name.removesuffix(SHORT), name.endswith(SHORT)
        start = time.perf_counter()
        predictor = TimeGradEstimator(
            data.freq,
            data.prediction_length,
            preset=preset,
            seed=0,
            trainer_kwargs={"enable_progress_bar": False},
            **(FEW if short else {}),
        ).train(data.train)
        seconds = time.perf_counter() - start
        scores, _ = evaluate(predictor, first, 0)
        rows.append(
            {
                "what": "training",
                "model": name,
                "seconds": seconds,
                "ratio": reference / seconds,
                "crps_sum": scores["crps_sum"],
                "crps": scores["crps"],
            }
        )
    for row in rows:
        print(row, flush=True)
    write_results(given.output, "training", title(rows), rows)


def title(rows: list[dict[str, Any]]) -> str:
    """Both answers in a sentence."""
    ours = next(row for row in rows if row["model"] == "timediff, windows")
    text = f"Training: the loader gives {ours['ratio']:.0f} times the windows of GluonTS's"
    presets = [row for row in rows if row["what"] == "training" and row["model"] != "reference"]
    for row in presets:
        text += f"; {row['model']} takes 1/{row['ratio']:.0f} of the reference's time"
    return text


def loaders(data: ForecastDataset, batches: int) -> list[dict[str, Any]]:
    """Windows a second of GluonTS's pipeline and of ours."""
    o = Options.from_preset("paper")
    rows: list[dict[str, Any]] = []
    rows.append({"what": "loader", "model": "GluonTS", **_rate(gluonts(data, o), batches)})
    for name, options, size in (
        ("timediff, windows", o, BATCH),
        ("timediff, single series", Options(), Options().prior_rows),
    ):
        store, windows = prepared(data, options)
        loader = WindowLoader(store, windows, size, num_batches=10**9, rows=options.prior)
        unit = size / (store.values.shape[1] if options.prior else 1)
        rows.append({"what": "loader", "model": name, **_rate(iter(loader), 10 * batches, unit)})
    for row in rows:
        row["ratio"] = row["windows a second"] / rows[0]["windows a second"]
    return rows


def prepared(data: ForecastDataset, options: Options) -> tuple[SeriesStore, torch.Tensor]:
    """The training data in memory, and the windows of it ``(n, 2)``."""
    panels = read_dataset(data.train, data.freq)
    history = max(len(panel.values) for panel in panels)
    spec = window_spec(options, data.freq, data.prediction_length, history)
    windows, _, _ = split_windows(panels, spec, options.validation_windows)
    return SeriesStore(panels, spec), windows


def gluonts(data: ForecastDataset, o: Options) -> Iterator[Any]:
    """Batches of GluonTS's pipeline with what the published model reads."""
    p = data.prediction_length
    spec = prepared(data, o)[0].spec
    transformation = Chain(
        [
            AddObservedValuesIndicator(
                target_field=FieldName.TARGET, output_field=FieldName.OBSERVED_VALUES
            ),
            AddTimeFeatures(
                start_field=FieldName.START,
                target_field=FieldName.TARGET,
                output_field=FieldName.FEAT_TIME,
                time_features=time_features_from_frequency_str(data.freq),
                pred_length=p,
            ),
            InstanceSplitter(
                target_field=FieldName.TARGET,
                is_pad_field=FieldName.IS_PAD,
                start_field=FieldName.START,
                forecast_start_field=FieldName.FORECAST_START,
                instance_sampler=ExpectedNumInstanceSampler(
                    num_instances=BATCH, min_past=spec.pad, min_future=p
                ),
                past_length=spec.context_length + max(spec.lags),
                future_length=p,
                time_series_fields=[FieldName.FEAT_TIME, FieldName.OBSERVED_VALUES],
            ),
        ]
    )
    return iter(
        TrainDataLoader(
            Cyclic(data.train),
            transform=transformation,
            batch_size=BATCH,
            stack_fn=batchify,
        )
    )


def _rate(batches: Iterator[Any], number: int, size: float = BATCH) -> dict[str, float]:
    """Seconds of a batch and windows a second: the median over groups of batches, of their mean.

    Of groups, since several batches may be gathered together. One goes first to warm up.
    """
    seconds = []
    for _ in range(number + 1):
        start = time.perf_counter()
        for _ in range(GROUP):
            next(batches)
        seconds.append((time.perf_counter() - start) / GROUP)
    median = statistics.median(seconds[1:])
    return {"seconds": median, "windows a second": size / median}


def reference_batch(data: ForecastDataset, batches: int) -> float:
    """Seconds of one step of the published model's training, the loader left out."""
    o = Options.from_preset("paper")
    store, windows = prepared(data, o)
    torch.manual_seed(0)
    network = build_network(o, store.spec, store.values.shape[1]).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=o.lr)
    seconds = []
    for batch in itertools.islice(WindowLoader(store, windows, BATCH, batches), batches):
        start = time.perf_counter()
        optimizer.zero_grad()
        network.loss(batch).mean().backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:] or seconds)


if __name__ == "__main__":
    main()
