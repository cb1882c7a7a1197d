"""What callers hand in: numbers, lists, options by their names; checked."""

import inspect
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from timediff.errors import OptionError
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


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The value, if it is a whole number, not below ``least`` and not above ``most``.

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
    if most is not None and result > most:
        raise OptionError(f"{name} is {value!r}: give a whole number, {most} at most")
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
