"""Reading tables from files and pipes."""

import gzip
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timediff.cli.app import ENCODING
from timediff.cli.files import format_of
from timediff.errors import DataError, SavedModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from timediff.forecaster import Forecaster

COMMA_NUMBER = r"\s*[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d*)?([eE][+-]?\d+)?\s*"


def read_table(
    place: str,
    given: str | None = None,
    *,
    id_column: str | None = None,
    time_column: str | None = None,
    group_column: str | None = None,
    texts: tuple[str | int, ...] = (),
    times: bool = True,
    day_first: bool | None = None,
) -> "pd.DataFrame":
    """A table from a file or stdin, its timestamps read as such.

    Labels of series in a long table stay text: ``007`` does not become 7, nor ``NA`` missing.

    Args:
        place: a path, or ``-`` for stdin.
        given: its format; by the suffix, or CSV, if None.
        id_column: of a long table, if it has none of the usual names.
        time_column: likewise; or of a wide one.
        group_column: of a table of several groups, whose labels stay text, too.
        texts: more columns that stay text, by name or position.
        times: whether it has timestamps.
        day_first: whether the day comes first in dates that do not tell. What is known of that then
            is in ``attrs["day_first"]`` of the table.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    import pandas as pd

    from timediff._tables import DIALECTS

    name = format_of(place, given)
    content = _bytes(place)
    if place == "-" and given is None and content.startswith(b"PAR1"):
        name = "parquet"
    ids = [id_column] if id_column else list(DIALECTS["id_column"])
    ids += [group_column] if group_column else []
    try:
        if name == "parquet":
            frame = pd.read_parquet(io.BytesIO(content))
        elif name == "jsonl":
            text = _text(content)
            lines = not text.lstrip().startswith("[")  # or one array of all rows
            frame = pd.read_json(io.StringIO(text), lines=lines, dtype=False, convert_dates=False)
        else:
            frame = _read_csv(_text(content), [*ids, *texts])
    except UnicodeDecodeError as error:
        raise DataError(
            f"{_name(place)} is no {error.encoding} text: say what it is before the command, such "
            "as timediff --encoding latin-1"
        ) from error
    except LookupError as error:
        raise DataError(f"{_name(place)} cannot be read: {error}") from error
    except (ValueError, OSError) as error:  # pyarrow's and pandas' errors are these
        raise DataError(f"{_name(place)} cannot be read as {name}: {error}") from error
    if not len(frame.columns) or (frame.empty and not len(frame.index)):
        raise DataError(f"{_name(place)} holds no rows")
    return _with_times(frame, ids, time_column, day_first) if times else frame


def _name(place: str) -> str:
    return "stdin" if place == "-" else place


def _bytes(place: str) -> bytes:
    try:
        content = sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        raise DataError(f"there is no file {place}") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{place} cannot be read: {error}") from error
    if not content.strip():
        raise DataError(f"{_name(place)} is empty")
    return content


def _text(content: bytes) -> str:
    return content.decode(ENCODING.get())


def _read_csv(text: str, texts: list[Any]) -> "pd.DataFrame":
    """A table with commas, tabs or semicolons between its cells; with these, maybe 1.234,5."""
    import pandas as pd

    header = text.split("\n", 1)[0]
    separator = max(",\t;", key=header.count)
    own: Any = {name: lambda cell: cell or None for name in texts}  # as it stands there
    options: dict[str, Any] = {"sep": separator, "converters": own, "float_precision": None}
    frame = pd.read_csv(io.StringIO(text), **options)
    if _ends_in_separators(frame, text, separator):
        options |= {"index_col": False, "usecols": range(len(frame.columns))}
        frame = pd.read_csv(io.StringIO(text), **options)
    others = [name for i, name in enumerate(frame.columns) if not {name, i} & set(texts)]
    if separator != ";" or not any(_decimal_commas(frame[name]) for name in others):
        return frame
    plain = pd.read_csv(io.StringIO(text), **options, dtype=str)
    for name in others:
        cells = plain[name]
        if cells.dropna().str.fullmatch(COMMA_NUMBER).all():
            cells = cells.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
            frame[name] = pd.to_numeric(cells)
    return frame


def _ends_in_separators(frame: "pd.DataFrame", text: str, separator: str) -> bool:
    """Whether rows have more cells than the header, empty ones: pandas shifts all of them then."""
    import pandas as pd

    if isinstance(frame.index, pd.RangeIndex):  # nothing was shifted
        return False
    row = text.split("\n", 2)[1].rstrip("\r")
    empty = frame.iloc[:, -frame.index.nlevels :].isna().all(axis=None)
    return row.endswith(separator) and bool(empty)


def _decimal_commas(cells: "pd.Series") -> bool:
    """Whether the cells of a column are numbers such as 10,126, all that are there."""
    cells = cells.dropna().astype(str)
    return bool(cells.str.fullmatch(COMMA_NUMBER).all() and cells.str.contains(",").any())


def _with_times(
    frame: "pd.DataFrame", ids: list[str], time_column: str | None, day_first: bool | None
) -> "pd.DataFrame":
    """Text that is timestamps as timestamps; a first column without a name as the index."""
    import pandas as pd

    from timediff._any_table import TIME_NAMES

    if isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex):
        return frame
    candidates = [c for c in frame.columns if str(c).lower() in TIME_NAMES]
    first = frame.columns[0]
    if time_column is not None:
        candidates = [c for c in frame.columns if c == time_column]
    elif not candidates and first not in ids:
        candidates = [first]
    for column in candidates:
        times, order = times_of(frame[column], day_first)
        if times is not None:
            frame = frame.assign(**{column: times})
            frame.attrs["day_first"] = order
    unnamed = str(first).startswith("Unnamed: ") or first == "__index_level_0__"
    if unnamed and frame[first].dtype.kind == "M":
        frame = frame.set_index(first).rename_axis(index=None)
    return frame


def times_of(
    column: "pd.Series", day_first: bool | None = None
) -> "tuple[pd.Series | None, bool | None]":
    """Timestamps, None if some are none; and whether the day is first in them, if it is known."""
    import pandas as pd

    from timediff._times import parse_times

    if pd.api.types.is_numeric_dtype(column.dtype):
        return None, day_first
    times, day_first = parse_times(column, f"column {column.name!r}", day_first)
    return None if times.isna().any() else times, day_first


def load_model(path: Path, device: Any = "auto") -> "Forecaster":
    """The forecaster in a folder.

    Raises:
        SavedModelError: there is none, or it is damaged.
    """
    from timediff.forecaster import Forecaster

    if not path.is_dir():
        raise SavedModelError(f"there is no saved model {path}")
    return Forecaster.load(path, device or "auto")


def read_like(forecaster: "Forecaster", place: str, given: str | None = None) -> "pd.DataFrame":
    """A table of the model's series, with the labels and the time zone that the model knows.

    Raises:
        DataError: see :func:`read_table`.
    """
    names, day_first = forecaster.kept.names, forecaster.kept.day_first
    table = read_table(
        place, given, texts=(names.id,), group_column=names.group, day_first=day_first
    )
    return like(table, forecaster)


def by_text(labels: "Iterable[Any]") -> dict[str, Any]:
    """Labels of series by how a file writes them."""
    return {str(label): label for label in labels}


def like(frame: "pd.DataFrame", forecaster: "Forecaster") -> "pd.DataFrame":
    """The table with the labels and the time zone that the model knows.

    A file has no time zones, only offsets, and no labels that are numbers.
    """
    own = by_text(forecaster.columns)
    entry = next(iter(forecaster.kept.entries.values()), None)
    zone = entry["info"].get("tz") if entry else None
    names = forecaster.kept.names
    if names.group in frame.columns:
        groups = by_text(forecaster.kept.entries)
        keys = frame[names.group].map(lambda text: groups.get(str(text), text))
        frame = frame.assign(**{str(names.group): keys})
    if names.id in frame.columns and names.id not in own:  # long, of values or of features
        ids = frame[names.id]
        frame = frame.assign(**{names.id: ids.map(lambda text: own.get(str(text), text))})
    else:
        frame = frame.rename(columns=lambda text: own.get(str(text), text))
    return in_zone(frame, zone)


def order_of(frame: "pd.DataFrame | None") -> bool | None:
    """Whether the day comes first in the dates of a table as :func:`read_table` read it."""
    return None if frame is None else frame.attrs.get("day_first")


def part_of(table: "pd.DataFrame | None", column: str | None, key: Any) -> "pd.DataFrame | None":
    """The rows of a group, of a table that has the column of groups.

    Raises:
        DataError: it has none of this group.
    """
    from timediff._any_table import by_group

    parts = by_group(table, column)
    if not isinstance(parts, dict):
        return table
    if key not in parts:
        raise DataError(f"there are no rows of group {key!r}: groups are {list(parts)}")
    return parts[key]


def zone_of(frame: "pd.DataFrame | None") -> Any:
    """The time zone of a table's timestamps, None if they have none."""
    import pandas as pd

    if frame is None:
        return None
    if isinstance(frame.index, pd.DatetimeIndex):
        return frame.index.tz
    aware = (frame[c].dtype for c in frame.columns)
    return next((dtype.tz for dtype in aware if isinstance(dtype, pd.DatetimeTZDtype)), None)


def in_zone(frame: "pd.DataFrame", zone: Any) -> "pd.DataFrame":
    """The table with its times that have a time zone in this one, if it is one."""
    import pandas as pd

    if zone is None:
        return frame
    if isinstance(frame.index, pd.DatetimeIndex) and frame.index.tz is not None:
        frame = frame.set_axis(frame.index.tz_convert(zone), axis=0)
    aware = [c for c in frame.columns if isinstance(frame[c].dtype, pd.DatetimeTZDtype)]
    return frame.assign(**{c: frame[c].dt.tz_convert(zone) for c in aware})
