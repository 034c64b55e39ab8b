"""From features to cluster labels, sparse and exact."""

from lightning_reid.clustering.dbscan import dbscan
from lightning_reid.clustering.jaccard import jaccard_distance
from lightning_reid.clustering.neighbors import nearest_neighbors
from lightning_reid.clustering.normalization import camera_normalize
from lightning_reid.clustering.silhouette import silhouette

__all__ = [
    "camera_normalize",
    "dbscan",
    "jaccard_distance",
    "nearest_neighbors",
    "silhouette",
]
