"""Labels that are made, not given."""

from lightning_reid.labels.clusters import cluster_by_density
from lightning_reid.labels.proxies import OUTLIER, group_means, group_owner, split_by_camera
from lightning_reid.labels.pseudo_labels import PseudoLabels

__all__ = [
    "OUTLIER",
    "PseudoLabels",
    "cluster_by_density",
    "group_means",
    "group_owner",
    "split_by_camera",
]
