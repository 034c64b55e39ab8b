"""Losses as pure functions: embeddings and memory in, a scalar out."""

from lightning_reid.losses.cluster import cluster_contrastive_loss
from lightning_reid.losses.memory import update_memory
from lightning_reid.losses.proxy import (
    intra_camera_proxy_loss,
    offline_proxy_loss,
    online_proxy_loss,
    sum_of_camera_means,
)

__all__ = [
    "cluster_contrastive_loss",
    "intra_camera_proxy_loss",
    "offline_proxy_loss",
    "online_proxy_loss",
    "sum_of_camera_means",
    "update_memory",
]
