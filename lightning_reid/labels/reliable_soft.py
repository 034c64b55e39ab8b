"""Reliable and soft labels: hard ones for images near a cluster centre, soft ones for the rest.

J. Sun and C. Jung, on unsupervised person re-identification with per-camera clustering. The
equations are the paper's; what it leaves open is settled as told at each argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_reid.clustering.arrays import camera_numbers, feature_rows
from lightning_reid.clustering.clusterers import Clusterer
from lightning_reid.clustering.kmeans import kmeans
from lightning_reid.clustering.precision import full_precision
from lightning_reid.errors import InputError, require, require_one_of, require_positive
from lightning_reid.labels.proxies import OUTLIER, group_means

Center = Literal["mean", "medoid"]
Selection = Literal["any", "own"]

_BLOCK = 1024  # rows compared with all centres at a time
_IMAGES_PER_CLUSTER = 3  # in a camera
_ROUNDING = 1e-6  # of a cosine


class NothingSelectedError(InputError):
    """No image is near enough to a centre; the message says how near the nearest is.

    Example:
        >>> features = np.array([[1.0, 0.0], [0.8, 0.6]])
        >>> try:
        ...     reliable_soft_labels(features, [0, 0], num_clusters=1, threshold=0.99)
        ... except NothingSelectedError as error:
        ...     print(str(error).partition(": ")[2])
        threshold is 0.99 and the largest similarity 0.949; lower threshold
    """


class SelectedLabels(NamedTuple):
    """Hard labels of the selected images, soft labels of all.

    Attributes:
        reliable: ``(N,)`` int64, the cluster of a selected image; -1 where not selected.
        soft: ``(N, num_clusters)`` float32: one-hot rows for selected images, distributions for
            the others. Columns of clusters that do not exist are 0.
        centers: ``(num_clusters, D)`` float32 unit rows; 0 for clusters that do not exist.

    Example:
        >>> soft = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
        >>> made = SelectedLabels(torch.tensor([0, -1]), soft, centers=torch.eye(2))
        >>> made.reliable.tolist(), made.soft.argmax(1).tolist()  # image 1 was not selected
        ([0, -1], [0, 1])
    """

    reliable: Tensor
    soft: Tensor
    centers: Tensor


@torch.no_grad()
def reliable_soft_labels(
    features: Any,
    cameras: Any,
    num_clusters: int,
    clusters_per_camera: int | Sequence[int] | None = None,
    threshold: float = 0.85,
    temperature: float = 0.02,
    seed: int = 0,
    center: Center = "mean",
    select: Selection = "any",
    clusterer: Clusterer | None = None,
    restarts: int = 1,
    iterations: int = 25,
) -> SelectedLabels:
    """Select images near a centre of their camera, cluster these, and relate the others to them.

    k-means within each camera (Eq. 3 and 4 of the paper), selection of the images whose cosine
    to a centre is above the threshold (Eq. 5), and k-means on those of all cameras (Eq. 6) give
    the reliable labels. An image that was not selected gets ``softmax(centers @ f /
    temperature)`` (Eq. 7 and 8).

    k-means sees the features as given: PUL's code, on which the paper builds, gives it pooled
    features that are not normalised. All similarities are cosines. Eq. 7 normalises the feature and
    does not say whether the centre is: here it is, as in Eq. 5, so that no cluster is preferred for
    being compact.

    Args:
        features: ``(N, D)`` array or tensor, of any lengths.
        cameras: ``(N,)``, from 0.
        num_clusters: Clusters of all selected images, fewer if fewer are selected. 750 for
            Market-1501 and 700 for DukeMTMC-reID in the paper.
        clusters_per_camera: One number for all, or one for each camera number; at most the
            camera's images. In the paper (Eq. 3) the number of identities in each camera. None, for
            those who do not know it, is a third of the camera's images, at least 1 and at most
            ``num_clusters``: our choice.
        threshold: Cosine that a selected image exceeds. 0.85 in the paper.
        temperature: Of the soft labels. 0.02 in the paper.
        seed: Draws the first centres.
        center: "mean" is the centroid, as Eq. 5 is written; "medoid" the real image of most
            similar direction, the first of equals, which PUL's code takes. It holds in both
            steps.
        select: "any" selects by the most similar centre of the camera, as in PUL's code; "own"
            by that of the image's cluster.
        clusterer: Replaces k-means in both steps (not in the paper); it gets unit rows. Its
            outliers are not selected; of the last step the ``num_clusters`` largest clusters are
            kept and all other images become unselected.
        restarts: Of k-means, see :func:`~lightning_reid.clustering.kmeans`.
        iterations: Of k-means, likewise.

    Returns:
        Tensors on the features' device, on the CPU for an array.

    Raises:
        InputError: If no image is selected, the clusterer finds no cluster, or a setting is out
            of range.
        ValueError: If the features are not 2-D, are empty or not finite, or the cameras are not
            N non-negative integers.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.7, 0.7]])
        >>> cameras = torch.zeros(5, dtype=torch.int64)
        >>> made = reliable_soft_labels(features, cameras, 2, clusters_per_camera=2, threshold=0.9)
        >>> (made.reliable >= 0).tolist()  # the last is between the two people,
        [True, True, True, True, False]
        >>> made.soft[4]  # and so it is half of each
        tensor([0.5000, 0.5000])
    """
    require("num_clusters", num_clusters, 1)
    require_positive("temperature", temperature)
    require_one_of("center", center, get_args(Center))
    require_one_of("select", select, get_args(Selection))
    rows = feature_rows(features)
    camera_of = camera_numbers(cameras, len(rows)).to(rows.device)
    counts = _cluster_counts(camera_of, clusters_per_camera, num_clusters)
    unit = normalize(rows)
    if clusterer is not None:
        rows = unit

    def clusters(members: Tensor, count: int) -> Tensor:
        if clusterer is None:
            return kmeans(rows[members], count, seed, iterations, restarts)[0]
        found = clusterer(rows[members], camera_of[members]).labels
        return found.to(rows.device, torch.int64)

    similarities = unit.new_empty(len(unit))
    for camera, count in counts.items():
        members = (camera_of == camera).nonzero().flatten()
        labels = _largest(clusters(members, count))
        centers = _centers(rows[members], labels, center)
        similarities[members] = _similarities(unit[members], labels, centers, select)
    selected = (similarities > threshold).nonzero().flatten()
    if len(selected) == 0:
        raise NothingSelectedError(_none_selected(float(similarities.max()), threshold, clusterer))

    labels = _largest(clusters(selected, min(num_clusters, len(selected))), num_clusters)
    if (labels == OUTLIER).all():
        raise NothingSelectedError(_no_cluster(f"the {len(selected)} selected images", clusterer))
    existing = _centers(rows[selected], labels, center)
    reliable = camera_of.new_full((len(unit),), OUTLIER)
    reliable[selected] = labels
    centers = unit.new_zeros(num_clusters, unit.shape[1])
    centers[: len(existing)] = existing
    soft = _soft(unit, reliable, existing, num_clusters, temperature)
    return SelectedLabels(reliable, soft, centers)


def _none_selected(largest: float, threshold: float, clusterer: Clusterer | None) -> str:
    if largest == -inf:  # outliers only
        return _no_cluster("any camera", clusterer)
    return (
        f"no image is similar enough to a cluster centre of its camera: threshold is {threshold} "
        f"and the largest similarity {largest:.3f}; lower threshold"
    )


def _no_cluster(where: str, clusterer: Clusterer | None) -> str:
    kind = type(clusterer)
    advice = getattr(kind, "coarser", "change its settings")
    return f"{kind.__name__} finds no cluster in {where}: {advice}"


def _cluster_counts(
    cameras: Tensor, given: int | Sequence[int] | None, num_clusters: int
) -> dict[int, int]:
    """How many clusters each camera that occurs gets."""
    found, sizes = (part.tolist() for part in torch.unique(cameras, return_counts=True))
    if given is None:
        wanted = [max(1, min(num_clusters, size // _IMAGES_PER_CLUSTER)) for size in sizes]
    elif isinstance(given, int | np.integer):
        wanted = [int(given)] * len(found)
    elif len(given) <= found[-1]:
        raise InputError(
            f"clusters_per_camera has {len(given)} numbers, and there is a camera {found[-1]}, "
            "counted from 0: give one for each"
        )
    else:
        wanted = [int(given[camera]) for camera in found]
    require("clusters_per_camera", min(wanted), 1)
    pairs = zip(wanted, sizes, strict=True)
    return dict(zip(found, [min(count, size) for count, size in pairs], strict=True))


def _largest(labels: Tensor, most: int | None = None) -> Tensor:
    """Number the ``most`` largest clusters 0, 1, ... in the order of their labels; -1 the rest."""
    member = labels >= 0
    found, clusters, sizes = torch.unique(labels[member], return_inverse=True, return_counts=True)
    kept = sizes.argsort(descending=True, stable=True)[:most].sort().values
    numbers = torch.full_like(found, OUTLIER, dtype=torch.int64)
    numbers[kept] = torch.arange(len(kept), device=labels.device)
    numbered = torch.full_like(labels, OUTLIER, dtype=torch.int64)
    numbered[member] = numbers[clusters]
    return numbered


def _centers(rows: Tensor, labels: Tensor, center: str) -> Tensor:
    """Directions ``(C, D)`` of the clusters' means, or of the images nearest to those."""
    means = group_means(rows, labels)
    if center == "mean" or len(means) == 0:
        return means
    images = normalize(rows[labels != OUTLIER])
    # the first of equals: both images of a pair are as near, but for rounding
    near = (
        block >= block.amax(dim=1, keepdim=True) - _ROUNDING for block in _cosines(means, images)
    )
    return images[torch.cat([block.to(torch.uint8).argmax(dim=1) for block in near])]


def _similarities(unit: Tensor, labels: Tensor, centers: Tensor, select: str) -> Tensor:
    """Cosine ``(N,)`` to the most similar or to the own centre; -inf for outliers."""
    if len(centers) == 0:
        return unit.new_full((len(unit),), -inf)
    blocks = _cosines(unit, centers)
    if select == "any":
        similarities = torch.cat([block.amax(dim=1) for block in blocks])
    else:
        own = torch.split(labels.clamp(min=0)[:, None], _BLOCK)
        pairs = zip(blocks, own, strict=True)
        similarities = torch.cat([block.gather(1, column)[:, 0] for block, column in pairs])
    # rounded, the cosine of a lone image and itself could exceed 1
    return similarities.clamp(-1, 1).masked_fill(labels == OUTLIER, -inf)


def _soft(
    unit: Tensor, reliable: Tensor, centers: Tensor, num_clusters: int, temperature: float
) -> Tensor:
    soft = unit.new_zeros(len(unit), num_clusters)
    selected = (reliable != OUTLIER).nonzero().flatten()
    soft[selected, reliable[selected]] = 1
    others = (reliable == OUTLIER).nonzero().flatten()
    blocks = _cosines(unit[others], centers)
    for images, block in zip(torch.split(others, _BLOCK), blocks, strict=True):
        soft[images, : len(centers)] = (block / temperature).softmax(dim=1)
    return soft


def _cosines(unit: Tensor, centers: Tensor) -> Iterator[Tensor]:
    """Cosines of unit rows and all centres, a block of rows at a time."""
    for rows in torch.split(unit, _BLOCK):
        with full_precision(unit.device.type):
            cosines = rows @ centers.T
        yield cosines
