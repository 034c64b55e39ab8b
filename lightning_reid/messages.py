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
    return f"left out, as they could not be read: {len(paths)} images: {listed(paths, 10)}"


def printable(name: str) -> str:
    """A name as a terminal takes it: file names that are no UTF-8 cannot be printed as they are."""
    return name.encode("utf-8", "replace").decode("utf-8")
