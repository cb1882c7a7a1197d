"""Docstrings for the site: their roles and formulas, which are Sphinx's, as Markdown."""

import re
import textwrap
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|attr|mod):`(~?)([\w.]+)`")
BLOCK = re.compile(r"^([ ]*)\.\. math::[ ]*(.*)\n((?:[ ]*\n|\1[ ]+\S.*\n?)*)", flags=re.M)


def markdown(text: str) -> str:
    """The same docstring in Markdown."""

    def formula(found: re.Match[str]) -> str:
        indent, first, rest = found.groups()
        body = "\n".join(filter(None, [first, textwrap.dedent(rest).strip()]))
        return textwrap.indent(f"\n$$\n{body}\n$$\n\n", indent, lambda line: line.strip() != "")

    text = BLOCK.sub(formula, text + "\n")
    text = re.sub(r":math:`([^`]+)`", r"$\1$", text)
    text = ROLE.sub(lambda m: f"`{m[2].rpartition('.')[2] if m[1] else m[2]}`", text)
    return text.rstrip("\n")


class Docstrings(griffe.Extension):
    """Rewrites every docstring when it is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for modules, classes, functions and attributes."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
