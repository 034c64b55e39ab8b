"""How well clusters are separated, from a sparse graph of distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_reid.indices import whole_numbers

Indices = NDArray[np.int64]


def silhouette(distances: Any, labels: NDArray[np.int64] | Tensor) -> float:
    """Compute the mean silhouette of the clustered images.

    Needs no identities, so it may watch a training. It is the mean of (b - a) / max(a, b) with
    a the mean distance to the others of the own cluster and b the smallest mean distance to
    another cluster; an image alone in its cluster counts 0, outliers are left out.

    Args:
        distances: (N, N) ``scipy.sparse`` array or sparse COO tensor of distances from 0 to 1;
            pairs that are not stored count as 1, whatever the diagonal holds does not count.
        labels: (N,) array or tensor, the cluster of each image, negative for outliers.

    Returns:
        A number from -1 to 1; nan with fewer than two clusters.

    Raises:
        ValueError: If the distances are not (N, N), or the labels no integers.

    Example:
        >>> from scipy.sparse import csr_array
        >>> near = np.array([[0, 0.1, 1, 1], [0.1, 0, 1, 1], [1, 1, 0, 0.1], [1, 1, 0.1, 0]])
        >>> round(silhouette(csr_array(near), np.array([0, 0, 1, 1])), 3)  # (1 - 0.1) / 1
        0.9
        >>> round(silhouette(csr_array(near), np.array([0, 1, 0, 1])), 3)
        -0.45
    """
    labels = whole_numbers("labels", labels).cpu().numpy()
    if distances.shape != (len(labels), len(labels)):
        raise ValueError(f"{len(labels)} labels do not fit distances of {tuple(distances.shape)}")
    clustered = np.flatnonzero(labels >= 0)
    _, cluster, sizes = np.unique(labels[clustered], return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        return float("nan")
    own, nearest_other = _closeness(_pairs(distances), clustered, cluster, sizes)

    inner, outer = 1 - own, 1 - nearest_other
    larger = np.maximum(inner, outer)
    scores = np.divide(outer - inner, larger, out=np.zeros_like(larger), where=larger > 0)
    return float(np.where(sizes[cluster] > 1, scores, 0).mean())


def _pairs(distances: Any) -> Any:
    """Stored distances as a ``coo_array``."""
    from scipy.sparse import coo_array

    if not isinstance(distances, Tensor):
        return coo_array(distances)
    stored = distances.coalesce().cpu()
    return coo_array((stored.values().numpy(), tuple(stored.indices().numpy())), stored.shape)


def _closeness(
    pairs: Any, clustered: Indices, cluster: Indices, sizes: Indices
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of 1 - distance from each clustered image to its own and to the closest cluster."""
    from scipy.sparse import csr_array

    apart = pairs.row != pairs.col
    closeness = csr_array(
        (1 - pairs.data[apart].astype(np.float64), (pairs.row[apart], pairs.col[apart])),
        shape=pairs.shape,
    )
    members = csr_array(
        (np.ones(len(clustered)), (clustered, cluster)), shape=(pairs.shape[0], len(sizes))
    )
    sums = (closeness[clustered] @ members).tocoo()
    to_own = sums.col == cluster[sums.row]
    rows, columns, values = sums.row[~to_own], sums.col[~to_own], sums.data[~to_own]

    own, nearest_other = np.zeros(len(clustered)), np.zeros(len(clustered))
    own[sums.row[to_own]] = sums.data[to_own]
    np.maximum.at(nearest_other, rows, values / sizes[columns])
    return own / np.maximum(sizes[cluster] - 1, 1), nearest_other
