"""Losses as pure functions: embeddings and memory in, a scalar out."""

from lightning_reid.losses.camera_alignment import camera_alignment_loss, camera_entropy_weights
from lightning_reid.losses.camera_blocked import (
    camera_cross_entropy,
    camera_log_softmax,
    cross_camera_cross_entropy,
)
from lightning_reid.losses.cluster import cluster_contrastive_loss
from lightning_reid.losses.memory import update_memory
from lightning_reid.losses.proxy import (
    association_scores,
    intra_camera_proxy_loss,
    offline_proxy_loss,
    online_proxy_loss,
    sum_of_camera_means,
)
from lightning_reid.losses.soft import soft_cross_entropy
from lightning_reid.losses.triplet import (
    batch_hard_triplet_loss,
    pairwise_distances,
    weighted_triplet_loss,
)

__all__ = [
    "association_scores",
    "batch_hard_triplet_loss",
    "camera_alignment_loss",
    "camera_cross_entropy",
    "camera_entropy_weights",
    "camera_log_softmax",
    "cluster_contrastive_loss",
    "cross_camera_cross_entropy",
    "intra_camera_proxy_loss",
    "offline_proxy_loss",
    "online_proxy_loss",
    "pairwise_distances",
    "soft_cross_entropy",
    "sum_of_camera_means",
    "update_memory",
    "weighted_triplet_loss",
]
