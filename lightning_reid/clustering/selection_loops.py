"""The compiled loops of the neighbour search; importing this module loads numba.

A block of distances comes as integers that sort as the distances do. A row's smallest are kept in
a heap of ``distance << 32 | index``, whose root, the largest of them, is the one to beat.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_reid.clustering.compilation import compiled

Keys = NDArray[Any]
"""Distances as int16 or int32."""

Heaps = NDArray[np.int64]

_CHUNK = 64  # distances looked at together: whole vector instructions, then nothing to do


@compiled
def _replace_root(heap: NDArray[np.int64], entry: np.int64) -> None:
    place, child = 0, 1
    while child < heap.size:
        if child + 1 < heap.size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= entry:
            break
        heap[place] = heap[child]
        place, child = child, 2 * child + 1
    heap[place] = entry


@compiled
def take(
    keys: Keys,
    limits: Keys,
    heaps: Heaps,
    first_row: int,
    first_column: int,
    mirrored: bool,
    part: int,
    parts: int,
) -> None:
    """Offer one of several parts of a block of distances to the heaps of its rows.

    Args:
        keys: the block; its upper left corner is distance ``(first_row, first_column)``.
        limits: ``(N,)`` distance to beat, per row.
        heaps: ``(N, m)`` nearest so far, per row.
        first_row: see ``keys``.
        first_column: see ``keys``.
        mirrored: whether the block also holds the distances of its columns to its rows.
        part: which part of the rows, and of the columns, to do.
        parts: of so many.
    """
    rows, columns = keys.shape
    for row in range(part * rows // parts, (part + 1) * rows // parts):
        _take_row(keys[row], limits, heaps[first_row + row], first_row + row, first_column)
    if mirrored:
        start, stop = part * columns // parts, (part + 1) * columns // parts
        for row in range(rows):
            mine = slice(first_column + start, first_column + stop)
            _take_column(keys[row, start:stop], limits[mine], heaps[mine], first_row + row)


@compiled
def _take_row(
    keys: Keys, limits: Keys, heap: NDArray[np.int64], row: int, first_column: int
) -> None:
    for begin in range(0, keys.size, _CHUNK):
        chunk = keys[begin : begin + _CHUNK]
        if chunk.size < _CHUNK or _any_below(chunk, limits[row]):
            for place in range(chunk.size):
                if chunk[place] < limits[row]:
                    entry = np.int64(chunk[place]) << 32 | (first_column + begin + place)
                    _replace_root(heap, entry)
                    limits[row] = heap[0] >> 32


@compiled
def _take_column(keys: Keys, limits: Keys, heaps: Heaps, row: int) -> None:
    """Offer one row's distances to the heaps of the columns."""
    for begin in range(0, keys.size, _CHUNK):
        chunk, beaten = keys[begin : begin + _CHUNK], limits[begin : begin + _CHUNK]
        if chunk.size < _CHUNK or _any_below_its(chunk, beaten):
            for place in range(chunk.size):
                if chunk[place] < beaten[place]:
                    heap = heaps[begin + place]
                    _replace_root(heap, np.int64(chunk[place]) << 32 | row)
                    beaten[place] = heap[0] >> 32


@compiled
def _any_below(chunk: Keys, limit: int) -> bool:
    """Whether any of ``_CHUNK`` keys is below a limit."""
    found = np.int8(0)  # as wide as a comparison's result, so that many fit an instruction
    for place in range(_CHUNK):
        found = np.int8(found | np.int8(chunk[place] < limit))
    return bool(found)


@compiled
def _any_below_its(chunk: Keys, limits: Keys) -> bool:
    """Whether any of ``_CHUNK`` keys is below its own limit."""
    found = np.int8(0)
    for place in range(_CHUNK):
        found = np.int8(found | np.int8(chunk[place] < limits[place]))
    return bool(found)


@compiled
def rank(
    points: NDArray[np.float32],
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
    limits: NDArray[np.float32],
    errors: NDArray[np.float64],
    ranked: NDArray[np.int64],
    certain: NDArray[np.bool_],
    unit: float,
    start: int,
    stop: int,
) -> None:
    """Rank the candidates of each row by their true distances until the rest is farther.

    Args:
        points: ``(N, D)``.
        rows: ``(R,)`` row numbers.
        others: ``(R, m)`` candidates in the order of their limits, -1 where there is none.
        limits: ``(R, m)`` least distances, but for the error.
        errors: ``(R,)`` what the limits may be too large by.
        ranked: ``(R, count)``, filled with ``distance << 32 | index``, ascending, itself first.
        certain: ``(R,)``, filled with whether the rest was farther before the list was at its end.
        unit: of the limits, in squared distances.
        start: first row to do.
        stop: row after the last.
    """
    count = ranked.shape[1]
    distance = np.empty(1, np.float32)
    bits = distance.view(np.int32)
    for row in range(start, stop):
        best = ranked[row]
        best[:] = np.iinfo(np.int64).max
        reached = np.inf
        for place in range(others.shape[1]):
            if limits[row, place] - errors[row] > reached:
                certain[row] = True
                break
            other = others[row, place]
            if other < 0:
                break
            distance[0] = _squared_distance(points[rows[row]], points[other])
            entry = (np.int64(-1 if other == rows[row] else bits[0]) << 32) | other
            if entry < best[count - 1]:
                _insert(best, entry)
            if place >= count - 1:
                bits[0] = max(best[count - 1] >> 32, 0)
                reached = np.float64(distance[0]) * unit


@compiled
def _squared_distance(point: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    total = 0.0
    for dimension in range(point.size):
        difference = np.float64(point[dimension]) - np.float64(other[dimension])
        total += difference * difference
    return total


@compiled
def _insert(ascending: NDArray[np.int64], entry: np.int64) -> None:
    place = ascending.size - 1
    while place > 0 and ascending[place - 1] > entry:
        ascending[place] = ascending[place - 1]
        place -= 1
    ascending[place] = entry
