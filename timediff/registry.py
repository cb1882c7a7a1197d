"""Names for plug-ins: one table per kind, looked up in one way."""

import difflib
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from timediff.errors import OptionError

T = TypeVar("T")


def unknown_name(kind: str, name: object, known: list[str]) -> OptionError:
    """The error for a name that is not in a table; suggests the nearest known names."""
    close = difflib.get_close_matches(str(name), known, n=3)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return OptionError(f"unknown {kind} {name!r}: {hint}known are {', '.join(sorted(known))}")


class Registry(Generic[T]):
    """A table from names to the builders of one kind of plug-in.

    Args:
        kind: what the plug-ins are, for error messages ("denoiser").
        base: the class every plug-in is an instance of.

    Example:
        >>> shapes = Registry("shape", object)
        >>> @shapes.register("point")
        ... class Point: ...
        >>> type(shapes.build("point")).__name__
        'Point'
    """

    def __init__(self, kind: str, base: type[T]):
        self.kind, self.base = kind, base
        self._builders: dict[str, Callable[..., T]] = {}

    def register(self, name: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Decorator that enters a class or factory under ``name``."""

        def enter(builder: Callable[..., T]) -> Callable[..., T]:
            if name in self._builders:
                raise OptionError(f"the {self.kind} {name!r} is registered already")
            self._builders[name] = builder
            return builder

        return enter

    def __iter__(self) -> Iterator[str]:
        return iter(self._builders)

    def build(self, plugin: Any, **options: Any) -> T:
        """``plugin`` itself if it is an instance already, else the named one built with options.

        Raises:
            OptionError: the name is unknown, or the builder does not take these options.
        """
        if isinstance(plugin, self.base):
            return plugin
        if not isinstance(plugin, str) or plugin not in self._builders:
            raise unknown_name(self.kind, plugin, list(self._builders))
        try:
            return self._builders[plugin](**options)
        except TypeError as error:
            raise OptionError(f"{self.kind} {plugin!r}: {error}") from error
