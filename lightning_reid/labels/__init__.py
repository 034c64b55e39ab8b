"""Labels that are made, not given."""

from lightning_reid.labels.clusters import cluster_images, find_neighbors
from lightning_reid.labels.cross_camera import cross_camera_soft_labels, soft_label_table
from lightning_reid.labels.local_labels import (
    LocalLabels,
    load_local_labels,
    read_local_labels,
    save_local_labels,
)
from lightning_reid.labels.proxies import OUTLIER, group_means, group_owner, split_by_camera
from lightning_reid.labels.pseudo_labels import PseudoLabels, Sampling
from lightning_reid.labels.refinement import (
    refine_labels,
    refinement_pivots,
    self_paced_probability,
)
from lightning_reid.labels.reliable_soft import (
    NothingSelectedError,
    SelectedLabels,
    reliable_soft_labels,
)

__all__ = [
    "OUTLIER",
    "LocalLabels",
    "NothingSelectedError",
    "PseudoLabels",
    "Sampling",
    "SelectedLabels",
    "cluster_images",
    "cross_camera_soft_labels",
    "find_neighbors",
    "group_means",
    "group_owner",
    "load_local_labels",
    "read_local_labels",
    "refine_labels",
    "refinement_pivots",
    "reliable_soft_labels",
    "save_local_labels",
    "self_paced_probability",
    "soft_label_table",
    "split_by_camera",
]
