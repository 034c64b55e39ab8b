"""From features to cluster labels, sparse and exact."""

from lightning_reid.clustering.agglomerative import agglomerative
from lightning_reid.clustering.camera_jaccard import camera_jaccard_distance
from lightning_reid.clustering.camera_neighbors import camera_neighbors
from lightning_reid.clustering.clusterers import (
    AgglomerativeClusterer,
    CameraDensityClusterer,
    Clusterer,
    Clustering,
    DensityClusterer,
    InfomapClusterer,
    KMeansClusterer,
)
from lightning_reid.clustering.dbscan import dbscan
from lightning_reid.clustering.infomap import graph_scores, infomap
from lightning_reid.clustering.jaccard import jaccard_distance
from lightning_reid.clustering.kmeans import kmeans
from lightning_reid.clustering.neighbors import (
    nearest_among,
    nearest_neighbors,
    neighbor_recall,
)
from lightning_reid.clustering.normalization import camera_normalize
from lightning_reid.clustering.silhouette import silhouette

__all__ = [
    "AgglomerativeClusterer",
    "CameraDensityClusterer",
    "Clusterer",
    "Clustering",
    "DensityClusterer",
    "InfomapClusterer",
    "KMeansClusterer",
    "agglomerative",
    "camera_jaccard_distance",
    "camera_neighbors",
    "camera_normalize",
    "dbscan",
    "graph_scores",
    "infomap",
    "jaccard_distance",
    "kmeans",
    "nearest_among",
    "nearest_neighbors",
    "neighbor_recall",
    "silhouette",
]
