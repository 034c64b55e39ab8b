"""O2CAP: offline and online associated camera-aware proxies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_reid.clustering import camera_normalize
from lightning_reid.errors import require
from lightning_reid.losses import (
    association_scores,
    intra_camera_proxy_loss,
    offline_proxy_loss,
    online_proxy_loss,
)
from lightning_reid.methods.base import Batch
from lightning_reid.methods.proxy_memory import ProxyMemoryModule


class O2CAP(ProxyMemoryModule):
    """O2CAP (Wang et al., TIP 2022), after the authors' code.

    Every epoch the images are clustered and each cluster is split by camera into proxies. An image
    is pulled towards all proxies of its cluster (offline association) and towards the proxies that
    look like the same person in other cameras at this moment, whatever their cluster (online).

    Args:
        normalize_cameras: cluster camera-normalised features and, our addition, associate online
            by camera-normalised similarities too: where cameras differ much, these name the right
            partner more often.
        num_positives: proxies taken as positive online, from as many cameras; 3 in the published
            code. Never more than there are cameras; fewer than 3 where people visit few cameras.
        balance: weight of the image against its proxy in the online score; 0.15 in the code.
        offline_weight: of the offline loss; 1 in the code, 0 leaves it out.
        online_weight: of the online loss; 1 in the code, 0 leaves it out.
        intra_weight: of the loss within cameras, as in CAP; the code has it, switched off.
        kwargs: further settings of clustering and memory, see
            :class:`~lightning_reid.methods.proxy_memory.ProxyMemoryModule`; network and optimizer,
            see :class:`~lightning_reid.ReIDModule`.

    Raises:
        InputError: if a number is out of its range.

    Example:
        >>> method = O2CAP(backbone=torch.nn.Conv2d(3, 8, 5), weights=None, normalize_cameras=True)
        >>> method.embed(torch.rand(2, 3, 64, 32)).shape
        torch.Size([2, 8])
        >>> method.clusterer.eps, method.num_positives, method.temperature
        (0.5, 3, 0.07)
        >>> [round(method.learning_rate_factor(epoch), 3) for epoch in (0, 10, 20, 40)]
        [0.01, 1.0, 0.1, 0.01]
    """

    def __init__(
        self,
        num_positives: int = 3,
        balance: float = 0.15,
        offline_weight: float = 1.0,
        online_weight: float = 1.0,
        intra_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        require("num_positives", num_positives, 1)
        require("balance", balance, 0, 1)
        require("offline_weight", offline_weight, 0)
        require("online_weight", online_weight, 0)
        require("intra_weight", intra_weight, 0)
        super().__init__(**kwargs)
        self.offline_weight = offline_weight
        self.online_weight = online_weight
        self.intra_weight = intra_weight
        self.num_positives = num_positives
        self.balance = balance

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Both losses on the batch of all ranks."""
        embeddings, index, cameras = self.gather(
            self.embed(batch["image"]), batch["index"], batch["camera"]
        )
        labels = self.current_labels()
        own_proxies = self.targets(index)
        with torch.autocast(embeddings.device.type, enabled=False):
            similarity = embeddings @ self.memory.T
            offline = offline_proxy_loss(
                embeddings,
                labels.hard[index],
                cameras,
                self.memory,
                self.proxy_clusters,
                self.temperature,
                self.num_negatives,
                similarity,
            )
            online = online_proxy_loss(
                embeddings,
                own_proxies,
                cameras,
                self.memory,
                self.proxy_cameras,
                self.temperature,
                self.num_negatives,
                self.num_positives,
                similarity=similarity,
                scores=self._scores(embeddings, own_proxies, cameras, similarity),
            )
            loss = self.offline_weight * offline + self.online_weight * online
            if self.intra_weight:
                intra = intra_camera_proxy_loss(
                    embeddings,
                    own_proxies,
                    cameras,
                    self.memory,
                    self.proxy_cameras,
                    self.temperature,
                    similarity,
                )
                self.log("train/loss_intra", intra)
                loss = loss + self.intra_weight * intra
        self.log_dict({"train/loss_offline": offline, "train/loss_online": online})
        self.log("train/loss", loss, prog_bar=True)
        self.move_memory(embeddings, own_proxies)
        return loss

    def _scores(
        self, embeddings: Tensor, own_proxies: Tensor, cameras: Tensor, similarity: Tensor
    ) -> Tensor:
        """What proxies are associated by, online; camera-normalised if the clusters are."""
        if not self.normalize_cameras:
            return association_scores(
                embeddings, own_proxies, self.memory, self.balance, similarity
            )
        both = torch.cat([embeddings.detach(), self.memory])
        normalized = camera_normalize(both, torch.cat([cameras, self.proxy_cameras]))
        images, proxies = normalized[: len(embeddings)], normalized[len(embeddings) :]
        return association_scores(images, own_proxies, proxies, self.balance)
