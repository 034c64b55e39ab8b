"""HTML in which every text is escaped, unless it says that it is HTML.

What does not print as itself is escaped, too: it could turn the direction of what follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from lightning_reid.messages import printable

_EMPTY = ("img", "meta", "wbr")  # elements that hold nothing


class Markup(str):
    """HTML; any other string is text. What is put together from it by hand is text again."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | int) -> Markup:
    """An element.

    Args:
        name: such as ``"p"``.
        children: texts and elements.
        attributes: a trailing underscore is left out, others become hyphens.
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"'
        for key, value in attributes.items()
    )
    if name in _EMPTY:
        return Markup(f"<{name}{told}>")
    return Markup(f"<{name}{told}>{joined(children)}</{name}>")


def joined(children: Iterable[str]) -> Markup:
    """Texts and elements, one after the other."""
    return Markup("".join(c if isinstance(c, Markup) else _escaped(c) for c in children))


def _escaped(text: str) -> str:
    return escape(printable(text, keep="\n"))
