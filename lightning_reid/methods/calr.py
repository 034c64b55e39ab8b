"""CALR: camera-aware label refinement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_reid.callbacks import NoClustersError
from lightning_reid.clustering import camera_normalize, graph_scores
from lightning_reid.clustering.clusterers import (
    AgglomerativeClusterer,
    Clusterer,
    InfomapClusterer,
    Neighbors,
)
from lightning_reid.distributed import same_random_numbers
from lightning_reid.errors import InputError, require, require_one_of
from lightning_reid.labels import (
    OUTLIER,
    PseudoLabels,
    cluster_images,
    find_neighbors,
    load_local_labels,
    read_local_labels,
    refine_labels,
    refinement_pivots,
    save_local_labels,
    self_paced_probability,
)
from lightning_reid.labels.refinement import Pivot
from lightning_reid.lightning import pl, rank_zero_info, rank_zero_warn
from lightning_reid.losses import (
    camera_alignment_loss,
    camera_entropy_weights,
    cluster_contrastive_loss,
)
from lightning_reid.methods.base import Batch
from lightning_reid.methods.head import HeadModule, keep_in_graph
from lightning_reid.methods.memory import MemoryModule
from lightning_reid.methods.source_weights import SourceWeights
from lightning_reid.models import CameraDiscriminator, group_batch_norms
from lightning_reid.run_folder import folder_of

LOCAL_LABELS = "local_labels.npz"

_LOCAL_EPOCHS = 20
_SMALLEST_CAMERA = 10  # images: enough for two clusters of five


class CALR(MemoryModule, HeadModule):
    """CALR (Li et al., arXiv 2403.16450), after the authors' code.

    Stage 1 takes one camera after the other: the network starts from its first weights, the
    camera's images are clustered every epoch, and the clusters of the epoch with the best
    silhouette become the camera's *local* labels, which no difference between cameras has
    touched. Stage 2 starts from the first weights again and clusters all images. In each of these
    *global* clusters one central image, the pivot, is chosen; members that the pivot's own camera
    holds in another local cluster are removed. From ``weight_epoch`` on clusters count by how
    evenly they spread over the cameras, and for the first ``align_epochs`` a discriminator that
    tells cameras apart trains the network, through reversed gradients, to leave it nothing to tell.

    The epochs of the Trainer are those of both stages together: ``local_epochs`` for each camera,
    the rest for stage 2. With ``local_labels`` there is no stage 1.

    Defaults are those of the published code, also where paper and code differ, since the published
    numbers were made with it.

    Args:
        clusterer: of stage 2; by default Infomap with the published settings.
        local_clusterer: of stage 1; by default average linkage, one cluster for five images.
        local_labels: file of local labels to use instead of stage 1, as this method writes them
            into the run folder (``local_labels.npz``) or as the authors published them; see
            :func:`~lightning_reid.labels.load_local_labels`.
        local_epochs: epochs of stage 1 for each camera. None: 20, as in the published command, but
            never more than half of all epochs for all cameras; where that is not one for each,
            there is no stage 1 and nothing is refined, with a warning.
        local_images_per_group: images of a cluster in a batch of stage 1; 4 in the code, where
            stage 2 has 16, which is the data module's ``images_per_group``.
        local_batches_per_epoch: batches in an epoch of stage 1; 100 in the published command. None:
            as in stage 2.
        pivot: ``"last"``, the last image of the cluster whose score is above the mean of all (what
            the code does), or ``"best"``, the one with the highest score (what it seems to mean).
        refinement: ``"constant"`` removes every such member (the code), ``"cosine"`` with a
            probability that falls from 1 to 0.75 over the run (self-paced, as the abstract says; in
            the code, but commented out), ``"none"`` keeps all.
        normalize_cameras: cluster camera-normalised features in stage 2.
        score_neighbors: neighbours that an image is scored by, itself counted; 15 in the code.
        min_similarity: smallest cosine of a neighbour that counts for the score; 0.5 in the code.
        weight_epoch: first epoch of stage 2, from 0, with weights; 5 in the code.
        align_epochs: epochs of stage 2 with the discriminator; 3 in the code.
        align_weight: of the discriminator's loss; 1 in the code.
        double_softmax: apply softmax twice in that loss, as the code does: it bounds the loss and
            keeps its gradients small. False: ordinary cross-entropy.
        temperature: of the loss; 0.05 in the code.
        momentum: of the memory; 0.1 in the code.
        seed: of the removal with ``refinement="cosine"``.
        warmup_epochs: none in the code.
        milestones: epochs of a stage after which the rate falls; 20 and 40 in the code.
        kwargs: see :class:`~lightning_reid.methods.memory.MemoryModule` and
            :class:`~lightning_reid.ReIDModule`.

    Raises:
        InputError: if a number is out of its range, or ``pivot`` or ``refinement`` none of its
            values; in ``fit``, if the epochs leave nothing for stage 2 or ``local_labels`` do not
            fit the data.
        MissingPackageError: in ``fit``, if a clusterer needs a package that is not installed.

    Example:
        >>> from lightning_reid.clustering import DensityClusterer
        >>> clusterer = DensityClusterer(k1=2, k2=1, min_samples=2)
        >>> small = {"backbone": torch.nn.Conv2d(3, 8, 5), "weights": None}
        >>> method = CALR(clusterer=clusterer, refinement="none", weight_epoch=0, **small)
        >>> people = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]])
        >>> labels = method.label(people, cameras=torch.tensor([0, 1, 0, 0]), epoch=0)
        >>> labels.hard.tolist(), labels.class_weights  # one camera alone saw the second person
        ([0, 0, 1, 1], tensor([0.5266, 0.0000]))
    """

    datamodule_needs = ("train_cameras", "paths")

    def __init__(
        self,
        clusterer: InfomapClusterer | Clusterer | None = None,
        local_clusterer: AgglomerativeClusterer | Clusterer | None = None,
        local_labels: str | Path | None = None,
        local_epochs: int | None = None,
        local_images_per_group: int = 4,
        local_batches_per_epoch: int | None = None,
        pivot: Pivot = "last",
        refinement: Literal["constant", "cosine", "none"] = "constant",
        normalize_cameras: bool = False,
        score_neighbors: int = 15,
        min_similarity: float = 0.5,
        weight_epoch: int = 5,
        align_epochs: int = 3,
        align_weight: float = 1.0,
        double_softmax: bool = True,
        temperature: float = 0.05,
        momentum: float = 0.1,
        seed: int = 0,
        warmup_epochs: int = 0,
        milestones: Sequence[int] = (20, 40),
        **kwargs: Any,
    ) -> None:
        if local_epochs is not None:
            require("local_epochs", local_epochs, 1)
        require("local_images_per_group", local_images_per_group, 1)
        if local_batches_per_epoch is not None:
            require("local_batches_per_epoch", local_batches_per_epoch, 1)
        require_one_of("pivot", pivot, get_args(Pivot))
        require_one_of("refinement", refinement, ("constant", "cosine", "none"))
        require("score_neighbors", score_neighbors, 2)
        require("weight_epoch", weight_epoch, 0)
        require("align_epochs", align_epochs, 0)
        require("align_weight", align_weight, 0)
        require("seed", seed, 0)
        super().__init__(
            temperature=temperature,
            momentum=momentum,
            warmup_epochs=warmup_epochs,
            milestones=milestones,
            **kwargs,
        )
        self.clusterer = self.keep_clusterer(clusterer or InfomapClusterer())
        self.local_clusterer = self.keep_clusterer(
            local_clusterer or AgglomerativeClusterer(), "local_clusterer"
        )
        # a checkpoint holds the labels themselves
        self.hparams["local_labels"] = None
        self.local_labels_file = local_labels
        self.wanted_local_epochs = local_epochs
        self.local_images_per_group = local_images_per_group
        self.local_batches_per_epoch = local_batches_per_epoch
        self.local_epochs = 0
        self.pivot = pivot
        self.refinement = refinement
        self.normalize_cameras = normalize_cameras
        self.min_similarity = min_similarity
        # finds the neighbours that images are scored by, and checks their smallest similarity
        self.searcher = InfomapClusterer(score_neighbors, min_similarity)
        self.weight_epoch = weight_epoch
        self.align_epochs = align_epochs
        self.align_weight = align_weight
        self.double_softmax = double_softmax
        self.seed = seed
        self.train_cameras = torch.empty(0, dtype=torch.int64)
        self.local_labels = torch.empty(0, dtype=torch.int64)
        self.local_silhouettes = torch.empty(0)
        self.local_cameras: list[int] = []
        self.source: SourceWeights | None = None

    def check_fit(self, datamodule: Any, trainer: pl.Trainer) -> None:
        """Check the local labels and the number of epochs, too."""
        super().check_fit(datamodule, trainer)
        if self.local_labels_file is not None:
            load_local_labels(
                self.local_labels_file, datamodule.paths("train"), datamodule.train_cameras
            )
        if self.refinement == "cosine" and (trainer.max_epochs or -1) < 0:
            raise InputError("refinement=cosine needs to know the number of epochs: max_epochs")

    def setup(self, stage: str) -> None:
        """Read local labels, or find out which cameras stage 1 visits; remember the weights."""
        super().setup(stage)
        if stage != "fit":
            return
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        cameras = datamodule.train_cameras
        # one local cluster in each camera says nothing against any global one
        self.train_cameras = cameras
        self.local_labels = torch.zeros_like(cameras)
        self.local_silhouettes = torch.full((int(cameras.max()) + 1,), -torch.inf)
        self.local_cameras = []
        if self.local_labels_file is not None:
            self.local_labels = load_local_labels(
                self.local_labels_file, datamodule.paths("train"), cameras
            )
        elif self.refinement != "none":
            self._plan_stage_1(cameras)

    def head_size_of(self, datamodule: Any) -> int:
        """The number of cameras."""
        return int(datamodule.train_cameras.max()) + 1

    def make_head(self, size: int) -> nn.Module:
        """The discriminator, whose batch norm sees as many images as the network's."""
        head = CameraDiscriminator(self.network.embedding_dim, size)
        if self.samples_per_bn_group is None:
            return head
        return group_batch_norms(head, self.samples_per_bn_group)

    def check_requirements(self) -> None:
        """Before anything is computed, look for Infomap and for the file of local labels."""
        super().check_requirements()
        if self.local_labels_file is not None:
            read_local_labels(self.local_labels_file)

    def labels_due(self, epoch: int, interval: int) -> bool:
        """Every ``interval`` epochs of each camera, and of stage 2."""
        return self.phase(epoch)[1] % interval == 0

    def phase(self, epoch: int) -> tuple[int | None, int]:
        """The camera of stage 1 that an epoch belongs to (None: stage 2), and its number there."""
        own = self._local_epochs_in_all()
        if epoch >= own:
            return None, epoch - own
        turn, epoch_of_turn = divmod(epoch, self.local_epochs)
        return self.local_cameras[turn], epoch_of_turn

    def learning_rate_factor(self, epoch: int) -> float:
        """The schedule begins anew with every camera, and with stage 2."""
        return super().learning_rate_factor(self.phase(epoch)[1])

    def before_labels(self, epoch: int) -> None:
        """Begin every camera, and stage 2, from the first weights."""
        if epoch and self.phase(epoch)[1] == 0 and self.source is not None:
            self.source.restore(self.network, self.trainer)
            if self.phase(epoch)[0] is None:
                self._begin_stage_2()

    def label(
        self, features: Tensor, cameras: Tensor, epoch: int, known: Tensor | None = None
    ) -> PseudoLabels:
        """Local clusters of one camera, or refined global ones."""
        camera, epoch = self.phase(epoch)
        if camera is None:
            return self._global(features, cameras, epoch)
        own = cameras == camera
        hard = torch.full((len(cameras),), OUTLIER, dtype=torch.int64)
        if own.sum() < _SMALLEST_CAMERA:  # in a dry run, which sees the first images only
            return PseudoLabels(hard)
        made = cluster_images(
            self.local_clusterer, features[own], cameras[own], trainer=self._trainer
        )
        self._require_clusters(made, camera)
        hard[own.cpu()] = made.hard.cpu()
        return PseudoLabels(
            hard,
            sampling="cameras",  # as in stage 2: a cluster of one image gives it once
            images_per_group=self.local_images_per_group,
            batches_per_epoch=self.local_batches_per_epoch,
            statistics={
                **made.statistics,
                "camera": float(camera),
                # the images of other cameras are not left out: it is not their turn
                "outliers": float((made.hard < 0).sum()),
                "outlier_share": float((made.hard < 0).float().mean()),
            },
        )

    def _global(self, features: Tensor, cameras: Tensor, epoch: int) -> PseudoLabels:
        if self.normalize_cameras:
            features = camera_normalize(features, cameras)
        neighbors = find_neighbors(self.clusterer, features, cameras, self._trainer)
        made = cluster_images(
            self.clusterer, features, cameras, trainer=self._trainer, neighbors=neighbors
        )
        clusters, statistics = made.hard.cpu(), dict(made.statistics)
        self._require_clusters(made, None)
        if self.refinement != "none":
            scores = self._scores(features, cameras, neighbors)
            refined = refine_labels(
                clusters,
                self.local_labels[: len(clusters)],
                cameras,
                scores,
                self.pivot,
                self._drop_probability(epoch),
                self.seed + epoch,
            )
            pivots = refinement_pivots(clusters, scores, self.pivot)
            statistics["pivot_share"] = float((pivots >= 0).mean())
            statistics["removed_share"] = float(((clusters.numpy() >= 0) & (refined < 0)).mean())
            clusters = torch.from_numpy(refined)
        weights = None
        if epoch >= self.weight_epoch:
            weights = camera_entropy_weights(clusters, cameras.cpu())
        return PseudoLabels(
            clusters, class_weights=weights, sampling="cameras", statistics=statistics
        )

    def adopt(self, labels: PseudoLabels, features: Tensor) -> None:
        """Start the memory anew from the clusters' means; keep the best local labels."""
        super().adopt(labels, features)
        if "camera" in labels.statistics:
            self._keep_local(labels)

    def on_train_start(self) -> None:
        """Tell the plan, which may come from a checkpoint."""
        super().on_train_start()
        if self.local_cameras:
            count = int(self.train_cameras.max()) + 1
            left_out = sorted({*range(count)} - {*self.local_cameras})
            small = f" (too few images in {left_out})" if left_out else ""
            rank_zero_info(
                f"CALR: stage 1 takes {self.local_epochs} epochs for each of "
                f"{len(self.local_cameras)} cameras{small}, stage 2 the rest"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss over clusters and, at the start of stage 2, the discriminator's."""
        embeddings, index, cameras = self.gather(
            self.embed(batch["image"]), batch["index"], batch["camera"]
        )
        labels = self.current_labels()
        targets = self.targets(index)
        with torch.autocast(embeddings.device.type, enabled=False):
            loss = cluster_contrastive_loss(
                embeddings, targets, self.memory, self.temperature, labels.class_weights
            )
            self.log("train/loss_clusters", loss)
            # drawn for the batch of all ranks, as its dropout is
            with same_random_numbers(self.device, self.seed, self.current_epoch, batch_idx):
                loss = self._align(loss, embeddings, cameras)
        self.log("train/loss", loss, prog_bar=True)
        self.move_memory(embeddings, targets)
        return loss

    def training_state(self) -> dict[str, Any]:
        """Memory, local labels, how far stage 1 is, the first weights while they are needed."""
        state = {
            **super().training_state(),
            "local_labels": self.local_labels,
            "local_silhouettes": self.local_silhouettes,
            "local_cameras": self.local_cameras,
            "local_epochs": self.local_epochs,
        }
        return state if self.source is None else {**state, "source": self.source.weights}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`training_state` gave."""
        super().load_training_state(state)
        _require_stage_1(state, len(self.train_cameras) or None)
        self.local_labels = state["local_labels"].cpu()
        self.local_silhouettes = state["local_silhouettes"].cpu()
        planned = self.local_cameras, self.local_epochs
        fitting = self._trainer is not None and self._trainer.state.fn == "fit"
        if fitting and planned != (state["local_cameras"], state["local_epochs"]):
            rank_zero_warn("CALR: stage 1 goes on as the checkpoint planned it, not as told now")
        self.local_cameras = state["local_cameras"]
        self.local_epochs = state["local_epochs"]
        source = state.get("source")
        self.source = None if source is None else SourceWeights.of_state(source, self.network)

    def _align(self, loss: Tensor, embeddings: Tensor, cameras: Tensor) -> Tensor:
        """Add the discriminator's loss where it is due."""
        head = self.current_head()
        camera, epoch = self.phase(self.current_epoch)
        if camera is not None or epoch >= self.align_epochs:
            return keep_in_graph(loss, head)
        alignment = camera_alignment_loss(head(embeddings), cameras, self.double_softmax)
        self.log("train/loss_cameras", alignment)
        return loss + self.align_weight * alignment

    def _keep_local(self, labels: PseudoLabels) -> None:
        """Keep a camera's clusters if they are the best separated ones so far."""
        camera = int(labels.statistics["camera"])
        silhouette = labels.statistics.get("silhouette", float("nan"))
        # where nothing tells, as with k-means, the latest stay
        if not silhouette <= self.local_silhouettes[camera]:
            own = self.train_cameras == camera
            self.local_labels[own] = labels.hard.cpu()[own]
            self.local_silhouettes[camera] = silhouette

    def _scores(self, features: Tensor, cameras: Tensor, neighbors: Neighbors) -> Any:
        """How central each image is; the neighbours that Infomap had are not sought again."""
        infomap = type(self.clusterer) is InfomapClusterer
        if not (infomap and self.clusterer.k == self.searcher.k):  # type: ignore[attr-defined]
            neighbors = find_neighbors(self.searcher, features, cameras, self._trainer)
        distances, indices = neighbors
        return graph_scores((distances, indices), self.min_similarity)

    def _require_clusters(self, made: PseudoLabels, camera: int | None) -> None:
        """The callback keeps the labels before where there are none: not those of another phase."""
        if self.labels is None or made.num_clusters > 1:
            return
        if self.labels.statistics.get("camera") == camera:
            return
        outliers = int((made.hard < 0).sum())
        phase = "stage 2" if camera is None else f"stage 1 in camera {camera}"
        clusterer = self.clusterer if camera is None else self.local_clusterer
        raise NoClustersError(
            f"{phase} begins with {made.num_clusters} clusters and {outliers} outliers among "
            f"{len(made)} images; there is nothing to train on: "
            + clusterer.advice(made.mostly_outliers)
        )

    def _begin_stage_2(self) -> None:
        """Let go of the first weights, take a new discriminator, write the local labels."""
        self.source = None
        # in place; through stage 1 weight decay alone has moved the old one
        self.current_head().load_state_dict(self.new_head(self.seed).state_dict())
        file = folder_of(self.trainer) / LOCAL_LABELS
        if self.trainer.is_global_zero:
            datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
            paths, cameras = datamodule.paths("train"), datamodule.train_cameras
            save_local_labels(file, paths, self.local_labels, cameras)
        rank_zero_info(f"Local labels written to {file}; --model.local_labels reads them")

    def _plan_stage_1(self, cameras: Tensor) -> None:
        """Decide which cameras are visited, and for how many epochs."""
        enough = (cameras.bincount() >= _SMALLEST_CAMERA).nonzero()[:, 0].tolist()
        total = self.trainer.max_epochs or -1
        longest = total // 2 // max(1, len(enough)) if total > 0 else _LOCAL_EPOCHS
        self.local_epochs = self.wanted_local_epochs or min(_LOCAL_EPOCHS, longest)
        if not (enough and self.local_epochs):
            rank_zero_warn(
                f"CALR: no camera has {_SMALLEST_CAMERA} images: clusters will not be refined"
                if not enough
                else f"CALR: {total} epochs are too few to learn {len(enough)} cameras by "
                "themselves first: clusters will not be refined; raise --trainer.max_epochs or "
                "give --model.local_labels"
            )
            self.local_epochs = 0
            return
        self.local_cameras = enough
        self.source = SourceWeights.of(self.network, self.trainer)
        local = self._local_epochs_in_all()
        if 0 < total <= local and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            raise InputError(
                f"max_epochs={total} leaves nothing for stage 2: {len(enough)} cameras take "
                f"{self.local_epochs} epochs each; raise --trainer.max_epochs, lower "
                "--model.local_epochs, or give --model.local_labels"
            )

    def _local_epochs_in_all(self) -> int:
        return self.local_epochs * len(self.local_cameras)

    def _drop_probability(self, epoch: int) -> float:
        """Chance of a contradicted image to be removed in an epoch of stage 2."""
        if self.refinement != "cosine":
            return 1.0
        epochs = (self.trainer.max_epochs or 0) - self._local_epochs_in_all()
        return self_paced_probability(epoch, epochs, self.refinement)


def _require_stage_1(state: Mapping[str, Any], images: int | None) -> None:
    """Raise a ValueError unless a checkpoint's labels and plan of stage 1 fit each other.

    Args:
        state: What :meth:`CALR.training_state` returned.
        images: Number of training images; None where there is no data.
    """
    labels, silhouettes = state["local_labels"], state["local_silhouettes"]
    if labels.ndim != 1 or labels.dtype != torch.int64 or images not in (None, len(labels)):
        raise ValueError(f"local_labels are ({images or 'N'},) int64, got {tuple(labels.shape)}")
    if silhouettes.ndim != 1 or not silhouettes.is_floating_point():
        raise ValueError(f"local_silhouettes are numbers (cameras,), got {silhouettes.dtype}")
    for camera in state["local_cameras"]:
        require("each of local_cameras", camera, 0, len(silhouettes) - 1)
    require("local_epochs", state["local_epochs"], 0)
