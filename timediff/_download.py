"""Downloads into the cache: whole and checked, or nothing at all."""

import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from timediff._archives import sha256
from timediff._cache import cache_folder
from timediff._sources import Archive
from timediff.errors import DataError

log = logging.getLogger(__name__)


def fetch(name: str, spec: Archive, check: Callable[[Path], object]) -> Path:
    """Get an archive into the cache, with a progress bar on stderr.

    The file arrives in a folder of its own, which takes its place in the cache, ``dataset.json``
    with the checksum beside the archive, when everything has been checked. Processes that download
    at the same time do not disturb each other: the first to finish wins.

    Args:
        name: of the data set.
        spec: where it is and, if known, its checksum.
        check: reads an archive of unknown checksum; raises a DataError if it does not fit the
            protocol.

    Returns:
        The archive in the cache.

    Raises:
        DataError: the server does not answer or breaks off, the cache cannot be written, the
            checksum is another one, or ``check`` fails. Nothing is left behind.
    """
    place = cache_folder() / name
    log.info("downloading %s to %s", spec.url, place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{name}-") as folder:
            part = Path(folder) / name
            part.mkdir()
            archive = part / f"{name}.tar.gz"
            _transfer(name, spec.url, archive)
            found = _checked(name, spec, archive, check)
            card = {"name": name, "title": spec.title, "source": spec.url, "sha256": found}
            (part / "dataset.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
            _take_place(part, place)
    except OSError as error:  # of the disk or, as requests.RequestException, of the network
        raise DataError(f"could not get {spec.url} into {place}: {error}") from error
    return place / f"{name}.tar.gz"


def _transfer(name: str, url: str, output: Path) -> None:
    import pooch
    from tqdm.auto import tqdm

    with tqdm(total=1, desc=name, unit="B", unit_scale=True) as progress:
        downloader = pooch.HTTPDownloader(progressbar=progress)
        downloader(url, str(output), None)


def _checked(name: str, spec: Archive, archive: Path, check: Callable[[Path], object]) -> str:
    """The checksum of an archive that is what it should be."""
    found = sha256(archive)
    if found == spec.sha256:
        return found
    if spec.sha256 is not None:
        raise DataError(
            f"{spec.url} has sha256 {found}, expected {spec.sha256}: the server has another file, "
            "or the transfer was disturbed; nothing was kept"
        )
    try:
        check(archive)
    except DataError as error:
        what = f"{spec.url} is not {name} as published, or the transfer was disturbed"
        raise DataError(f"{what}; nothing was kept: {error}") from error
    log.warning(
        "%s: no checksum is published. Series, windows and training length are those of the "
        "published protocol; sha256 %s is kept in dataset.json and checked from now on",
        name,
        found,
    )
    return found


def _take_place(part: Path, place: Path) -> None:
    try:
        part.rename(place)
    except OSError:
        if not (place / f"{place.name}.tar.gz").is_file():  # nobody else was faster
            raise
