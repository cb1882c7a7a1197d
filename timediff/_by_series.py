"""What callers say of single series: which one, their weights in totals, their bounds; checked."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from timediff._arguments import by_label, listed, number
from timediff.errors import DataError, OptionError
from timediff.registry import unknown_name
from timediff.types import Number


def position(column: Any, columns: list[Any]) -> int:
    """Which of the series this one is.

    Raises:
        OptionError: it is none of them; names the nearest.
    """
    if column not in columns:
        raise unknown_name("series", column, [str(c) for c in columns])
    return columns.index(column)


def combinations(given: Any, name: str) -> dict[Any, Any]:
    """Totals of series, by their names: what each sums.

    Args:
        given: a mapping; or a table of weights, totals × series.
        name: of the argument, for the error.

    Raises:
        OptionError: it is neither, or two rows of a table have one name.
    """
    if isinstance(given, pd.DataFrame):
        if not given.index.is_unique:
            twice = given.index[given.index.duplicated()][0]
            raise OptionError(f"{name} has two rows called {twice!r}: rename one")
        return {total: row[row != 0].to_dict() for total, row in given.iterrows()}
    if not isinstance(given, Mapping):
        raise OptionError(
            f"{name} is a {type(given).__name__}: give names with the series of each, such as "
            "{'all': ['a', 'b']}"
        )
    return dict(given)


def weighted(name: str, members: Any, known: Collection[Any] = ()) -> dict[Any, float]:
    """The weights of series in a total.

    Args:
        name: of the total, for the error.
        members: one series or a list of them, each with the weight 1; or weights by series.
        known: labels of series, which may be tuples.

    Raises:
        OptionError: there is no series, one is listed twice, or a weight is no number.
    """
    members = by_label(members)
    if isinstance(members, Mapping):
        weights = {c: number(f"weight of {c!r} in {name}", w) for c, w in members.items()}
    else:
        labels = listed(members, known)
        weights = dict.fromkeys(labels, 1.0)
        if len(weights) < len(labels):
            twice = max(weights, key=labels.count)
            raise OptionError(f"{name} has {twice!r} twice: give weights, such as {{{twice!r}: 2}}")
    if not weights:
        raise OptionError(f"{name} has no series: give one, a list of them, or weights")
    return weights


def weights_of(
    groups: Mapping[Any, Any] | pd.DataFrame, columns: list[Any], name: str
) -> tuple[list[Any], np.ndarray]:
    """Linear combinations of series: their names, and their weights ``(K, D)``.

    Args:
        groups: as of :meth:`timediff.results.Forecast.aggregate`.
        columns: labels of the D series.
        name: of the argument, for the error.

    Raises:
        OptionError: an unknown series, one that is listed twice, a combination of none, or a
            weight that is no number.
        DataError: a weight is not finite.
    """
    groups = combinations(groups, name)
    if not groups:
        raise OptionError(f"{name} is empty: give a name and the series of a total")
    weights = np.zeros((len(groups), len(columns)))
    for row, (total, members) in zip(weights, groups.items(), strict=True):
        for column, weight in weighted(repr(total), members, columns).items():
            row[position(column, columns)] = weight
        if not np.isfinite(row).all():
            raise DataError(f"a weight of {total!r} is not finite")
    return list(groups), weights


def bounds_of(
    given: Number | Mapping[Any, Any] | pd.Series | None, columns: list[Any], default: float
) -> np.ndarray:
    """A bound for each series.

    Args:
        given: one for all, or some by their series.
        columns: labels of the series.
        default: of those of which nothing is said.
    """
    given = by_label(given)
    if not isinstance(given, Mapping):
        bound = default if given is None else number("lower and upper", given)
        return np.full(len(columns), bound)
    bounds = np.full(len(columns), default)
    for column, value in given.items():
        bounds[position(column, columns)] = number(f"the bound of {column!r}", value)
    return bounds


def marked(given: Any, columns: list[Any]) -> np.ndarray:
    """Which of the series are meant, a truth value for each.

    Args:
        given: whether all are, or the one or those that are; or for some whether they are.
        columns: labels of the series.
    """
    found = np.zeros(len(columns), bool)
    if isinstance(given, bool | np.bool_):
        given = columns if given else []
    given = by_label(given)
    if isinstance(given, Mapping):
        given = [column for column, wanted in given.items() if wanted]
    picks = listed(given, columns)
    found[[position(column, columns) for column in picks]] = True
    return found
