"""Columns that grow chunk by chunk and hold no Python object for a row."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import count

import numpy as np

from lightning_reid.data.samples import Integers, numbered
from lightning_reid.data.strings import Strings

# what spreadsheets, data frames and databases write where there is nothing, spelled as they do:
# Nan, Na and None are also names of people, of which only the last is written by Python, too
_NOTHING = frozenset(
    {"", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "#N/A", "<NA>", "None", "none", "NULL", "null"}
)
_WHOLE_FLOAT = re.compile(r"-?[0-9]+\.0")
_DIGITS = re.compile(r"([0-9]+)")


class Texts:
    """A column of strings of which most occur once."""

    def __init__(self) -> None:
        self._parts: list[Strings] = []

    def add(self, values: Sequence[str]) -> None:
        """The next rows."""
        self._parts.append(Strings(values))

    def finish(self) -> Strings:
        """All rows."""
        return joined(self._parts)


class Names:
    """A column of names that occur again and again, such as those of cameras."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, int] = defaultdict(count().__next__)  # of texts as met
        self._parts: list[Integers] = []

    def add(self, values: Sequence[str]) -> None:
        """The next rows."""
        numbers = map(self._numbers.__getitem__, values)
        self._parts.append(np.fromiter(numbers, dtype=np.int64, count=len(values)))

    def nothings(self) -> dict[str, int]:
        """Return how often each text stands that is read as no name, without empty cells."""
        counts = np.bincount(np.concatenate(self._parts), minlength=len(self._numbers))
        return {
            text.strip(): int(counts[number])
            for text, number in self._numbers.items()
            if text.strip() and name_of(text) is None
        }

    def finish(self, unknown: str | None = None) -> tuple[Integers, list[str]]:
        """All rows.

        Args:
            unknown: a name that stands for nothing.

        Returns:
            ``(N,)`` positions in the list of distinct names, -1 where there is none (see
            :func:`name_of`), and that list, in the order in which people count.
        """
        names = [name_of(text) for text in self._numbers]
        numbers, distinct = numbered([None if name == unknown else name for name in names])
        order = sorted(range(len(distinct)), key=lambda i: natural_order(distinct[i]))
        rank = np.empty(len(order) + 1, dtype=np.int64)
        rank[order], rank[-1] = np.arange(len(order)), -1  # -1 stays -1
        return rank[numbers][np.concatenate(self._parts)], [distinct[i] for i in order]


def name_of(text: str) -> str | None:
    """The name that a cell holds, or None if it holds nothing.

    White space around it does not count, and ``3.0`` is ``3``: so data frames write whole numbers
    if some of them are missing. ``03`` stays as it is.
    """
    name = text.strip()
    if name in _NOTHING:
        return None
    return name[: -len(".0")] if _WHOLE_FLOAT.fullmatch(name) else name


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key under which ``c2`` comes before ``c10``, and no two names are equal."""
    parts = _DIGITS.split(name)
    # odd parts are numbers: of two, the one with fewer digits is less
    parts[1::2] = [digits.lstrip("0") for digits in parts[1::2]]
    return [(len(part) if i % 2 else 0, part) for i, part in enumerate(parts)], name


def joined(parts: Sequence[Strings]) -> Strings:
    """All of them, one after the other."""
    if len(parts) < 2:
        return parts[0] if parts else Strings()
    half = len(parts) // 2  # halves: every byte moves log(parts) times rather than once a part
    return joined(parts[:half]) + joined(parts[half:])
