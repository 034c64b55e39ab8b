"""Some clusters of the training images, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from lightning_reid.report.tiles import Row, Tile, draw_rows

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_FEWEST = 3  # images of a cluster that can be called loose


class ChosenCluster(NamedTuple):
    """A cluster and why it is shown.

    Attributes:
        reason: why.
        members: positions of those of its images that are shown.
        size: how many it has.
        num_cameras: how many cameras they are from.
    """

    reason: str
    members: Integers
    size: int
    num_cameras: int


def looseness(features: Floats, labels: Integers) -> tuple[Floats, Floats]:
    """How far the images of a cluster are from its centre.

    Args:
        features: ``(N, D)`` unit rows.
        labels: ``(N,)``, -1 for outliers.

    Returns:
        ``(C,)``, the mean squared distance by cluster, 0 where there are fewer than three images;
        and ``(N,)``, the squared distance of every image, 0 for outliers.
    """
    inlier = labels >= 0
    sizes = np.bincount(labels[inlier], minlength=1)
    sums = np.zeros((len(sizes), features.shape[1]), dtype=np.float32)
    np.add.at(sums, labels[inlier], features[inlier])
    centres = sums / np.maximum(sizes, 1)[:, None]
    distance = np.zeros(len(labels), dtype=np.float32)
    distance[inlier] = np.square(features[inlier] - centres[labels[inlier]]).sum(1)
    spread = np.bincount(labels[inlier], distance[inlier], len(sizes)) / np.maximum(sizes, 1)
    return np.where(sizes >= _FEWEST, spread, 0).astype(np.float32), distance


def choose_clusters(
    labels: Integers,
    cameras: Integers,
    sample: Integers,
    features: Floats,
    num_each: int = 3,
    num_images: int = 10,
) -> list[ChosenCluster]:
    """The largest clusters, those of most cameras, and the loosest; none of them twice.

    Args:
        labels: ``(N,)``, -1 for outliers.
        cameras: ``(N,)``.
        sample: ``(n,)`` positions of the images with features; only clusters that are among them
            can be the loosest.
        features: ``(n, D)`` unit rows.
        num_each: clusters of each kind.
        num_images: images of each cluster: of the loosest evenly from its centre outwards, of the
            others evenly by camera.

    Returns:
        Of each kind so many, fewer where there are not as many; none without a cluster.

    Example:
        >>> labels, cameras = np.array([0, 0, 0, 1, 1, -1]), np.array([0, 0, 0, 0, 1, 1])
        >>> features = np.eye(6, dtype=np.float32)
        >>> chosen = choose_clusters(labels, cameras, np.arange(6), features, num_each=1)
        >>> [(cluster.reason, cluster.members.tolist(), cluster.num_cameras) for cluster in chosen]
        [('largest', [0, 1, 2], 1), ('most cameras', [3, 4], 2)]
    """
    inlier = labels >= 0
    if not inlier.any():
        return []
    sizes = np.bincount(labels[inlier])
    pairs = np.unique(np.stack([labels, cameras], 1)[inlier], axis=0)
    spread = np.bincount(pairs[:, 0], minlength=len(sizes))
    loose, distance = looseness(features, labels[sample])
    loose = np.pad(loose, (0, len(sizes) - len(loose)))
    kinds = {
        "largest": np.lexsort((-sizes,)),
        "most cameras": np.lexsort((-sizes, -spread)),
        "suspicious: loose": np.lexsort((-loose,))[: int((loose > 0).sum())],
    }
    chosen: list[ChosenCluster] = []
    taken: set[int] = set()
    for reason, order in kinds.items():
        for cluster in [c for c in order.tolist() if c not in taken][:num_each]:
            taken.add(cluster)
            if reason.startswith("suspicious"):
                own = (labels[sample] == cluster).nonzero()[0]
                members = sample[own[np.argsort(distance[own], kind="stable")]]
            else:
                members = (labels == cluster).nonzero()[0]
                members = members[np.argsort(cameras[members], kind="stable")]
            shown = members[_evenly(len(members), num_images)]
            chosen.append(ChosenCluster(reason, shown, int(sizes[cluster]), int(spread[cluster])))
    return chosen


def draw_montage(
    chosen: Sequence[ChosenCluster],
    paths: Sequence[str],
    cameras: Integers,
    camera_names: Sequence[str],
) -> Image.Image:
    """Each row a cluster.

    Args:
        chosen: the rows.
        paths: N image files.
        cameras: ``(N,)``.
        camera_names: by camera number, written above the images.

    Returns:
        An RGB image; where a file cannot be read it says so.

    Example:
        >>> labels, cameras = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
        >>> chosen = choose_clusters(labels, cameras, np.arange(4), np.eye(4, dtype=np.float32))
        >>> paths = ["gate/1.jpg", "hall/1.jpg", "gate/2.jpg", "hall/2.jpg"]
        >>> one, two = (draw_montage(chosen[:n], paths, cameras, ["gate", "hall"]) for n in (1, 2))
        >>> one.width == two.width, one.height < two.height  # a row for each cluster
        (True, True)
    """
    rows = []
    for cluster in chosen:
        counted = f"{cluster.size} images, {_plural(cluster.num_cameras, 'camera')}"
        tiles = [Tile(paths[i], camera_names[cameras[i]]) for i in cluster.members.tolist()]
        rows.append(Row(f"{cluster.reason}: {counted}", tiles))
    return draw_rows(rows)


def _evenly(count: int, most: int) -> Integers:
    """At most so many of the numbers below ``count``, the first and the last among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
