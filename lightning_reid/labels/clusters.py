"""Clusters of the whole training set, the start of every label-free method."""

from __future__ import annotations

from time import perf_counter

import torch
from torch import Tensor

from lightning_reid.clustering import (
    camera_normalize,
    dbscan,
    jaccard_distance,
    nearest_neighbors,
    silhouette,
)
from lightning_reid.labels.pseudo_labels import PseudoLabels


def cluster_by_density(
    features: Tensor,
    cameras: Tensor,
    k1: int = 20,
    k2: int = 6,
    eps: float = 0.5,
    min_samples: int = 4,
    normalize_cameras: bool = False,
) -> PseudoLabels:
    """DBSCAN on the k-reciprocal Jaccard distance; every cluster is split by camera into proxies.

    Args:
        features: ``(N, D)`` unit rows.
        cameras: ``(N,)``, from 0.
        k1: neighbours, the image itself counted; 20 in CAP and O2CAP.
        k2: neighbours for query expansion; 6 in CAP and O2CAP.
        eps: largest distance between neighbours; 0.5 in CAP and O2CAP.
        min_samples: neighbours that make a core, the image itself counted; 4 in CAP and O2CAP.
        normalize_cameras: cluster camera-normalised features (not in the papers).

    Returns:
        Labels with proxies; the statistics are the seconds for ``neighbors`` and ``clustering``
        and the ``silhouette`` on the same distances.
    """
    start = perf_counter()
    if normalize_cameras:
        features = camera_normalize(features, cameras)
    neighbors = nearest_neighbors(features, k1)
    found = perf_counter()
    distances = jaccard_distance(features, k1, k2, max(eps, 0.6), neighbors=neighbors)
    clusters = dbscan(distances, eps, min_samples)
    statistics = {
        "silhouette": silhouette(distances, clusters),
        "seconds/neighbors": found - start,
        "seconds/clustering": perf_counter() - found,
    }
    return PseudoLabels.from_clusters(torch.from_numpy(clusters), cameras, statistics)
