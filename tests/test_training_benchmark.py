"""The benchmark of training compares like with like."""

import itertools

import pandas as pd
import torch

from benchmarks import training
from timediff.datasets import load_dataset
from timediff.options import Options
from timediff.splits import window_spec


def test_gluonts_gives_windows_of_the_same_reach():
    data = load_dataset("traffic")
    o = Options.from_preset("paper")
    series, length = data.train[0]["target"].shape
    spec = window_spec(o, data.freq, 24, length)
    for batch in itertools.islice(training.gluonts(data, o), 2):
        assert batch["past_target"].shape == (64, spec.context_length + max(spec.lags), series)
        assert batch["future_target"].shape == (64, 24, series)
        assert torch.isfinite(batch["past_target"]).all()


def test_the_benchmark_writes_loaders_and_training(tmp_path):
    threads = torch.get_num_threads()
    training.main(["--presets", "--batches", "2", "--output", str(tmp_path)])
    torch.set_num_threads(threads)
    rows = pd.read_csv(tmp_path / "training.csv").set_index("model")
    assert list(rows.index) == [
        "GluonTS", "timediff, windows", "timediff, single series", "reference",
    ]  # fmt: skip
    assert rows.loc["GluonTS", "ratio"] == rows.loc["reference", "ratio"] == 1
    assert (rows["seconds"] > 0).all()
    assert "# Training: the loader gives" in (tmp_path / "training.md").read_text()
