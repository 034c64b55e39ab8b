"""Neighbour candidates from faiss: a flat index, and approximate ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_reid.clustering.candidates import Candidates
from lightning_reid.resources import require_memory

_PROBES = 32  # of the lists of an IVF index that are searched
_LINKS = 32  # of each point of an HNSW graph
_TRAINING_POINTS_PER_LIST = 64  # more hardly move the centres of the lists
_MOST_LISTS = 4096
_WORKING_MEMORY = 2**28  # bytes on a GPU, for blocks of distances


def faiss_candidates(
    points: Tensor,
    rows: Tensor,
    columns: Tensor,
    count: int,
    kind: str,
) -> Candidates:
    """Find candidates with a faiss index; nothing is known about the others.

    Args:
        points: ``(N, D)`` float32.
        rows: ``(R,)`` numbers of the rows whose neighbours are sought.
        columns: ``(C,)`` numbers of the rows among which they are sought.
        count: candidates per row, at most C.
        kind: "faiss" compares with every column; "ivf" with those in the nearest of about
            4 sqrt(C) lists; "hnsw" with those it meets in a graph.

    Returns:
        Candidates, -1 where an approximate index found fewer; a row is one of its own if it is
        among the columns.
    """
    among = np.ascontiguousarray(points[columns].cpu().numpy())
    index = _index(kind, len(among), among.shape[1], count)
    index.train(among)
    index.add(among)
    index = on_device(index, points.device, among.nbytes)
    _, places = index.search(np.ascontiguousarray(points[rows].cpu().numpy()), count)
    found = torch.from_numpy(places).to(points.device)
    found = torch.where(found < 0, -1, columns[found.clamp(min=0)])
    found = _with_own(found, rows, columns)
    unknown = torch.zeros_like(found, dtype=torch.float32)
    return Candidates(found, unknown, unknown[:, 0].double(), 1.0, complete=False)


def _with_own(found: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Put a row's own number first where an index missed it, in place of its last candidate."""
    missed = torch.isin(rows, columns) & (found != rows[:, None]).all(dim=1)
    moved = torch.cat([rows[:, None], found[:, :-1]], dim=1)
    return torch.where(missed[:, None], moved, found)


def _index(kind: str, size: int, dimensions: int, count: int) -> Any:
    import faiss  # imported where used: it loads slowly

    if kind == "faiss":
        return faiss.IndexFlatL2(dimensions)
    if kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dimensions, _LINKS)
        graph.hnsw.efSearch = max(2 * count, 64)
        return graph
    lists = max(1, min(_MOST_LISTS, round(4 * size**0.5), size // _TRAINING_POINTS_PER_LIST))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(dimensions), dimensions, lists)
    index.nprobe = _PROBES
    index.cp.min_points_per_centroid = 1
    index.cp.max_points_per_centroid = _TRAINING_POINTS_PER_LIST
    return index


def on_device(index: Any, device: torch.device, size: int) -> Any:
    """Move an index to the features' GPU, where this faiss can use it and has such an index.

    No other GPU is touched: each of several processes has one of its own.

    Args:
        index: on the CPU.
        device: of the features.
        size: bytes of the vectors that it holds, or will hold.

    Returns:
        The index on the GPU, or as it is.

    Raises:
        InputError: If that takes more memory than is free on the GPU.
    """
    import faiss

    count_gpus = getattr(faiss, "get_num_gpus", lambda: 0)  # faiss-cpu may not have it
    if device.type != "cuda" or count_gpus() == 0 or isinstance(index, faiss.IndexHNSW):
        return index
    needed = size + _WORKING_MEMORY
    require_memory("A faiss index", needed, device, "give fewer rows", outside_torch=True)
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(_WORKING_MEMORY)  # else up to 1.5 GB
    moved: Any = faiss.index_cpu_to_gpu(resources, device.index, index)
    moved.referenced_objects = [resources]  # as faiss keeps them alive; it allows no other name
    return moved
