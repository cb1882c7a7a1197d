"""What the registry knows of each data set: protocol, where it comes from, how to get it."""

from typing import NamedTuple

_MIRROR = "https://raw.githubusercontent.com/mbohlkeschneider/gluon-ts/mv_release/datasets/"
_WIKI = "https://github.com/awslabs/gluonts/raw/1553651ca1fca63a16e012b8927bd9ce72b8e79e/datasets/"


class Archive(NamedTuple):
    """The protocol of one of the GP-copula data sets (Salinas et al. 2019).

    The address is the one GluonTS's ``gluonts.dataset.repository`` has. ``sha256`` is None where
    nobody published a checksum: then the protocol is checked, and the checksum of the first
    download is kept.
    """

    series: int  # in the archive
    used: int  # the last ones of them
    freq: str
    prediction_length: int
    windows: int
    train_length: int
    title: str
    url: str
    sha256: str | None = None
    folder: str | None = None


class Table(NamedTuple):
    """A prepared table that no server offers: it is found locally or not at all."""

    title: str
    source: str
    licence: str
    prepared: str


ARCHIVES = {
    "exchange_rate_nips": Archive(
        *(8, 8, "B", 30, 5, 6071, "Exchange rates, 8 countries"),
        url=_MIRROR + "exchange_rate_nips.tar.gz",
        sha256="83f3cf364ae7854b0a74ef9825c47b8314896de820de877fd466cdffd94027d1",
        folder="exchange_rate",
    ),
    "solar_nips": Archive(
        *(137, 137, "h", 24, 7, 7009, "Solar power, 137 plants"),
        url=_MIRROR + "solar_nips.tar.gz",
    ),
    "electricity_nips": Archive(
        *(370, 370, "h", 24, 7, 5833, "Electricity load, 370 clients"),
        url=_MIRROR + "electricity_nips.tar.gz",
    ),
    "traffic_nips": Archive(
        *(963, 963, "h", 24, 7, 4001, "Road occupancy, 963 lanes"),
        url=_MIRROR + "traffic_nips.tar.gz",
    ),
    "taxi_30min": Archive(
        *(1214, 1214, "30min", 24, 56, 1488, "Taxi rides, 1214 places"),
        url=_MIRROR + "taxi_30min.tar.gz",
    ),
    "wiki-rolling_nips": Archive(
        *(9535, 2000, "D", 30, 5, 792, "Wikipedia page views, 2000 pages"),
        url=_WIKI + "wiki-rolling_nips.tar.gz",
        # of the Git LFS pointer at this commit; 107 442 360 bytes
        sha256="51ccd308aba0efff300b2d5fef550698f508aeeba1001419831fba0981d39a6f",
    ),
}
"""The published sets, in the order of the tables."""

TABLES = {
    "traffic": Table(
        "PeMS road occupancy, 20 sensors",
        "LSTNet traffic, first 20 columns, as shipped in imputegap 1.1.2",
        "package MIT; Caltrans PeMS data, public",
        "It comes with the package: install timediff again",
    ),
    "electricity": Table(
        "EIA-930 hourly demand (MW) of 118 US balancing areas and sub-regions, 2020–2024, UTC",
        "Ruggles et al. 2020, Sci Data 7:155, release v1.4, https://doi.org/10.5281/zenodo.3517196",
        "CC BY 4.0",
        "It was made of the cleaned demand of that release, AEC left out (67 % zeros)",
    ),
    "electricity_uci": Table(
        "UCI electricity load of 321 clients, the last 35 days of 2014 (dates inferred)",
        "UCI ElectricityLoadDiagrams20112014, https://doi.org/10.24432/C58C86, subset of LSTNet",
        "CC BY 4.0",
        "It was made of the last 840 hours of the 321 clients that LSTNet uses",
    ),
    "metr_la": Table(
        "METR-LA road speeds (mph) of 207 detectors, 2012-03-01 to 2012-03-07, every 5 minutes",
        "LA Metro, as metr-la.h5 of DCRNN (Li et al. 2018), first week, gaps imputed",
        "none stated",
        "It was made of the first 2016 rows",
    ),
}
"""Wide tables ``data.parquet``, each with its ``dataset.json``."""

GENERATED = {
    f"generated_{law}": law
    for law in ("var", "seasonal_var", "regime_switching", "heavy_tails", "copula")
}
"""Names of the sets that :mod:`timediff.synthetic` draws, and their laws."""
