"""The compiled loops of the Jaccard distance; importing this module loads numba.

The steps of ``jaccard_forms.Form``, and the loops they run on ranges of rows, by threads. A loop
gives the number of entries of each of its rows, the columns and the values.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_reid.clustering.compilation import compiled
from lightning_reid.clustering.graph import reach
from lightning_reid.clustering.sparse_rows import Rows, Sets
from lightning_reid.clustering.threads import over_row_ranges

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


def mutual(ranks: Tensor) -> Tensor:
    """See ``Form.mutual``."""
    (lists,) = _arrays(ranks)
    return torch.from_numpy(np.concatenate(over_row_ranges(partial(_mutual, lists), len(lists))))


def reciprocal_sets(ranks: Tensor, flags: Tensor, half_flags: Tensor) -> Sets:
    """See ``Form.reciprocal_sets``."""
    lists, flagged, half_flagged = _arrays(ranks, flags, half_flags)
    work = partial(_reciprocal_sets, lists, flagged, half_flagged)
    return Sets(*_joined(over_row_ranges(work, len(lists))))


def weighted(points: Tensor, order: Tensor, sets: Sets) -> Rows:
    """See ``Form.weighted``."""
    rows = Rows(*sets, torch.empty(len(sets.columns)))
    features, images, begins, columns, values = _arrays(points, order, *rows)
    over_row_ranges(partial(_weigh, features, images, begins, columns, values), len(images))
    return rows


def averaged(weights: Rows, ranks: Tensor) -> Rows:
    """See ``Form.averaged``."""
    begins, columns, values, lists = _arrays(*weights, ranks)
    work = partial(_average, begins, columns, values, lists)
    return Rows(*_joined(over_row_ranges(work, len(lists))))


def close_pairs(weights: Rows, max_distance: float) -> Rows:
    """See ``Form.close_pairs``."""
    begins, columns, values = _arrays(*weights)
    by_column = _by_column(begins, columns, values)
    limit = np.float32(reach(max_distance))
    work = partial(_later_close_pairs, begins, columns, values, *by_column, limit)
    return Rows(*_joined(over_row_ranges(work, len(begins) - 1)))


def _arrays(*tensors: Tensor) -> list[NDArray[Any]]:
    return [tensor.contiguous().numpy() for tensor in tensors]


def _joined(ranges: Iterable[tuple[NDArray[Any], ...]]) -> list[Tensor]:
    """Join the ranges' entries, and turn the numbers of entries into where each row begins."""
    counts, *entries = (np.concatenate(parts) for parts in zip(*ranges, strict=True))
    begins = np.concatenate([[0], np.cumsum(counts)])
    return [torch.from_numpy(part) for part in (begins, *entries)]


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
def _mutual(ranks: Ints, start: int, stop: int) -> Flags:
    width = ranks.shape[1]
    flags = np.zeros((stop - start, width), np.bool_)
    for row in range(start, stop):
        for place in range(width):
            other = ranks[row, place]
            if other < 0:
                continue
            for back in range(width):
                if ranks[other, back] == row:
                    flags[row - start, place] = True
                    break
    return flags


@compiled
def _reciprocal_sets(
    ranks: Ints, flags: Flags, half_flags: Flags, start: int, stop: int
) -> tuple[Longs, Ints]:
    width, half = flags.shape[1], half_flags.shape[1]
    widest = width * (half + 1)
    counts = np.empty(stop - start, np.int64)
    columns = np.empty(widest + 32 * (stop - start), np.int32)
    seen = np.full(ranks.shape[0], -1, np.int64)  # 2 row: member, 2 row + 1: brought along
    size = 0
    for row in range(start, stop):
        if size + widest > columns.size:
            columns = _grown(columns, widest)
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
        counts[row - start] = size - first
    return counts, columns[:size]


@compiled
def _weigh(
    points: Floats,
    order: Longs,
    begins: Longs,
    columns: Ints,
    weights: Floats,
    start: int,
    stop: int,
) -> None:
    for row in range(start, stop):
        largest = np.float32(-np.inf)  # taken off, as rows that are not unit could overflow
        for entry in range(begins[row], begins[row + 1]):
            point, other = points[order[row]], points[order[columns[entry]]]
            product = np.float32(0)
            for dimension in range(point.size):
                product += point[dimension] * other[dimension]
            weights[entry] = product
            largest = max(largest, product)
        total = np.float32(0)
        for entry in range(begins[row], begins[row + 1]):
            weights[entry] = np.exp(2 * (weights[entry] - largest))
            total += weights[entry]
        for entry in range(begins[row], begins[row + 1]):
            weights[entry] /= total


@compiled
def _average(
    begins: Longs, columns: Ints, values: Floats, ranks: Ints, start: int, stop: int
) -> tuple[Longs, Ints, Floats]:
    num_rows = ranks.shape[0]
    counts = np.empty(stop - start, np.int64)
    out_columns = np.empty(128 * (stop - start), np.int32)
    out_values = np.empty(out_columns.size, np.float32)
    sums = np.zeros(num_rows, np.float32)
    size = 0
    for row in range(start, stop):
        listed = ranks[row][ranks[row] >= 0]
        widest = 0
        for other in listed:
            widest += begins[other + 1] - begins[other]
        if size + widest > out_columns.size:
            out_columns, out_values = _grown(out_columns, widest), _grown(out_values, widest)
        first = size
        for other in listed:
            for entry in range(begins[other], begins[other + 1]):
                column = columns[entry]
                if sums[column] == 0 and values[entry] > 0:
                    out_columns[size] = column
                    size += 1
                sums[column] += values[entry]
        for entry in range(first, size):
            out_values[entry] = sums[out_columns[entry]] / np.float32(listed.size)
            sums[out_columns[entry]] = 0
        counts[row - start] = size - first
    return counts, out_columns[:size], out_values[:size]


@compiled
def _by_column(begins: Longs, columns: Ints, values: Floats) -> tuple[Longs, Ints, Floats]:
    """Sort the entries by column, then row; gives where each column begins, rows and values."""
    num_rows = begins.size - 1
    places = np.zeros(num_rows + 1, np.int64)
    for column in columns:
        places[column + 1] += 1
    places = np.cumsum(places)
    column_begins = places.copy()
    holders, held = np.empty_like(columns), np.empty_like(values)
    for row in range(num_rows):
        for entry in range(begins[row], begins[row + 1]):
            place = places[columns[entry]]
            places[columns[entry]] += 1
            holders[place], held[place] = row, values[entry]
    return column_begins, holders, held


@compiled
def _later_close_pairs(
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
    overlaps = np.zeros(num_rows, np.float64)
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
            distance = np.float32(max(0.0, 1 - overlap / (2 - overlap)))
            if distance <= limit and distance < 1:
                others[size] = other
                distances[size] = distance
                size += 1
        counts[row - start] = size - first
    return counts, others[:size], distances[:size]
