"""Clusters of the whole training set, the start of most label-free methods."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from lightning_reid.clustering import camera_normalize
from lightning_reid.clustering.clusterers import Clusterer, Neighbors
from lightning_reid.clustering.progress import busy
from lightning_reid.distributed import first_rank_only, gather_rows, own_share
from lightning_reid.errors import InputError
from lightning_reid.indices import whole_numbers
from lightning_reid.labels.proxies import OUTLIER
from lightning_reid.labels.pseudo_labels import PseudoLabels
from lightning_reid.lightning import pl


@torch.no_grad()
def find_neighbors(
    clusterer: Clusterer, features: Tensor, cameras: Tensor, trainer: pl.Trainer | None = None
) -> Neighbors:
    """The neighbours that a clusterer needs, of all images.

    With several processes all of them must call this with the same features. Each searches the
    neighbours of its share of the images.

    Args:
        clusterer: tells which.
        features: ``(N, D)`` unit rows.
        cameras: ``(N,)``, from 0.
        trainer: tells the processes; without it this one works alone.

    Returns:
        What :meth:`Clusterer.neighbors <lightning_reid.clustering.Clusterer.neighbors>` gives for
        all rows: tensors with N rows each, on the features' device.

    Raises:
        InputError: if the clusterer gives anything else for a share of the rows.
        ValueError: if the features are not 2-D, are empty, or hold NaN or infinite values, where
            neighbours are sought.

    Example:
        >>> from lightning_reid.clustering import DensityClusterer
        >>> features = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]])
        >>> clusterer, cameras = DensityClusterer(k1=2), torch.tensor([0, 1, 0, 1])
        >>> distances, indices = find_neighbors(clusterer, features, cameras)
        >>> indices.tolist()  # each image and its nearest
        [[0, 1], [1, 0], [2, 3], [3, 2]]
    """
    features, cameras = _where_float64_is(features, cameras)
    rows = torch.arange(len(features), device=features.device)
    if trainer is None:
        return clusterer.neighbors(features, cameras, rows)
    own = own_share(trainer, rows)
    shares = clusterer.neighbors(features, cameras, own)
    _require_rows(shares, len(own), clusterer)
    return tuple(gather_rows(trainer, share) for share in shares)


@torch.no_grad()
def cluster_images(
    clusterer: Clusterer,
    features: Tensor,
    cameras: Tensor,
    normalize_cameras: bool = False,
    trainer: pl.Trainer | None = None,
    neighbors: Neighbors | None = None,
) -> PseudoLabels:
    """Cluster all images; every cluster is split by camera into proxies.

    With several processes all of them must call this with the same features. Each searches the
    neighbours of its share of the images; the first makes the clusters and sends them to all.

    Args:
        clusterer: tells how.
        features: ``(N, D)`` unit rows.
        cameras: ``(N,)``, from 0.
        normalize_cameras: cluster camera-normalised features (not in the papers).
        trainer: tells the processes; without it this one works alone.
        neighbors: what :func:`find_neighbors` gave for these features, if they were sought before.

    Returns:
        Labels with proxies; the statistics are those of the clusterer and the seconds for
        ``neighbors`` and ``clustering``.

    Raises:
        InputError: if the clusterer gives anything but N integers.
        ValueError: as :func:`find_neighbors`.

    Example:
        >>> from lightning_reid.clustering import DensityClusterer
        >>> features = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]])
        >>> clusterer = DensityClusterer(k1=2, k2=1, min_samples=2)
        >>> labels = cluster_images(clusterer, features, cameras=torch.tensor([0, 1, 0, 1]))
        >>> labels.hard.tolist(), labels.proxies.tolist()
        ([0, 0, 1, 1], [0, 1, 2, 3])
    """
    start = perf_counter()
    features, cameras = _where_float64_is(features, cameras)
    if normalize_cameras:
        features = camera_normalize(features, cameras)
    known = neighbors or find_neighbors(clusterer, features, cameras, trainer)
    found = perf_counter()

    def clusters() -> PseudoLabels:
        with busy(f"Clustering {len(features):,} images"):
            labels, told = clusterer.cluster(features, cameras, known)
        labels = _without_gaps(labels, len(features), clusterer)
        statistics = {
            **told,
            "seconds/neighbors": found - start,
            "seconds/clustering": perf_counter() - found,
        }
        return PseudoLabels.from_clusters(labels, cameras.cpu(), statistics)

    return clusters() if trainer is None else first_rank_only(trainer, clusters)


def _where_float64_is(features: Tensor, cameras: Tensor) -> tuple[Tensor, Tensor]:
    """Both on the CPU, unless they are there or on a device that knows float64."""
    cameras = whole_numbers("cameras", cameras)
    known = features.device.type in ("cpu", "cuda")
    return (features, cameras) if known else (features.cpu(), cameras.cpu())


def _require_rows(shares: Any, count: int, clusterer: Clusterer) -> None:
    """Tell whoever writes a clusterer that it is asked for some rows only."""
    fit = all(isinstance(share, Tensor) and len(share) == count for share in shares)
    if not (isinstance(shares, tuple) and fit):
        name = type(clusterer).__name__
        raise InputError(f"{name}.neighbors must give a tuple of tensors with {count} rows each")


def _without_gaps(given: Any, count: int, clusterer: Clusterer) -> Tensor:
    """Number the clusters 0, 1, ... in the order of their labels."""
    name = f"what {type(clusterer).__name__}.cluster gives"
    labels = whole_numbers(name, given).cpu()
    if labels.shape != (count,):
        raise InputError(f"{name} must be {count} integers, not of shape {tuple(labels.shape)}")
    inlier = labels >= 0
    numbered = labels.new_full((count,), OUTLIER, dtype=torch.int64)
    numbered[inlier] = torch.unique(labels[inlier], return_inverse=True)[1]
    return numbered
