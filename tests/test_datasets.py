"""The registry of data sets: what it finds, how it splits, what it refuses."""

import concurrent.futures
import gzip
import hashlib
import http.server
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.evaluation import make_evaluation_predictions

import timediff.datasets
from timediff import DataError, OptionError, list_datasets, load_dataset

REPOSITORY = Path(__file__).resolve().parent.parent
TRAFFIC = REPOSITORY / "datasets" / "traffic"
SHARED = Path(os.environ.get("TIMEDIFF_DATASETS", REPOSITORY.parent / "shared" / "datasets"))
PROTOCOL = {
    # series, frequency, horizon, windows, training length: the tables of the TimeGrad paper
    "exchange_rate_nips": (8, "B", 30, 5, 6071),
    "solar_nips": (137, "h", 24, 7, 7009),
    "electricity_nips": (370, "h", 24, 7, 5833),
    "traffic_nips": (963, "h", 24, 7, 4001),
    "taxi_30min": (1214, "30min", 24, 56, 1488),
    "wiki-rolling_nips": (2000, "D", 30, 5, 792),
}
TABLES = ("electricity", "electricity_uci", "metr_la")
URLS = {name: spec.url for name, spec in timediff.datasets.ARCHIVES.items()}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path_factory):
    """No data from outside, no network, and a cache of the test's own."""
    monkeypatch.delenv("TIMEDIFF_DATASETS", raising=False)
    monkeypatch.setenv("TIMEDIFF_CACHE", str(tmp_path_factory.mktemp("home") / "cache"))
    for name, spec in timediff.datasets.ARCHIVES.items():
        nowhere = f"http://127.0.0.1:9/{name}.tar.gz"  # discard: nobody listens
        monkeypatch.setitem(timediff.datasets.ARCHIVES, name, spec._replace(url=nowhere))


def needs_shared(folder):
    return pytest.mark.skipif(
        not (SHARED / folder).is_dir(), reason=f"{folder} is not in TIMEDIFF_DATASETS"
    )


def check_split(data, windows, horizon):
    """What holds for every data set: shapes, types and the way one entry follows another."""
    (train,) = data.train
    assert data.windows == len(data.test) == windows
    assert data.prediction_length == data.metadata.prediction_length == horizon
    assert train["start"].freqstr == data.freq == data.metadata.freq
    for entry in [train, *data.test]:
        assert entry["target"].dtype == np.float32
        assert entry["target"].shape[0] == len(data.columns)
        assert entry["info"] == {"columns": data.columns}
        assert entry["item_id"] == data.name
    for i, entry in enumerate(data.test):
        assert entry["start"] == train["start"]
        assert entry["target"].shape[1] == train["target"].shape[1] + horizon * (i + 1)
        history = entry["target"][:, : train["target"].shape[1]]
        np.testing.assert_array_equal(history, train["target"])


# the embedded data set


def test_traffic_comes_with_the_package():
    data = load_dataset("traffic")
    check_split(data, windows=28, horizon=24)
    assert data.train_frame.index[-1] == pd.Timestamp("2016-07-31 23:00")
    assert data.frame.index[-1] == pd.Timestamp("2016-08-28 23:00")
    source = pd.read_parquet(TRAFFIC / "data.parquet")
    pd.testing.assert_frame_equal(data.frame, source.iloc[: len(data.frame)], check_freq=False)
    assert data.card["licence"] == "package MIT; Caltrans PeMS data, public"


def test_shipped_values_are_those_of_the_card():
    card = json.loads((TRAFFIC / "dataset.json").read_text())
    content = (TRAFFIC / "data.parquet").read_bytes()
    values = pd.read_parquet(io.BytesIO(content)).to_numpy().astype("<f4", order="C")
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    assert hashlib.sha256(values.tobytes()).hexdigest() == card["content_sha256"]
    readme = (TRAFFIC / "README.md").read_text()
    assert card["sha256"] in readme
    assert card["content_sha256"] in readme


def test_frames_are_copies():
    data = load_dataset("traffic")
    for frame in (data.train_frame, data.frame):
        frame.iloc[:] = -1
    assert (data.test[-1]["target"] >= 0).all()


def test_gluonts_cuts_the_windows_where_it_should():
    class Recorder:
        prediction_length, lead_time = 24, 0

        def predict(self, dataset, num_samples):
            self.seen = [entry["target"].shape[1] for entry in dataset]
            return iter(self.seen)

    data, recorder = load_dataset("traffic"), Recorder()
    forecasts, _ = make_evaluation_predictions(data.test, recorder, num_samples=1)
    list(forecasts)
    length = data.train[0]["target"].shape[1]
    assert recorder.seen == [length + 24 * i for i in range(28)]


# rebuilding it


@pytest.fixture(scope="module")
def rebuild():
    return runpy.run_path(str(TRAFFIC / "rebuild.py"))


def shipped_as_text(path):
    """The source file, out of the shipped values: they have at most four digits."""
    rows = pd.read_parquet(TRAFFIC / "data.parquet").to_numpy().astype(np.float64).round(4)
    lines = [" ".join(np.format_float_positional(v, trim="-") for v in row) for row in rows]
    path.write_text("\n".join(lines))
    return path


def test_rebuild_gives_what_is_shipped(rebuild, tmp_path, capsys):
    source = shipped_as_text(tmp_path / "traffic.txt")
    output = tmp_path / "data.parquet"
    assert rebuild["main"](["--source", str(source), "--output", str(output)]) == 0
    pd.testing.assert_frame_equal(
        pd.read_parquet(output), pd.read_parquet(TRAFFIC / "data.parquet")
    )
    assert hashlib.sha256(output.read_bytes()).hexdigest() in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.parquet", "traffic.txt"]


def test_rebuild_refuses_a_corrupted_source(rebuild, tmp_path, capsys):
    source = shipped_as_text(tmp_path / "traffic.txt")
    source.write_text(source.read_text().replace("0.0048", "0.0049", 1))
    output = tmp_path / "data.parquet"
    assert rebuild["main"](["--source", str(source), "--output", str(output)]) == 1
    assert "damaged" in capsys.readouterr().err
    assert not output.exists()


def test_rebuild_does_not_overwrite_unasked(rebuild, tmp_path, capsys):
    output = tmp_path / "data.parquet"
    output.write_text("mine")
    source = shipped_as_text(tmp_path / "traffic.txt")
    assert rebuild["main"](["--source", str(source), "--output", str(output)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert rebuild["main"](["--source", str(source), "--output", str(output), "--overwrite"]) == 0
    assert len(pd.read_parquet(output)) == 17544


def test_rebuild_without_its_source_says_so(rebuild, tmp_path, capsys):
    arguments = ["--source", str(tmp_path / "no.txt"), "--output", str(tmp_path / "data.parquet")]
    assert rebuild["main"](arguments) == 1
    assert "cannot read" in capsys.readouterr().err


# finding


def test_every_name_is_listed_once():
    names = list_datasets()
    assert len(names) == len(set(names)) == 15
    generated = {name for name in names if name.startswith("generated_")}
    assert {"traffic", *TABLES, *PROTOCOL} | generated == set(names)
    assert len(generated) == 5


@pytest.mark.parametrize(
    ("name", "near"), [("exchange_rate", "exchange_rate_nips"), ("Traffic", "traffic")]
)
def test_an_unknown_name_suggests_the_near_ones(name, near):
    with pytest.raises(OptionError, match=f"did you mean '{near}'"):
        load_dataset(name)


@pytest.mark.parametrize("name", [*TABLES, *PROTOCOL])
def test_missing_files_are_named_with_every_place(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TIMEDIFF_DATASETS", str(tmp_path / "environment"))
    monkeypatch.setenv("TIMEDIFF_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError) as error:
        load_dataset(name, root=tmp_path / "root")
    message = str(error.value)
    file = "data.parquet" if name in TABLES else ".tar.gz"
    for folder in ("root", "environment", "cache"):
        lines = [line for line in message.splitlines() if f"  {tmp_path / folder}" in line]
        assert any(line.endswith(file) for line in lines)
    assert message.endswith("that folder as root=, as TIMEDIFF_DATASETS or as TIMEDIFF_CACHE")
    source = timediff.datasets.TABLES[name] if name in TABLES else None
    for fact in (source.title, source.source, source.licence) if source else ("http://",):
        assert fact in message


@pytest.fixture
def traffic_copy(tmp_path):
    """A root with a shortened traffic in it, and a function that rewrites its card."""
    folder = tmp_path / "root" / "traffic"
    folder.mkdir(parents=True)
    frame = pd.read_parquet(TRAFFIC / "data.parquet").loc["2016-07-01":"2016-08-05"]
    frame.to_parquet(folder / "data.parquet")
    card = json.loads((TRAFFIC / "dataset.json").read_text())

    def write(**changes):
        new = {k: v for k, v in (card | changes).items() if v is not None}
        (folder / "dataset.json").write_text(json.dumps(new))
        return folder.parent

    write(windows=2, sha256=None)
    return folder, write


def test_root_comes_before_the_environment_before_the_package(traffic_copy, tmp_path, monkeypatch):
    _, write = traffic_copy
    root = write(windows=2, sha256=None)
    assert load_dataset("traffic", root=root).windows == 2
    monkeypatch.setenv("TIMEDIFF_DATASETS", str(root))
    assert load_dataset("traffic").windows == 2
    other = tmp_path / "other"
    shutil.copytree(root, other)
    write(windows=3, sha256=None)
    assert load_dataset("traffic").windows == 3
    assert load_dataset("traffic", root=str(other)).windows == 2
    assert load_dataset("traffic", root=tmp_path / "empty").windows == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "damaged or another version.*dataset.json says"),
        ({"sha256": None, "series": 21}, "has 20 series, dataset.json says 21"),
        ({"sha256": None}, "28 windows from 2016-08-01 00:00 do not fit"),
        ({"sha256": None, "windows": 5, "test_start": "2016-07-01"}, "do not fit"),
        ({"sha256": None, "windows": 5, "freq": "2h"}, "2016-07-01 01:00:00 is off the grid"),
        ({"sha256": None, "stride": None}, "lacks 'stride'"),
    ],
    ids=["checksum", "series", "too long", "no history", "frequency", "card"],
)
def test_a_table_that_does_not_fit_its_card_is_refused(traffic_copy, changes, message):
    _, write = traffic_copy
    with pytest.raises(DataError, match=message):
        load_dataset("traffic", root=write(**changes))


def test_broken_files_are_data_errors(traffic_copy):
    folder, write = traffic_copy
    (folder / "data.parquet").write_bytes(b"PAR1 no, not really")
    with pytest.raises(DataError, match=r"cannot read .*data\.parquet"):
        load_dataset("traffic", root=write(sha256=None))
    (folder / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json is not valid JSON"):
        load_dataset("traffic", root=folder.parent)


# archives, on a small one made here


def archive_rows(series=3, length=20, horizon=4, windows=2, test_start="2020-01-01 00:00:00"):
    """Rows of an archive whose value tells series and time: 100 · series + step."""

    def rows(start, length):
        return [
            {"start": start, "target": [100.0 * i + t for t in range(length)], "item_id": i}
            for i in range(series)
        ]

    test = [row for w in range(windows) for row in rows(test_start, length + horizon * (w + 1))]
    return rows("2020-01-01 00:00:00", length), test


def write_archive(root, parts, name="exchange_rate_nips", folder="exchange_rate", form="tar"):
    """The archive as GluonTS packs it: a tar with one folder, or unpacked."""
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    files = {
        f"{name}/{part}/{part}.json": "\n".join(map(json.dumps, rows)).encode()
        for part, rows in zip(("train", "test"), parts, strict=True)
    }
    files[f"{name}/metadata/metadata.json"] = b'{"time_granularity": "B"}'
    files[f"{name}/train/._train.json"] = b"\x00\x05\x16\x07 what macOS leaves in archives"
    if form == "tar":
        with tarfile.open(place / f"{name}.tar.gz", "w:gz") as tar:
            for path, content in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return place / f"{name}.tar.gz"
    for path, content in files.items():
        file = place / (path if form == "nested" else path.removeprefix(f"{name}/"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return place


@pytest.fixture
def small(monkeypatch):
    """Make exchange_rate_nips a set of 3 series, the last 2 used, 2 windows of 4 days."""

    def patch(**changes):
        spec = timediff.datasets.ARCHIVES["exchange_rate_nips"]
        small = {"series": 3, "used": 2, "freq": "D", "prediction_length": 4, "windows": 2}
        small |= {"train_length": 20, "sha256": None}
        spec = spec._replace(**(small | changes))
        monkeypatch.setitem(timediff.datasets.ARCHIVES, "exchange_rate_nips", spec)

    patch()
    return patch


@pytest.mark.parametrize("folder", ["exchange_rate", "exchange_rate_nips", "."])
@pytest.mark.parametrize("form", ["tar", "nested", "flat"])
def test_an_archive_is_read_packed_or_not(small, tmp_path, folder, form):
    if folder == "." and form == "flat":
        pytest.skip("a root that is itself the data set cannot hold others")
    write_archive(tmp_path, archive_rows(), folder=folder, form=form)
    if folder == "." and form == "nested":
        folder = "exchange_rate_nips"
    before = sorted(tmp_path.rglob("*"))
    data = load_dataset("exchange_rate_nips", root=tmp_path)
    check_split(data, windows=2, horizon=4)
    assert data.columns == ["1", "2"]  # the last two
    expected = np.array([[100.0], [200.0]]) + np.arange(28)
    np.testing.assert_array_equal(data.test[-1]["target"], expected)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unpacked_archive_may_have_compressed_lines(small, tmp_path):
    place = write_archive(tmp_path, archive_rows(), form="flat")
    plain = place / "test" / "test.json"
    plain.with_suffix(".json.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    check_split(load_dataset("exchange_rate_nips", root=tmp_path), windows=2, horizon=4)


def test_test_windows_may_start_elsewhere(small, tmp_path):
    write_archive(tmp_path, archive_rows(test_start="2020-03-01 00:00:00"))
    data = load_dataset("exchange_rate_nips", root=tmp_path)
    assert data.train[0]["start"] == pd.Period("2020-01-01", "D")
    assert data.test[0]["start"] == pd.Period("2020-03-01", "D")
    assert data.frame.index[0] == pd.Timestamp("2020-03-01")


def test_missing_values_stay_missing(small, tmp_path):
    train, test = archive_rows()
    train[1]["target"][3], train[2]["target"][4] = None, "NaN"
    write_archive(tmp_path, (train, test))
    target = load_dataset("exchange_rate_nips", root=tmp_path).train[0]["target"]
    assert np.argwhere(np.isnan(target)).tolist() == [[0, 3], [1, 4]]


def shorter(rows, i):
    return [r | {"target": r["target"][1:]} if j == i else r for j, r in enumerate(rows)]


def later(rows, i):
    return [r | {"start": "2020-01-02 00:00:00"} if j == i else r for j, r in enumerate(rows)]


TRAIN, TEST = archive_rows()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((shorter(TRAIN, 2), TEST), "train: series have different lengths: 20 .* 19 for number 2"),
        ((later(TRAIN, 2), TEST), "train: series have different starts: 2020-01-01"),
        (
            ([r | {"target": r["target"][:19]} for r in TRAIN], TEST),
            "19 steps, the published .* 20",
        ),
        ((TRAIN, shorter(TEST, 5)), "test window 2: series have different lengths: 28 .* 27"),
        ((TRAIN, TEST[:-1]), r"test has 5 rows, expected 2 × 3 \(windows × series\)"),
        ((TRAIN[1:], TEST), "train has 2 rows, expected 1 × 3"),
        ((TRAIN, [r | {"target": r["target"][:4]} for r in TEST]), "window 1 has 4 steps"),
        ((TRAIN, []), "no JSON lines in a folder 'test'"),
        ((TRAIN, [{"start": "2020"}]), "test.json, line 1 has no start and target"),
        ((TRAIN, [r | {"target": ["a"] * 24} for r in TEST]), "no list of numbers"),
    ],
    ids=[
        "length",
        "start",
        "protocol",
        "test",
        "rows",
        "train rows",
        "short",
        "empty",
        "field",
        "text",
    ],
)
def test_an_archive_that_does_not_fit_is_refused(small, tmp_path, parts, message):
    write_archive(tmp_path, parts)
    with pytest.raises(DataError, match=message):
        load_dataset("exchange_rate_nips", root=tmp_path)


def test_a_broken_archive_is_refused(small, tmp_path):
    path = write_archive(tmp_path, archive_rows())
    card = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "title": "Mine"}
    (path.parent / "dataset.json").write_text(json.dumps(card))
    assert load_dataset("exchange_rate_nips", root=tmp_path).title == "Mine"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="damaged or another version"):
        load_dataset("exchange_rate_nips", root=tmp_path)
    (path.parent / "dataset.json").unlink()
    with pytest.raises(DataError, match="cannot read"):
        load_dataset("exchange_rate_nips", root=tmp_path)


@pytest.mark.parametrize("name", PROTOCOL)
def test_archives_follow_the_published_protocol(name):
    spec = timediff.datasets.ARCHIVES[name]
    protocol = (spec.used, spec.freq, spec.prediction_length, spec.windows, spec.train_length)
    assert protocol == PROTOCOL[name]
    assert spec.series == (9535 if name == "wiki-rolling_nips" else spec.used)


def test_addresses_are_those_of_gluonts():
    from gluonts.dataset.repository._gp_copula_2019 import datasets_info

    assert {name: datasets_info[name].url for name in PROTOCOL} == URLS


# downloads, from a server here


class Server(http.server.ThreadingHTTPServer):
    """Serves one body; ``promised`` is the length it announces."""

    def __init__(self, body=b"", status=200, promised=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.status, self.promised = body, status, promised
        self.requests = 0
        self.barrier = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/exchange_rate_nips.tar.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        if self.server.barrier:
            self.server.barrier.wait(timeout=20)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(self.server.promised or len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(small, tmp_path, monkeypatch):
    """Start a server of the small archive; the registry then downloads from it, into the cache."""
    servers = []
    content = write_archive(tmp_path / "server", archive_rows()).read_bytes()
    monkeypatch.setenv("TIMEDIFF_CACHE", str(tmp_path / "cache"))

    def start(body=content, sha256=None, **options):
        server = Server(body, **options)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        small(url=server.url, sha256=sha256)
        return server

    start.content = content
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def cached(tmp_path):
    """All that is in the cache, hidden things too."""
    return sorted(str(p.relative_to(tmp_path / "cache")) for p in (tmp_path / "cache").rglob("*"))


IN_CACHE = ["exchange_rate_nips", "exchange_rate_nips/dataset.json"]
IN_CACHE += ["exchange_rate_nips/exchange_rate_nips.tar.gz"]


def test_a_download_shows_progress_and_happens_once(serve, tmp_path, capfd, caplog):
    server = serve(sha256=hashlib.sha256(serve.content).hexdigest())
    data = load_dataset("exchange_rate_nips")
    check_split(data, windows=2, horizon=4)
    shown = capfd.readouterr()
    assert "exchange_rate_nips: 100%" in shown.err
    assert shown.out == ""
    assert cached(tmp_path) == IN_CACHE
    assert data.card["source"] == server.url
    again = load_dataset("exchange_rate_nips", download=False)
    np.testing.assert_array_equal(again.frame, data.frame)
    assert server.requests == 1
    assert not caplog.records  # the checksum was known


def test_an_unknown_checksum_is_recorded_said_and_checked(serve, tmp_path, caplog):
    serve()
    found = hashlib.sha256(serve.content).hexdigest()
    assert load_dataset("exchange_rate_nips").card["sha256"] == found
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert found in record.getMessage()
    archive = tmp_path / "cache" / IN_CACHE[2]
    archive.write_bytes(serve.content + b"\0")
    with pytest.raises(DataError, match=f"damaged or another version.*{found}"):
        load_dataset("exchange_rate_nips")


def test_a_wrong_checksum_leaves_nothing_behind(serve, tmp_path):
    serve(sha256="0" * 64)
    with pytest.raises(DataError, match=f"expected {'0' * 64}.*nothing was kept"):
        load_dataset("exchange_rate_nips")
    assert cached(tmp_path) == []


def test_an_archive_outside_the_protocol_is_not_kept(serve, small, tmp_path):
    server = serve()
    small(url=server.url, windows=3)
    with pytest.raises(DataError, match=r"not exchange_rate_nips as published.*expected 3 × 3"):
        load_dataset("exchange_rate_nips")
    assert cached(tmp_path) == []


@pytest.mark.parametrize("known", [True, False], ids=["sha256", "protocol"])
@pytest.mark.parametrize("length", ["promised", "not promised"])
def test_an_interrupted_transfer_leaves_nothing_behind(serve, tmp_path, known, length):
    sha256 = hashlib.sha256(serve.content).hexdigest() if known else None
    half = serve.content[: len(serve.content) // 2]
    serve(half, sha256, promised=len(serve.content) if length == "promised" else None)
    with pytest.raises(DataError, match=r"(?s)was not downloaded \(.*Put it as exchange_rate/exch"):
        load_dataset("exchange_rate_nips")
    assert cached(tmp_path) == []
    good = serve(sha256=sha256)  # and the next try succeeds
    check_split(load_dataset("exchange_rate_nips"), windows=2, horizon=4)
    assert good.requests == 1


def test_a_missing_page_or_server_is_said(serve, tmp_path):
    server = serve(status=404)
    with pytest.raises(DataError, match="404") as error:
        load_dataset("exchange_rate_nips")
    assert server.url in str(error.value)
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="was not downloaded"):
        load_dataset("exchange_rate_nips")
    assert cached(tmp_path) == []


def test_without_permission_nothing_is_downloaded(serve, tmp_path):
    server = serve()
    with pytest.raises(DataError, match=r"not downloaded \(download=False\)") as error:
        load_dataset("exchange_rate_nips", download=False)
    assert server.url in str(error.value)
    assert server.requests == 0
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_said(serve, tmp_path):
    serve()
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"could not get .* into .*cache"):
        load_dataset("exchange_rate_nips")


def test_two_downloads_at_once_give_one_archive(serve, tmp_path):
    server = serve()
    server.barrier = threading.Barrier(2)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(load_dataset, "exchange_rate_nips") for _ in range(2)]
        for future in futures:
            check_split(future.result(), windows=2, horizon=4)
    assert server.requests == 2
    assert cached(tmp_path) == IN_CACHE


def test_local_files_come_before_the_cache(serve, tmp_path):
    server = serve()
    write_archive(tmp_path / "mine", archive_rows())
    load_dataset("exchange_rate_nips", root=tmp_path / "mine")
    assert server.requests == 0
    load_dataset("exchange_rate_nips", root=tmp_path / "elsewhere")
    assert server.requests == 1


def test_the_cache_is_the_platforms_unless_told(monkeypatch):
    import pooch

    from timediff._cache import cache_folder

    monkeypatch.delenv("TIMEDIFF_CACHE")
    assert cache_folder() == Path(pooch.os_cache("timediff"))
    monkeypatch.setenv("TIMEDIFF_CACHE", "~/somewhere")
    assert cache_folder() == Path.home() / "somewhere"


def test_looking_for_local_files_does_not_import_the_network():
    code = (
        "import sys, timediff; timediff.load_dataset('traffic'); "
        "print(sorted({'pooch', 'requests', 'scipy', 'torch'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


# the real ones, where they are


@needs_shared("exchange_rate")
def test_exchange_rate():
    data = load_dataset("exchange_rate_nips", root=SHARED)
    check_split(data, windows=5, horizon=30)
    assert data.train[0]["target"].shape == (8, 6071)
    assert data.frame.index[0] == pd.Timestamp("1990-01-01")
    assert data.train[0]["target"][0, :2].tolist() == pytest.approx([0.7855, 0.7818])
    assert len(np.unique(data.frame.iloc[-1])) == 8


@pytest.mark.parametrize(
    ("name", "shape", "windows", "horizon", "last"),
    [
        pytest.param(name, *rest, marks=needs_shared(name))
        for name, *rest in (
            ("electricity", (118, 41640), 28, 24, "2024-09-30 23:00"),
            ("electricity_uci", (321, 672), 7, 24, "2014-12-24 23:00"),
            ("metr_la", (207, 1932), 7, 12, "2012-03-07 16:55"),
        )
    ],
)
def test_other_tables(name, shape, windows, horizon, last):
    data = load_dataset(name, root=SHARED)
    check_split(data, windows, horizon)
    assert data.train[0]["target"].shape == shape
    assert data.train_frame.index[-1] == pd.Timestamp(last)


@needs_shared("traffic")
def test_the_shared_traffic_is_the_embedded_one():
    pd.testing.assert_frame_equal(
        load_dataset("traffic", root=SHARED).frame, load_dataset("traffic").frame
    )
