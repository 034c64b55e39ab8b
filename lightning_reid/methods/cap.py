"""CAP: camera-aware proxies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_reid.errors import require
from lightning_reid.losses import intra_camera_proxy_loss, offline_proxy_loss
from lightning_reid.methods.base import Batch
from lightning_reid.methods.proxy_memory import ProxyMemoryModule


class CAP(ProxyMemoryModule):
    """CAP (Wang et al., AAAI 2021), after the authors' code.

    Every epoch the images are clustered and each cluster is split by camera into proxies. An image
    is told from the other proxies of its own camera and, later, pulled towards all proxies of its
    cluster over the cameras. The published code also drops the ReLU after the first convolution
    (``stem_relu=False``), and its epochs have as many batches as hold the clustered images (the
    data module's ``batches_per_epoch="clustered"``).

    Args:
        inter_camera_epoch: first epoch, from 0, with the loss across cameras; 5 in the code.
        inter_camera_weight: weight of that loss; 0.5 in the code.
        kwargs: clustering and memory, see
            :class:`~lightning_reid.methods.proxy_memory.ProxyMemoryModule`; network and optimizer,
            see :class:`~lightning_reid.ReIDModule`.

    Raises:
        InputError: if a number is out of its range.

    Example:
        >>> from lightning_reid.clustering import DensityClusterer
        >>> clusterer = DensityClusterer(k1=2, k2=1, min_samples=2)
        >>> method = CAP(clusterer=clusterer, backbone=torch.nn.Conv2d(3, 8, 5), weights=None)
        >>> method.embed(torch.rand(2, 3, 64, 32)).shape
        torch.Size([2, 8])
        >>> people = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]])
        >>> labels = method.label(people, cameras=torch.tensor([0, 1, 0, 1]), epoch=0)
        >>> labels.hard.tolist(), labels.proxies.tolist()
        ([0, 0, 1, 1], [0, 1, 2, 3])
    """

    def __init__(
        self, inter_camera_epoch: int = 5, inter_camera_weight: float = 0.5, **kwargs: Any
    ) -> None:
        require("inter_camera_epoch", inter_camera_epoch, 0)
        require("inter_camera_weight", inter_camera_weight, 0)
        super().__init__(**kwargs)
        self.inter_camera_epoch = inter_camera_epoch
        self.inter_camera_weight = inter_camera_weight

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss within cameras and, from its epoch on, the one across them."""
        embeddings, index, cameras = self.gather(
            self.embed(batch["image"]), batch["index"], batch["camera"]
        )
        own_proxies = self.targets(index)
        with torch.autocast(embeddings.device.type, enabled=False):
            similarity = embeddings @ self.memory.T
            loss = intra_camera_proxy_loss(
                embeddings,
                own_proxies,
                cameras,
                self.memory,
                self.proxy_cameras,
                self.temperature,
                similarity,
            )
            self.log("train/loss_intra", loss)
            if self.current_epoch >= self.inter_camera_epoch:
                inter = offline_proxy_loss(
                    embeddings,
                    self.current_labels().hard[index],
                    cameras,
                    self.memory,
                    self.proxy_clusters,
                    self.temperature,
                    self.num_negatives,
                    similarity,
                )
                self.log("train/loss_inter", inter)
                loss = loss + self.inter_camera_weight * inter
        self.log("train/loss", loss, prog_bar=True)
        self.move_memory(embeddings, own_proxies)
        return loss
