"""The command ``score``: a forecast that was written, beside what happened."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from timediff.cli import arguments as a
from timediff.cli.app import app, examples
from timediff.cli.files import check_output, format_of
from timediff.cli.screen import show
from timediff.cli.tables import part_of, read_table, times_of
from timediff.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PATH = "sample"
NAMES = "Table of paths or quantiles, as `timediff predict` writes it."


@app.command(
    epilog=examples(
        "timediff score paths.csv next_day.csv",
        "timediff score paths.csv next_day.csv --aggregate 'total=*' --format jsonl",
        "timediff predict model --paths | timediff score - next_day.csv",
    )
)
def score(
    forecast: Annotated[str, typer.Argument(metavar="FORECAST", help=NAMES)],
    actuals: Annotated[
        str, typer.Argument(metavar="ACTUALS", help=f"What happened, a table: {a.TABLE}.")
    ],
    aggregate: a.Aggregate = None,
    id_column: a.IdColumn = None,
    time_column: a.TimeColumn = None,
    target_column: a.TargetColumn = None,
    group_column: a.GroupColumn = None,
    freq: a.Freq = None,
    output: a.Output = "-",
    output_format: a.Format = None,
    input_format: a.InputFormat = None,
    overwrite: a.Overwrite = False,
) -> None:
    """Score a written forecast.

    Of joint paths (`predict --paths`): CRPS, CRPS of the sum, energy and variogram score, coverage
    of 90 %. Of quantiles: their weighted loss, which of the 19 from 0.05 to 0.95 is the CRPS, and
    the coverage of the intervals they make. ACTUALS may have more time than the forecast. A
    forecast of several groups gives a row for each; ACTUALS has the column of groups, too.
    """
    from timediff._any_table import by_group

    if forecast == actuals == "-":
        raise typer.BadParameter("stdin holds one table only", param_hint="ACTUALS")
    check_output(output, overwrite)
    format_of(output, output_format)
    table = read_table(
        forecast, input_format if forecast == "-" else None, texts=(0, 1), group_column=group_column
    )
    group = group_column or ("group" if "group" in table.columns[:1] else None)
    names = {"id_column": id_column, "time_column": time_column, "target_column": target_column}
    observed = read_table(
        actuals,
        input_format if actuals == "-" else None,
        id_column=id_column or str(table.columns[int(group is not None)]),
        time_column=time_column,
        group_column=group,
    )
    for what, frame in (("the forecast", table), ("ACTUALS", observed)):
        if group is not None and group not in frame.columns:
            raise DataError(f"{what} has no column {group!r} of groups: {list(frame.columns)}")
    parts = {None: table} if group is None else by_group(table, group)
    rows = []
    for key, one in parts.items():
        scores = _scores(one, part_of(observed, group, key), names, freq, aggregate)
        rows.append(scores if key is None else {str(group): key, **scores})
    import pandas as pd

    show(pd.DataFrame(rows), output, output_format, overwrite)


def _scores(
    table: "pd.DataFrame",
    observed: Any,
    names: dict[str, str | None],
    freq: str | None,
    aggregate: list[str] | None,
) -> dict[str, Any]:
    """The row of one forecast beside what happened."""
    table, ids, times = _roles(table)
    target = table.columns[3] if PATH in table.columns[2:3] else None
    if not any(names.values()) and {ids, times, target} <= set(observed.columns):
        names = {"id_column": ids, "time_column": times, "target_column": target}
    if aggregate and PATH not in table.columns:
        raise DataError("quantiles cannot be summed: score a table of paths (predict --paths)")
    _check_rows(table, [ids, times, *([PATH] if PATH in table.columns else [])])
    labels, stamps = list(table[ids].unique()), _stamps(table[times])
    actual = _observed(labels, stamps, observed, names, freq)
    if PATH in table.columns:
        return _of_paths(table, labels, stamps, actual, aggregate)
    return _of_quantiles(table, labels, stamps, actual)


def _roles(table: "pd.DataFrame") -> tuple["pd.DataFrame", str, str]:
    """The table, its times read, and the columns with the series and the times: its first two."""
    parsed = times_of(table.iloc[:, 1])[0] if len(table.columns) > 2 else None
    if parsed is None:
        raise DataError(
            f"the forecast has the columns {list(table.columns)}: expected series, timestamps and "
            "then sample and value, or quantiles; of several groups give --group-column"
        )
    ids, times = table.columns[:2]
    return table.assign(**{times: parsed}), ids, times


def _check_rows(table: "pd.DataFrame", keys: list[str]) -> None:
    """Raise a DataError where two rows are of the same series and time (and sample)."""
    twice = table.duplicated(keys).to_numpy()
    if twice.any():
        series, stamp, *sample = (table[key][twice].iloc[0] for key in keys)
        raise DataError(
            f"the forecast has two rows of series {str(series)!r} at {stamp}"
            + "".join(f", sample {number}" for number in sample)
            + ": keep one of them"
        )


def _comparable(
    values: "np.ndarray",
    actual: "np.ndarray",
    kinds: list[str],
    labels: list[Any],
    stamps: "pd.DatetimeIndex",
) -> "np.ndarray":
    """What was observed ``(P, D)`` of the series that values ``(K, P, D)`` are forecast of.

    One of which nothing was known has none at all, and does not count.

    Raises:
        DataError: a value is missing beside an observation.
    """
    import numpy as np

    actual = np.where(np.isnan(values).all((0, 1)), np.nan, actual)
    bad = np.isnan(values) & ~np.isnan(actual)
    if bad.any():
        step, series, kind = np.argwhere(bad.transpose(1, 2, 0))[0]
        raise DataError(
            f"the forecast has no value of series {str(labels[series])!r} at {stamps[step]}, "
            f"{kinds[kind]}: it needs one for each series, time and {kinds[kind].split()[0]}"
        )
    return actual


def _observed(
    labels: list[Any], stamps: Any, observed: "pd.DataFrame", names: dict[str, Any], freq: Any
) -> "np.ndarray":
    """What was observed at these times, ``(P, D)``."""
    from timediff.histories import observed_at
    from timediff.reading import read

    (entry,) = read(observed, freq=freq, **names).entries.values()
    own = {str(column): i for i, column in enumerate(entry["info"]["columns"])}
    missing = [str(label) for label in labels if str(label) not in own]
    if missing:
        raise DataError(f"ACTUALS has no series {missing[0]!r}: it has {', '.join(own)}")
    target = entry["target"][[own[str(label)] for label in labels]]
    return observed_at(
        {**entry, "target": target, "info": {**entry["info"], "columns": labels}}, stamps
    )


def _stamps(times: "pd.Series") -> "pd.DatetimeIndex":
    import pandas as pd

    return pd.DatetimeIndex(times.unique()).sort_values()


def _of_paths(
    table: "pd.DataFrame",
    labels: list[Any],
    stamps: "pd.DatetimeIndex",
    actual: "np.ndarray",
    aggregate: list[str] | None,
) -> dict[str, float]:
    import numpy as np
    import pandas as pd
    import torch

    from timediff.scores import combine, score_table

    ids, times, value = table.columns[0], table.columns[1], table.columns[-1]
    samples = sorted(table[PATH].unique())
    wide = table.pivot(index=[PATH, times], columns=ids, values=value)[labels]
    wide = wide.reindex(pd.MultiIndex.from_product([samples, stamps]))
    values = wide.to_numpy(np.float64).reshape(len(samples), *actual.shape)
    kinds = [f"sample {number}" for number in samples]
    actual = _comparable(values, actual, kinds, labels, stamps)
    paths, target = torch.from_numpy(values.copy()), torch.from_numpy(actual.astype(np.float64))
    if aggregate:
        weights = a.combinations(labels, aggregate)
        rows = [[row.get(label, 0.0) for label in labels] for row in weights.values()]
        paths, target = combine(paths, target, torch.tensor(rows, dtype=torch.float64))
    return score_table(paths, target)


def _of_quantiles(
    table: "pd.DataFrame", labels: list[Any], stamps: "pd.DatetimeIndex", actual: "np.ndarray"
) -> dict[str, float]:
    import numpy as np

    levels = {c: q for c in table.columns[2:] if (q := _level(str(c))) is not None}
    if not levels:
        raise DataError(f"no column of {list(table.columns)} is a quantile, nor are there paths")
    ids, times = table.columns[:2]
    wide = table.pivot(index=times, columns=ids, values=list(levels)).sort_index()
    found = np.stack([wide[c][labels].to_numpy(np.float64) for c in levels])
    actual = _comparable(found, actual, [f"quantile {c}" for c in levels], labels, stamps)
    seen = ~np.isnan(actual)
    # a quantile that two columns have (0.1 and lo-80) counts once
    values = {q: one[seen] for q, one in zip(levels.values(), found, strict=True)}
    y = actual[seen]
    losses = [2 * ((y - v) * (q - (y <= v))).sum() / np.abs(y).sum() for q, v in values.items()]
    scores = {"weighted_quantile_loss": float(np.mean(losses)), "quantiles": float(len(values))}
    for low in sorted(q for q in values if q < 0.5):
        high = [q for q in values if abs(1 - low - q) < 1e-9]
        if high:
            inside = (values[low] <= y) & (y <= values[high[0]])
            scores[f"coverage{100 * (1 - 2 * low):g}"] = float(inside.mean())
    return scores


def _level(column: str) -> float | None:
    """The quantile in a column, ``0.05`` or ``lo-90``, alike to the last bit in both."""
    side, _, percent = column.partition("-")
    try:
        if side in ("lo", "hi"):
            tail = (1 - float(percent) / 100) / 2
            level = tail if side == "lo" else 1 - tail
        else:
            level = float(column)
    except ValueError:
        return None
    return round(level, 12) if 0 < level < 1 else None
