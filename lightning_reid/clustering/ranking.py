"""Neighbours in their final order, from true distances.

A neighbour is one integer, ``distance << 32 | index``: the bits of a float32 that is not negative
sort as its value does, so that integers sort by distance, then index. A row itself comes first.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from lightning_reid.clustering.candidates import Candidates
from lightning_reid.clustering.threads import over_row_ranges

NOBODY = 2**32 - 1
"""The number of a neighbour that is absent: no row's own, and last among equals."""

_BLOCK_ENTRIES = 2**26  # coordinates or distances held at a time, in float64
_ROUNDED_UP = 1 + 2**-22  # times a float32: nothing beyond rounds to the same


def pack(distances: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
    """Pack neighbours and sort them.

    Args:
        distances: ``(R, m)`` squared distances, not negative.
        indices: ``(R, m)`` row numbers below 2**32.
        rows: ``(R,)`` the rows' own numbers.

    Returns:
        ``(R, m)`` int64, ascending.
    """
    bits = distances.to(torch.float32).view(torch.int32).to(torch.int64)
    bits = bits.masked_fill(indices == rows[:, None], -1)
    return ((bits << 32) | indices).sort(dim=1).values


def unpack(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Give the squared distances, float32, and the row numbers, int64."""
    bits = (packed >> 32).clamp(min=0).to(torch.int32)
    return bits.view(torch.float32), packed & 0xFFFFFFFF


def rank(points: Tensor, rows: Tensor, candidates: Candidates, count: int) -> tuple[Tensor, Tensor]:
    """Rank the candidates of each row by their true distances.

    Args:
        points: ``(N, D)`` float32.
        rows: ``(R,)`` row numbers.
        candidates: of these rows.
        count: how many to keep, at most as many as there are candidates.

    Returns:
        ``(R, count)`` packed, and ``(R,)`` whether no others can be among them.
    """
    form = _rank_compiled if points.device.type == "cpu" else rank_by_tensors
    ranked, certain = form(points, rows, candidates, count)
    return ranked, certain | candidates.complete


def rank_by_tensors(
    points: Tensor, rows: Tensor, candidates: Candidates, count: int
) -> tuple[Tensor, Tensor]:
    """Rank candidates with tensor operations, on any device; see :func:`rank`."""
    width = candidates.indices.shape[1] * points.shape[1]
    ranked, certain = [], []
    for part in torch.split(
        torch.arange(len(rows), device=rows.device), _BLOCK_ENTRIES // width + 1
    ):
        indices, own = candidates.indices[part], rows[part]
        others = points[indices.clamp(min=0)].to(torch.float64)
        distances = (others - points[own, None]).square_().sum(dim=2)
        absent = indices < 0
        distances.masked_fill_(absent, torch.inf)
        ranked.append(pack(distances, indices.masked_fill(absent, NOBODY), own)[:, :count])
        reached = unpack(ranked[-1])[0][:, -1].to(torch.float64) * (_ROUNDED_UP * candidates.unit)
        certain.append(candidates.limits[part, -1] - candidates.errors[part] > reached)
    return torch.cat(ranked), torch.cat(certain)


def _rank_compiled(
    points: Tensor, rows: Tensor, candidates: Candidates, count: int
) -> tuple[Tensor, Tensor]:
    from lightning_reid.clustering import selection_loops

    ranked = torch.empty(len(rows), count, dtype=torch.int64)
    certain = torch.zeros(len(rows), dtype=torch.bool)
    work = partial(
        selection_loops.rank,
        points.numpy(),
        rows.numpy(),
        candidates.indices.contiguous().numpy(),
        candidates.limits.numpy(),
        candidates.errors.numpy(),
        ranked.numpy(),
        certain.numpy(),
        candidates.unit * _ROUNDED_UP,
    )
    over_row_ranges(work, len(rows))
    return ranked, certain


def rank_directly(points: Tensor, rows: Tensor, columns: Tensor, count: int) -> Tensor:
    """Rank all columns for each row.

    Args:
        points: ``(N, D)`` float32.
        rows: ``(R,)`` row numbers.
        columns: ``(C,)`` row numbers.
        count: how many to keep, at most C.

    Returns:
        ``(R, count)`` packed.
    """
    ranked = []
    for members in torch.split(columns, _BLOCK_ENTRIES // points.shape[1] + 1):
        parts = torch.split(rows, _BLOCK_ENTRIES // len(members) + 1)
        found = [_rank_all(points, part, members, min(count, len(members))) for part in parts]
        ranked.append(torch.cat(found))
    return torch.cat(ranked, dim=1).sort(dim=1).values[:, :count]


def _rank_all(points: Tensor, rows: Tensor, columns: Tensor, count: int) -> Tensor:
    indices = columns.expand(len(rows), -1)
    limits = torch.zeros(indices.shape, device=points.device)
    errors = torch.zeros(len(rows), dtype=torch.float64, device=points.device)
    return rank(points, rows, Candidates(indices, limits, errors, 1.0, True), count)[0]
