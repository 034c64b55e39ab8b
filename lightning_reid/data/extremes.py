"""Whether the members of a group agree, from their lowest and their highest value."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_reid.data.samples import UNKNOWN

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

_HIGHEST = np.iinfo(np.int64).max


class Extremes(NamedTuple):
    """Lowest and highest value in each of G groups, ``(G,)``; lowest > highest where none is known.

    Two numbers tell for every value whether the group holds another one, so that nothing has to be
    compared pair by pair.
    """

    lowest: Integers
    highest: Integers

    @classmethod
    def of(cls, values: Integers, groups: Integers, count: int) -> Extremes:
        """Of N values, -1 where unknown, in ``count`` groups."""
        known = values != UNKNOWN
        lowest, highest = np.full(count, _HIGHEST), np.full(count, UNKNOWN)
        np.minimum.at(lowest, groups[known], values[known])
        np.maximum.at(highest, groups[known], values[known])
        return cls(lowest, highest)

    def copy(self) -> Extremes:
        """The same numbers in arrays of their own."""
        return Extremes(self.lowest.copy(), self.highest.copy())

    def include(self, other: Extremes, into: Integers, groups: Integers) -> None:
        """Let the groups ``into`` also hold what ``groups`` of ``other`` hold, in place."""
        np.minimum.at(self.lowest, into, other.lowest[groups])
        np.maximum.at(self.highest, into, other.highest[groups])

    def differ(self, values: Integers, groups: Integers) -> Booleans:
        """``(N,)`` whether the group holds another value; False for an unknown one."""
        low, high = self.lowest[groups], self.highest[groups]
        found: Booleans = (values != UNKNOWN) & (low <= high) & ((low < values) | (high > values))
        return found
