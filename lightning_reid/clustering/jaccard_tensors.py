"""The Jaccard distance in tensor operations, for any device.

The steps of ``jaccard_forms.Form``. The entry in a row and a column of a sparse matrix has the
key ``row * N + column``: sorted by key, entries stand by row and column, and those to be summed
stand together. Sums are over such runs, in an order that is always the same. Work goes by chunks
of whole rows, so that what is expanded at a time is bounded and no sum depends on where they end.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from lightning_reid.clustering.graph import reach
from lightning_reid.clustering.sparse_rows import Rows, Sets

_CHUNK_ENTRIES = 2**22  # expanded at a time, with about 80 bytes for each


def mutual(ranks: Tensor) -> Tensor:
    """See ``Form.mutual``."""
    own = torch.arange(len(ranks), dtype=ranks.dtype, device=ranks.device)[:, None, None]
    flags = [
        (ranks[listed.to(torch.int64)] == row).any(dim=2) & (listed >= 0)
        for row, listed in _blocks(ranks.shape[1] ** 2, own, ranks)
    ]
    return torch.cat(flags)


def reciprocal_sets(ranks: Tensor, flags: Tensor, half_flags: Tensor) -> Sets:
    """See ``Form.reciprocal_sets``."""
    num_rows, width = ranks.shape
    half = half_flags.shape[1]
    nobody = num_rows  # sorts after everybody
    halves = ranks[:, :half].masked_fill(~half_flags, nobody)
    everyone = torch.arange(num_rows, device=ranks.device)
    keys = []
    for rows, listed, is_member in _blocks(width * (half + 1), everyone, ranks, flags):
        core = listed.masked_fill(~is_member, nobody).sort(dim=1).values
        brought = halves[listed.to(torch.int64)]
        known = _among(core, brought.flatten(1)).view_as(brought) & (brought < nobody)
        brings = is_member & (3 * known.sum(dim=2) > 2 * (brought < nobody).sum(dim=2))
        added = brought.masked_fill(~brings[:, :, None], nobody).flatten(1)
        members = torch.cat([core, added], dim=1)
        keys.append(torch.unique((rows[:, None] * num_rows + members)[members < nobody]))
    entries = torch.cat(keys)
    return Sets(_begins(entries, num_rows), (entries % num_rows).to(torch.int32))


def weighted(points: Tensor, order: Tensor, sets: Sets) -> Rows:
    """See ``Form.weighted``."""
    rows, counts = _row_numbers(sets), sets.begins.diff()
    products = [
        (points[order[row]] * points[order[column.to(torch.int64)]]).sum(
            dim=1
        )  # no product in reduced precision
        for row, column in _blocks(points.shape[1], rows, sets.columns)
    ]
    exponents = 2 * torch.cat(products)
    largest = _reduced(exponents, "max", counts)
    weights = (exponents - largest[rows]).exp()  # rows that are not unit could overflow
    return Rows(*sets, weights / _reduced(weights, "sum", counts)[rows])


def averaged(weights: Rows, ranks: Tensor) -> Rows:
    """See ``Form.averaged``."""
    num_rows, width = ranks.shape
    listed, present = ranks.flatten().clamp(min=0).to(torch.int64), ranks >= 0
    lengths = weights.begins.diff()[listed] * present.flatten()
    begins = torch.arange(0, ranks.numel() + 1, width, device=ranks.device)
    divisors = present.sum(dim=1)
    means = []
    for entries, runs in _chunks(begins, weights.begins[listed], lengths):
        keys = runs // width * num_rows + weights.columns[entries]
        keys, sums = _summed(keys, weights.values[entries])
        means.append((keys, (sums / divisors[keys // num_rows]).to(torch.float32)))
    return _joined(means, num_rows)


def close_pairs(weights: Rows, max_distance: float) -> Rows:
    """See ``Form.close_pairs``."""
    num_rows = len(weights.begins) - 1
    rows = _row_numbers(weights)
    columns, by_column = weights.columns.sort(stable=True)
    holders, held = rows[by_column], weights.values[by_column]
    next_places = torch.empty_like(by_column)
    next_places[by_column] = torch.arange(1, len(rows) + 1, device=rows.device)
    column_ends = torch.searchsorted(columns, weights.columns, right=True)
    limit = reach(max_distance)
    pairs = []
    for places, entries in _chunks(weights.begins, next_places, column_ends - next_places):
        keys = rows[entries] * num_rows + holders[places]
        keys, overlaps = _summed(keys, torch.minimum(weights.values[entries], held[places]))
        distances = (1 - overlaps / (2 - overlaps)).clamp(min=0).to(torch.float32)
        close = (distances <= limit) & (distances < 1)
        pairs.append((keys[close], distances[close]))
    return _joined(pairs, num_rows)


def _blocks(entries_each: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split tensors along their first dimension, each item of which expands to so many entries."""
    size = max(1, _CHUNK_ENTRIES // entries_each)
    return zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


def _among(sorted_rows: Tensor, candidates: Tensor) -> Tensor:
    """Tell for each candidate whether it is in the sorted list of the same row."""
    places = torch.searchsorted(sorted_rows, candidates)
    found = sorted_rows.gather(1, places.clamp_(max=sorted_rows.shape[1] - 1))
    return found == candidates


def _chunks(begins: Tensor, first: Tensor, lengths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Expand runs of entries, whole rows at a time.

    Args:
        begins: (N + 1,) where the runs of each row begin.
        first: (R,) first entry of each run.
        lengths: (R,) entries of each run.

    Yields:
        The entries of the next rows' runs, and for each entry its run.
    """
    before = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    row_ends = before[begins]
    changes = (row_ends[:-1] // _CHUNK_ENTRIES).diff().nonzero().flatten() + 1
    bounds = torch.cat([changes.new_zeros(1), changes, changes.new_tensor([len(begins) - 1])])
    table = torch.stack([begins[bounds], row_ends[bounds]], dim=1)
    shifts = first - before[:-1]
    for (run, entry), (end_run, end_entry) in pairwise(table.tolist()):
        numbers = torch.arange(run, end_run, device=begins.device)
        runs = numbers.repeat_interleave(lengths[run:end_run], output_size=end_entry - entry)
        yield torch.arange(entry, end_entry, device=begins.device) + shifts[runs], runs


def _summed(keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Sort by key, and sum the values of each, in float64."""
    keys, order = keys.sort(stable=True)
    keys, counts = torch.unique_consecutive(keys, return_counts=True)
    return keys, _reduced(values[order].to(torch.float64), "sum", counts)


def _reduced(values: Tensor, reduction: str, lengths: Tensor) -> Tensor:
    """Reduce runs of values, whose lengths need no check, in order."""
    # as a column: on CUDA, a vector would take a block of threads for each of the short runs
    return torch.segment_reduce(values[:, None], reduction, lengths=lengths, unsafe=True)[:, 0]


def _joined(chunks: list[tuple[Tensor, Tensor]], num_rows: int) -> Rows:
    """Join chunks of keys and values into sparse rows."""
    keys, values = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    return Rows(_begins(keys, num_rows), (keys % num_rows).to(torch.int32), values)


def _begins(keys: Tensor, num_rows: int) -> Tensor:
    firsts = torch.arange(num_rows + 1, device=keys.device) * num_rows
    return torch.searchsorted(keys, firsts)


def _row_numbers(entries: Sets | Rows) -> Tensor:
    """Row of each entry."""
    numbers = torch.arange(len(entries.begins) - 1, device=entries.columns.device)
    return numbers.repeat_interleave(entries.begins.diff(), output_size=len(entries.columns))
