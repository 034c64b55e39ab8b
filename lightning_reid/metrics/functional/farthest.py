"""How far the farthest image is from every image."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_reid.clustering.precision import full_precision
from lightning_reid.clustering.progress import shown
from lightning_reid.metrics.functional.images import squared_norms

_BLOCK_ROWS = 2048


def farthest_distances(points: Tensor) -> Tensor:
    """Squared distance of the farthest row from every row, by half of all products.

    Args:
        points: ``(N, D)``; rounding is least where their mean is near 0.

    Returns:
        ``(N,)``.
    """
    norms = squared_norms(points)
    farthest = torch.zeros_like(norms)
    slices = [slice(i, i + _BLOCK_ROWS) for i in range(0, len(points), _BLOCK_ROWS)]
    pairs = [(own, other) for i, own in enumerate(slices) for other in slices[i:]]
    with full_precision(points.device.type):
        for own, other in shown(pairs, "Searching the farthest"):
            distances = norms[own, None] + norms[other]
            distances.addmm_(points[own], points[other].T, alpha=-2)
            farthest[own] = farthest[own].maximum(distances.amax(1))
            farthest[other] = farthest[other].maximum(distances.amax(0))
    return farthest
