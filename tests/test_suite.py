"""The benchmark suite: runs, continues, rescored rows, tables and figures; and its peers."""

import dataclasses
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from benchmarks import figures, models, suite
from benchmarks.common import inputs, targets
from benchmarks.report import number, report
from timediff import OptionError, load_dataset
from timediff.options import Options
from timediff.scores import score_table

COLUMNS = ["dataset", "model", "seed", "windows"]
COLUMNS += ["crps", "crps_sum", "energy_score", "variogram_score", "coverage90", "coverage90_sum"]
COLUMNS += ["train_seconds", "predict_seconds", "peak_memory_mb", "versions", "settings"]


@pytest.fixture(scope="module")
def data():
    """Two windows of five sensors with a short history."""
    whole = load_dataset("traffic")

    def cut(entry):
        target = entry["target"][:5, -1000:]
        start = entry["start"] + entry["target"].shape[1] - 1000
        return {**entry, "start": start, "target": target, "info": {"columns": list("abcde")}}

    test = [cut(entry) for entry in whole.test[:2]]
    return dataclasses.replace(whole, columns=list("abcde"), train=[cut(whole.train[0])], test=test)


def call(folder: Path, *arguments: str, code: int = 0) -> str:
    """The suite, in this process; each of its runs is one of its own. Returns its error."""
    places = ["--output", str(folder / "out"), "--runs", str(folder / "runs")]
    try:
        suite.main([*places, *arguments])
    except SystemExit as error:
        assert code == 1
        return str(error)
    assert code == 0
    return ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A suite with two simple forecasts and two seeds, run for real."""
    folder = tmp_path_factory.mktemp("suite")
    chosen = ["--models", "last value", "seasonal naive (168)", "--seeds", "0", "1"]
    call(folder, "--datasets", "traffic", *chosen)
    return folder


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "out" / "suite.csv")


def test_a_row_per_run_with_the_scores_of_its_paths(folder):
    table = rows(folder)
    assert set(COLUMNS) <= set(table.columns)
    assert table[["model", "seed"]].to_numpy().tolist() == [
        ["last value", 0],
        ["last value", 1],
        ["seasonal naive (168)", 0],
        ["seasonal naive (168)", 1],
    ]
    samples = suite.load_samples(suite.stored(folder / "runs", "traffic", "last value", 1))
    assert samples.shape == (28, 100, 24, 20)
    expected = score_table(samples, targets(load_dataset("traffic")))
    for score, value in expected.items():
        assert table.loc[1, score] == pytest.approx(value)
    assert (table["windows"] == 28).all() and (table["peak_memory_mb"] > 50).all()
    assert json.loads(table.loc[2, "settings"])["season"] == 168
    one, two = (table.loc[i, "crps"] for i in (2, 3))
    assert one != two and one == pytest.approx(two, rel=0.05)  # the seed is used


def test_it_continues_where_it_stopped(folder):
    path = suite.stored(folder / "runs", "traffic", "last value", 0)
    other = suite.stored(folder / "runs", "traffic", "last value", 1)
    before, untouched = path.stat().st_mtime_ns, other.stat().st_mtime_ns
    csv = folder / "out" / "suite.csv"
    whole = rows(folder)
    whole.drop(index=0).to_csv(csv, index=False)  # as if the first run had been interrupted
    call(folder, "--datasets", "traffic", "--models", "last value", "--seeds", "0", "1")
    assert path.stat().st_mtime_ns > before and other.stat().st_mtime_ns == untouched
    pd.testing.assert_frame_equal(rows(folder)[COLUMNS[:10]], whole[COLUMNS[:10]])


def test_changed_settings_make_a_row_out_of_date(folder):
    known = suite.Rows(folder / "out" / "suite.csv")
    settings = known.rows["traffic", "last value", 0]["settings"]
    assert known.has("traffic", "last value", 0, settings)
    assert not known.has("traffic", "last value", 0, settings.replace("24", "25"))
    assert not known.has("traffic", "last value", 7, settings)


def test_scores_are_computed_anew_from_stored_paths(folder, tmp_path):
    wrong = rows(folder).assign(crps=1.0)
    (tmp_path / "out").mkdir()
    wrong.to_csv(tmp_path / "out" / "suite.csv", index=False)
    (tmp_path / "runs").symlink_to(folder / "runs")
    call(tmp_path, "--models", "last value", "--seeds", "0", "--rescore", "--no-report")
    pd.testing.assert_series_equal(rows(tmp_path)["crps"], rows(folder)["crps"])


@pytest.mark.slow
def test_a_failed_run_is_named_and_the_others_go_on(tmp_path):
    (tmp_path / "runs" / "traffic").mkdir(parents=True)
    suite.stored(tmp_path / "runs", "traffic", "last value", 0).mkdir()  # in the way
    out = call(tmp_path, "--models", "last value", "--seeds", "0", "1", "--no-report", code=1)
    assert "failed: traffic, last value, seed 0" in out and "IsADirectoryError" in out
    assert rows(tmp_path)["seed"].tolist() == [1]


def test_an_unknown_model_or_data_set_stops_before_anything_runs(tmp_path):
    assert "did you mean 'paper'" in call(tmp_path, "--models", "papr", code=1)
    assert "did you mean 'traffic'" in call(tmp_path, "--datasets", "trafic", code=1)
    assert not (tmp_path / "out").exists()


def test_tables_and_figures(folder):
    text = (folder / "out" / "suite.md").read_text()
    assert "20 series, 13872 steps for training" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| seasonal naive (168)")]
    mean = rows(folder).groupby("model")["crps"].mean()["seasonal naive (168)"]
    assert f"**{mean:.4f} ± " in line  # better than the last value: bold
    assert (folder / "out" / "suite_traffic.png").read_bytes().startswith(b"\x89PNG")


def test_the_verdict_says_where_a_simple_forecast_wins(folder, tmp_path):
    table = rows(folder)
    ours = table.iloc[[0]].assign(model="default", kind="timediff", crps=0.2, crps_sum=1e-6)
    pd.concat([table, ours]).to_csv(tmp_path / "suite.csv", index=False)
    report(tmp_path, tmp_path)
    text = (tmp_path / "suite.md").read_text()
    assert "CRPS: the default loses against the best simple forecast (seasonal naive (168))" in text
    assert "CRPS-sum: the default wins against the best simple forecast" in text
    assert "png" not in text  # no paths, no picture


def test_the_verdict_has_the_worst_seed_and_the_distance_to_the_law(folder, tmp_path):
    one = rows(folder).iloc[0].to_dict() | {"dataset": "generated_var"}
    ours = [
        {**one, "model": "default", "kind": "timediff", "seed": seed, "crps": crps}
        for seed, crps in enumerate([0.2, 0.21, 0.2, 0.19, 0.23])
    ]
    law = {**one, "model": "true law", "kind": "optimum", "crps": 0.2}
    pd.DataFrame([*ours, law]).to_csv(tmp_path / "suite.csv", index=False)
    report(tmp_path, tmp_path)
    text = (tmp_path / "suite.md").read_text()
    assert "- the worst of the 5 seeds beside their median: CRPS +15.0%" in text
    assert "- the default beside the true law: CRPS +3.0%" in text
    pd.DataFrame([*ours[:4], law]).to_csv(tmp_path / "suite.csv", index=False)
    report(tmp_path, tmp_path)
    assert "the worst of" not in (tmp_path / "suite.md").read_text()


def test_rows_of_an_earlier_version_are_named(folder, tmp_path):
    one = rows(folder).iloc[0].to_dict() | {"model": "default", "kind": "timediff"}
    today = {"preset": "default", **dataclasses.asdict(Options())}
    old = {name: value for name, value in today.items() if name != "refit"} | {"lr": 1.0}
    made = [{**one, "seed": i, "settings": json.dumps(s)} for i, s in enumerate([today, old])]
    pd.DataFrame(made).to_csv(tmp_path / "suite.csv", index=False)
    report(tmp_path, tmp_path)
    text = (tmp_path / "suite.md").read_text()
    assert "- default, seed 1: of an earlier version, without `lr`, `refit`, or with other" in text


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (0.04567, 0.00123, "0.0457 ± 0.0012"),
        (0.04567, float("nan"), "0.0457"),
        (12.345, 0.5, "12.35 ± 0.50"),
        (12345.6, 10.0, "12346 ± 10"),
    ],
)
def test_numbers_have_the_digits_their_size_needs(value, spread, text):
    assert number(value, spread) == text


def test_groups_of_models(data):
    known = models.models(data)
    assert list(models.select(["simple"], data)) == [
        name for name, model in known.items() if model.kind == "simple"
    ]
    assert list(models.select(["peers"], data)) == ["AutoETS", "DeepAR", "iTransformer"]
    assert list(models.select(["all"], data)) == list(known)
    with pytest.raises(OptionError, match="did you mean 'default'"):
        models.select(["defualt"], data)


QUICK = {"num_batches_per_epoch": 2, "trainer_kwargs": {"max_epochs": 1, **models.QUIET}}


@pytest.mark.parametrize("train", [models._train_deepar, models._train_itransformer])
def test_gluonts_peers_forecast_all_series(data, train):
    predictor = train(data, 0, **QUICK)
    one, two, other = (
        [f.samples for f in predictor.predict(inputs(data), num_samples=7, seed=seed)]
        for seed in (0, 0, 1)
    )
    assert np.shape(one) == (2, 7, 24, 5) and np.isfinite(one).all()
    assert np.array_equal(one, two) and not np.array_equal(one, other)
    forecast = next(iter(predictor.predict(inputs(data), num_samples=7, seed=0)))
    assert forecast.start_date == data.test[0]["start"] + 1000 - 24


def test_autoets_is_fitted_once_and_carried_along(data):
    pytest.importorskip("statsforecast")
    predictor = models._train_ets(data, 0)
    short, long = inputs(data)
    forecasts = list(predictor.predict([short, long], num_samples=400, seed=0))
    assert [f.samples.shape for f in forecasts] == [(400, 24, 5)] * 2
    assert forecasts[0].start_date == data.test[0]["start"] + 1000 - 24
    y = torch.from_numpy(np.stack([entry["target"][:, -24:].T for entry in data.test]))
    x = torch.from_numpy(np.stack([f.samples for f in forecasts]))
    assert score_table(x, y)["crps"] < 0.5  # 0.17: it follows the day
    again = next(iter(predictor.predict([short], num_samples=400, seed=0)))
    assert np.array_equal(again.samples, forecasts[0].samples)


def test_gaps_are_filled_by_the_value_before_them():
    y = np.array([np.nan, 1.0, np.nan, np.nan, 4.0])
    assert models._filled(y).tolist() == [0.0, 1.0, 1.0, 1.0, 4.0]


def test_names_of_close_models_do_not_lie_on_each_other():
    points = {f"model {i}": {"crps_sum": 1 + 0.01 * i, "predict_seconds": 2.0} for i in range(4)}
    table = pd.DataFrame(points).T.assign(kind="simple", train_seconds=0.0)
    table.loc["last"] = [3.0, 900.0, "peer", 0.0]
    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot()
    figures.accuracy_against_time(axes, table, {})
    figure.draw_without_rendering()
    figures.name_points(axes, table)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 5
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 for box in boxes)
