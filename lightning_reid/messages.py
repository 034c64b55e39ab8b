"""How messages name images, cameras and files."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

_CLOSE = 0.6  # likeness of names that are worth a guess; difflib's default
_AS_CLOSE = 0.1  # names that are nearly as like as the best are named too
# letters and marks that Unicode wants to have no shape, beside those of its categories
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


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
    names = listed(paths, 10)
    return printable(f"left out, as they could not be read: {len(paths)} images: {names}")


def printable(text: str, keep: str = "") -> str:
    r"""Escape what does not print as itself: whatever moves the cursor, reorders or hides letters.

    Names of files, cameras and columns come from others. Escaped are control and format characters
    (among them those of terminals, and those that turn the direction of writing), separators of
    lines, letters without a shape, and bytes that are not UTF-8; spaces of any width stay. What is
    escaped has none of them left, so that to escape it again changes nothing.

    Args:
        text: Any text.
        keep: Characters that stay nevertheless.

    Example:
        >>> print(printable("gate/caf\udce9\n.jpg"), printable("入口"))
        gate/caf\xe9\n.jpg 入口
    """
    if text.isprintable() and not _INVISIBLE.search(text):
        return text
    return "".join(c if c in keep or prints(c) else _escaped(c) for c in text)


def prints(character: str) -> bool:
    """Return whether a character prints as itself, or is a space."""
    if character.isprintable():
        return not _INVISIBLE.match(character)
    return unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    """Write a character that does not print as itself."""
    code = ord(character)
    if "\udc80" <= character <= "\udcff":  # a byte of a file name
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return character.encode("unicode_escape").decode()
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def did_you_mean(given: str, names: Iterable[str], prefix: str = "") -> str:
    """Return the names most like a wrong one, as the end of a sentence; empty if none is.

    Args:
        given: What was written. Only the part after its last dot counts, or, where a whole group
            was meant, the one before its first dot.
        names: What could have been meant.
        prefix: Put before each name.

    Example:
        >>> did_you_mean("lr", ["learning_rate", "weight_decay"], prefix="--model.")
        '; did you mean --model.learning_rate?'
    """
    likeness = {name: _likeness(given, name) for name in names}
    best = max(likeness.values(), default=0.0)
    near = [name for name, alike in likeness.items() if alike >= max(_CLOSE, best - _AS_CLOSE)]
    if not near:
        return ""
    near.sort(key=lambda name: -likeness[name])
    return f"; did you mean {' or '.join(prefix + name for name in near[:3])}?"


def _likeness(given: str, name: str) -> float:
    """Compare the last parts of two names, or the first ones of groups; return 0 to 1."""
    head, _, last = given.partition(".")[0], *given.rpartition(".")[1:]
    own = name.rpartition(".")[2]
    words = own.split("_")
    if len(words) > 1 and last.lower() == "".join(word[:1] for word in words):
        return 1.0  # lr: learning_rate
    parts = [(last, own)]
    if "." not in name and name != head:
        parts.append((head, name))
    return max(difflib.SequenceMatcher(None, a.lower(), b.lower()).ratio() for a, b in parts)
