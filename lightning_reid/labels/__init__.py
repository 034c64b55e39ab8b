"""Labels that are made, not given."""

from lightning_reid.labels.clusters import cluster_images
from lightning_reid.labels.proxies import OUTLIER, group_means, group_owner, split_by_camera
from lightning_reid.labels.pseudo_labels import PseudoLabels

__all__ = [
    "OUTLIER",
    "PseudoLabels",
    "cluster_images",
    "group_means",
    "group_owner",
    "split_by_camera",
]
