"""How well clusters agree with each other and, as a diagnostic, with known identities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_reid.errors import InputError
from lightning_reid.indices import whole_numbers
from lightning_reid.metrics.functional.images import UNKNOWN, require_identities

Labels = Tensor | npt.ArrayLike
"""Integers of any width: a tensor, an array or a list."""

Integers = npt.NDArray[np.int64]


def rand_agreement(first: Labels, second: Labels) -> float:
    """Adjusted Rand index of two labellings over the images that both of them label.

    Args:
        first: ``(N,)``, negative for outliers.
        second: ``(N,)``, negative for outliers.

    Returns:
        At most 1; about 0 for unrelated labels; NaN where no image is labelled by both.

    Raises:
        InputError: if labels are no integers, or differ in number.

    Example:
        >>> rand_agreement([0, 0, 1, 1, -1], [5, 5, 2, 2, 2])
        1.0
    """
    from sklearn.metrics import adjusted_rand_score

    first, second = _columns(first=first, second=second)
    both = (first >= 0) & (second >= 0)
    return float(adjusted_rand_score(first[both], second[both])) if both.any() else float("nan")


def cluster_quality(labels: Labels, identities: Labels) -> dict[str, float]:
    """Agreement of clusters with true identities. A diagnostic: never for training or selection.

    Outliers are left out of all four numbers but pairwise recall, in which every pair of an
    outlier counts as not found. Images of unknown identity are left out altogether.

    Args:
        labels: clusters, ``(N,)``, negative for outliers.
        identities: true identities, ``(N,)``, from 0; -1 where unknown.

    Returns:
        ``ari``, ``nmi``, ``pair_precision`` (of the pairs put together, how many are one person)
        and ``pair_recall`` (of the pairs of one person, how many are put together); NaN where
        there is nothing to count.

    Raises:
        InputError: if either are no integers, they differ in number, or an identity is below -1.

    Example:
        >>> quality = cluster_quality([0, 0, 0, -1], identities=[5, 5, 6, 6])
        >>> quality["pair_precision"] == 1 / 3, quality["pair_recall"]
        (True, 0.5)
    """
    from sklearn.metrics import normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    labels, identities = _identified(labels=labels, identities=identities)
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
    counts for recall only. Images of unknown identity are left out: they neither look nor are seen.

    Args:
        labels: clusters, ``(N,)``, negative for outliers.
        identities: true identities, ``(N,)``, from 0; -1 where unknown.
        cameras: ``(N,)``; where given, an image looks at those of other cameras only, and counts
            if there are any in its cluster, or of its identity.

    Returns:
        ``bcubed_precision`` and ``bcubed_recall``, means over images; NaN where none counts.

    Raises:
        InputError: as for :func:`cluster_quality`.

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
    Images of unknown identity are left out.

    Args:
        labels: clusters, ``(N,)``, negative for outliers.
        identities: true identities, ``(N,)``, from 0; -1 where unknown.
        cameras: ``(N,)``.

    Returns:
        ``pair_precision``, ``pair_recall``, ``bcubed_precision`` and ``bcubed_recall``, as
        :func:`cluster_quality` and :func:`bcubed_quality` define them; NaN where there is nothing
        to count.

    Raises:
        InputError: as for :func:`cluster_quality`.

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
        identities: true identities, ``(N,)``, from 0; -1 where unknown.
        cameras: ``(N,)``.

    Returns:
        For each camera what :func:`cluster_quality` and :func:`bcubed_quality` tell about its
        images alone.

    Raises:
        InputError: as for :func:`cluster_quality`.

    Example:
        >>> quality = quality_by_camera([0, 0, 0, 1], identities=[5, 5, 6, 6], cameras=[0, 0, 1, 1])
        >>> quality[0]["pair_recall"], quality[1]["pair_recall"]
        (1.0, 0.0)
    """
    labels, identities, cameras = _columns(labels=labels, identities=identities, cameras=cameras)
    own = {int(camera): cameras == camera for camera in np.unique(cameras)}
    return {
        camera: cluster_quality(labels[rows], identities[rows])
        | bcubed_quality(labels[rows], identities[rows])
        for camera, rows in own.items()
    }


def soft_label_accuracy(soft: Tensor, labels: Labels, identities: Labels) -> float:
    """Share of images whose strongest soft label is right. A diagnostic: never for training.

    It is right if the cluster that it points to shows the image's identity most often. Images of
    unknown identity are left out, also of what a cluster shows.

    Args:
        soft: weights of the clusters for every image, ``(N, C)``, dense or sparse.
        labels: clusters, ``(N,)``, below C, negative for outliers.
        identities: true identities, ``(N,)``, from 0; -1 where unknown.

    Returns:
        From 0 to 1, over the images that have a soft label, a weight other than 0; NaN where none
        has, or all images are outliers.

    Raises:
        InputError: as for :func:`cluster_quality`, or if there are not N soft labels.

    Example:
        >>> import torch
        >>> soft = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
        >>> round(soft_label_accuracy(soft, labels=[0, 0, 1], identities=[5, 5, 6]), 4)
        0.6667
    """
    from sklearn.metrics.cluster import contingency_matrix

    labels, identities = _columns(labels=labels, identities=identities)
    if len(soft) != len(labels):
        raise InputError(f"there are {len(soft)} soft labels for {len(labels)} images")
    require_identities("identities", torch.from_numpy(identities))
    strongest, weighted = _strongest(soft)
    identified = identities != UNKNOWN
    shown = np.unique(identities, return_inverse=True)[1]
    inlier, known = identified & (labels >= 0), identified & weighted
    if not (known.any() and inlier.any()):
        return float("nan")
    clusters, columns = np.unique(labels[inlier], return_inverse=True)
    people = np.unique(shown[inlier])
    table = contingency_matrix(shown[inlier], columns, sparse=True)
    mostly = np.full(soft.shape[1], -1)
    mostly[clusters] = people[np.asarray(table.argmax(axis=0)).ravel()]
    return float((mostly[strongest[known]] == shown[known]).mean())


def _strongest(soft: Tensor) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Column of the largest weight of every row, and which rows have any weight."""
    from scipy.sparse import csr_array

    weights = soft.detach().cpu().to(torch.promote_types(soft.dtype, torch.float32))
    sparse = (weights if weights.is_sparse else weights.to_sparse()).coalesce()
    places = tuple(sparse.indices().numpy())
    rows = csr_array((sparse.values().numpy(), places), shape=tuple(soft.shape))
    rows.eliminate_zeros()
    return np.asarray(rows.argmax(axis=1)).ravel(), np.diff(rows.indptr) > 0


def _pairs(counts: Integers) -> float:
    return float((counts.astype(np.float64) * (counts - 1) / 2).sum())


class _Counts(NamedTuple):
    """How many images each image sees, ``(N,)`` each.

    Attributes:
        in_cluster: in its cluster; none for an outlier.
        of_identity: of its identity.
        both: in its cluster and of its identity; an outlier sees at most itself.
    """

    in_cluster: Integers
    of_identity: Integers
    both: Integers

    @classmethod
    def of(cls, labels: Labels, identities: Labels, cameras: Labels | None) -> _Counts:
        """Count; if there are cameras, the images of other cameras than the image's own."""
        given = {} if cameras is None else {"cameras": cameras}
        labels, identities, *own = _identified(labels=labels, identities=identities, **given)
        inlier, itself = labels >= 0, int(not own)

        def seen(*columns: Integers) -> Integers:
            return _alike(*columns) - (_alike(*columns, *own) if own else 0)

        in_cluster = np.where(inlier, seen(labels), 0)
        both = np.where(inlier, seen(labels, identities), itself)
        return cls(in_cluster, seen(identities), both)


def _alike(*columns: Integers) -> Integers:
    """How many images agree with each image, itself among them, in all columns ``(N,)``."""
    group = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, numbers = np.unique(column, return_inverse=True)
        group = np.unique(group * len(values) + numbers, return_inverse=True)[1]
    return np.bincount(group)[group]


def _columns(**columns: Labels) -> list[Integers]:
    """Give columns ``(N,)`` as int64 arrays; an InputError names those that are none."""
    arrays = {name: whole_numbers(name, column).cpu().numpy() for name, column in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise InputError(f"{' and '.join(shapes)} must be (N,), equally many, not {shapes}")
    return list(arrays.values())


def _identified(**columns: Labels) -> list[Integers]:
    """Give columns, one of them the identities, without the images of unknown identity."""
    arrays = dict(zip(columns, _columns(**columns), strict=True))
    require_identities("identities", torch.from_numpy(arrays["identities"]))
    known = arrays["identities"] != UNKNOWN
    return [array[known] for array in arrays.values()]


def _mean_ratio(parts: Integers, wholes: Integers) -> float:
    some = wholes > 0
    return float((parts[some] / wholes[some]).mean()) if some.any() else float("nan")


def _ratio(parts: Integers, wholes: Integers) -> float:
    return float(parts.sum() / wholes.sum()) if wholes.any() else float("nan")
