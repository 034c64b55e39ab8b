"""How messages name images, cameras and files."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str], most: int) -> str:
    """Names in a row, at most so many of them.

    Example:
        >>> listed(["c1", "c2", "c3"], most=2)
        'c1, c2 and 1 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def left_out(paths: Sequence[str]) -> str:
    """What to tell of image files that could not be read; names the first ten.

    Example:
        >>> left_out(["gate/1.jpg", "hall/2.jpg"])
        'left out, as they could not be read: 2 images: gate/1.jpg, hall/2.jpg'
    """
    names = listed([printable(path) for path in paths], 10)
    return f"left out, as they could not be read: {len(paths)} images: {names}"


def printable(name: str) -> str:
    r"""Escape what does not print as itself: control characters and bytes that are not UTF-8.

    Example:
        >>> print(printable("gate/caf\udce9\n.jpg"), printable("入口"))
        gate/caf\xe9\n.jpg 入口
    """
    if name.isprintable():
        return name
    return "".join(map(_escaped, name))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # a byte of a file name
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
