"""DBSCAN on a sparse graph of distances."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@overload
def dbscan(distances: Tensor, eps: float, min_samples: int) -> Tensor: ...
@overload
def dbscan(distances: Any, eps: float, min_samples: int) -> NDArray[np.int64]: ...
def dbscan(distances: Any, eps: float, min_samples: int) -> NDArray[np.int64] | Tensor:
    """Cluster a symmetric sparse graph of distances with DBSCAN.

    The labels, numbering included, are those of scikit-learn's DBSCAN on the dense matrix in
    which pairs that are not stored are farther than ``eps``: clusters are numbered by their
    first core image, and an image on the border of several joins the first.

    Args:
        distances: (N, N) ``scipy.sparse`` array or sparse COO tensor, as ``jaccard_distance``
            gives. Stored zeros are distances of 0; an image is always its own neighbour, stored
            or not.
        eps: Two images are neighbours up to this distance plus 1e-6: Jaccard distances often
            fall exactly on round thresholds.
        min_samples: A core image has so many neighbours, itself included.

    Returns:
        (N,) int64 labels: 0, 1, ... for the clusters, -1 for outliers. A tensor on its device
        for a tensor, else an array.

    Raises:
        TypeError: If the distances are not sparse: a zero of a dense array has no such meaning.
        ValueError: If they are not square, eps is negative or min_samples below 1; if eps lies
            above the distance up to which ``jaccard_distance`` kept pairs, or is 1 or more
            there, where every pair would be a neighbour.

    Example:
        >>> from scipy.sparse import coo_array
        >>> rows, columns, distances = [0, 1, 2, 3], [1, 0, 3, 2], [0.1, 0.1, 0.7, 0.7]
        >>> graph = coo_array((distances, (rows, columns)), shape=(4, 4))
        >>> dbscan(graph, eps=0.5, min_samples=2).tolist()
        [0, 0, -1, -1]
        >>> dbscan(graph, eps=0.8, min_samples=2).tolist()
        [0, 0, 1, 1]
    """
    _require_valid(distances, eps, min_samples)
    if isinstance(distances, Tensor):
        return _tensor_labels(distances, eps, min_samples)
    return _scipy_labels(distances, eps, min_samples)


def _require_valid(distances: Any, eps: float, min_samples: int) -> None:
    from scipy.sparse import issparse

    is_coo = isinstance(distances, Tensor) and distances.layout == torch.sparse_coo
    if not (is_coo or issparse(distances)):
        given = getattr(distances, "layout", type(distances).__name__)
        raise TypeError(f"distances must be a scipy.sparse array or a COO tensor, not {given}")
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1]:
        raise ValueError(f"distances must be square, not of shape {tuple(distances.shape)}")
    if not eps >= 0:
        raise ValueError(f"eps must be 0 or more, not {eps}")
    if min_samples < 1:
        raise ValueError(f"min_samples must be at least 1, not {min_samples}")
    _require_complete(getattr(distances, "max_distance", None), eps)


def _require_complete(max_distance: float | None, eps: float) -> None:
    from lightning_reid.clustering.graph import reach

    if max_distance is None:
        return
    if eps > max_distance and not np.isclose(eps, max_distance, rtol=1e-9, atol=0):
        raise ValueError(f"eps {eps} is above {max_distance}, where the distances were cut off")
    if reach(eps) >= 1:
        raise ValueError("eps must be below 1: pairs at a Jaccard distance of 1 are not stored")


def _tensor_labels(distances: Tensor, eps: float, min_samples: int) -> Tensor:
    from lightning_reid.clustering.dbscan_tensors import dbscan_pairs
    from lightning_reid.clustering.graph import reach

    pairs = distances.coalesce()
    rows, columns = pairs.indices()
    near = (pairs.values() <= reach(eps)) & (rows != columns)
    return dbscan_pairs(rows[near], columns[near], len(distances), min_samples)


def _scipy_labels(distances: Any, eps: float, min_samples: int) -> NDArray[np.int64]:
    from scipy.sparse import csr_array

    from lightning_reid.clustering.dbscan_loops import dbscan_rows
    from lightning_reid.clustering.graph import reach

    rows = csr_array(distances)
    begins = rows.indptr.astype(np.int64, copy=False)
    columns = rows.indices.astype(np.int32, copy=False)
    return dbscan_rows(begins, columns, rows.data, rows.dtype.type(reach(eps)), min_samples)
