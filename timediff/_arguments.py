"""What callers hand in: numbers, lists of series, options by their names; checked."""

import inspect
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from timediff.errors import DataError, OptionError
from timediff.registry import unknown_name


def number(name: str, value: Any) -> float:
    """The value, if it is a number.

    Raises:
        OptionError: it is text, a truth value, a list or something else.
    """
    try:
        if isinstance(value, str | bytes | bool | np.bool_) or np.ndim(value):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise OptionError(f"{name}: {value!r} is no number") from None


def whole(name: str, value: Any, least: int) -> int:
    """The value, if it is a whole number and not below ``least``.

    Raises:
        OptionError: it is not.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        result = operator.index(value)
    except TypeError:
        result = least - 1
    if result < least:
        raise OptionError(f"{name} is {value!r}: give a whole number, {least} or more")
    return result


def listed(given: Any, known: Collection[Any] = ()) -> list[Any]:
    """What was given as a list: text, a number and a known label are one thing, not several.

    Args:
        given: one thing, or several.
        known: labels, which may be tuples.
    """
    if isinstance(given, np.ndarray):
        return list(given.ravel())
    several = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    if several and not (isinstance(given, tuple) and given in known):
        return list(given)
    return [given]


def by_label(given: Any) -> Any:
    """A series of pandas as a mapping from its labels; anything else is handed through."""
    return given.to_dict() if isinstance(given, pd.Series) else given


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


def weight_rows(given: Any, columns: Sequence[Any], name: str) -> tuple[list[Any], np.ndarray]:
    """Names of totals, and the weights of all series in each, ``(K, D)``.

    Args:
        given: see :func:`combinations` and :func:`weighted`.
        columns: labels of the series.
        name: of the argument, for the error.

    Raises:
        OptionError: no total, or see there; or an unknown series.
        DataError: a weight is not finite.
    """
    totals = combinations(given, name)
    if not totals:
        raise OptionError(f"{name} is empty: give a name and the series of a total")
    weights = np.zeros((len(totals), len(columns)))
    for row, (total, members) in zip(weights, totals.items(), strict=True):
        for column, weight in weighted(repr(total), members, columns).items():
            if column not in columns:
                raise unknown_name("series", column, [str(c) for c in columns])
            row[columns.index(column)] = weight
        if not np.isfinite(row).all():
            raise DataError(f"a weight of {total!r} is not finite")
    return list(totals), weights


def check_options(
    function: Callable[..., Any], options: Mapping[str, Any], without: Collection[str] = ()
) -> None:
    """Raise unless a function takes these options.

    Args:
        function: to which they are handed on.
        options: by their names.
        without: arguments of the function that are no options here.

    Raises:
        OptionError: one is unknown; names the nearest.
    """
    known = [name for name in inspect.signature(function).parameters if name not in without]
    for name in options:
        if name not in known:
            raise unknown_name("option", name, known)
