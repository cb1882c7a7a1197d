"""The shell: examples run as written; what is on stdout; exit codes; nothing is overwritten."""

import gzip
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

from tests.conftest import QUICK, series
from tests.test_readme import ROOT
from timediff import Forecaster, scores
from timediff.cli import app, screen
from timediff.cli.app import ORDER
from timediff.cli.arguments import combinations
from timediff.cli.files import replacing, write_table
from timediff.cli.settings import COLUMNS, literal, settings
from timediff.cli.tables import read_table
from timediff.errors import OptionError
from timediff.options import PRESETS, Options, check_kind

TINY = {key: value for key, value in QUICK.items() if key != "trainer_kwargs"}
TINY |= {"prior": False}
PAPER = {**TINY, "denoiser_options": {"layers": 2, "channels": 2}}


def run(*arguments: str, stdin: bytes | None = None, code: int = 0):
    """The result of a command in this process."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    assert result.exit_code == code, f"{arguments}: {result.output} {result.exc_info}"
    return result


def table(result) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(result.stdout))


def shell(line: str) -> None:
    """Run a line of a page: pipes between this process's commands and those of the system."""
    flow = b""
    for stage in line.split(" | "):
        words = shlex.split(stage)
        if words[0] == "timediff":
            flow = run(*words[1:], stdin=flow).stdout_bytes
        else:
            flow = subprocess.run(
                ["sh", "-c", stage], input=flow, stdout=subprocess.PIPE, check=True
            ).stdout


@pytest.fixture(autouse=True, scope="module")
def tiny_presets():
    with pytest.MonkeyPatch.context() as patch:
        for name, options in PRESETS.items():
            patch.setitem(PRESETS, name, {**options, **(PAPER if name == "paper" else TINY)})
        yield


def frame(length: int = 400) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=length, freq="h", name="timestamp")
    return pd.DataFrame(series(length).T, index, ["a", "b", "c"])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A folder with what the examples of the helps begin with."""
    folder = tmp_path_factory.mktemp("shell")
    whole = frame()
    known, after = whole[:-24], whole[-24:]
    known.to_csv(folder / "load.csv")
    known.reset_index().to_parquet(folder / "load.parquet")
    after.to_csv(folder / "next_day.csv")
    long = known.melt(ignore_index=False, var_name="shop", value_name="sold").reset_index()
    long.rename(columns={"timestamp": "day"}).to_csv(folder / "sales.csv", index=False)
    after[["a", "b"]].to_csv(folder / "fewer.csv")
    whole.to_csv(folder / "all.csv")
    weather = pd.DataFrame(
        {"degrees": np.cos(np.arange(448) / 4)},
        pd.date_range("2024-01-01", periods=448, freq="h", name="timestamp"),
    )
    weather.to_csv(folder / "weather.csv")
    place = pd.DataFrame({"height": [1.0, 5.0, 2.0], "kind": ["x", "y", "x"]}, ["a", "b", "c"])
    place.to_csv(folder / "place.csv", index_label="series")
    scenario = pd.DataFrame(index=after.index[:3])
    scenario["c"], scenario["north"] = [5.5, None, 5.0], [None, 11.0, 11.5]
    scenario.to_csv(folder / "scenario.csv")
    covered = Forecaster(24, seed=0).fit(known, known=weather, static=place)
    covered.save(folder / "covered")
    (folder / "latin.csv").write_bytes("timestamp,Köln\n2024-01-01,1\n".encode("latin-1"))
    (folder / "model.toml").write_text('horizon = 24\npreset = "fast"\n')
    forecaster = Forecaster(24, seed=0).fit(known)
    forecaster.save(folder / "model")
    forecaster.predict(num_samples=20).to_frame(samples=True).to_csv(
        folder / "paths.csv", index=False
    )
    return folder


@pytest.fixture
def folder(prepared, tmp_path, monkeypatch) -> Path:
    """A copy of it, the working directory."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- examples ------------------------------------------------------------------------------------


def helped(*command: str) -> list[str]:
    text = run(*command, "--help").stdout.split("Examples:")[1]
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("command", ORDER)
def test_the_examples_of_a_help_run(command, folder):
    if command == "fit":
        shutil.rmtree("model")
        shutil.rmtree("covered")
    lines = helped(command)
    assert len(lines) >= 2 and all(f"timediff {command} " in f"{line} " for line in lines)
    for line in lines:
        shell(line)


def test_the_example_of_the_first_help_is_a_first_session(folder):
    shutil.rmtree("model")
    for line in helped():
        shell(line)
    assert list(pd.read_csv("forecast.csv"))[2:] == ["mean", "lo-80", "hi-80", "lo-95", "hi-95"]


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/cli.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.S | re.M)
    assert len(blocks) >= 6
    for line in "".join(blocks).splitlines():
        shell(line)
    assert set(re.findall(r"^\| `(\w+)` ", text, flags=re.M)) == set(ORDER)


# -- what comes out ------------------------------------------------------------------------------


def test_stdout_holds_the_forecast_and_nothing_else(folder):
    shown = run("predict", "model", "--samples", 20, "--seed", 3, "--level", "80,95").stdout
    expected = (
        Forecaster.load("model").predict(num_samples=20, seed=3, level=[80.0, 95.0]).to_frame()
    )
    got = pd.read_csv(io.StringIO(shown), parse_dates=["timestamp"])
    pd.testing.assert_frame_equal(got, expected)


def test_formats_hold_the_same_table(folder):
    common = ("predict", "model", "--samples", 7, "--quantiles", "0.1,0.9", "-o")
    for name in ("f.csv", "f.tsv", "f.csv.gz", "f.parquet", "f.jsonl", "f.ndjson"):
        run(*common, name)
    first, *others = (
        read_table(name, texts=("series",))
        for name in ("f.csv", "f.tsv", "f.csv.gz", "f.parquet", "f.jsonl", "f.ndjson")
    )
    for other in others:
        pd.testing.assert_frame_equal(first, other)
    assert gzip.decompress(Path("f.csv.gz").read_bytes()) == Path("f.csv").read_bytes()
    lines = run(*common[:-1], "--format", "jsonl").stdout.splitlines()
    assert json.loads(lines[0]).keys() == {"series", "timestamp", "mean", "0.1", "0.9"}
    binary = run(*common[:-1], "--format", "parquet").stdout_bytes
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(binary)), others[2])


def test_fit_of_a_pipe_is_fit_of_the_file(folder):
    run("fit", "load.parquet", "--horizon", 24, "--seed", 1, "-o", "one")
    content = frame()[:-24].reset_index().to_json(orient="records", lines=True, date_format="iso")
    piped = ("fit", "-", "--format", "jsonl", "--horizon", 24, "--seed", 1, "-o", "two")
    run(*piped, stdin=content.encode())
    binary = Path("load.parquet").read_bytes()  # is known without --format
    run("fit", "-", "--horizon", 24, "--seed", 1, "-o", "three", stdin=binary)
    texts = [run("predict", name, "--samples", 5).stdout for name in ("one", "two", "three")]
    assert texts[0] == texts[1] == texts[2]


def test_options_come_from_file_command_and_set(folder):
    run("fit", "load.csv", "--config", "model.toml", "--preset", "default", "--seed", "5",
        "--set", "seed=6", "--set", "denoiser_options.width=24", "--set", "hidden_size=9",
        "-o", "new")  # fmt: skip
    saved = Forecaster.load("new")
    assert (saved.horizon, saved.recipe.preset, saved.seed) == (24, "default", 6)
    assert saved.recipe.options == {"hidden_size": 9, "denoiser_options": {"width": 24}}
    rows = table(run("info", "new")).set_index("what")["value"]
    assert json.loads(rows["changed options"]) == saved.recipe.options
    assert rows["history"] == "376 steps, 2024-01-01 00:00:00 to 2024-01-16 15:00:00"


def test_a_json_file_of_options(folder):
    Path("o.json").write_text('{"horizon": 3, "lags": [1, 2], "time_column": "day"}')
    options, columns = settings(
        {"config": Path("o.json"), "option": ["lags=[3]"], "seed": None, "freq": "D", "windows": 4}
    )
    assert options == {"horizon": 3, "lags": [3], "freq": "D"}
    assert columns == dict.fromkeys(COLUMNS) | {"time_column": "day"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("1_000", 1000),
        ("null", None),
        ("true", True),
        ("[1, 24]", [1, 24]),
        ("{width = 3}", {"width": 3}),
        ("cosine", "cosine"),
        ("2024-01-01", "2024-01-01"),
        ("a\nb = 1", "a\nb = 1"),
    ],
)
def test_values_of_set(text, value):
    assert literal(text) == value and type(literal(text)) is type(value)


def test_custom_columns_come_back_and_go_in_again(folder):
    columns = ("--id-column", "shop", "--time-column", "day", "--target-column", "sold")
    run("fit", "sales.csv", "--horizon", 24, *columns, "-o", "shops")
    run("predict", "shops", "--paths", "--samples", 9, "-o", "p.csv")
    assert list(pd.read_csv("p.csv")) == ["shop", "day", "sample", "sold"]
    after = frame()[-24:].melt(ignore_index=False, var_name="shop", value_name="sold")
    after.rename_axis(index="day").reset_index().to_csv("after.csv", index=False)
    run("score", "p.csv", "after.csv")
    first = run("backtest", "shops", "--windows", "1", "--by", "series").stdout
    again = run("backtest", "sales.csv", "--horizon", 24, *columns, "--windows", "1",
                "--by", "series").stdout  # fmt: skip
    assert first.startswith("shop,crps") and again.startswith("shop,crps")


def test_labels_stay_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,y\n007,2024-01-01,1\nNA,2024-01-01,\n,2024-01-01,2\n")
    read = read_table(str(path))
    assert list(read["unique_id"][:2]) == ["007", "NA"] and read["unique_id"].isna()[2]
    assert np.isnan(read["y"][1])


def test_numbers_as_labels_find_their_series(folder):
    numbered = frame()[:-24].set_axis([1, 2, 3], axis=1)
    Forecaster(24, seed=0).fit(numbered).save("numbers")
    frame().set_axis([1, 2, 3], axis=1).to_csv("numbered.csv")
    run("plot", "numbers", "--series", "2,3", "--actuals", "numbered.csv", "-o", "n.png")
    shown = table(run("predict", "numbers", "--aggregate", "s=1,-1*3", "--samples", 5))
    assert set(shown["series"]) == {"s"}
    run("predict", "numbers", "--paths", "-o", "p.csv", "--samples", 5)
    run("score", "p.csv", "numbered.csv")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("t=*,-1*b", {"a": 1, "c": 1}),
        ("t=-1*b,*", {"a": 1, "c": 1}),
        ("t=*,b", {"a": 1, "b": 2, "c": 1}),
        ("t=a,-1*b,0*c", {"a": 1, "b": -1}),
        ("t=a,a", "'t' has 'a' twice: write 2\\*a"),
        ("t=*,2*a,3*a", "'t' has 'a' twice: write 5\\*a"),
        ("t=*,*", "'t' has '\\*' twice"),
        ("t=*,-1*a,-1*b,-1*c", "has no series left"),
        ("t=.5*a,1.*b,2e-1*c", {"a": 0.5, "b": 1, "c": 0.2}),
    ],
)
def test_series_add_to_all_and_are_named_once(text, expected):
    if isinstance(expected, dict):
        assert combinations(["a", "b", "c"], [text]) == {"t": expected}
    else:
        with pytest.raises(typer.BadParameter, match=expected):
            combinations(["a", "b", "c"], [text])


def test_offsets_of_a_file_are_taken_into_the_zone_of_the_model(folder):
    hours = pd.date_range("2024-03-20", periods=400, freq="h", tz="Europe/Berlin")
    zoned = frame().set_axis(hours)
    Forecaster(24, seed=0).fit(zoned[:-24]).save("zoned")
    zoned.rename_axis("time").to_csv("all.csv")  # summer and winter
    run("update", "zoned", "all.csv")
    assert Forecaster.load("zoned").history().index[-1] == hours[-1]
    fresh = frame().set_axis(hours.strftime("%Y-%m-%dT%H:%M:%S%z")).rename_axis("time")
    fresh.to_csv("iso.csv")
    assert read_table("iso.csv")["time"].dt.tz_convert("Europe/Berlin").tolist() == list(hours)


def test_a_table_with_few_rows_is_a_warning(folder):
    hours = pd.date_range("2024-01-01 09:00", periods=200, freq="bh", name="timestamp")
    frame(200).set_axis(hours).to_csv("shop.csv")
    result = run("fit", "shop.csv", "--horizon", 2, "-o", "shop")
    assert "warning: 576 of the 776 steps of 'frame'" in result.stderr
    assert "give --freq, such as --freq='bh', by which 0 are" in result.stderr
    assert "warning" not in run("fit", "shop.csv", "--horizon", 2, "--freq", "bh", "-o", "b").stderr


def test_text_with_the_day_first_is_read_so(folder):
    days = frame(200)
    days.set_axis(days.index.strftime("%d.%m.%Y %H:%M")).rename_axis("ds").to_csv("days.csv")
    assert read_table("days.csv")["ds"].tolist() == list(days.index)
    days.set_axis(days.index.strftime("%d.%m.%Y")).rename_axis("ds")[::24].to_csv("days.csv")
    result = run("fit", "days.csv", "--horizon", 2, "-o", "days", code=1)
    assert "column 'ds': whether the day or the month is first in '02.01.2024'" in result.stderr


@pytest.mark.parametrize(
    ("name", "kind", "wrong"),
    [
        ("prior", bool, "no"),
        ("prior", bool, 1),
        ("max_epochs", int, "3"),
        ("max_epochs", int, 2.5),
        ("max_epochs", int, True),
        ("max_epochs", int, None),
        ("lr", float, "1"),
        ("min_snr", float | None, "high"),
        ("loss", str, 3),
        ("denoiser_options", dict[str, Any], 3),
    ],
)
def test_an_option_of_the_wrong_kind(name, kind, wrong):
    with pytest.raises(OptionError, match=f"{name} is {wrong!r}, expected"):
        check_kind(name, kind, wrong)


def test_options_of_the_right_kind_are_taken():
    for name, value in Options().__dict__.items():
        check_kind(name, Options.__dataclass_fields__[name].type, value)
    check_kind("min_snr", float | None, 3)
    check_kind("max_epochs", int, np.int64(3))
    with pytest.raises(OptionError, match="max_epochs is '3'"):
        getattr(Options.__init__, "__wrapped__", Options.__init__)(Options(), max_epochs="3")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_a_spreadsheet(tmp_path, separator):
    path = tmp_path / "t.csv"
    content = f"{separator}a{separator}b\n2024-01-01{separator}1{separator}\n"
    path.write_bytes(("\ufeff" + content.replace("\n", "\r\n")).encode())
    read = read_table(str(path))
    assert list(read.index) == [pd.Timestamp("2024-01-01")] and list(read) == ["a", "b"]
    assert read["a"].iloc[0] == 1 and np.isnan(read["b"].iloc[0])


def test_numbers_with_a_decimal_comma(tmp_path):
    path = tmp_path / "t.csv"
    rows = ["31.12.2023;1.234,5;3;1.000;", "01.01.2024;-0,25;4;7;x", "02.01.2024;;5;8;2,5"]
    path.write_text("\n".join(["Tag;a, b;b;c;d", *rows]))
    read = read_table(str(path), texts=("d",))
    assert read["Tag"].tolist() == list(pd.date_range("2023-12-31", periods=3))
    np.testing.assert_array_equal(read["a, b"], [1234.5, -0.25, np.nan])
    assert read["b"].tolist() == [3, 4, 5] and read["c"].tolist() == [1000, 7, 8]
    assert read["d"].tolist()[1:] == ["x", "2,5"]
    path.write_text("t;a\n2024-01-01;1.000\n")  # nothing says that this is a thousand
    assert read_table(str(path))["a"].tolist() == [1.0]


def test_the_order_of_day_and_month_is_remembered(folder):
    days = frame(40 * 24).resample("D").mean()
    days = days.set_axis(pd.date_range(end="2024-02-03", periods=len(days)), axis=0)
    later = days.set_axis(days.index + pd.Timedelta(days=len(days)), axis=0)
    weather = pd.concat([days, later])[["a"]].rename(columns={"a": "wind"})

    def write(table: pd.DataFrame, place: str) -> str:
        table.set_axis(table.index.strftime("%d.%m.%Y"), axis=0).to_csv(place, index_label="Tag")
        return place

    options = [f"--set={key}={json.dumps(value)}" for key, value in TINY.items()]
    write(weather[: len(days) + 1], "weather.csv")
    run(
        "fit",
        write(days, "days.csv"),
        "--horizon",
        1,
        *options,
        "--known",
        "weather.csv",
        "-o",
        "d",
    )
    ahead = write(weather[len(days) + 1 :][:1], "ahead.csv")
    run("update", "d", write(later[:1], "day.csv"), "--known", ahead)
    shown = run("predict", "d", "--given", write(later[1:2][["a"]], "given.csv"), "--samples", 5)
    got = table(shown)
    assert got["Tag"].unique().tolist() == [str(later.index[1])[:10]]
    assert got.set_index("series").loc["a", "0.05"] == pytest.approx(later["a"].iloc[1], rel=1e-4)
    assert Forecaster.load("d").history().index[-1] == later.index[0]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_periods_are_written_by_their_begins(tmp_path, suffix):
    weeks = pd.period_range("2024-01-01", periods=3, freq="W")
    place = str(tmp_path / f"t{suffix}")
    write_table(pd.DataFrame({"a": 1.0, "ds": weeks}), place)
    assert read_table(place)["ds"].tolist() == list(weeks.start_time)


def test_an_array_of_rows_is_read_as_lines_of_json_are(tmp_path):
    rows, place = frame(30).reset_index(), str(tmp_path / "t.jsonl")
    read = {}
    for lines in (True, False):
        rows.to_json(place, orient="records", lines=lines, date_format="iso")
        read[lines] = read_table(place)
    pd.testing.assert_frame_equal(read[False], read[True])
    assert len(read[True]) == 30


def test_text_in_another_encoding(folder):
    Path("latin.csv").write_bytes(Path("load.csv").read_bytes().replace(b",a,", b",K\xf6ln,"))
    run("--encoding", "latin-1", "fit", "latin.csv", "--horizon", 24, "-o", "new")
    assert Forecaster.load("new").columns == ["Köln", "b", "c"]


def test_calibrate_keeps_what_it_found_with_the_model(folder):
    before = {p.name: p.read_bytes() for p in Path("model").iterdir()}
    shown = table(run("calibrate", "model", "--windows", 2, "-o", "held"))
    assert {p.name: p.read_bytes() for p in Path("model").iterdir()} == before
    held = Forecaster.load("held")
    expected = held.recalibration.coverage().reset_index()
    pd.testing.assert_frame_equal(shown, expected, check_dtype=False)
    assert list(shown) == ["level", "series before", "series after", "sum before", "sum after"]
    common = ("predict", "held", "--samples", 9, "--paths")
    plain = table(run(*common, "--raw"))["value"]
    assert plain.equals(table(run("predict", "model", "--samples", 9, "--paths"))["value"])
    mapped = table(run(*common))["value"]
    assert mapped.equals(table(run(*common, "--calibrated"))["value"]) and not mapped.equals(plain)
    total = ("calibrate", "model", "--windows", 2, "--total", "two=a,b")
    shown = table(run(*total, "-o", "summed"))
    assert list(shown)[5:] == ["total two before", "total two after"]
    assert Forecaster.load("summed").recalibration.totals.columns == ["two"]
    run("calibrate", "model", "--windows", 2, "--quiet")
    assert table(run("predict", "model", "--samples", 9, "--paths"))["value"].equals(mapped)


def test_bounds_and_whole_numbers(folder):
    common = ("predict", "model", "--samples", 9, "--paths")
    made = Forecaster.load("model").predict(num_samples=9)
    limits = ("--lower", 4.5, "--lower", "b=5", "--upper", "a=5.5", "--integer", "c,b")
    expected = made.constrain(
        lower={"a": 4.5, "b": 5, "c": 4.5}, upper={"a": 5.5}, integer=["c", "b"]
    )
    written = table(run(*common, *limits))["value"]
    np.testing.assert_allclose(written, expected.to_frame(samples=True)["value"], rtol=1e-6)
    total = table(run(*common, *limits, "--aggregate", "all=*"))["value"]
    np.testing.assert_allclose(total, expected.samples.sum(2).T.ravel(), rtol=1e-6)
    whole = table(run(*common, "--integer", "*"))["value"]
    assert whole.equals(whole.round())
    line = "--given scenario.csv --given-total north=a,b --seed 0"
    assert "given as 5.5" in run(*common, *line.split(), "--lower", 6, code=1).stderr
    warned = run(*common, *line.split(), "--integer", "a,b").stderr
    assert "warning: the total 'north'" in warned


def test_an_update_changes_the_forecast_and_the_model_only_if_it_is_told(folder):
    before = Path("model/config.json").read_bytes()
    common = ("predict", "model", "next_day.csv", "--update", "--samples", 5)
    first = table(run(*common))
    assert first["timestamp"].min() == "2024-01-17 16:00:00"
    assert Path("model/config.json").read_bytes() == before
    run(*common, "--save")
    assert len(Forecaster.load("model").history()) == 400
    pd.testing.assert_frame_equal(table(run("predict", "model", "--samples", 5)), first)


def test_update_can_leave_the_model_alone(folder):
    before = {p.name: p.read_bytes() for p in Path("model").iterdir()}
    run("update", "model", "next_day.csv", "-o", "later")
    assert {p.name: p.read_bytes() for p in Path("model").iterdir()} == before
    assert len(Forecaster.load("later").history()) == 400


def test_a_terminal_gets_tables_that_are_drawn(folder, monkeypatch):
    monkeypatch.setenv("TIMEDIFF_DATASETS", "none")
    monkeypatch.setenv("TIMEDIFF_CACHE", "none")
    monkeypatch.setattr(screen, "on_terminal", lambda: True)
    drawn = run("datasets").stdout
    assert "━" in drawn and "–" in drawn and "traffic" in drawn and "nan" not in drawn
    assert "376 steps" in run("info", "model").stdout
    assert "━" in run("score", "paths.csv", "next_day.csv").stdout
    for plain in (("info", "--format", "csv"), ("predict", "model", "--samples", "3")):
        assert "━" not in run(*plain).stdout
    run("info", "-v", code=2)


def test_devices_are_written_to_as_they_are(folder):
    run("predict", "model", "--samples", 3, "-o", "/dev/null")
    assert not Path("/dev/null").is_file()


# -- scores --------------------------------------------------------------------------------------


def test_score_is_that_of_the_paths(folder):
    forecast = Forecaster.load("model").predict(num_samples=20, seed=0)
    found = table(run("score", "paths.csv", "next_day.csv")).iloc[0]
    expected = forecast.score(frame())
    assert set(found.index) == set(expected)
    np.testing.assert_allclose(found[list(expected)], list(expected.values()), rtol=1e-5)
    total = table(run("score", "paths.csv", "next_day.csv", "--aggregate", "all=*")).iloc[0]
    assert total["crps"] == pytest.approx(expected["crps_sum"], rel=1e-5)


def test_scores_of_a_large_level_keep_its_small_changes(folder):
    paths, actual = pd.read_csv("paths.csv"), frame()[-24:]
    expected = table(run("score", "paths.csv", "next_day.csv")).iloc[0]["energy_score"]
    paths["value"] += 1e9
    paths.to_csv("high.csv", index=False)
    (actual.astype(np.float64) + 1e9).to_csv("high_day.csv")
    found = table(run("score", "high.csv", "high_day.csv")).iloc[0]["energy_score"]
    assert found == pytest.approx(expected, rel=1e-5)
    total = ("--aggregate", "t=0.1*a,0.1*b")
    expected = table(run("score", "paths.csv", "next_day.csv", *total)).iloc[0]["energy_score"]
    found = table(run("score", "high.csv", "high_day.csv", *total)).iloc[0]["energy_score"]
    assert found == pytest.approx(expected, rel=1e-5)


def test_score_of_quantiles_is_the_loss_of_these(folder):
    forecast = Forecaster.load("model").predict(num_samples=21, seed=0)
    levels = [i / 20 for i in range(1, 20)]  # quantiles of 21 paths are paths
    forecast.to_frame(levels).to_csv("q.csv", index=False)
    found = table(run("score", "q.csv", "next_day.csv")).iloc[0]
    actual = torch.from_numpy(forecast.actuals(frame()).astype(np.float32))
    paths = torch.from_numpy(forecast.samples)
    expected = scores.crps(paths, actual).item()
    assert found["weighted_quantile_loss"] == pytest.approx(expected, rel=1e-4)
    assert found["coverage90"] == pytest.approx(scores.coverage(paths, actual).item())
    forecast.to_frame([*levels, 0.1], level=[80, 90]).to_csv("twice.csv", index=False)
    again = table(run("score", "twice.csv", "next_day.csv")).iloc[0]
    pd.testing.assert_series_equal(again, found)  # lo-80 is 0.1 again
    forecast.to_frame(level=90.0).to_csv("l.csv", index=False)
    found = table(run("score", "l.csv", "next_day.csv")).iloc[0]
    assert found["coverage90"] == pytest.approx(scores.coverage(paths, actual).item())


def test_a_series_of_which_nothing_was_known_does_not_count(folder):
    expected = table(
        run("score", "paths.csv", "next_day.csv", "--aggregate", "b=b", "--aggregate", "c=c")
    )
    paths = pd.read_csv("paths.csv")
    quantiles = Forecaster.load("model").predict(num_samples=3, seed=0).to_frame()
    for data, name in ((paths, "dead.csv"), (quantiles, "dead_q.csv")):
        numbers = data.columns[(3 if data is paths else 2) :]
        data.loc[data[data.columns[0]] == "a", numbers] = np.nan
        data.to_csv(name, index=False)
    found = table(run("score", "dead.csv", "next_day.csv")).iloc[0]
    assert found["energy_score"] == pytest.approx(expected["energy_score"].iloc[0])
    assert np.isfinite(table(run("score", "dead_q.csv", "next_day.csv")).to_numpy(float)).all()


def test_a_forecast_has_one_value_of_each_series_and_time(folder):
    forecast = Forecaster.load("model").predict(num_samples=3, seed=0)
    at = f"'b' at {frame().index[-24]}"
    for whole, kind in (
        (forecast.to_frame([0.1, 0.9]), "quantile"),
        (forecast.to_frame(samples=True), "sample"),
    ):
        first = whole.index[(whole["series"] == "b")][0]
        name = "quantile 0.1" if kind == "quantile" else "sample 0"
        needed = f"no value of series {at}, {name}: it needs one for each series, time and {kind}"
        empty = whole.copy()
        empty.iloc[first, -1] = np.nan
        again = pd.concat([whole, whole.iloc[[first]]])
        sample = "" if kind == "quantile" else ", sample 0"
        for broken, message in (
            (whole.drop(index=first), needed),
            (empty, needed.replace("0.1", "0.9")),
            (again, f"two rows of series {at}{sample}: keep one of them"),
        ):
            broken.to_csv("broken.csv", index=False)
            result = run("score", "broken.csv", "next_day.csv", code=1)
            assert result.stdout == "" and result.stderr.count("\n") == 1
            assert message in result.stderr
        unseen = frame()[-24:]
        unseen.loc[unseen.index[0], "b"] = np.nan
        unseen.to_csv("unseen.csv")
        empty.to_csv("broken.csv", index=False)  # where nothing was observed nothing is needed
        assert table(run("score", "broken.csv", "unseen.csv")).notna().all(axis=None)


def test_backtest_is_that_of_the_forecaster(folder):
    common = ("backtest", "model", "--windows", 2, "--stride", 12, "--samples", 20)
    shown = table(run(*common, "--forecasts", "w.parquet")).set_index("model")
    expected = Forecaster.load("model").backtest(windows=2, stride=12, num_samples=20)
    pd.testing.assert_frame_equal(shown, expected.scores(), check_names=False)
    assert pd.read_parquet("w.parquet")["cutoff"].nunique() == 2
    alone = table(run(*common, "--no-baselines"))
    assert list(alone["model"]) == ["timediff"]


def test_bench_averages_over_seeds_beside_simple_forecasts(folder):
    common = ("bench", "load.csv", "--horizon", 24, "--windows", 1, "--samples", 20)
    shown = table(run(*common, "--seeds", "0,1", "--preset", "fast")).set_index("model")
    assert shown.index[0] == "fast" and "last value" in shown.index
    assert shown["seeds"].iloc[0] == 2 and shown["seconds"].notna().sum() == 1
    single = [
        Forecaster(24, preset="fast", seed=s).backtest(frame()[:-24], windows=1, num_samples=20)
        for s in (0, 1)
    ]
    mean = np.mean([r.scores()["crps"].iloc[0] for r in single])
    assert shown["crps"].iloc[0] == pytest.approx(mean)


def test_datasets_are_listed_and_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIMEDIFF_DATASETS", str(tmp_path))
    monkeypatch.setenv("TIMEDIFF_CACHE", str(tmp_path / "none"))
    rows = table(run("datasets")).set_index("name")
    assert rows.loc["traffic", ["series", "horizon", "here"]].tolist() == [20, 24, "yes"]
    assert rows.loc["solar_nips", ["series", "freq", "here"]].tolist() == [137, "h", "no"]
    run("datasets", "generated_var", "--part", "train", "--last", 30, "-o", "v.parquet")
    assert pd.read_parquet("v.parquet").shape == (30, 9)
    message = run("datasets", "solar_nips", "--no-download", code=1).stderr
    assert message.startswith("error: ") and message.count("\n") == 1


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("fit load.csv --horizon 24 -o model", "model is there already: give --overwrite"),
        ("fit load.csv --horizon 24 -o no/where", "there is no folder"),
        ("fit load.csv --horizon 24 -o load.csv --overwrite", "no saved forecaster"),
        ("fit load.csv -o new", "give --horizon"),
        ("fit load.csv --horizon 24 -o new --set max_epoch=3", "did you mean 'max_epochs'"),
        ("fit load.csv --horizon 24 -o new --set max_epochs", "key=value"),
        ("fit load.csv --horizon 24 -o new --preset huge", "unknown preset 'huge'"),
        ("fit load.csv --horizon 24 -o new --config no.toml", "no.toml cannot be read"),
        ("fit load.csv --horizon 24 -o new --seed 1 --set seed=x", "seed is 'x', expected int"),
        ("fit load.csv -o new --set horizon=long", "horizon is 'long', expected int"),
        ("fit no.csv --horizon 24 -o new", "there is no file no.csv"),
        ("fit load.xls --horizon 24 -o new", "name the format"),
        ("fit load.csv --format parquet --horizon 24 -o new", "cannot be read as parquet"),
        ("fit sales.csv --horizon 24 -o new --id-column shop", "give --time-column"),
        ("fit load.csv --config c.yaml -o new", "c.yaml cannot be read: options come from a .toml"),
        ("fit load.csv --horizon 24 -o -", None),
        ("update model next_day.csv -o -", None),
        ("calibrate model -o -", None),
        ("calibrate model --windows 1", None),
        ("calibrate model --windows 40", "40 windows of 24"),
        ("calibrate model -o covered", "give --overwrite"),
        ("predict model --calibrated", "is not calibrated: run `timediff calibrate` first"),
        ("predict model --lower q=0", "unknown series 'q'"),
        ("predict model --lower a=x", None),
        ("predict model --lower 1,2", None),
        ("predict model --integer ab", "unknown series 'ab'"),
        ("predict model --lower 9 --upper a=1", "is above upper"),
        ("predict model --level 0.8", "did you mean 80?"),
        ("fit latin.csv --horizon 24 -o new", "timediff --encoding latin-1"),
        ("--encoding none fit latin.csv --horizon 24 -o new", "unknown encoding: none"),
        ("predict nothing", "there is no saved model nothing"),
        ("predict .", "no readable saved model"),
        ("predict model --aggregate x=a,q", "unknown series 'q'"),
        ("predict model --device nowhere", "device 'nowhere' cannot be used"),
        ("predict model --format excel", "unknown format 'excel'"),
        ("predict model --level 80,100", "not between 0 and 100"),
        ("predict model -o load.csv", "give --overwrite"),
        ("predict model -o no/f.csv", "there is no folder"),
        ("predict model --batch 1", None),
        ("predict model --level much", None),
        ("predict model --update", None),
        ("predict model next_day.csv --save", None),
        ("predict model --aggregate x", None),
        ("predict model --aggregate x=a --aggregate x=b", None),
        ("predict model --paths --level 90", None),
        ("plot model --known a,b -o chart.png", None),
        ("predict", None),
        ("plot model -o chart.xyz", None),
        ("plot model -o load.csv", "give --overwrite"),
        ("plot model --series q -o c.png", "unknown series 'q'"),
        ("score paths.csv load.csv", "no observation between"),
        (
            "fit sales.csv --horizon 2 -o new --id-column day --time-column day "
            "--target-column sold",
            "must be three columns",
        ),
        ("score paths.csv fewer.csv", "ACTUALS has no series 'c': it has a, b"),
        ("score load.csv next_day.csv", "expected series, timestamps"),
        ("backtest model --windows 40", "40 windows of 24"),
        ("backtest model --horizon 3", None),
        ("bench no_such_set", "unknown dataset 'no_such_set'"),
        ("bench load.csv", "give --horizon"),
    ],
)
def test_a_mistake_is_one_line_and_a_code_and_leaves_nothing(arguments, message, folder):
    before = sorted(folder.rglob("*"))
    result = run(*shlex.split(arguments), code=2 if message is None else 1)
    assert result.stdout == ""
    if message is not None:
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
        assert message in result.stderr
    assert sorted(folder.rglob("*")) == before


def test_options_and_outputs_are_checked_before_the_data_are_read(folder):
    for wrong in (("-o", "model"), ("-o", "new", "--set", "max_epochs=0")):
        assert "no.csv" not in run("fit", "no.csv", "--horizon", 24, *wrong, code=1).stderr


def test_debug_raises(folder):
    result = CliRunner().invoke(app, ["--debug", "predict", "model", "-o", "load.csv"])
    assert isinstance(result.exception, OptionError)


def test_overwrite_replaces_and_only_what_was_named(folder):
    before = Path("model/model.safetensors").read_bytes()
    run("fit", "load.csv", "--horizon", 24, "--seed", 9, "-o", "model", "--overwrite")
    assert Path("model/model.safetensors").read_bytes() != before
    names = sorted(path.name for path in folder.iterdir())
    run("predict", "model", "-o", "load.csv", "--overwrite", "--samples", 3)
    assert pd.read_csv("load.csv").columns[0] == "series"
    assert sorted(path.name for path in folder.iterdir()) == names


def test_what_fails_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path, overwrite=True) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(OptionError, match="already"), replacing(path, overwrite=False) as part:
        part.write_text("new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_rights_that_the_mask_gives(folder):
    Path("plain").write_text("")
    run("predict", "model", "-o", "f.csv", "--samples", 3)
    assert Path("f.csv").stat().st_mode == Path("plain").stat().st_mode


def test_progress_goes_to_stderr_line_by_line(folder):
    result = run("backtest", "load.csv", "--horizon", 24, "--windows", 1, "--verbose",
                 "--no-baselines", "--set", "prior=true")  # fmt: skip
    assert "1. prior: epoch 1 of at most 1: " in result.stderr
    assert "2. diffusion: epoch 1" in result.stderr
    assert len(table(result)) == 1
    quiet = run("fit", "load.csv", "--horizon", 24, "-o", "q", "--quiet")
    assert quiet.output == ""


def test_an_interrupt_has_its_code(folder, monkeypatch):
    def as_lightning_does(*arguments, **options):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr(Forecaster, "fit", as_lightning_does)
    result = run("fit", "load.csv", "--horizon", 24, "-o", "new", code=130)
    assert result.stderr == "interrupted\n" and not Path("new").exists()


# -- in processes of their own -------------------------------------------------------------------


def start(*arguments: str, **options) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen(command, env=environment, **pipes)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from timediff.cli import app\n"
        "try: app(['predict', '--help'], prog_name='timediff')\n"
        "except SystemExit as end: print(end.code, sorted({'torch', 'pandas', 'numpy', 'gluonts',"
        " 'lightning', 'matplotlib'} & set(sys.modules)))"
    )
    process = start("-c", code)
    out, err = process.communicate()
    assert out.splitlines()[-1] == "0 []", err
    assert "Examples:" in out


def test_a_reader_that_leaves_early_is_no_mistake(tmp_path):
    arguments = ("-m", "timediff", "datasets", "generated_var")
    process = start(*arguments, cwd=tmp_path)
    assert process.stdout.readline().startswith("timestamp,s0")
    process.stdout.close()
    errors = process.stderr.read()
    assert (process.wait(), errors) == (0, "")


@pytest.mark.slow
def test_an_interrupt_of_the_training_leaves_nothing(folder):
    arguments = ("fit", "load.csv", "--horizon", "24", "-o", "new", "--verbose",
                 "--set", "max_epochs=100000", "--set", "prior=false",
                 "--set", "validation_windows=0")  # fmt: skip
    process = start("-m", "timediff", *arguments)
    for line in process.stderr:
        if "epoch" in line:
            break
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    errors = process.stderr.read()
    assert process.wait() == 130, errors
    assert errors.endswith("interrupted\n") and "Traceback" not in errors
    assert not Path("new").exists() and not list(folder.glob(".new*"))


# -- features, scenarios, likelihood ----------------------------------------------------------


def test_features_from_files_are_those_of_the_frames(folder):
    run(
        *[
            "fit",
            "load.csv",
            "--horizon",
            "24",
            "--known",
            "weather.csv",
            "--static",
            "place.csv",
            "--seed",
            "0",
            "-o",
            "own",
        ]
    )
    written = table(run("predict", "own", "--seed", "3"))
    pd.testing.assert_frame_equal(written, table(run("predict", "covered", "--seed", "3")))
    later = pd.read_csv("weather.csv")
    later.loc[later.index[-72:], "degrees"] += 3.0
    later.to_csv("warmer.csv", index=False)
    warmer = table(run("predict", "covered", "--seed", "3", "--known", "warmer.csv"))
    assert not np.allclose(warmer["0.5"], written["0.5"])
    run("update", "covered", "next_day.csv", "--known", "warmer.csv")
    (entry,) = Forecaster.load("covered").kept.entries.values()
    assert entry["target"].shape == (3, 400)


def test_features_of_a_long_table_are_columns_of_it(folder):
    long = pd.read_csv("sales.csv")
    long["price"] = np.arange(len(long)) % 7
    long.to_csv("priced.csv", index=False)
    days = pd.date_range("2024-01-16 16:00", periods=24, freq="h")
    ahead = pd.DataFrame({"day": days}).merge(pd.DataFrame({"shop": ["a", "b", "c"]}), how="cross")
    ahead.assign(price=2).to_csv("ahead.csv", index=False)
    names = "--id-column shop --time-column day --target-column sold"
    line = f"fit priced.csv --horizon 24 --known price --future ahead.csv {names} -o priced"
    run(*line.split())
    assert Forecaster.load("priced").predictor.spec.features.known.size == 1
    assert len(table(run("predict", "priced"))) == 72
    missing = f"fit priced.csv --horizon 24 --known cost {names} -o none"
    assert "cost" in run(*missing.split(), code=1).stderr
    assert "no file" in run(*missing.replace("cost", "cost.csv").split(), code=1).stderr


def grouped(length: int = 300) -> pd.DataFrame:
    """Two groups of a wide table, one below the other; their labels are numbers."""
    parts = {"007": frame(length), "8": 2 * frame(length - 50)}
    return pd.concat(parts, names=["region"]).reset_index()


@pytest.mark.parametrize("form", ["wide", "long"])
def test_a_column_says_the_groups_of_all_tables(folder, form):
    whole, names = grouped(), ["region", "timestamp"]
    if form == "long":
        whole = whole.melt(names, var_name="unique_id", value_name="y")
    last = whole.groupby("region")["timestamp"].transform("max") - pd.Timedelta("24h")
    whole[whole["timestamp"] <= last].to_csv("groups.csv", index=False)
    whole[whole["timestamp"] > last].to_csv("later.csv", index=False)
    sun = grouped(340)[names].assign(sun=np.arange(630) % 24)
    sun.to_csv("sun.csv", index=False)
    line = "--horizon 24 --group-column region --known sun.csv --set max_epochs=1 --seed 0"
    run("fit", "groups.csv", *line.split(), "-o", "regions")
    loaded = Forecaster.load("regions")
    assert list(loaded.kept.entries) == ["007", "8"] and len(loaded.history()["8"]) == 226

    written = run("predict", "regions")
    found = pd.read_csv(io.StringIO(written.stdout), dtype={"region": str})
    assert list(found)[:3] == ["region", "unique_id" if form == "long" else "series", "timestamp"]
    expected = loaded.predict().to_frame()
    assert found["region"].equals(expected["region"])
    np.testing.assert_allclose(found["0.5"], expected["0.5"], rtol=1e-6)

    scored = run("score", "-", "later.csv", "--group-column", "region", stdin=written.stdout_bytes)
    assert pd.read_csv(io.StringIO(scored.stdout), dtype=str)["region"].tolist() == ["007", "8"]
    run("predict", "regions", "--paths", "-o", "groups_paths.csv")
    scored = run("score", "groups_paths.csv", "later.csv", "--group-column", "region")
    own = loaded.predict().score(pd.read_csv("later.csv", dtype={"region": str}))
    np.testing.assert_allclose(table(scored)["crps"], own["crps"], rtol=1e-4)
    assert "--group-column" in run("score", "groups_paths.csv", "later.csv", code=1).stderr
    missing = ["score", "groups_paths.csv", "next_day.csv", "--group-column", "region"]
    assert "ACTUALS has no column 'region'" in run(*missing, code=1).stderr

    judged = run("likelihood", "regions", "--last", 24, "--flow-steps", 0)
    assert list(table(judged))[:2] == ["region", found.columns[2]]
    run("plot", "regions", "--group", "8", "--actuals", "later.csv", "-o", "eight.png")
    scores = table(run("backtest", "groups.csv", *line.split()[:4], "--windows", "1"))
    assert scores["model"][0] == "timediff"
    given = found.rename(columns={found.columns[1]: "s"}).pivot(
        index=names, columns="s", values="0.5"
    )
    given[["a"]].loc[["8"]].reset_index().to_csv("given.csv", index=False)
    drawn = pd.read_csv(
        io.StringIO(run("predict", "regions", "--given", "given.csv").stdout), dtype={"region": str}
    )
    fixed = drawn[(drawn["region"] == "8") & (drawn.iloc[:, 1] == "a")]
    np.testing.assert_allclose(fixed["0.05"], fixed["0.95"], rtol=1e-5)
    assert (drawn[drawn["region"] == "007"]["0.05"] < drawn[drawn["region"] == "007"]["0.95"]).all()

    run("update", "regions", "later.csv", "--output", "newer")
    assert len(Forecaster.load("newer").history()["8"]) == 250
    assert "no column 'place'" in run(
        "fit", "groups.csv", "--horizon", "24", "--group-column", "place", "-o", "no", code=1
    ).stderr  # fmt: skip


def test_features_in_another_time_zone_are_of_the_same_times(folder):
    data, weather = frame().tz_localize("UTC").tz_convert("Asia/Tokyo"), pd.read_csv("weather.csv")
    data.to_csv("tokyo.csv")
    weather["timestamp"] = pd.to_datetime(weather["timestamp"]).dt.tz_localize("UTC")
    weather.to_csv("utc.csv", index=False)
    line = "fit tokyo.csv --horizon 24 --known utc.csv --seed 0 -o tokyo"
    run(*line.split())
    (entry,) = Forecaster.load("tokyo").kept.entries.values()
    known = entry["feat_dynamic_real"][0]
    np.testing.assert_allclose(known[:5], weather["degrees"][:5], rtol=1e-5)


def test_features_that_cannot_be_used_are_a_wrong_use(folder):
    refused = "predict covered next_day.csv --update --known weather.csv --static place.csv"
    assert "--static" in run(*refused.split(), code=2).stderr
    assert "--known" in run(*["backtest", "covered", "--known", "weather.csv"], code=2).stderr
    assert "give DATA" in run(*["predict", "covered", "--known", "degrees"], code=2).stderr
    many = ",".join(f"column{i}" for i in range(60))  # too long for the name of a file
    line = f"fit sales.csv --horizon 24 --known {many} --id-column shop --time-column day"
    assert "column0" in run(*line.split(), "--target-column", "sold", "-o", "n", code=1).stderr


def test_labels_that_are_no_text_find_their_features(folder):
    rows = 400 * 3
    long = pd.DataFrame({"unique_id": np.repeat([2001, 2002, 2003], 400)})
    long["ds"] = list(pd.date_range("2024-01-01", periods=400, freq="h")) * 3
    long = long.assign(y=series(400).ravel(), price=np.arange(rows) % 5)
    ahead = long.groupby("unique_id").tail(24).assign(ds=lambda t: t["ds"] + pd.Timedelta("24h"))
    place = pd.DataFrame({"height": [1.0, 2.0, 3.0]}, [2001, 2002, 2003])
    model = Forecaster(24, seed=0).fit(
        long, known=["price"], future=ahead.drop(columns="y"), static=place
    )
    model.save("years")
    ahead.drop(columns="y").to_csv("ahead.csv", index=False)
    expected = model.predict(future=ahead.drop(columns="y"), seed=1).to_frame()
    written = table(run(*["predict", "years", "--future", "ahead.csv", "--seed", "1"]))
    np.testing.assert_allclose(written["mean"], expected["mean"], rtol=1e-5)
    more = ahead.assign(y=5.0)
    more.to_csv("more.csv", index=False)
    later = ahead.assign(ds=lambda t: t["ds"] + pd.Timedelta("24h")).drop(columns="y")
    later.to_csv("later.csv", index=False)
    run(*["update", "years", "more.csv", "--known", "price", "--future", "later.csv"])
    wide = long.pivot(index="ds", columns="unique_id", values="y")
    wide.to_csv("wide.csv")
    place.to_csv("place.csv", index_label="year")
    place.to_parquet("place.parquet")
    for file in ("place.csv", "place.parquet"):
        run(*f"fit wide.csv --horizon 24 --static {file} --overwrite -o placed".split())
        assert Forecaster.load("placed").predictor.spec.features.real.size == 1


def test_a_scenario_holds_in_all_paths(folder, monkeypatch):
    line = (
        "predict model --given scenario.csv --given-total north=a,b --paths --samples 30 --seed 0"
    )
    paths = table(run(*line.split(), "--seed", "0"))
    wide = paths.pivot(
        index=["sample", "timestamp"], columns="series", values="value"
    ).reset_index()
    by_time = {time: part for time, part in wide.groupby("timestamp")}
    first, second, third = sorted(by_time)[:3]
    np.testing.assert_allclose(by_time[first]["c"], 5.5, rtol=1e-5)
    np.testing.assert_allclose(by_time[third]["c"], 5.0, rtol=1e-5)
    np.testing.assert_allclose(by_time[second][["a", "b"]].sum(axis=1), 11.0, rtol=1e-5)
    assert by_time[second]["c"].std() > 0.01
    assert run("predict", "model", "--given-total", "north=a,b", code=2)
    assert "north" in run("predict", "model", "--given", "scenario.csv", code=1).stderr
    monkeypatch.setattr("timediff.sampling.LEAST_SHARE", 2.0)  # no scenario is good enough
    result = run(*line.split())
    assert "warning: what is given for" in result.stderr


def test_the_least_likely_step_is_where_something_was_planted(folder):
    whole = pd.read_csv("all.csv")
    whole.loc[390, "b"] += 9.0
    whole.to_csv("odd.csv", index=False)
    line = "likelihood model odd.csv --last 24 --lowest 1 --flow-steps 0 --draws 1"
    (row,) = table(run(*line.split())).to_dict("records")
    assert row["timestamp"] == whole.loc[390, "timestamp"] and row["observed"] == 3
    every = table(run("likelihood", "model", "--last", "24", "--flow-steps", "0"))
    assert list(every.columns) == ["timestamp", "bound", "flow", "observed", "beyond"]
    assert every["bound"].notna().sum() == 24


@pytest.mark.parametrize("end", [",", ",,"])
def test_rows_that_end_in_separators_are_not_shifted(tmp_path, end):
    path = tmp_path / "sold.csv"
    path.write_text(f"day,a,b\n2024-01-01,1,2{end}\n2024-01-02,3,4{end}\n")
    table = read_table(str(path))
    assert list(table) == ["day", "a", "b"] and table["b"].tolist() == [2, 4]
    assert table["day"].tolist() == list(pd.date_range("2024-01-01", periods=2))
