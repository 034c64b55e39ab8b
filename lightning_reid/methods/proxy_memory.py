"""What CAP and O2CAP share: clusters split into proxies, and a memory of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_reid.clustering.clusterers import Clusterer, DensityClusterer
from lightning_reid.labels import PseudoLabels, cluster_images, group_means, group_owner
from lightning_reid.losses import update_memory
from lightning_reid.methods.base import Batch, ReIDModule


class ProxyMemoryModule(ReIDModule):
    """Base of methods that hold one representative per (cluster, camera) pair.

    Args:
        clusterer: makes the clusters; by default a
            :class:`~lightning_reid.clustering.DensityClusterer` with the settings of the papers.
        normalize_cameras: cluster camera-normalised features; off in the papers, a large gain
            where cameras differ much.
        temperature: of the losses; 0.07 in CAP and O2CAP.
        momentum: of the memory; 0.2 in CAP and O2CAP.
        num_negatives: hardest proxies to push away from; 50 in CAP and O2CAP.
        kwargs: see :class:`~lightning_reid.ReIDModule`.
    """

    def __init__(
        self,
        # named first, it is what `--model.clusterer.eps 0.6` alone means on the command line
        clusterer: DensityClusterer | Clusterer | None = None,
        normalize_cameras: bool = False,
        temperature: float = 0.07,
        momentum: float = 0.2,
        num_negatives: int = 50,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.clusterer = self.keep_clusterer(clusterer or DensityClusterer())
        self.normalize_cameras = normalize_cameras
        self.temperature = temperature
        self.momentum = momentum
        self.num_negatives = num_negatives
        # plain tensors: they change size with every labelling, which a buffer must not
        self.memory = torch.empty(0)
        self.proxy_clusters = torch.empty(0, dtype=torch.int64)
        self.proxy_cameras = torch.empty(0, dtype=torch.int64)

    def label(self, features: Tensor, cameras: Tensor, epoch: int) -> PseudoLabels:
        """Clusters, split by camera."""
        return cluster_images(
            self.clusterer, features, cameras, self.normalize_cameras, self._trainer
        )

    def adopt(self, labels: PseudoLabels, features: Tensor) -> None:
        """Start the memory anew from the mean feature of every proxy."""
        self._take_labels(labels)
        self.memory = group_means(features.to(self.device), self._proxies())

    def training_state(self) -> dict[str, Tensor]:
        """The memory."""
        return {"memory": self.memory}

    def load_training_state(self, state: dict[str, Tensor]) -> None:
        """Take back the memory, on the network's device."""
        self._take_labels(self.current_labels())
        self.memory = state["memory"].to(self.device)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the memory, after the losses have seen it as it stood."""
        self.memory = update_memory(
            self.memory, outputs["embeddings"], outputs["targets"], self.momentum
        )

    def _take_labels(self, labels: PseudoLabels) -> None:
        self.labels = labels.to(self.device)
        proxies = self._proxies()
        self.proxy_clusters = group_owner(proxies, self.labels.hard)
        if self.labels.proxy_cameras is None:
            raise ValueError("labels without proxy_cameras; make them with from_clusters")
        self.proxy_cameras = self.labels.proxy_cameras

    def _proxies(self) -> Tensor:
        proxies = self.current_labels().proxies
        if proxies is None:
            raise ValueError("labels without proxies; make them with PseudoLabels.from_clusters")
        return proxies
