"""HTML in which every text is escaped, unless it says that it is HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

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
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
    )
    if name in _EMPTY:
        return Markup(f"<{name}{told}>")
    return Markup(f"<{name}{told}>{joined(children)}</{name}>")


def joined(children: Iterable[str]) -> Markup:
    """Texts and elements, one after the other."""
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children))
