"""The supervised baseline, and the source model of methods that start from another data set."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_reid.datamodules.base import Supervision
from lightning_reid.errors import InputError, require, require_one_of
from lightning_reid.labels import PseudoLabels
from lightning_reid.losses import batch_hard_triplet_loss
from lightning_reid.methods.base import Batch
from lightning_reid.methods.head import HeadModule


class Supervised(HeadModule):
    """Cross-entropy over identities and batch-hard triplets ("strong baseline", Luo et al. 2019).

    Sees the identities of its training images. It bounds what label-free methods can reach on a
    data set, and ``--model.weights=<its checkpoint>`` starts another method from its backbone.
    The triplets compare pooled features, the classifier takes what the neck makes of them.

    Args:
        label_smoothing: of the cross-entropy; 0.1 in the paper.
        margin: of the triplets, in the Euclidean distance of pooled features; 0.3 in the paper.
        triplet_weight: of the triplet loss; 1 in the paper, 0 leaves it out.
        sampling: ``"groups"``, some images of each person in a batch, or ``"images"``, all images
            in random order, as for PUL's source model.
        kwargs: see :class:`~lightning_reid.ReIDModule`.

    Raises:
        InputError: if a number is out of its range; in ``fit``, if the training images have no
            identities.

    Example:
        >>> method = Supervised(backbone=torch.nn.Conv2d(3, 8, 5), weights=None)
        >>> method.embed(torch.rand(2, 3, 64, 32)).shape
        torch.Size([2, 8])
        >>> people, cameras = torch.rand(3, 8), torch.tensor([0, 1, 1])
        >>> method.label(people, cameras, epoch=0, known=torch.tensor([5, 5, 6])).hard.tolist()
        [5, 5, 6]
    """

    supervision: ClassVar[Supervision] = "full"
    datamodule_needs = ("training_labels",)

    def __init__(
        self,
        label_smoothing: float = 0.1,
        margin: float = 0.3,
        triplet_weight: float = 1.0,
        sampling: Literal["groups", "images"] = "groups",
        **kwargs: Any,
    ) -> None:
        require("label_smoothing", label_smoothing, 0, 1)
        require("margin", margin, 0)
        require("triplet_weight", triplet_weight, 0)
        require_one_of("sampling", sampling, ("groups", "images"))
        super().__init__(**kwargs)
        self.sampling = sampling
        self.label_smoothing = label_smoothing
        self.margin = margin
        self.triplet_weight = triplet_weight

    def head_size_of(self, datamodule: Any) -> int:
        """The number of identities."""
        return int(datamodule.training_labels(self.supervision).max()) + 1

    def labels_due(self, epoch: int, interval: int) -> bool:
        """Once: the labels are given."""
        return epoch == 0

    def label(
        self, features: Tensor, cameras: Tensor, epoch: int, known: Tensor | None = None
    ) -> PseudoLabels:
        """The identities."""
        if known is None:
            raise InputError("Supervised needs the identities of the training images")
        return PseudoLabels(known, sampling=self.sampling)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Both losses on the batch of all ranks."""
        pooled = self.network.features(batch["image"])
        pooled, projected, index = self.gather(pooled, self.network.project(pooled), batch["index"])
        labels = self.current_labels()
        identities = labels.hard[index]
        with torch.autocast(pooled.device.type, enabled=False):
            logits = self.current_head()(projected)
            loss = cross_entropy(logits, identities, label_smoothing=self.label_smoothing)
            self.log("train/loss_identities", loss)
            if self.triplet_weight:
                triplets = batch_hard_triplet_loss(pooled, identities, margin=self.margin)
                self.log("train/loss_triplets", triplets)
                loss = loss + self.triplet_weight * triplets
        self.log("train/loss", loss, prog_bar=True)
        return loss
