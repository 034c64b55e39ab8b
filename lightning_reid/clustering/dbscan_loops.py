"""The compiled loops of DBSCAN; importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_reid.clustering.compilation import compiled

_OUTLIER = -1


@compiled
def dbscan_rows(
    begins: NDArray[np.int64],
    columns: NDArray[np.int32],
    distances: NDArray[Any],
    limit: Any,
    min_samples: int,
) -> NDArray[np.int64]:
    """Label the images of a symmetric graph in compressed rows; see ``dbscan``."""
    size = begins.size - 1
    is_core = np.zeros(size, np.bool_)
    parents = np.arange(size)
    for row in range(size):
        near = 1  # itself
        for entry in range(begins[row], begins[row + 1]):
            near += distances[entry] <= limit and columns[entry] != row
        is_core[row] = near >= min_samples
        if is_core[row]:
            for entry in range(begins[row], begins[row + 1]):
                column = columns[entry]
                if column < row and is_core[column] and distances[entry] <= limit:
                    _join(parents, row, column)

    labels = np.full(size, _OUTLIER, np.int64)
    count = 0
    for row in range(size):
        if is_core[row]:
            first = _root(parents, row)  # the first core of the cluster
            if first == row:
                labels[row] = count
                count += 1
            else:
                labels[row] = labels[first]
    for row in range(size):
        if not is_core[row]:
            for entry in range(begins[row], begins[row + 1]):
                column = columns[entry]
                if is_core[column] and distances[entry] <= limit:
                    label = labels[column]
                    labels[row] = label if labels[row] < 0 else min(label, labels[row])
    return labels


@compiled
def _root(parents: NDArray[np.int64], image: int) -> int:
    while parents[image] != image:
        parents[image] = parents[parents[image]]  # shortens the way for the next
        image = parents[image]
    return image


@compiled
def _join(parents: NDArray[np.int64], image: int, other: int) -> None:
    """Join two trees under the smaller of their roots."""
    root, other_root = _root(parents, image), _root(parents, other)
    if root < other_root:
        parents[other_root] = root
    else:
        parents[root] = other_root
