"""The exact nearest neighbours of every image: the only quadratic step of clustering."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_reid.clustering.arrays import Array, feature_rows, same_kind
from lightning_reid.clustering.candidates import Search, compiled_candidates, tensor_candidates
from lightning_reid.clustering.duplicates import Piles, find_piles
from lightning_reid.clustering.precision import fast_type, product_seconds
from lightning_reid.clustering.ranking import rank, rank_directly, unpack
from lightning_reid.clustering.rounding import Frame
from lightning_reid.indices import whole_numbers
from lightning_reid.resources import announce, require_memory

Backend = Literal["auto", "compiled", "torch", "faiss", "ivf", "hnsw"]

_APPROXIMATE = ("ivf", "hnsw")
_SPARE = 16  # candidates beyond twice those asked for; they leave room for rounding
_BYTES_PER_CANDIDATE = 24  # index, limit and distance, and what sorting them takes
_WORKING_MEMORY = 2**28  # bytes, for blocks of products
_TRIAL_SIZE = 2048  # rows of the block whose product is timed before a long search
_MANY_BLOCKS = 64  # fewer are over before anyone wonders
_FEW = 8  # rows that are compared with all others sooner than all others are rounded again


@torch.no_grad()
def nearest_neighbors(features: Array, k: int, backend: Backend = "auto") -> tuple[Array, Array]:
    """Find the k nearest rows of every row by Euclidean distance, exactly.

    Features are compared as float32: float64 ones that differ by less are the same.

    Every row's first neighbour is the row itself, at distance 0, also where others are identical
    to it. The others are sorted by their distance in float32 and, where that is equal, by index.
    Memory is O(N k), one rounded copy of the features and one block of distances.

    Candidates are found by matrix products in few bits (bfloat16 where it is fast). Their
    distances are computed again from the features, in float64, and a row is done when all rows
    that are no candidates are provably farther; the others are searched again in float32 and, if
    need be, float64. So the result does not depend on the device or the order of sums.

    Args:
        features: (N, D) array or tensor; unit rows make the ranking that of the cosine.
        k: Neighbours per row, itself included; more than N are cut to N.
        backend: "compiled" (CPU only) keeps candidates in compiled loops, "torch" in tensor
            operations on the features' device; "auto" is "compiled" on the CPU, else "torch".
            "faiss" searches faiss's flat index, whose rounding may swap near ties, on the GPU
            where the features are there and faiss-gpu finds one. "ivf" and "hnsw" are faiss's
            approximate indexes: they miss neighbours, and how many of them is measured on a
            sample and logged (see ``neighbor_recall``).

    Returns:
        Squared distances (N, min(k, N)) float32, never negative, and indices of the same
        shape, int64: arrays for an array, tensors on the features' device for a tensor.

    Raises:
        ValueError: If k < 1, the backend is unknown or not for this device, or the features are
            not 2-D, are empty, or hold NaN or infinite values.
        InputError: If that takes more memory than is free.

    Example:
        >>> distances, indices = nearest_neighbors(np.array([[0.0], [1.0], [4.0]]), k=2)
        >>> distances.tolist(), indices.tolist()  # squared distances; first the row itself
        ([[0.0, 1.0], [0.0, 1.0], [0.0, 9.0]], [[0, 1], [1, 0], [2, 1]])
    """
    points = feature_rows(features)
    everyone = torch.arange(len(points), device=points.device)
    distances, indices = nearest_among(points, everyone, everyone, k, backend)
    if backend in _APPROXIMATE and indices.shape[1] > 1:
        _log_recall(points, indices, backend)
    return same_kind(distances, features), same_kind(indices, features)


@torch.no_grad()
def nearest_among(
    features: Tensor, rows: Tensor, columns: Tensor, k: int, backend: Backend = "auto"
) -> tuple[Tensor, Tensor]:
    """Find the k nearest of some rows to some rows, as :func:`nearest_neighbors` does for all.

    Args:
        features: (N, D) tensor.
        rows: (R,) int64 numbers of the rows whose neighbours are sought.
        columns: (C,) int64 numbers of the rows among which they are sought, ascending.
        k: Neighbours per row, itself included if it is among the columns.
        backend: See there.

    Returns:
        Squared distances (R, min(k, C)) float32 and row numbers of the same shape, int64.

    Raises:
        ValueError: See there.
        InputError: See there.

    Example:
        >>> gallery = torch.tensor([[0.0], [1.0], [4.0]])
        >>> rows, columns = torch.tensor([0]), torch.tensor([1, 2])
        >>> distances, indices = nearest_among(gallery, rows, columns, k=1)
        >>> distances.tolist(), indices.tolist()  # row 0 is not among those that are searched
        ([[1.0]], [[1]])
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    points = feature_rows(features)
    piles = find_piles(points)
    if piles is None:
        return unpack(_nearest(points, rows, columns, min(k, len(columns)), backend))
    return _nearest_in_piles(points, piles, rows, columns, k, backend)


@torch.no_grad()
def neighbor_recall(features: Array, indices: Any, num_samples: int = 1000, seed: int = 0) -> float:
    """Measure the share of true nearest neighbours that were found, on a sample of rows.

    A row itself does not count: it is always found.

    Args:
        features: (N, D) array or tensor.
        indices: (N, k) neighbours that ``nearest_neighbors`` found for them, k > 1.
        num_samples: Rows that are searched exactly; all if there are fewer.
        seed: Draws the rows.

    Returns:
        A number from 0 to 1.

    Raises:
        ValueError: If the indices are not (N, k) integers with k > 1, or num_samples is below 1.

    Example:
        >>> features = np.array([[0.0], [1.0], [4.0], [5.0]])
        >>> neighbor_recall(features, np.array([[0, 1], [1, 0], [2, 3], [3, 0]]))  # of 3 it is 2
        0.75
    """
    points = feature_rows(features)
    found = torch.as_tensor(indices)
    if found.ndim != 2 or len(found) != len(points) or found.shape[1] < 2:
        raise ValueError(f"indices must be ({len(points)}, 2 or more), not {tuple(found.shape)}")
    if found.is_floating_point() or num_samples < 1:
        raise ValueError("indices must be row numbers, and num_samples at least 1")
    found = whole_numbers("indices", found).to(points.device)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(points), generator=generator)[:num_samples].to(points.device)
    everyone = torch.arange(len(points), device=points.device)
    exact = nearest_among(points, rows, everyone, found.shape[1])[1][:, 1:]
    return float((exact[:, :, None] == found[rows][:, None, :]).any(dim=2).float().mean())


def _nearest_in_piles(
    points: Tensor, piles: Piles, rows: Tensor, columns: Tensor, k: int, backend: Backend
) -> tuple[Tensor, Tensor]:
    """Search among one of each pile of identical rows, then list them all."""
    own, place = torch.unique(piles.representative[rows], return_inverse=True)
    others = torch.unique(piles.representative[columns])
    packed = _nearest(points, own, others, min(k, len(others)), backend)
    return unpack(piles.expand(packed, place, rows, columns, min(k, len(columns))))


def _nearest(points: Tensor, rows: Tensor, columns: Tensor, count: int, backend: Backend) -> Tensor:
    """Packed neighbours of distinct rows, ``(R, count)``."""
    wanted = min(2 * count + _SPARE, len(columns))
    needed = _require_memory(points, rows, columns, wanted)
    if backend == "faiss" or backend in _APPROXIMATE:
        from lightning_reid.clustering.faiss_indexes import faiss_candidates

        found = faiss_candidates(points, rows, columns, wanted, backend)
        packed, _ = rank(points, rows, found, count)
        return _completed(packed, points, rows, columns)
    search = _search(backend, points)
    _announce(points, rows, columns, needed)
    return _certain(points, rows, columns, count, wanted, search)


def _completed(packed: Tensor, points: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Search rows again for which an approximate index found too few."""
    short = (~unpack(packed)[0][:, -1].isfinite()).nonzero().flatten()
    if len(short):
        packed[short] = rank_directly(points, rows[short], columns, packed.shape[1])
    return packed


def _search(backend: Backend, points: Tensor) -> Search:
    on_cpu = points.device.type == "cpu"
    if backend == "compiled" and not on_cpu:
        raise ValueError(f"backend 'compiled' needs features on the CPU, not {points.device}")
    if backend == "compiled" or (backend == "auto" and on_cpu):
        return compiled_candidates
    if backend in ("auto", "torch"):
        return tensor_candidates
    known = "'auto', 'compiled', 'torch', 'faiss', 'ivf' or 'hnsw'"
    raise ValueError(f"backend must be {known}, not {backend!r}")


def _certain(
    points: Tensor, rows: Tensor, columns: Tensor, count: int, wanted: int, search: Search
) -> Tensor:
    """Search in few bits, then what was not certain in more."""
    frame = Frame.around(points)
    packed = torch.empty(len(rows), count, dtype=torch.int64, device=points.device)
    left = torch.arange(len(rows), device=points.device)
    for dtype in dict.fromkeys((fast_type(points.device.type), torch.float32, torch.float64)):
        candidates = search(points, frame, dtype, rows[left], columns, wanted)
        packed[left], certain = rank(points, rows[left], candidates, count)
        left = left[~certain]
        if len(left) <= _FEW:
            break
        search = tensor_candidates  # not all rows: no symmetry to use
    if len(left):
        packed[left] = rank_directly(points, rows[left], columns, count)
    return packed


def _log_recall(points: Tensor, indices: Tensor, backend: Backend) -> None:
    from lightning_reid.lightning import rank_zero_info

    recall = neighbor_recall(points, indices)
    rank_zero_info(f"backend {backend!r} found {recall:.2%} of the true neighbours of a sample")


def _require_memory(points: Tensor, rows: Tensor, columns: Tensor, wanted: int) -> int:
    """Give the bytes that a search needs, if they are free."""
    itemsize = fast_type(points.device.type).itemsize
    rounded = (len(rows) + len(columns)) * points.shape[1] * itemsize
    needed = rounded + _BYTES_PER_CANDIDATE * len(rows) * wanted + _WORKING_MEMORY
    advice = "use a smaller k or fewer dimensions"
    require_memory(_title(rows, columns), needed, points.device, advice)
    return needed


def _announce(points: Tensor, rows: Tensor, columns: Tensor, needed: int) -> None:
    """Log what an exact search will take, from the time of one block."""
    blocks = len(rows) * len(columns) / _TRIAL_SIZE**2
    if blocks > _MANY_BLOCKS:
        # where rows and columns are the same half of the products do, and choosing takes as long
        dtype = fast_type(points.device.type)
        once = product_seconds(_TRIAL_SIZE, points.shape[1], dtype, points.device)
        announce(_title(rows, columns), blocks * once, needed)


def _title(rows: Tensor, columns: Tensor) -> str:
    return f"Neighbours of {len(rows):,} among {len(columns):,} images"
