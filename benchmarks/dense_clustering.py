"""The clustering of the published codes, restated plainly: dense matrices, loops over images.

Written from the description of the algorithm (Zhong et al., CVPR 2017, with the rank lists of the
codes that use faiss), to be measured against; see clustering.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN

Floats = NDArray[np.float32]
Ranks = NDArray[np.int64]


def dense_jaccard(features: Floats, ranks: Ranks, k2: int) -> Floats:
    """Jaccard distance of all pairs.

    Args:
        features: ``(N, D)`` unit rows.
        ranks: ``(N, k1)`` nearest images, the image itself first.
        k2: images over whose weights the mean is taken.
    """
    size, k1 = ranks.shape
    mutual = [_mutual(ranks, image, k1) for image in range(size)]
    half_mutual = [_mutual(ranks, image, round(k1 / 2) + 1) for image in range(size)]
    weights = np.zeros((size, size), np.float32)
    for image in range(size):
        members = _expanded(mutual[image], half_mutual)
        closeness = np.exp(2 * (features[members] @ features[image]) - 2)
        weights[image, members] = closeness / closeness.sum()
    if k2 > 1:
        averaged = np.zeros_like(weights)
        for image in range(size):
            averaged[image] = weights[ranks[image, :k2]].mean(axis=0)
        weights = averaged
    return _one_minus_overlap(weights)


def dense_dbscan(distances: Floats, eps: float, min_samples: int) -> NDArray[np.int64]:
    """scikit-learn's DBSCAN on all pairs."""
    clustering = DBSCAN(eps=eps + 1e-6, min_samples=min_samples, metric="precomputed", n_jobs=-1)
    labels: NDArray[np.int64] = clustering.fit_predict(distances)
    return labels


def _mutual(ranks: Ranks, image: int, k: int) -> Ranks:
    nearest = ranks[image, :k]
    return nearest[(ranks[nearest, :k] == image).any(axis=1)]


def _expanded(core: Ranks, half_mutual: list[Ranks]) -> Ranks:
    parts = [core]
    for candidate in core:
        members = half_mutual[candidate]
        if 3 * len(np.intersect1d(members, core)) > 2 * len(members):
            parts.append(members)
    return np.unique(np.concatenate(parts))


def _one_minus_overlap(weights: Floats) -> Floats:
    holders = [np.flatnonzero(weights[:, column]) for column in range(len(weights))]
    distances = np.zeros_like(weights)
    for image, row in enumerate(weights):
        overlap = np.zeros(len(weights), np.float32)
        for column in np.flatnonzero(row):
            others = holders[column]
            overlap[others] += np.minimum(row[column], weights[others, column])
        distances[image] = 1 - overlap / (2 - overlap)
    return np.maximum(distances, 0, out=distances)
