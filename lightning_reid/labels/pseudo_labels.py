"""The value object in which labelling, sampling and training meet."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lightning_reid.errors import require, require_one_of
from lightning_reid.labels.proxies import OUTLIER, group_owner, split_by_camera

Sampling = Literal["groups", "cameras", "images", "partners"]

# numbers without images count as clusters, but a file does not decide how much memory is taken
_SPARE_CLUSTERS, _CLUSTERS_PER_IMAGE = 10_000, 100


@dataclass(frozen=True)
class PseudoLabels:
    """Labels of the whole training set for one epoch or more; row ``i`` belongs to image ``i``.

    Args:
        hard: cluster of every image, ``(N,)`` int64, from 0; -1 marks an outlier, which takes no
            part in training until the next labelling. A number without images, as :meth:`without`
            may leave, counts as a cluster.
        proxies: optional ``(N,)`` int64, the camera-aware part of the cluster (see
            :func:`~lightning_reid.labels.split_by_camera`); -1 for outliers.
        proxy_cameras: optional ``(P,)`` camera of every proxy; there may be more than proxies with
            images, as after :meth:`without`.
        soft: optional ``(N, C)`` weights of the clusters for every image, dense or sparse.
        class_weights: optional ``(C,)`` weights of the clusters in the loss, likewise.
        sampling: how batches are drawn: ``"groups"``, some images of each group; ``"cameras"``, the
            same, but from cameras other than that of the group's first image where there are any
            (CALR); ``"images"``, all images in random order (Sun & Jung); ``"partners"``, some
            images of each group, and of a group that ``soft`` relates it to (PCSL).
        images_per_group: how many of each group; None: as the data module says.
        batches_per_epoch: batches of an epoch with these labels; None: as the data module says.
        statistics: plain numbers about the labelling (silhouette, seconds, ...) for the log.

    Raises:
        ValueError: if shapes or types disagree, or a cluster or proxy has no weight or camera.

    Example:
        >>> clusters, cameras = torch.tensor([0, 0, 0, 1, -1]), torch.tensor([0, 0, 1, 1, 0])
        >>> labels = PseudoLabels.from_clusters(clusters, cameras)
        >>> labels.num_clusters, labels.proxies.tolist(), labels.proxy_cameras.tolist()
        (2, [0, 0, 1, 2, -1], [0, 1, 1])
        >>> labels.without(torch.tensor([False, False, False, True, False])).num_clusters
        1
    """

    hard: Tensor
    proxies: Tensor | None = None
    proxy_cameras: Tensor | None = None
    soft: Tensor | None = None
    class_weights: Tensor | None = None
    sampling: Sampling = "groups"
    images_per_group: int | None = None
    batches_per_epoch: int | None = None
    statistics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.hard.ndim != 1 or self.hard.dtype != torch.int64:
            raise ValueError(
                f"hard labels are (N,) int64, got {tuple(self.hard.shape)} {self.hard.dtype}"
            )
        if len(self.hard) and int(self.hard.min()) < OUTLIER:
            raise ValueError(f"hard labels are from -1 (an outlier) on, not {int(self.hard.min())}")
        if self.proxies is not None and (
            self.proxies.shape != self.hard.shape or self.proxies.dtype != torch.int64
        ):
            raise ValueError(
                f"proxies are ({len(self.hard)},) int64, as many as hard labels, "
                f"got {tuple(self.proxies.shape)} {self.proxies.dtype}"
            )
        if self.soft is not None and (self.soft.ndim != 2 or len(self.soft) != len(self.hard)):
            raise ValueError(
                f"soft labels are ({len(self.hard)}, C), a row for each image, "
                f"got {tuple(self.soft.shape)}"
            )
        _require_one_each("class_weights", self.class_weights, self.hard)
        _require_one_each("proxy_cameras", self.proxy_cameras, self.proxies)

    @classmethod
    def from_clusters(
        cls, clusters: Tensor, cameras: Tensor, statistics: dict[str, float] | None = None
    ) -> PseudoLabels:
        """Labels with camera-aware proxies.

        Args:
            clusters: ``(N,)`` int64, -1 for outliers.
            cameras: ``(N,)``, from 0.
            statistics: see the class.
        """
        proxies = torch.from_numpy(split_by_camera(clusters.cpu(), cameras.cpu()))
        proxies = proxies.to(clusters.device)
        return cls(
            hard=clusters,
            proxies=proxies,
            proxy_cameras=group_owner(proxies, cameras.to(clusters.device)),
            statistics=statistics or {},
        )

    def to(self, device: torch.device | str) -> PseudoLabels:
        """The same labels with every tensor on a device."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v.to(device) for k, v in values.items() if isinstance(v, Tensor)}
        return PseudoLabels(**{**values, **moved})

    def without(self, left_out: Tensor) -> PseudoLabels:
        """The same labels with some images made outliers, ``(N,)`` bool."""
        return replace(
            self,
            hard=self.hard.masked_fill(left_out, OUTLIER),
            proxies=None if self.proxies is None else self.proxies.masked_fill(left_out, OUTLIER),
        )

    def __len__(self) -> int:
        return len(self.hard)

    @property
    def groups(self) -> Tensor:
        """What batches are drawn from, ``(N,)``: proxies where there are any, else clusters."""
        return self.hard if self.proxies is None else self.proxies

    @property
    def num_clusters(self) -> int:
        """Number of clusters, outliers not counted."""
        return _count(self.hard)

    @property
    def mostly_outliers(self) -> bool:
        """More than half of the images are outliers."""
        return int((self.hard == OUTLIER).sum()) > len(self) / 2

    @property
    def num_groups(self) -> int:
        """Number of groups that batches are drawn from."""
        return _count(self.groups)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain types only, so that a checkpoint loads without running code."""
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.soft is not None and self.soft.is_sparse:
            # loading a sparse tensor warns and checks what need not be checked
            soft = self.soft.coalesce()
            state["soft"] = [soft.indices(), soft.values(), *soft.shape]
        return {**state, "statistics": {k: float(v) for k, v in self.statistics.items()}}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> PseudoLabels:
        """Make the labels that :meth:`state_dict` described.

        Raises:
            ValueError: The state does not describe labels, or ones of more clusters than so many
                images can have.
        """
        soft = state.get("soft")
        if isinstance(soft, list):
            places, values, *shape = soft
            soft = torch.sparse_coo_tensor(places, values, shape, check_invariants=True)
        labels = cls(**{**state, "soft": soft})
        columns = 0 if soft is None else soft.shape[1]
        most = _SPARE_CLUSTERS + _CLUSTERS_PER_IMAGE * len(labels)
        if max(labels.num_clusters, labels.num_groups, columns) > most:
            raise ValueError(f"labels of {len(labels)} images have more than {most} clusters")
        require_one_of("sampling", labels.sampling, get_args(Sampling))
        for name in ("images_per_group", "batches_per_epoch"):
            if (number := getattr(labels, name)) is not None:
                require(name, number, 1)
        return labels


def _require_one_each(name: str, values: Tensor | None, groups: Tensor | None) -> None:
    """Raise a ValueError if there are values and groups, but not a value for each group."""
    if values is None or groups is None:
        return
    if values.ndim != 1 or len(values) < _count(groups):
        raise ValueError(f"{name} are ({_count(groups)},), got {tuple(values.shape)}")
    if (values < 0).any():
        raise ValueError(f"{name} must not be negative")


def _count(labels: Tensor) -> int:
    return int(labels.max()) + 1 if len(labels) else 0
