"""Losses against one centroid per cluster (Cluster Contrast; CALR, section on refinement)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_reid.indices import NOTHING_IGNORED, checked_indices


def cluster_contrastive_loss(
    embeddings: Tensor,
    labels: Tensor,
    centroids: Tensor,
    temperature: float = 0.05,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the similarities to all centroids.

    Args:
        embeddings: ``(B, D)`` unit rows; the only argument with a gradient.
        labels: cluster of every image, ``(B,)``.
        centroids: the memory, ``(C, D)`` unit rows.
        temperature: 0.05 in Cluster Contrast and CALR.
        class_weights: optional ``(C,)``; the mean is weighted by them. A batch whose weights are
            all zero costs nothing (the published code divides zero by zero there).

    Returns:
        Scalar, at least float32.

    Raises:
        ValueError: if labels are not so many whole numbers.
        IndexError: on the CPU, if a label is none of the centroids', such as -1 of an outlier or
            the -100 that torch ignores.

    Example:
        >>> image, centroids = torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> cluster_contrastive_loss(image, torch.tensor([1]), centroids)  # of the nearer centroid
        tensor(0.0181)
        >>> cluster_contrastive_loss(image, torch.tensor([0]), centroids)  # (0.8 - 0.6) / 0.05 more
        tensor(4.0181)
    """
    (labels,) = checked_indices(len(embeddings), labels=labels)
    similarity = embeddings @ centroids.detach().T
    # half precision would round small losses to 0
    logits = similarity.to(torch.promote_types(similarity.dtype, torch.float32)) / temperature
    if class_weights is None:
        return cross_entropy(logits, labels, ignore_index=NOTHING_IGNORED)
    weights = class_weights.to(logits.dtype)[labels]
    losses = cross_entropy(logits, labels, reduction="none", ignore_index=NOTHING_IGNORED)
    total = weights.sum()
    return (weights * losses).sum() / torch.where(total > 0, total, torch.ones_like(total))
