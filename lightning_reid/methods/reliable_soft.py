"""Reliable and soft labels: what k-means is sure of, and a guess for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_reid.clustering import camera_normalize
from lightning_reid.clustering.clusterers import Clusterer
from lightning_reid.errors import InputError, require, require_one_of, require_positive
from lightning_reid.labels import (
    OUTLIER,
    NothingSelectedError,
    PseudoLabels,
    reliable_soft_labels,
)
from lightning_reid.labels.reliable_soft import Center, Selection
from lightning_reid.lightning import pl, rank_zero_warn
from lightning_reid.losses import soft_cross_entropy
from lightning_reid.methods.base import Batch
from lightning_reid.methods.head import HeadModule
from lightning_reid.methods.source_weights import SourceWeights
from lightning_reid.models.checkpoint_files import is_checkpoint_path

_IMAGES_PER_CLUSTER = 20
_FIRST_SPREAD = 0.001  # of the classifier's weights, in PUL
_ROUNDS = 100_000  # more than there can be; keeps the draws of different seeds apart


class ReliableSoftLabels(HeadModule):
    """Reliable and soft labels (Sun & Jung), with the outer loop of PUL (Fan et al. 2018).

    Starts from a model trained on other, labelled people (``weights``). The images of each camera
    are clustered; those that resemble a centre are selected and clustered again over all cameras,
    which gives them reliable labels; the others get soft labels from their similarity to the new
    centres. A classifier and the network learn both for a round; then the better features are
    clustered again and, as in PUL, training restarts from the source model.

    Args:
        num_clusters: people to look for; the paper sets it near their true number (750 on
            Market-1501, 700 on DukeMTMC-reID). None, our default without labels: one for every 20
            training images, between what these two sets have (17 and 24).
        clusters_per_camera: clusters within each camera: a number for all, or a list with one for
            each camera, in the order of the data module's ``camera_names``. The paper takes the
            number of identities in each camera (Eq. 3); None, our default for those who do not know
            it: ``num_clusters``, but at most one for every three images.
        threshold: similarity to a centre above which an image is selected; 0.85 in the paper.
        label_temperature: of the soft labels; 0.02 in the paper.
        center: what stands for a cluster in the selection: its ``"mean"`` (paper) or its
            ``"medoid"``, the image nearest to that (PUL's code).
        select: by the similarity to ``"any"`` centre of the camera (PUL's code) or the ``"own"``.
        soft: train on images with soft labels too.
        clusterer: used instead of k-means, in both places; of its clusters over all cameras the
            ``num_clusters`` largest are kept.
        normalize_cameras: cluster camera-normalised features.
        epochs_per_round: epochs between two clusterings, each begun from the source model; 20 in
            PUL.
        restart: begin each round from the source model, as PUL does; else go on.
        restarts: of k-means; 10 in PUL, by scikit-learn's default of its time.
        iterations: of k-means; 300 in PUL, likewise.
        seed: of k-means and of the classifier's first weights.
        dropout: before the classifier; 0.5 in PUL.
        neck: see :class:`~lightning_reid.ReIDModule`; the paper has none. With it, features are
            less alike and the threshold has to be lower.
        optimizer: SGD in PUL.
        learning_rate: 0.001 in PUL.
        weight_decay: none in PUL.
        warmup_epochs: none in PUL.
        milestones: epochs of a round after which the rate falls; none in PUL.
        weights: checkpoint of the source model. Others work, with a warning.
        kwargs: see :class:`~lightning_reid.ReIDModule`.

    Raises:
        InputError: if a number is out of its range, or ``center`` or ``select`` none of its values.
        NothingSelectedError: in ``fit``, if the first labelling selects no image.

    Example:
        >>> method = ReliableSoftLabels(backbone=torch.nn.Conv2d(3, 8, 5), weights=None)
        >>> method.embed(torch.rand(2, 3, 64, 32)).shape
        torch.Size([2, 8])
        >>> [epoch for epoch in range(60) if method.labels_due(epoch, interval=1)]  # rounds of 20
        [0, 20, 40]
    """

    datamodule_needs = ("train_cameras",)

    def __init__(
        self,
        num_clusters: int | None = None,
        clusters_per_camera: int | Sequence[int] | None = None,
        threshold: float = 0.85,
        label_temperature: float = 0.02,
        center: Center = "mean",
        select: Selection = "any",
        soft: bool = True,
        clusterer: Clusterer | None = None,
        normalize_cameras: bool = False,
        epochs_per_round: int = 20,
        restart: bool = True,
        restarts: int = 1,
        iterations: int = 25,
        seed: int = 0,
        dropout: float = 0.5,
        neck: bool = False,
        optimizer: Literal["adam", "sgd"] = "sgd",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        warmup_epochs: int = 0,
        milestones: Sequence[int] = (),
        weights: str | Path | None = "IMAGENET1K_V1",
        **kwargs: Any,
    ) -> None:
        if num_clusters is not None:
            require("num_clusters", num_clusters, 1)
        counts = clusters_per_camera
        if counts is not None:
            smallest = counts if isinstance(counts, int) else min(counts, default=0)
            require("clusters_per_camera", smallest, 1)
        require("threshold", threshold, -1, 1)
        require_positive("label_temperature", label_temperature)
        require_one_of("center", center, get_args(Center))
        require_one_of("select", select, get_args(Selection))
        require("epochs_per_round", epochs_per_round, 1)
        require("restarts", restarts, 1)
        require("iterations", iterations, 1)
        super().__init__(
            dropout=dropout,
            neck=neck,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup_epochs=warmup_epochs,
            milestones=milestones,
            weights=weights,
            **kwargs,
        )
        self.from_source = weights is not None and is_checkpoint_path(weights)
        self.num_clusters = num_clusters
        self.clusters_per_camera = clusters_per_camera
        self.threshold = threshold
        self.label_temperature = label_temperature
        self.center = center
        self.select = select
        self.soft = soft
        self.clusterer = None if clusterer is None else self.keep_clusterer(clusterer)
        self.normalize_cameras = normalize_cameras
        self.epochs_per_round = epochs_per_round
        self.restart = restart
        self.restarts = restarts
        self.iterations = iterations
        self.seed = seed
        self.source: SourceWeights | None = None

    def check_fit(self, datamodule: Any, trainer: pl.Trainer) -> None:
        """Check that there is a number of clusters for each camera, too."""
        super().check_fit(datamodule, trainer)
        if not isinstance(self.clusters_per_camera, int | None):
            cameras = int(datamodule.train_cameras.max()) + 1
            if len(self.clusters_per_camera) != cameras:
                raise InputError(
                    f"clusters_per_camera has {len(self.clusters_per_camera)} numbers, and the "
                    f"training images are from {cameras} cameras: give one for each, one number "
                    "for all, or null"
                )

    def label_features(self, images: Tensor) -> Tensor:
        """Features that labels are made from: pooled and not normalised, as PUL's k-means has them.

        Where a clusterer stands in for k-means they are the embeddings.
        """
        if self.clusterer is not None:
            return self.embed(images)
        return self.network.project(self.network.features(images))

    def head_size_of(self, datamodule: Any) -> int:
        """The number of clusters."""
        count = len(datamodule.train_cameras)
        return self.num_clusters or max(2, round(count / _IMAGES_PER_CLUSTER))

    def make_head(self, size: int) -> nn.Module:
        """A classifier with small random weights."""
        head = nn.Linear(self.network.embedding_dim, size)
        self._draw_weights(head, 0)
        return head

    def setup(self, stage: str) -> None:
        """Remember the source model."""
        super().setup(stage)
        if stage == "fit" and self.restart:
            self.source = SourceWeights.of(self.network, self.trainer)

    def before_labels(self, epoch: int) -> None:
        """Where a run begins, tell if it has no source model; one that goes on needs none."""
        if epoch == 0 and not self.from_source:
            rank_zero_warn(
                "ReliableSoftLabels should start from a model of other, labelled people: "
                "--model.weights=<checkpoint of Supervised>"
            )

    def labels_due(self, epoch: int, interval: int) -> bool:
        """At the start of every round."""
        return epoch % self.epochs_per_round == 0

    @torch.no_grad()
    def label(
        self, features: Tensor, cameras: Tensor, epoch: int, known: Tensor | None = None
    ) -> PseudoLabels:
        """Reliable labels for the images selected, soft ones for the others."""
        if self.normalize_cameras:
            features = camera_normalize(features, cameras)
        try:
            made = reliable_soft_labels(
                features,
                cameras,
                self.head_size,
                self.clusters_per_camera,
                self.threshold,
                self.label_temperature,
                self.seed,
                self.center,
                self.select,
                self.clusterer,
                self.restarts,
                self.iterations,
            )
        except NothingSelectedError as nothing:
            if self.labels is None:
                raise
            rank_zero_warn(str(nothing))
            return PseudoLabels(torch.full((len(cameras),), OUTLIER, dtype=torch.int64))
        selected = made.reliable >= 0
        statistics = {"reliable_share": float(selected.float().mean())}
        hard = made.soft.argmax(1) if self.soft else made.reliable
        return PseudoLabels(hard, soft=made.soft, sampling="images", statistics=statistics)

    def advice(self, mostly_outliers: bool) -> str:
        """What to change where there are too few clusters."""
        if self.clusterer is not None:
            return super().advice(mostly_outliers)
        return "lower threshold" if mostly_outliers else "raise num_clusters or lower threshold"

    def on_train_epoch_start(self) -> None:
        """Begin a round."""
        round_, epoch = divmod(self.current_epoch, self.epochs_per_round)
        if epoch or not round_:
            return
        # not before: the network that ends a run is the trained one
        if self.source is not None:
            self.source.restore(self.network, self.trainer)
        self._draw_weights(self.current_head(), round_)

    def learning_rate_factor(self, epoch: int) -> float:
        """The schedule begins anew with every round."""
        return super().learning_rate_factor(epoch % self.epochs_per_round)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy with reliable and soft labels alike."""
        projected = self.network.project(self.network.features(batch["image"]))
        projected, index = self.gather(projected, batch["index"])
        labels = self.current_labels()
        if labels.soft is None:
            raise ValueError("labels without soft labels; make them with reliable_soft_labels")
        with torch.autocast(projected.device.type, enabled=False):
            loss = soft_cross_entropy(self.current_head()(projected), labels.soft[index])
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def training_state(self) -> dict[str, Any]:
        """The source model."""
        source = {} if self.source is None else {"source": self.source.weights}
        return {**super().training_state(), **source}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Take back the source model."""
        super().load_training_state(state)
        if "source" in state:
            self.source = SourceWeights.of_state(state["source"], self.network)

    def _draw_weights(self, head: nn.Linear, round_: int) -> None:
        """Small normal weights, as in PUL: the same for the same seed and round."""
        generator = torch.Generator().manual_seed(_ROUNDS * self.seed + round_)
        # on the CPU, also where the Trainer's device is the default one
        drawn = torch.randn(head.weight.shape, generator=generator, device="cpu") * _FIRST_SPREAD
        with torch.no_grad():
            head.weight.copy_(drawn)
            head.bias.zero_()
