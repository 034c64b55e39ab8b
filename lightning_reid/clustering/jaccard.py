"""The k-reciprocal Jaccard distance, sparse from the first step to the last."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_reid.clustering.arrays import Array, feature_rows
from lightning_reid.clustering.neighbors import nearest_neighbors
from lightning_reid.clustering.threads import over_row_ranges

if TYPE_CHECKING:
    from lightning_reid.clustering.graph import JaccardGraph

Rows = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]
"""Sparse rows: where each begins (N + 1), columns, values."""


def jaccard_distance(
    features: Array,
    k1: int = 20,
    k2: int = 6,
    max_distance: float = 0.6,
    k1_counts_self: bool = True,
    neighbors: tuple[Any, Any] | None = None,
) -> JaccardGraph:
    """Compute the Jaccard distance of k-reciprocal neighbourhoods, for all pairs that are close.

    Zhong et al., "Re-ranking person re-identification with k-reciprocal encoding" (CVPR 2017):
    every image is described by weights on the images that are mutually near to it, and two
    images are close when their weights overlap. The result is exact; work and memory after the
    neighbours grow with N, not with its square.

    Args:
        features: (N, D) array or tensor with unit rows.
        k1: Size of the rank list whose mutual members describe an image. 20 as in CAP.
        k2: The description is averaged over so many first neighbours, itself included, and no
            more than the rank list holds; 1 leaves it as it is. 6 as in CAP.
        max_distance: Pairs up to this distance (plus 1e-6) are stored, except those at
            distance 1.
        k1_counts_self: Whether the k1 neighbours include the image itself, as in the code of
            CAP, O2CAP and CALR; False is the definition of the paper, k1 others.
        neighbors: What ``nearest_neighbors`` returned for these features with at least k1
            columns (k1 + 1 if itself does not count), where it is known already.

    Returns:
        A ``scipy.sparse.csr_array`` (N, N) float32: symmetric, sorted, with an explicit 0 for
        the diagonal and for pairs at distance 0. It carries ``max_distance``.

    Raises:
        ValueError: If k1, k2 or max_distance are out of range, the neighbours do not fit the
            features, or the features are not 2-D, are empty, or hold NaN or infinite values.
    """
    _require_valid(k1, k2, max_distance)
    rows = feature_rows(features)
    columns = min(k1 if k1_counts_self else k1 + 1, len(rows))
    found = nearest_neighbors(features, columns) if neighbors is None else neighbors
    ranks = _rank_lists(found[1], len(rows), columns)

    encoded = _encode(rows.cpu().numpy(), ranks, min(round(k1 / 2) + 1, columns))
    if k2 > 1:
        encoded = _average(encoded, ranks[:, :k2])
    return _close_pairs(encoded, max_distance)


def _require_valid(k1: int, k2: int, max_distance: float) -> None:
    if k1 < 1 or k2 < 1:
        raise ValueError(f"k1 and k2 must be at least 1, not {k1} and {k2}")
    if not 0 <= max_distance <= 1:
        raise ValueError(f"max_distance must be between 0 and 1, not {max_distance}")


def _rank_lists(indices: NDArray[Any] | Tensor, num_rows: int, columns: int) -> NDArray[np.int32]:
    ranks = indices.cpu().numpy() if isinstance(indices, Tensor) else np.asarray(indices)
    if ranks.ndim != 2 or len(ranks) != num_rows or ranks.shape[1] < columns:
        raise ValueError(
            f"neighbors must be of shape ({num_rows}, {columns}) or wider, not {ranks.shape}"
        )
    if ranks.min() < 0 or ranks.max() >= num_rows:
        raise ValueError(f"neighbors must be row numbers from 0 to {num_rows - 1}")
    return np.ascontiguousarray(ranks[:, :columns], dtype=np.int32)


def _encode(points: NDArray[np.float32], ranks: NDArray[np.int32], half: int) -> Rows:
    """Weights of every image on its expanded set of mutual neighbours; they sum to 1."""
    from lightning_reid.clustering import jaccard_loops

    num_rows, columns = ranks.shape
    mutual = np.concatenate(
        over_row_ranges(partial(jaccard_loops.mutual, ranks, columns), num_rows)
    )
    half_mutual = np.concatenate(
        over_row_ranges(partial(jaccard_loops.mutual, ranks, half), num_rows)
    )
    work = partial(jaccard_loops.encode, points, ranks, mutual, half_mutual)
    return _joined(over_row_ranges(work, num_rows))


def _average(encoded: Rows, ranks: NDArray[np.int32]) -> Rows:
    """Mean of the weights over the images nearest to each."""
    from lightning_reid.clustering import jaccard_loops

    work = partial(jaccard_loops.average, *encoded, np.ascontiguousarray(ranks))
    return _joined(over_row_ranges(work, len(ranks)))


def _close_pairs(encoded: Rows, max_distance: float) -> JaccardGraph:
    from scipy.sparse import coo_array, csr_array

    from lightning_reid.clustering import jaccard_loops
    from lightning_reid.clustering.graph import JaccardGraph, reach

    begins, columns, weights = encoded
    size = len(begins) - 1
    by_column = csr_array((weights, columns, begins), shape=(size, size)).tocsc()
    holders = (
        by_column.indptr.astype(np.int64),
        by_column.indices.astype(np.int32, copy=False),
        by_column.data,
    )
    limit = np.float32(reach(max_distance))
    work = partial(jaccard_loops.later_close_pairs, *encoded, *holders, limit)
    begins, later, distances = _joined(over_row_ranges(work, size))

    earlier = np.repeat(np.arange(size, dtype=np.int32), np.diff(begins))
    diagonal = np.arange(size, dtype=np.int32)
    pairs = coo_array(
        (
            np.concatenate([distances, np.zeros(size, np.float32), distances]),
            (
                np.concatenate([later, diagonal, earlier]),
                np.concatenate([earlier, diagonal, later]),
            ),
        ),
        shape=(size, size),
    )
    return JaccardGraph.of(pairs.tocsr(), max_distance)


def _joined(ranges: list[Rows]) -> Rows:
    """Join sparse rows whose first array still holds the number of entries of each row."""
    counts, columns, values = (np.concatenate(parts) for parts in zip(*ranges, strict=True))
    return np.concatenate([[0], np.cumsum(counts)]), columns, values
