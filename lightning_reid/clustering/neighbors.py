"""The exact nearest neighbours of every image: the only quadratic step of clustering."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from lightning_reid.clustering.arrays import Array, feature_rows, same_kind
from lightning_reid.clustering.precision import full_precision

Backend = Literal["auto", "torch", "faiss"]

_BLOCK_ENTRIES = 2**26  # distances held at a time: 256 MiB


@torch.no_grad()
def nearest_neighbors(features: Array, k: int, backend: Backend = "auto") -> tuple[Array, Array]:
    """Find the k nearest rows of every row by Euclidean distance, exactly.

    Every row's first neighbour is the row itself, at distance 0, also where others are
    identical to it. The others are sorted by their float32 distance and, where that is equal,
    by index. Memory is O(N k) and one block of distances.

    Args:
        features: (N, D) array or tensor; unit rows make the ranking that of the cosine.
        k: Neighbours per row, itself included; more than N are cut to N.
        backend: "torch" computes blocks of rows on the features' device, "faiss" searches
            a flat index on the CPU. "auto" is faiss for features on the CPU, else torch.

    Returns:
        Squared distances (N, min(k, N)) float32, never negative, and indices of the same
        shape, int64: arrays for an array, tensors on the features' device for a tensor.

    Raises:
        ValueError: If k < 1, the backend is unknown, or the features are not 2-D, are empty,
            or hold NaN or infinite values.
    """
    points = feature_rows(features)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    count = min(k, len(points))
    # one more than asked for shows which rows have a tie at the cut
    candidates = _search(backend, points)(points, min(count + 1, len(points)))
    distances, indices = _settle_ties(points, *candidates, count)
    return same_kind(distances, features), same_kind(indices, features)


def _search(backend: Backend, points: Tensor) -> Callable[[Tensor, int], tuple[Tensor, Tensor]]:
    if backend == "auto":
        backend = "faiss" if points.device.type == "cpu" else "torch"
    if backend == "faiss":
        return _faiss_candidates
    if backend == "torch":
        return _torch_candidates
    raise ValueError(f"backend must be 'auto', 'torch' or 'faiss', not {backend!r}")


def _faiss_candidates(points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    import faiss  # imported where used: it loads slowly

    rows = points.cpu().numpy()
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows)
    distances, indices = index.search(rows, count)
    device = points.device
    return torch.from_numpy(distances).to(device), torch.from_numpy(indices).to(device)


def _torch_candidates(points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    distances = points.new_empty(len(points), count)
    indices = torch.empty_like(distances, dtype=torch.int64)
    everyone = torch.arange(len(points), device=points.device)
    for rows in _blocks(everyone):
        block = _squared_distances(points, rows)
        distances[rows], indices[rows] = block.topk(count, dim=1, largest=False)
    return distances, indices


def _settle_ties(
    points: Tensor, distances: Tensor, indices: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Order candidates by (itself first, distance, index) and keep ``count`` of them."""
    own = torch.arange(len(points), device=points.device)
    distances = distances.clamp(min=0).masked_fill_(indices == own[:, None], -1)
    indices, by_index = indices.sort(dim=1)
    distances, by_distance = distances.gather(1, by_index).sort(dim=1, stable=True)
    indices = indices.gather(1, by_distance)

    unsettled = distances[:, 0] >= 0  # did not find itself among its duplicates
    if distances.shape[1] > count:
        unsettled |= distances[:, count - 1] == distances[:, count]
    distances, indices = distances[:, :count].clamp(min=0), indices[:, :count].contiguous()
    for rows in _blocks(unsettled.nonzero().flatten(), len(points)):
        distances[rows], indices[rows] = _smallest_by_index(points, rows, count)
    return distances, indices


def _smallest_by_index(points: Tensor, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Search whole rows on (distance, index) packed into one integer."""
    # adding zero turns -0.0 into 0.0: the bits of the others sort as their values do
    distances = _squared_distances(points, rows).clamp_(min=0).add_(0.0)
    upper = distances.view(torch.int32).to(torch.int64)
    upper[torch.arange(len(rows), device=rows.device), rows] = -1
    keys = (upper << 32) | torch.arange(len(points), device=rows.device)
    indices = keys.topk(count, dim=1, largest=False).values & 0xFFFFFFFF
    nearest = distances.gather(1, indices)
    nearest[:, 0] = 0
    return nearest, indices


def _squared_distances(points: Tensor, rows: Tensor) -> Tensor:
    norms = points.square().sum(dim=1)
    with full_precision(points.device.type):
        distances = torch.addmm(norms, points[rows], points.T, alpha=-2)
    return distances.add_(norms[rows, None])


def _blocks(rows: Tensor, width: int | None = None) -> tuple[Tensor, ...]:
    """Split row numbers so that a block of distances to ``width`` points fits in memory."""
    return torch.split(rows, max(1, _BLOCK_ENTRIES // (width or len(rows))))
