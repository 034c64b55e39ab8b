"""Images that are the same, or nearly.

Exact: equal digests of the decoded pixels. Near: 64-bit difference hashes a few bits apart. Both
are found by sorting, never by comparing all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from lightning_reid.data.extremes import Booleans, Extremes, Integers
from lightning_reid.data.samples import UNKNOWN
from lightning_reid.errors import require

Hashes = npt.NDArray[np.uint64]

LARGEST_DISTANCE = 8  # bits; beyond, unrelated crops are alike too

_BITS = 64
_SHARED = 3  # blocks that two hashes must share to be compared
_WINDOW = 64  # hashes after it that one is compared with
_BITS_OF_BYTE = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)


@dataclass(frozen=True)
class Likeness:
    """What the images that each of N images is like have that it has not.

    Args:
        hashes: ``(N,)`` by which they were compared.
        distance: bits in which two hashes that are alike may differ.
        compared: ``(N,)`` the others were left out.
        found: ``(N,)`` whether any other image is like it.
        columns: what was asked about the images, ``(N,)`` each, -1 where unknown.
        differing: for each column, ``(N,)``, whether an image like it has another value.
    """

    hashes: Hashes
    distance: int
    compared: Booleans
    found: Booleans
    columns: Mapping[str, Integers]
    differing: Mapping[str, Booleans]

    def partner(self, index: int, column: str) -> int:
        """The first image that is like one in ``differing[column]`` and has another value."""
        values = self.columns[column]
        other = self.compared & (values != UNKNOWN) & (values != values[index])
        near = _distances(self.hashes, self.hashes[index]) <= self.distance
        return int(np.flatnonzero(other & near)[0])


def find_alike(
    hashes: Hashes, compared: Booleans, columns: Mapping[str, Integers], distance: int = 0
) -> Likeness:
    """Find images with equal or close hashes, and in what they differ from each other.

    Args:
        hashes: ``(N,)`` of the images.
        compared: ``(N,)`` which images to compare.
        columns: ``(N,)`` each: what to ask about them, such as cameras; -1 where unknown.
        distance: largest number of differing bits; see :func:`near_pairs`.

    Raises:
        InputError: if the distance is out of its range.
    """
    rows = np.flatnonzero(compared)
    distinct, groups, counts = np.unique(hashes[rows], return_inverse=True, return_counts=True)
    repeated = counts > 1
    own = {name: Extremes.of(c[rows], groups, len(distinct)) for name, c in columns.items()}
    reached = {name: extremes.copy() for name, extremes in own.items()}
    for first, second in near_pairs(distinct, distance):
        repeated[first] = repeated[second] = True
        for name, extremes in reached.items():
            extremes.include(own[name], first, second)
            extremes.include(own[name], second, first)

    def spread(values: Booleans) -> Booleans:
        over_all = np.zeros(len(hashes), dtype=bool)
        over_all[rows] = values
        return over_all

    return Likeness(
        hashes,
        distance,
        compared,
        spread(repeated[groups]),
        columns,
        {name: spread(reached[name].differ(c[rows], groups)) for name, c in columns.items()},
    )


def originals(hashes: Hashes, rows: Booleans) -> Integers:
    """``(N,)`` the first of these images with the same hash; every other image is its own."""
    positions = np.flatnonzero(rows)
    _, first, groups = np.unique(hashes[positions], return_index=True, return_inverse=True)
    found = np.arange(len(hashes))
    found[positions] = positions[first[groups]]
    return found


def near_pairs(hashes: Hashes, distance: int) -> Iterator[tuple[Integers, Integers]]:
    """Pairs of hashes that differ in at most ``distance`` bits.

    The 64 bits are cut into ``distance + 3`` blocks. Two hashes that near share at least three of
    them, so they are neighbours once all are sorted by those three: for a distance of 3 there are
    20 choices of 3 in 6 blocks, each of some 32 bits, which unrelated hashes hardly ever share. One
    hash is compared with at most 64 that follow it in each order: the cost grows with their number
    and not with its square, whatever they are. Only where more than 65 hashes share three blocks
    can a pair be missed.

    Args:
        hashes: ``(M,)`` distinct ones, sorted.
        distance: from 0 to 8.

    Yields:
        Positions of the first and of the second of each pair; a pair may come several times.

    Raises:
        InputError: if the distance is out of its range.
    """
    require("near", distance, 0, LARGEST_DISTANCE)
    for mask in _masks(distance + _SHARED) if distance else []:
        keys = hashes & mask
        # stable: among equal keys the hashes stay sorted, so that the window holds the likeliest
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        here = np.arange(len(keys))
        for step in range(1, _WINDOW + 1):
            here = here[: np.searchsorted(here, len(keys) - step)]
            here = here[keys[here] == keys[here + step]]
            if not len(here):
                break
            first, second = order[here], order[here + step]
            near = _distances(hashes[first], hashes[second]) <= distance
            yield first[near], second[near]


def _masks(blocks: int) -> Iterator[np.uint64]:
    """The bits of every choice of ``_SHARED`` out of so many blocks."""
    edges = [_BITS * block // blocks for block in range(blocks + 1)]
    masks = [(1 << high) - (1 << low) for low, high in pairwise(edges)]
    for chosen in combinations(masks, _SHARED):
        yield np.uint64(sum(chosen))


def _distances(first: Hashes, second: Hashes | np.uint64) -> npt.NDArray[np.uint64]:
    """Number of differing bits, ``(N,)``; NumPy counts bits itself only from 2.0 on."""
    differing = np.ascontiguousarray(first ^ second)
    counts: npt.NDArray[np.uint64] = _BITS_OF_BYTE[differing.view(np.uint8).reshape(-1, 8)].sum(1)
    return counts
