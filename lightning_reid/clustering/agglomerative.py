"""Agglomerative clustering with average linkage on a sparse graph of distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_reid.clustering.numbering import number_by_first
from lightning_reid.resources import require_memory

_BYTES_PER_PAIR = 16  # its distance, and the copy that linkage works on


def agglomerative(distances: Any, num_clusters: int) -> NDArray[np.int64]:
    """Merge the two clusters that are nearest on average until ``num_clusters`` are left.

    This is how CALR labels the images of one camera, with one cluster for five images. Every
    pair counts, also those that are not stored: their distance is 1. While it runs it takes 16
    bytes per pair, 800 MB for 10,000 images.

    Args:
        distances: (N, N) symmetric ``scipy.sparse`` array, as ``jaccard_distance`` gives with
            ``max_distance=1``. Stored zeros are distances of 0; the diagonal does not count.
        num_clusters: Clusters, from 1 to N; exactly so many also where merges tie.

    Returns:
        (N,) labels from 0, numbered by the first member; there are no outliers.

    Raises:
        TypeError: If the distances are not sparse: a zero of a dense array has no such meaning.
        ValueError: If they are not square, ``jaccard_distance`` left out pairs below 1, or
            num_clusters is not from 1 to N.
        InputError: If that takes more memory than is free.

    Example:
        >>> from scipy.sparse import csr_array
        >>> near = np.array([[0, 0.1, 1, 1], [0.1, 0, 1, 1], [1, 1, 0, 0.2], [1, 1, 0.2, 0]])
        >>> agglomerative(csr_array(near), num_clusters=2).tolist()
        [0, 0, 1, 1]
        >>> agglomerative(csr_array(near), num_clusters=3).tolist()  # nearest first
        [0, 0, 1, 2]
    """
    from scipy.cluster.hierarchy import linkage

    graph = _checked(distances, num_clusters)
    size = graph.shape[0]
    if num_clusters == size:  # one image has no pairs, which linkage refuses
        return np.arange(size)
    require_linkage_memory(size)
    merges = linkage(_condensed(graph), method="average")
    return _merged(merges[: size - num_clusters, :2].astype(np.int64), size)


def require_linkage_memory(num_images: int) -> None:
    """Raise an InputError if the distances of all pairs of so many images do not fit."""
    require_memory(
        f"Average linkage of {num_images:,} images",
        _BYTES_PER_PAIR * num_images * (num_images - 1) // 2,
        "cpu",
        "use another clusterer for so many",
    )


def _checked(distances: Any, num_clusters: int) -> Any:
    from scipy.sparse import csr_array, issparse

    if not issparse(distances):
        raise TypeError(f"distances must be a scipy.sparse array, not {type(distances).__name__}")
    if distances.shape[0] != distances.shape[1]:
        raise ValueError(f"distances must be square, not of shape {distances.shape}")
    max_distance = getattr(distances, "max_distance", None)
    if max_distance is not None and max_distance < 1:
        raise ValueError(
            f"distances above {max_distance} were left out and would count as 1: "
            "compute them with max_distance=1"
        )
    if not 1 <= num_clusters <= distances.shape[0]:
        raise ValueError(
            f"num_clusters must be from 1 to the {distances.shape[0]} images, not {num_clusters}"
        )
    return csr_array(distances)


def _condensed(graph: Any) -> NDArray[np.float64]:
    """Distances of all pairs in the order of SciPy: (0, 1), (0, 2), ..., (1, 2), ..."""
    size = graph.shape[0]
    rows = np.repeat(np.arange(size, dtype=np.int64), np.diff(graph.indptr))
    upper = graph.indices > rows
    rows, columns = rows[upper], graph.indices[upper]
    pairs = np.ones(size * (size - 1) // 2)
    pairs[rows * (2 * size - rows - 1) // 2 + columns - rows - 1] = graph.data[upper]
    return pairs


def _merged(merges: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Labels after the first merges; each makes a new node out of two images or nodes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = size + len(merges)
    made = np.repeat(np.arange(size, nodes), 2)
    tree = coo_array((np.ones(len(made)), (made, merges.ravel())), shape=(nodes, nodes))
    _, components = connected_components(tree, directed=False)
    return number_by_first(components[:size])
