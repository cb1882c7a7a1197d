"""The ablation: what it trains on, what it forecasts, what its table says."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import ablation
from timediff import OptionError, load_dataset
from timediff.options import PRESETS, Options

REST = ["crps_sum", "variogram_score", "coverage90", "coverage90_sum"]
REST += ["train_seconds", "predict_seconds"]


def test_the_test_windows_are_not_touched():
    data = load_dataset("traffic")
    before = ablation.before_the_test(data, 3)
    whole = data.train[0]["target"]
    assert [e["target"].shape[1] - whole.shape[1] for e in before.test] == [-48, -24, 0]
    assert before.train[0]["target"].shape[1] == whole.shape[1] - 72
    with pytest.raises(OptionError, match="nothing before 500 times 3 windows"):
        ablation.before_the_test(data, 3, 499)
    for entry in [*before.train, *before.test]:
        np.testing.assert_array_equal(entry["target"], whole[:, : entry["target"].shape[1]])


def test_a_short_history_ends_where_the_windows_begin():
    data = load_dataset("traffic")
    whole = data.train[0]["target"]
    short = ablation.before_the_test(data, 3, history=7)
    for entry, end in zip([*short.train, *short.test], (-72, -48, -24, None), strict=True):
        np.testing.assert_array_equal(entry["target"], whole[:, -24 * 10 :][:, :end])
        assert entry["start"] == data.train[0]["start"] + whole.shape[1] - 24 * 10
    with pytest.raises(OptionError, match="fewer than 9999 horizons before"):
        ablation.before_the_test(data, 3, history=9999)


def test_rolling_windows_of_each_seed_lie_before_those_of_the_last(tmp_path, monkeypatch):
    data, seen = load_dataset("traffic"), []
    monkeypatch.setattr(
        ablation, "evaluate", lambda _, data, seed: (seen.append(data), ({"crps": 1.0}, None))[1]
    )
    words = ["--datasets", "traffic", "--seeds", "0", "2", "--rolling", "--windows", "3"]
    monkeypatch.setattr("sys.argv", ["ablation", *words, "--output", str(tmp_path / "rows.csv")])
    monkeypatch.setattr(ablation, "report", lambda rows: "")
    monkeypatch.setattr(ablation.Trained, "train", lambda self, seed: self.data)
    ablation.main()
    length = data.train[0]["target"].shape[1]
    ends = [[entry["target"].shape[1] - length for entry in part.test] for part in seen]
    assert ends == [[-48, -24, 0], [-192, -168, -144]]
    assert [part.train[0]["target"].shape[1] - length for part in seen] == [-72, -216]
    assert pd.read_csv(tmp_path / "rows.csv")["dataset"].unique().tolist() == ["traffic, rolling"]


def test_a_change_is_options():
    parsed = ablation.parse("lr=1e-3 prior_loss=nll prior=False passes=None")
    assert parsed == {"lr": 1e-3, "prior_loss": "nll", "prior": False, "passes": None}


def test_rows_are_added_and_a_table_is_made_of_them(tmp_path, monkeypatch):
    out = tmp_path / "ablation.csv"
    for change in ("last value", "last value", "seasonal naive (168)"):
        words = ["ablation", "--datasets", "traffic", "--changes", change, "--output", str(out)]
        monkeypatch.setattr("sys.argv", words)
        ablation.main()
    rows = pd.read_csv(out)
    assert rows["change"].tolist() == ["last value", "seasonal naive (168)"]
    assert "traffic" not in out.with_suffix(".md").read_text()  # there is no default beside it
    text = ablation.report(rows.replace({"last value": "default"}))
    assert "| its spread |" not in text  # of one seed
    assert f"| default | 1 | {rows['crps'][0]:.4g} |" in text
    assert f"| {rows['crps'][1] / rows['crps'][0] - 1:+.1%} |" in text


def test_the_overview_compares_seed_by_seed_and_marks_what_is_no_chance():
    def row(change, seed, crps, energy):
        return {
            "dataset": "x",
            "change": change,
            "seed": seed,
            "crps": crps,
            "energy_score": energy,
        }

    rows = pd.DataFrame(
        [row("default", seed, value, 10.0) for seed, value in enumerate((1.0, 2.0, 4.0))]
        + [row("min_snr=5.0", seed, 1.1 * value, 9.0) for seed, value in enumerate((1.0, 2.0, 4.0))]
        + [row("steps=2", seed, value, 10.0 + seed) for seed, value in enumerate((1.2, 1.8, 4.0))]
        + [row("lr=1e-3", 1, 1.5, 10.0), row("lr=1e-3", 7, 1.5, 10.0)]  # no default for the last
    )
    lines = ablation.overview(rows).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| min_snr=5.0",
        "| steps=2",
        "| lr=1e-3",
    ]
    assert "**+10.0%** / **-10.0%**" in lines[2]
    assert "| +3.3% / +10.0% |" in lines[3]  # their spread is as large
    assert "| -25.0% / +0.0% (1 seed) |" in lines[4]  # which tells nothing of chance
    text = ablation.report(rows.assign(**dict.fromkeys(REST, 1.0)))
    assert "| its spread |  | ± 65.5% |" in text
    assert "| lr=1e-3 | 1 | -25.0% |" in text


def test_priors_and_models_are_taken_over_by_what_leaves_them_alone(monkeypatch):
    data = load_dataset("traffic")
    entry = {**data.train[0], "target": data.train[0]["target"][:3, -600:], "info": None}
    data = dataclasses.replace(data, train=[entry])
    quick = {"prior_epochs": 1, "max_epochs": 1, "num_batches_per_epoch": 2, "prior_width": 16}
    monkeypatch.setitem(PRESETS, "default", quick)
    trained = ablation.Trained(data)
    default, _ = trained.predictor("default", 0)
    weights = default.network.state_dict()
    for change, same in {
        "hidden_size=16": ("priors", "dynamics"),
        "steps=2": ("",),
        ablation.NO_DIFFUSION: ("",),
        "lookback=48": (),
    }.items():
        own = trained.predictor(change, 0)[0].network.state_dict()
        for name, value in weights.items():
            if same and name.startswith(same):
                assert torch.equal(own[name], value), (change, name)
        resized = {name for name, value in own.items() if value.shape != weights[name].shape}
        assert ("encoder.rnn.bias_hh_l0" in resized) == (change == "hidden_size=16")
        assert ("priors.0.inlet.weight" in resized) == (change == "lookback=48")
    white = trained.predictor(ablation.NO_DIFFUSION, 0)[0].network.sampler
    noise = torch.randn(4, 3)
    assert white.sample(None, None, lambda: noise) is noise


def test_every_change_of_the_list_is_one_that_the_options_know():
    for change in ablation.CHANGES:
        if "=" in change:
            Options.from_preset(**{"preset": "default", **ablation.parse(change)})
    assert ablation.expand("all") == ["default", *ablation.CHANGES]
    assert ablation.expand("lr=1") == ["lr=1"]
