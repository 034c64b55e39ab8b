"""What CAP and O2CAP share: clusters split into proxies, and a memory of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_reid.clustering.clusterers import Clusterer, DensityClusterer
from lightning_reid.errors import require
from lightning_reid.labels import PseudoLabels, cluster_images, group_owner
from lightning_reid.methods.memory import MemoryModule


class ProxyMemoryModule(MemoryModule):
    """Base of methods that hold one representative per (cluster, camera) pair.

    Args:
        clusterer: makes the clusters; by default a
            :class:`~lightning_reid.clustering.DensityClusterer` with the settings of the papers.
        normalize_cameras: cluster camera-normalised features; off in the papers, a large gain
            where cameras differ much.
        temperature: of the losses; 0.07 in CAP and O2CAP.
        momentum: of the memory; 0.2 in CAP and O2CAP.
        num_negatives: hardest proxies to push away from; 50 in CAP and O2CAP.
        kwargs: see :class:`~lightning_reid.methods.memory.MemoryModule` and
            :class:`~lightning_reid.ReIDModule`.

    Raises:
        InputError: if a number is out of its range.
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
        require("num_negatives", num_negatives, 1)
        super().__init__(temperature=temperature, momentum=momentum, **kwargs)
        self.clusterer = self.keep_clusterer(clusterer or DensityClusterer())
        self.normalize_cameras = normalize_cameras
        self.num_negatives = num_negatives
        self.proxy_clusters = torch.empty(0, dtype=torch.int64)
        self.proxy_cameras = torch.empty(0, dtype=torch.int64)

    def label(
        self, features: Tensor, cameras: Tensor, epoch: int, known: Tensor | None = None
    ) -> PseudoLabels:
        """Clusters, split by camera."""
        return cluster_images(
            self.clusterer, features, cameras, self.normalize_cameras, self._trainer
        )

    def groups(self) -> Tensor:
        """The proxy of every image."""
        proxies = self.current_labels().proxies
        if proxies is None:
            raise ValueError("labels without proxies; make them with PseudoLabels.from_clusters")
        return proxies

    def set_labels(self, labels: PseudoLabels) -> None:
        """Take the labels in use, and find the cluster and camera of every proxy."""
        super().set_labels(labels)
        current = self.current_labels()
        self.proxy_clusters = group_owner(self.groups(), current.hard)
        if current.proxy_cameras is None:
            raise ValueError("labels without proxy_cameras; make them with from_clusters")
        self.proxy_cameras = current.proxy_cameras
