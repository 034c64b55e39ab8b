"""PCSL: progressive cross-camera soft labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from torch import Tensor

from lightning_reid.clustering import camera_normalize
from lightning_reid.datamodules.base import Supervision
from lightning_reid.errors import InputError, require, require_one_of, require_positive
from lightning_reid.labels import (
    PseudoLabels,
    cross_camera_soft_labels,
    group_means,
    group_owner,
    soft_label_table,
    split_by_camera,
)
from lightning_reid.labels.cross_camera import Kernel
from lightning_reid.lightning import rank_zero_warn
from lightning_reid.losses import (
    batch_hard_triplet_loss,
    camera_cross_entropy,
    camera_log_softmax,
    cross_camera_cross_entropy,
    weighted_triplet_loss,
)
from lightning_reid.methods.base import Batch
from lightning_reid.methods.head import HeadModule


class PCSL(HeadModule):
    """PCSL (Qi et al., TCSVT 2020), *equations reconstructed* from its abstract.

    People are labelled within each camera only, by hand or by a tracker; who is who across cameras
    is not known. A "person" here is such a label: the same human in two cameras is two persons.
    The abstract tells the parts (person-level features, their affinities across cameras as soft
    labels, a weighted cross-entropy and a weighted triplet loss that use them, soft labels and
    training in alternation); how each is computed is our reconstruction, and every choice is an
    argument. ``benchmarks/learning.py --table pcsl`` measures what each choice is worth.

    One classifier holds all persons, but its softmax is taken within each camera, so that nothing
    ever pushes one human's persons in two cameras apart. First only the own camera's persons are
    learnt; from ``soft_epoch`` on an image is also drawn to the persons of each other camera that
    its person resembles, as much as it resembles them.

    Args:
        k: persons of each other camera that a soft label spreads over.
        kernel: from distances of person features to affinities, see
            :func:`~lightning_reid.labels.cross_camera_soft_labels`.
        bandwidth: of the Gaussian kernel, in mean distances across cameras.
        confidence: weigh the soft label over each camera by its highest affinity, as a person need
            not appear in every camera.
        mutual: keep only persons that are among each other's ``k`` nearest.
        normalize_cameras: compare camera-normalised person features.
        soft_epoch: first epoch, from 0, with soft labels.
        label_interval: epochs between two refreshes of the soft labels.
        partners: with soft labels, let each person in a batch be followed by one of another camera
            that it resembles, drawn by the soft labels: of random batches on a large set hardly any
            image meets one, and the weighted triplet loss would have nothing to learn from.
        margin: of both triplet losses, in Euclidean distance of pooled features.
        soft_weight: of the weighted cross-entropy.
        soft_triplet_weight: of the weighted triplet loss.
        kwargs: see :class:`~lightning_reid.ReIDModule`.

    Raises:
        InputError: if a number is out of its range or ``kernel`` none of its values; in ``fit``,
            if the data has no labels within cameras.

    Example:
        >>> method = PCSL(k=1, soft_epoch=0, backbone=torch.nn.Conv2d(3, 8, 5), weights=None)
        >>> people = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [0.6, 0.8]])
        >>> cameras, known = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 2, 3])
        >>> labels = method.label(people, cameras, epoch=0, known=known)
        >>> labels.hard.tolist()  # four persons; the first
        [0, 1, 2, 3]
        >>> labels.soft.to_dense().argmax(1).tolist()  # is like the third, the second like the last
        [2, 3, 0, 1]
    """

    supervision: ClassVar[Supervision] = "intra_camera"
    datamodule_needs = ("training_labels", "train_cameras")

    def __init__(
        self,
        k: int = 3,
        kernel: Kernel = "gaussian",
        bandwidth: float = 0.2,
        confidence: bool = False,
        mutual: bool = True,
        normalize_cameras: bool = True,
        soft_epoch: int = 10,
        label_interval: int = 1,
        partners: bool = True,
        margin: float = 0.3,
        soft_weight: float = 1.0,
        soft_triplet_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        require("k", k, 1)
        require_one_of("kernel", kernel, get_args(Kernel))
        require_positive("bandwidth", bandwidth)
        require("soft_epoch", soft_epoch, 0)
        require("label_interval", label_interval, 1)
        require("margin", margin, 0)
        require("soft_weight", soft_weight, 0)
        require("soft_triplet_weight", soft_triplet_weight, 0)
        super().__init__(**kwargs)
        self.k = k
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.confidence = confidence
        self.mutual = mutual
        self.normalize_cameras = normalize_cameras
        self.soft_epoch = soft_epoch
        self.label_interval = label_interval
        self.partners = partners
        self.margin = margin
        self.soft_weight = soft_weight
        self.soft_triplet_weight = soft_triplet_weight
        self.person_cameras = torch.empty(0, dtype=torch.int64)
        self.soft_columns: Tensor | None = None
        self.soft_weights: Tensor | None = None

    def setup(self, stage: str) -> None:
        """Tell if the run is too short to get to the soft labels."""
        super().setup(stage)
        total = self.trainer.max_epochs or -1
        if stage == "fit" and 0 < total <= self.soft_epoch:
            rank_zero_warn(
                f"PCSL: soft labels begin with epoch {self.soft_epoch}, after the {total} epochs "
                "of this run: only labels within cameras are learnt; lower --model.soft_epoch"
            )

    def head_size_of(self, datamodule: Any) -> int:
        """The number of persons, over all cameras."""
        labels = datamodule.training_labels(self.supervision)
        return int(split_by_camera(labels, datamodule.train_cameras).max()) + 1

    def labels_due(self, epoch: int, interval: int) -> bool:
        """From ``soft_epoch`` on, every ``label_interval`` epochs."""
        waited = epoch - self.soft_epoch
        return epoch == 0 or (waited >= 0 and waited % self.label_interval == 0)

    def label(
        self, features: Tensor, cameras: Tensor, epoch: int, known: Tensor | None = None
    ) -> PseudoLabels:
        """Persons and, from ``soft_epoch`` on, their soft labels over other cameras."""
        if known is None:
            raise InputError("PCSL needs labels of the people within each camera")
        persons = torch.from_numpy(split_by_camera(known.cpu(), cameras.cpu()))
        if epoch and self.labels is not None:
            # a run that goes on with another seed would number them otherwise than its classifier
            persons = self.labels.hard.cpu()
        person_cameras = group_owner(persons, cameras.cpu())
        labels = PseudoLabels(persons, proxies=persons, proxy_cameras=person_cameras)
        if epoch < self.soft_epoch:
            return labels
        if self.normalize_cameras:
            features = camera_normalize(features, cameras)
        soft = cross_camera_soft_labels(
            group_means(features, persons.to(features.device)),
            person_cameras,
            self.k,
            self.kernel,
            self.bandwidth,
            self.confidence,
            self.mutual,
        )
        statistics = {
            "soft_entries": float(soft.nnz),
            # with confidence: its sum over the other cameras
            "soft_mass": float(soft.sum() / len(person_cameras)),
        }
        return replace(
            labels,
            soft=_tensor(soft[persons.numpy()]),
            sampling="partners" if self.partners else "groups",
            statistics=statistics,
        )

    def set_labels(self, labels: PseudoLabels) -> None:
        """Take the labels in use, and the soft label of every person as a row of a table."""
        super().set_labels(labels)
        persons = self.current_labels().hard
        if labels.proxy_cameras is None:
            raise ValueError("labels without proxy_cameras; make them with from_clusters")
        self.person_cameras = labels.proxy_cameras.to(self.device)
        if labels.soft is None:
            self.soft_columns, self.soft_weights = None, None
            return
        an_image = group_owner(persons, torch.arange(len(persons), device=self.device))
        table = soft_label_table(_array(labels.soft, an_image.cpu()))
        self.soft_columns, self.soft_weights = (column.to(self.device) for column in table)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The losses within cameras and, from ``soft_epoch`` on, those across."""
        pooled = self.network.features(batch["image"])
        pooled, projected, index, cameras = self.gather(
            pooled, self.network.project(pooled), batch["index"], batch["camera"]
        )
        persons = self.current_labels().hard[index]
        with torch.autocast(pooled.device.type, enabled=False):
            logits = self.current_head()(projected)[:, : len(self.person_cameras)]
            log_probabilities = camera_log_softmax(logits, self.person_cameras)
            losses = {
                "intra": camera_cross_entropy(log_probabilities, persons),
                "intra_triplets": batch_hard_triplet_loss(
                    pooled, persons, margin=self.margin, cameras=cameras
                ),
            }
            loss = losses["intra"] + losses["intra_triplets"]
            if self.soft_columns is not None and self.soft_weights is not None:
                columns, weights = self.soft_columns[persons], self.soft_weights[persons]
                losses["cross"] = cross_camera_cross_entropy(log_probabilities, columns, weights)
                losses["cross_triplets"] = weighted_triplet_loss(
                    pooled, _pairwise(columns, weights, persons), cameras, margin=self.margin
                )
                loss = loss + self.soft_weight * losses["cross"]
                loss = loss + self.soft_triplet_weight * losses["cross_triplets"]
        self.log_dict({f"train/loss_{name}": value for name, value in losses.items()})
        self.log("train/loss", loss, prog_bar=True)
        return loss


def _pairwise(columns: Tensor, weights: Tensor, persons: Tensor) -> Tensor:
    """Soft labels between the images of a batch, ``(B, B)``, from rows of the table."""
    same = columns[:, :, None] == persons
    return (weights[:, :, None] * same).sum(1)


def _tensor(soft: Any) -> Tensor:
    """A ``scipy.sparse`` array as a sparse tensor."""
    rows = soft.tocoo()
    places = torch.from_numpy(np.stack([rows.row, rows.col]).astype(np.int64))
    values = torch.from_numpy(rows.data)
    return torch.sparse_coo_tensor(
        places, values, rows.shape, is_coalesced=True, check_invariants=True
    )


def _array(soft: Tensor, rows: Tensor) -> Any:
    """Rows of a sparse tensor as a ``scipy.sparse`` array."""
    from scipy.sparse import csr_array

    sparse = soft.cpu() if soft.is_sparse else soft.cpu().to_sparse()
    chosen = sparse.index_select(0, rows).coalesce()
    places = tuple(chosen.indices().numpy())
    return csr_array((chosen.values().numpy(), places), shape=tuple(chosen.shape))
