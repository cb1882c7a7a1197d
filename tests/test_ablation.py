"""The ablation: what it trains on, what it forecasts, what its table says."""

import numpy as np
import pandas as pd

from benchmarks import ablation
from timediff import load_dataset


def test_the_test_windows_are_not_touched():
    data = load_dataset("traffic")
    before = ablation.before_the_test(data, 3)
    whole = data.train[0]["target"]
    assert [e["target"].shape[1] - whole.shape[1] for e in before.test] == [-48, -24, 0]
    assert before.train[0]["target"].shape[1] == whole.shape[1] - 72
    for entry in [*before.train, *before.test]:
        np.testing.assert_array_equal(entry["target"], whole[:, : entry["target"].shape[1]])


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
    assert f"| default | 1 | {rows['crps'][0]:.4g} |" in text
    assert f"| {rows['crps'][1] / rows['crps'][0] - 1:+.1%} |" in text
