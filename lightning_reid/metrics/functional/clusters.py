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


def _pairs(counts: npt.NDArray[np.int64]) -> float:
    return float((counts.astype(np.float64) * (counts - 1) / 2).sum())
