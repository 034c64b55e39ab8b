"""The compiled loops of the Jaccard distance; importing this module loads numba.

Each works on a range of rows with the interpreter's lock released, so that threads share the
work. Plain loops instead of numba's own parallel ones compile in a fraction of the time and
leave no thread pool behind that a forked data-loading worker would trip over.

Sparse rows come as ``begins`` (N + 1), columns and values; results as the number of entries of
each row, columns and values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile at the first call, or load what an earlier run compiled."""
    # sums may be reordered, which lets them use vector instructions
    return numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})(function)


@compiled
def _grown(array: NDArray[Any], room: int) -> NDArray[Any]:
    """Copy an array into one with at least ``room`` more places; it doubles at least."""
    larger = np.empty(array.size + max(array.size, room), array.dtype)
    larger[: array.size] = array
    return larger


@compiled
def _after(rows: Ints, first: int, last: int, row: int) -> int:
    """Find in the sorted ``rows[first:last]`` the first place of a row greater than ``row``."""
    while first < last:
        middle = (first + last) // 2
        if rows[middle] <= row:
            first = middle + 1
        else:
            last = middle
    return first


@compiled
def _weigh(points: Floats, row: int, columns: Ints, weights: Floats) -> None:
    """Fill in exp(-distance) to the row over its sum; the distance is 2 - 2 cosine."""
    largest = np.float32(-np.inf)  # taken off, as rows that are not unit could overflow
    for entry in range(columns.size):
        product = np.float32(0)
        for dimension in range(points.shape[1]):
            product += points[row, dimension] * points[columns[entry], dimension]
        weights[entry] = product
        largest = max(largest, product)
    total = np.float32(0)
    for entry in range(columns.size):
        weights[entry] = np.exp(2 * (weights[entry] - largest))
        total += weights[entry]
    for entry in range(columns.size):
        weights[entry] /= total


@compiled
def mutual(ranks: Ints, width: int, start: int, stop: int) -> Flags:
    """Tell for the first ``width`` ranks of each row whether the row is in theirs, too."""
    flags = np.zeros((stop - start, width), np.bool_)
    for row in range(start, stop):
        for place in range(width):
            other = ranks[row, place]
            for back in range(width):
                if ranks[other, back] == row:
                    flags[row - start, place] = True
                    break
    return flags


@compiled
def encode(
    points: Floats, ranks: Ints, flags: Flags, half_flags: Flags, start: int, stop: int
) -> tuple[Longs, Ints, Floats]:
    """Expand the mutual neighbours of each row, and weigh them by exp(-distance)."""
    width, half = flags.shape[1], half_flags.shape[1]
    widest = width * (half + 1)
    counts = np.empty(stop - start, np.int64)
    columns = np.empty(widest + 32 * (stop - start), np.int32)
    weights = np.empty(columns.size, np.float32)
    seen = np.full(ranks.shape[0], -1, np.int64)  # 2 row: mutual neighbour, 2 row + 1: added
    size = 0
    for row in range(start, stop):
        if size + widest > columns.size:
            columns, weights = _grown(columns, widest), _grown(weights, widest)
        first = size
        for place in range(width):
            if flags[row, place]:
                columns[size] = ranks[row, place]
                seen[columns[size]] = 2 * row
                size += 1
        for entry in range(first, size):
            candidate = columns[entry]
            members = shared = 0
            for place in range(half):
                if half_flags[candidate, place]:
                    members += 1
                    shared += seen[ranks[candidate, place]] == 2 * row
            if 3 * shared > 2 * members:
                for place in range(half):
                    other = ranks[candidate, place]
                    if half_flags[candidate, place] and seen[other] < 2 * row:
                        seen[other] = 2 * row + 1
                        columns[size] = other
                        size += 1
        _weigh(points, row, columns[first:size], weights[first:size])
        counts[row - start] = size - first
    return counts, columns[:size], weights[:size]


@compiled
def average(
    begins: Longs, columns: Ints, values: Floats, ranks: Ints, start: int, stop: int
) -> tuple[Longs, Ints, Floats]:
    """Average sparse rows over the rows that ``ranks`` lists for each."""
    num_rows, width = ranks.shape
    counts = np.empty(stop - start, np.int64)
    out_columns = np.empty(128 * (stop - start), np.int32)
    out_values = np.empty(out_columns.size, np.float32)
    sums = np.zeros(num_rows, np.float32)
    size = 0
    for row in range(start, stop):
        widest = 0
        for other in ranks[row]:
            widest += begins[other + 1] - begins[other]
        if size + widest > out_columns.size:
            out_columns, out_values = _grown(out_columns, widest), _grown(out_values, widest)
        first = size
        for other in ranks[row]:
            for entry in range(begins[other], begins[other + 1]):
                column = columns[entry]
                if sums[column] == 0 and values[entry] > 0:
                    out_columns[size] = column
                    size += 1
                sums[column] += values[entry]
        for entry in range(first, size):
            out_values[entry] = sums[out_columns[entry]] / np.float32(width)
            sums[out_columns[entry]] = 0
        counts[row - start] = size - first
    return counts, out_columns[:size], out_values[:size]


@compiled
def later_close_pairs(
    begins: Longs,
    columns: Ints,
    values: Floats,
    column_begins: Longs,
    holders: Ints,
    held: Floats,
    limit: np.float32,
    start: int,
    stop: int,
) -> tuple[Longs, Ints, Floats]:
    """Compute the distances up to ``limit`` to the rows that follow each row.

    ``column_begins``, ``holders`` and ``held`` are the same entries by column: the rows, in
    order, and their values.
    """
    num_rows = begins.size - 1
    counts = np.empty(stop - start, np.int64)
    others = np.empty(num_rows + 16 * (stop - start), np.int32)
    distances = np.empty(others.size, np.float32)
    overlaps = np.zeros(num_rows, np.float32)
    touched = np.empty(num_rows, np.int32)
    size = 0
    for row in range(start, stop):
        num_touched = 0
        for entry in range(begins[row], begins[row + 1]):
            column, value = columns[entry], values[entry]
            stop_entry = column_begins[column + 1]
            for place in range(_after(holders, column_begins[column], stop_entry, row), stop_entry):
                other = holders[place]
                shared = min(value, held[place])
                if overlaps[other] == 0 and shared > 0:
                    touched[num_touched] = other
                    num_touched += 1
                overlaps[other] += shared
        if size + num_touched > others.size:
            others, distances = _grown(others, num_touched), _grown(distances, num_touched)
        first = size
        for other in touched[:num_touched]:
            overlap = overlaps[other]
            overlaps[other] = 0
            distance = np.float32(max(0.0, 1.0 - overlap / (2.0 - overlap)))
            if distance <= limit and distance < 1:
                others[size] = other
                distances[size] = distance
                size += 1
        counts[row - start] = size - first
    return counts, others[:size], distances[:size]
