"""Many strings in two arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

_MOVED = 1 << 15  # strings that are taken at a time: places of bytes take eight times their memory


class Strings(Sequence[str]):
    """A sequence of strings that is held as one run of bytes.

    A list of a million paths is a million objects, and every worker process that looks at them
    copies the memory they are in. Bytes are shared.

    Args:
        values: the strings; file names that are no UTF-8 are kept as they are.

    Example:
        >>> paths = Strings(["gate/1.jpg", "hall/2.jpg", "hall/3.jpg"])
        >>> len(paths), paths[1], list(paths[1:])
        (3, 'hall/2.jpg', ['hall/2.jpg', 'hall/3.jpg'])
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        encoded = [value.encode("utf-8", "surrogateescape") for value in values]
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._ends = lengths.cumsum()

    @classmethod
    def _of_bytes(cls, content: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> Strings:
        made = cls()
        made._bytes, made._ends = content, ends
        return made

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Strings: ...

    def __getitem__(self, index: int | slice) -> str | Strings:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        index = range(len(self))[index]  # refuses what is out of bounds
        start = self._ends[index - 1] if index else 0
        return bytes(self._bytes[start : self._ends[index]]).decode("utf-8", "surrogateescape")

    def take(self, indices: npt.NDArray[np.int64]) -> Strings:
        """The strings at these positions, in this order."""
        lengths = np.diff(self._ends, prepend=0)
        starts, lengths = (self._ends - lengths)[indices], lengths[indices]
        ends = lengths.cumsum()
        content = np.empty(lengths.sum(), dtype=np.uint8)
        for first in range(0, len(indices), _MOVED):
            rows = slice(first, first + _MOVED)
            begin = ends[first] - lengths[first]
            # from where a byte stands in the result to where it comes from
            shift = np.repeat(starts[rows] - (ends[rows] - lengths[rows]), lengths[rows])
            end = begin + len(shift)
            content[begin:end] = self._bytes[shift + np.arange(begin, end)]
        return self._of_bytes(content, ends)

    def __add__(self, other: Strings) -> Strings:
        shift = self._ends[-1] if len(self) else 0
        content = np.concatenate([self._bytes, other._bytes])
        return self._of_bytes(content, np.concatenate([self._ends, other._ends + shift]))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Strings):
            same = np.array_equal(self._ends, other._ends)
            return same and np.array_equal(self._bytes, other._bytes)
        return isinstance(other, list) and list(self) == other

    __hash__ = None  # type: ignore[assignment]  # as of a list
