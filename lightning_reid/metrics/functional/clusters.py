"""How well clusters agree with each other and, as a diagnostic, with known identities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

Labels = Tensor | npt.ArrayLike


def rand_agreement(first: Labels, second: Labels) -> float:
    """Adjusted Rand index of two labellings over the images that both of them label.

    Args:
        first: ``(N,)``, negative for outliers.
        second: ``(N,)``, negative for outliers.

    Returns:
        At most 1; about 0 for unrelated labels; NaN where no image is labelled by both.
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
    """
    from sklearn.metrics import normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    labels, identities = np.asarray(labels), np.asarray(identities)
    inlier = labels >= 0
    found, true = labels[inlier], identities[inlier]
    table = contingency_matrix(found, true, sparse=True)
    together = _pairs(table.data)
    put_together = _pairs(np.bincount(found))
    same_person = _pairs(np.unique(identities, return_counts=True)[1])
    return {
        "ari": rand_agreement(labels, identities),
        "nmi": float(normalized_mutual_info_score(true, found)) if inlier.any() else float("nan"),
        "pair_precision": together / put_together if put_together else float("nan"),
        "pair_recall": together / same_person if same_person else float("nan"),
    }


def soft_label_accuracy(soft: Tensor, labels: Labels, identities: Labels) -> float:
    """Share of images whose strongest soft label is right. A diagnostic: never for training.

    It is right if the cluster that it points to shows the image's identity most often.

    Args:
        soft: weights of the clusters for every image, ``(N, C)``, dense or sparse.
        labels: clusters, ``(N,)``, negative for outliers.
        identities: true identities, ``(N,)``.

    Returns:
        From 0 to 1, over the images that have a soft label; NaN where none has.
    """
    from sklearn.metrics.cluster import contingency_matrix

    labels, identities = np.asarray(labels), np.asarray(identities)
    strongest, known = _strongest(soft)
    shown, inlier = np.unique(identities, return_inverse=True)[1], labels >= 0
    clusters, columns = np.unique(labels[inlier], return_inverse=True)
    people = np.unique(shown[inlier])
    table = contingency_matrix(shown[inlier], columns, sparse=True)
    mostly = np.full(soft.shape[1], -1)
    mostly[clusters] = people[np.asarray(table.argmax(axis=0)).ravel()]
    return float((mostly[strongest[known]] == shown[known]).mean()) if known.any() else float("nan")


def _strongest(soft: Tensor) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Column of the largest weight of every row, and which rows have any weight."""
    from scipy.sparse import csr_array

    sparse = (soft.cpu() if soft.is_sparse else soft.cpu().to_sparse()).coalesce()
    places = tuple(sparse.indices().numpy())
    rows = csr_array((sparse.values().numpy(), places), shape=tuple(soft.shape))
    return np.asarray(rows.argmax(axis=1)).ravel(), np.diff(rows.indptr) > 0


def _pairs(counts: npt.NDArray[np.int64]) -> float:
    return float((counts.astype(np.float64) * (counts - 1) / 2).sum())
