"""Cross-entropy against soft labels (Sun & Jung, reliable and soft labels)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """``-sum_j p_j log softmax(logits)_j``, averaged over the images.

    One-hot rows (reliable labels) give the ordinary cross-entropy. The paper leaves open whether
    soft labels enter by cross-entropy or by KL divergence: the two differ by the entropy of the
    targets, hence not in their gradients.

    Args:
        logits: ``(B, C)``; the only argument with a gradient.
        targets: probabilities ``(B, C)``; rows sum to 1.

    Returns:
        Scalar, at least float32.

    Raises:
        RuntimeError: if the shapes differ.

    Example:
        >>> targets = torch.tensor([[0.5, 0.5]])
        >>> soft_cross_entropy(torch.tensor([[1.0, 1.0]]), targets)  # the least: ln 2
        tensor(0.6931)
        >>> soft_cross_entropy(torch.tensor([[9.0, 1.0]]), targets)
        tensor(4.0003)
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return cross_entropy(logits, targets.detach().to(logits.dtype))
