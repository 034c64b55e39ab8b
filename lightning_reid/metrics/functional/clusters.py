"""How well clusters agree with each other and, as a diagnostic, with known identities."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Labels = Tensor | npt.ArrayLike


def rand_agreement(first: Labels, second: Labels) -> float:
    """Adjusted Rand index of two labellings over the images that both of them label.

    Args:
        first: ``(N,)``, negative for outliers.
        second: ``(N,)``, negative for outliers.

    Returns:
        At most 1; about 0 for unrelated labels; NaN where no image is labelled by both.

    Example:
        >>> rand_agreement([0, 0, 1, 1, -1], [5, 5, 2, 2, 2])
        1.0
    """
    from sklearn.metrics import adjusted_rand_score

    first, second = np.asarray(first), np.asarray(second)
    both = (first >= 0) & (second >= 0)
    return float(adjusted_rand_score(first[both], second[both])) if both.any() else float("nan")


def cluster_quality(labels: Labels, identities: Labels) -> dict[str, float]:
    """Agreement of clusters with true identities. A diagnostic: never for training or selection.

    Outliers are left out of all four numbers but pairwise recall, in which every pair of an
    outlier counts as not found.

    Args:
        labels: clusters, ``(N,)``, negative for outliers.
        identities: true identities, ``(N,)``.

    Returns:
        ``ari``, ``nmi``, ``pair_precision`` (of the pairs put together, how many are one person)
        and ``pair_recall`` (of the pairs of one person, how many are put together); NaN where
        there is nothing to count.

    Example:
        >>> quality = cluster_quality([0, 0, 0, -1], identities=[5, 5, 6, 6])
        >>> quality["pair_precision"] == 1 / 3, quality["pair_recall"]
        (True, 0.5)
    """
    from sklearn.metrics import normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    labels, identities = np.asarray(labels), np.asarray(identities)
    inlier = labels >= 0
    found, true = labels[inlier], identities[inlier]
    table = contingency_matrix(found, true, sparse=True)
    together = _pairs(table.data)
    put_together = _pairs(np.unique(found, return_counts=True)[1])
    same_person = _pairs(np.unique(identities, return_counts=True)[1])
    return {
        "ari": rand_agreement(labels, identities),
        "nmi": float(normalized_mutual_info_score(true, found)) if inlier.any() else float("nan"),
        "pair_precision": together / put_together if put_together else float("nan"),
        "pair_recall": together / same_person if same_person else float("nan"),
    }


def bcubed_quality(
    labels: Labels, identities: Labels, cameras: Labels | None = None
) -> dict[str, float]:
    """B-cubed precision and recall of clusters. A diagnostic: never for training or selection.

    Bagga and Baldwin (1998): every image looks around, where pairs count large clusters more. For
    precision, how many of the images in its cluster, itself among them, show its identity; for
    recall, how many of the images of its identity are in its cluster. An outlier is alone; it
    counts for recall only.

    Args:
        labels: clusters, ``(N,)``, negative for outliers.
        identities: true identities, ``(N,)``.
        cameras: ``(N,)``; where given, an image looks at those of other cameras only, and counts
            if there are any in its cluster, or of its identity.

    Returns:
        ``bcubed_precision`` and ``bcubed_recall``, means over images; NaN where none counts.

    Example:
        >>> bcubed_quality([0, 0, 1, -1], identities=[5, 5, 6, 6])
        {'bcubed_precision': 1.0, 'bcubed_recall': 0.75}
    """
    counts = _Counts.of(labels, identities, cameras)
    return {
        "bcubed_precision": _mean_ratio(counts.both, counts.in_cluster),
        "bcubed_recall": _mean_ratio(counts.both, counts.of_identity),
    }


def cross_camera_quality(labels: Labels, identities: Labels, cameras: Labels) -> dict[str, float]:
    """Agreement of clusters with identities across cameras. A diagnostic, never for training.

    Pairs of images of one camera do not count: what remains is what re-identification is for.

    Args:
        labels: clusters, ``(N,)``, negative for outliers.
        identities: true identities, ``(N,)``.
        cameras: ``(N,)``.

    Returns:
        ``pair_precision``, ``pair_recall``, ``bcubed_precision`` and ``bcubed_recall``, as
        :func:`cluster_quality` and :func:`bcubed_quality` define them; NaN where there is nothing
        to count.

    Example:
        >>> labels, identities, cameras = [0, 0, 0, 1], [5, 5, 5, 5], [0, 0, 1, 1]
        >>> quality = cross_camera_quality(labels, identities, cameras)
        >>> quality["pair_precision"], quality["pair_recall"]  # two of four pairs
        (1.0, 0.5)
    """
    counts = _Counts.of(labels, identities, cameras)
    return {
        "pair_precision": _ratio(counts.both, counts.in_cluster),
        "pair_recall": _ratio(counts.both, counts.of_identity),
        **bcubed_quality(labels, identities, cameras),
    }


def quality_by_camera(
    labels: Labels, identities: Labels, cameras: Labels
) -> dict[int, dict[str, float]]:
    """Agreement of clusters with identities within each camera. A diagnostic, never for training.

    Args:
        labels: clusters, ``(N,)``, negative for outliers.
        identities: true identities, ``(N,)``.
        cameras: ``(N,)``.

    Returns:
        For each camera what :func:`cluster_quality` and :func:`bcubed_quality` tell about its
        images alone.

    Example:
        >>> quality = quality_by_camera([0, 0, 0, 1], identities=[5, 5, 6, 6], cameras=[0, 0, 1, 1])
        >>> quality[0]["pair_recall"], quality[1]["pair_recall"]
        (1.0, 0.0)
    """
    labels, identities, cameras = (np.asarray(x) for x in (labels, identities, cameras))
    own = {int(camera): cameras == camera for camera in np.unique(cameras)}
    return {
        camera: cluster_quality(labels[rows], identities[rows])
        | bcubed_quality(labels[rows], identities[rows])
        for camera, rows in own.items()
    }


def soft_label_accuracy(soft: Tensor, labels: Labels, identities: Labels) -> float:
    """Share of images whose strongest soft label is right. A diagnostic: never for training.

    It is right if the cluster that it points to shows the image's identity most often.

    Args:
        soft: weights of the clusters for every image, ``(N, C)``, dense or sparse.
        labels: clusters, ``(N,)``, negative for outliers.
        identities: true identities, ``(N,)``.

    Returns:
        From 0 to 1, over the images that have a soft label, a weight other than 0; NaN where none
        has, or all images are outliers.

    Example:
        >>> import torch
        >>> soft = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
        >>> round(soft_label_accuracy(soft, labels=[0, 0, 1], identities=[5, 5, 6]), 4)
        0.6667
    """
    from sklearn.metrics.cluster import contingency_matrix

    labels, identities = np.asarray(labels), np.asarray(identities)
    strongest, known = _strongest(soft)
    shown, inlier = np.unique(identities, return_inverse=True)[1], labels >= 0
    if not (known.any() and inlier.any()):
        return float("nan")
    clusters, columns = np.unique(labels[inlier], return_inverse=True)
    people = np.unique(shown[inlier])
    table = contingency_matrix(shown[inlier], columns, sparse=True)
    mostly = np.full(soft.shape[1], -1)
    mostly[clusters] = people[np.asarray(table.argmax(axis=0)).ravel()]
    return float((mostly[strongest[known]] == shown[known]).mean())


def _strongest(soft: Tensor) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Column of the largest weight of every row, and which rows have any weight."""
    from scipy.sparse import csr_array

    weights = soft.detach().cpu().to(torch.promote_types(soft.dtype, torch.float32))
    sparse = (weights if weights.is_sparse else weights.to_sparse()).coalesce()
    places = tuple(sparse.indices().numpy())
    rows = csr_array((sparse.values().numpy(), places), shape=tuple(soft.shape))
    rows.eliminate_zeros()
    return np.asarray(rows.argmax(axis=1)).ravel(), np.diff(rows.indptr) > 0


def _pairs(counts: npt.NDArray[np.int64]) -> float:
    return float((counts.astype(np.float64) * (counts - 1) / 2).sum())


class _Counts(NamedTuple):
    """How many images each image sees, ``(N,)`` each.

    Attributes:
        in_cluster: in its cluster; none for an outlier.
        of_identity: of its identity.
        both: in its cluster and of its identity; an outlier sees at most itself.
    """

    in_cluster: npt.NDArray[np.int64]
    of_identity: npt.NDArray[np.int64]
    both: npt.NDArray[np.int64]

    @classmethod
    def of(cls, labels: Labels, identities: Labels, cameras: Labels | None) -> _Counts:
        """Count; if there are cameras, the images of other cameras than the image's own."""
        labels, identities = np.asarray(labels), np.asarray(identities)
        inlier, itself = labels >= 0, int(cameras is None)

        def seen(*columns: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
            here = 0 if cameras is None else _alike(*columns, np.asarray(cameras))
            return _alike(*columns) - here

        in_cluster = np.where(inlier, seen(labels), 0)
        both = np.where(inlier, seen(labels, identities), itself)
        return cls(in_cluster, seen(identities), both)


def _alike(*columns: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """How many images agree with each image, itself among them, in all columns ``(N,)``."""
    group = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, numbers = np.unique(column, return_inverse=True)
        group = np.unique(group * len(values) + numbers, return_inverse=True)[1]
    return np.bincount(group)[group]


def _mean_ratio(parts: npt.NDArray[np.int64], wholes: npt.NDArray[np.int64]) -> float:
    some = wholes > 0
    return float((parts[some] / wholes[some]).mean()) if some.any() else float("nan")


def _ratio(parts: npt.NDArray[np.int64], wholes: npt.NDArray[np.int64]) -> float:
    return float(parts.sum() / wholes.sum()) if wholes.any() else float("nan")
