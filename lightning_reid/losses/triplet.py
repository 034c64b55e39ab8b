"""Triplet losses over the images of a batch (Hermans et al. 2017; PCSL).

Of PCSL (Qi et al., https://arxiv.org/abs/1908.05669) we know the mechanism but not the equations:
what is marked so below is our reconstruction of it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

_LEAST_WEIGHT = 1e-6


def pairwise_distances(embeddings: Tensor) -> Tensor:
    """Euclidean distances between all rows, from their differences.

    Rows that coincide are exactly 0 apart, with a gradient of 0.

    Args:
        embeddings: ``(B, D)``.

    Returns:
        ``(B, B)``, at least float32.

    Raises:
        ValueError: if the embeddings are not 2-D or there are none.

    Example:
        >>> pairwise_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
        tensor([[0., 5.],
                [5., 0.]])
    """
    if embeddings.ndim != 2 or not len(embeddings):
        raise ValueError(f"embeddings must be (B, D), not of shape {tuple(embeddings.shape)}")
    rows = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    # squared norms minus products would lose small distances, and all precision under autocast
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")


def batch_hard_triplet_loss(
    embeddings: Tensor, labels: Tensor, *, margin: float = 0.3, cameras: Tensor | None = None
) -> Tensor:
    """``[margin + distance to furthest positive - distance to nearest negative]_+``, averaged.

    The mean is over the images that have a negative (https://arxiv.org/abs/1703.07737). An image
    is its own positive, at distance 0, where it has no other.

    Args:
        embeddings: ``(B, D)``; the only argument with a gradient.
        labels: ``(B,)``; equal numbers are one person, -1 too.
        margin: 0.3, common in re-identification.
        cameras: ``(B,)``; if given, positives and negatives are images of the image's own camera
            only, so that labels need to be valid only inside a camera (PCSL, our reconstruction).

    Returns:
        Scalar; 0 where no image has a negative.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> positions = torch.tensor([[0.0], [1.0], [3.0], [4.0]])
        >>> batch_hard_triplet_loss(positions, torch.tensor([0, 0, 1, 1]))  # each beside its own
        tensor(0.)
        >>> batch_hard_triplet_loss(positions, torch.tensor([0, 1, 0, 1]))  # 0.3 + 3 - 1
        tensor(2.3000)
    """
    _require_shape("labels", labels, (len(embeddings),))
    if cameras is not None:
        _require_shape("cameras", cameras, (len(embeddings),))
    distances = pairwise_distances(embeddings)
    positive = labels[:, None] == labels[None]
    negative = ~positive
    if cameras is not None:
        same_camera = cameras[:, None] == cameras[None]
        positive, negative = positive & same_camera, negative & same_camera
    furthest = distances.masked_fill(~positive, float("-inf")).amax(1)
    # without a negative: infinitely far, hence no loss
    nearest = distances.masked_fill(~negative, float("inf")).amin(1)
    return _mean_of_counted(relu(margin + furthest - nearest), negative.any(1))


def weighted_triplet_loss(
    embeddings: Tensor, similarity: Tensor, cameras: Tensor, *, margin: float = 0.3
) -> Tensor:
    """``[margin + D+ - D-]_+`` with soft positives and negatives in other cameras, averaged.

    With ``w`` the similarity of an image to the images of *other* cameras and ``D`` its distance
    to them, ``D+ = sum w D / sum w`` and ``D- = sum (1 - w) e^-D D / sum (1 - w) e^-D``, in which
    near negatives weigh more; gradients flow through ``e^-D`` too. Images for which ``w`` or
    ``1 - w`` sums to less than 1e-6 do not count. PCSL's loss is known by description only: the
    formula is our reconstruction.

    Args:
        embeddings: ``(B, D)``; the only argument with a gradient.
        similarity: soft label of every pair of images, ``(B, B)``, clamped to [0, 1]; entries
            within a camera are not read.
        cameras: ``(B,)``.
        margin: 0.3, our choice.

    Returns:
        Scalar; 0 where no image counts.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> cameras = torch.tensor([0, 1, 0, 1])
        >>> people = torch.tensor([4, 4, 5, 5])
        >>> similarity = (people[:, None] == people).float()  # as sure as identities
        >>> weighted_triplet_loss(torch.tensor([[0.0], [1.0], [5.0], [6.0]]), similarity, cameras)
        tensor(0.)
        >>> weighted_triplet_loss(torch.tensor([[0.0], [5.0], [6.0], [1.0]]), similarity, cameras)
        tensor(4.3000)
    """
    _require_shape("similarity", similarity, (len(embeddings), len(embeddings)))
    _require_shape("cameras", cameras, (len(embeddings),))
    distances = pairwise_distances(embeddings)
    other_camera = cameras[:, None] != cameras[None]
    weights = similarity.detach().to(distances.dtype).clamp(0, 1)
    alike, unlike = weights * other_camera, (1 - weights) * other_camera
    counted = (alike.sum(1) >= _LEAST_WEIGHT) & (unlike.sum(1) >= _LEAST_WEIGHT)

    attraction = alike / alike.sum(1, keepdim=True).clamp(min=_LEAST_WEIGHT)
    # as a softmax, e^-D cannot vanish for embeddings of any length; images that do not count
    # get a harmless row, because one of -inf alone has no softmax
    scores = (unlike.log() - distances).masked_fill(~counted[:, None], 0)
    repulsion = scores.softmax(1)
    difference = ((attraction - repulsion) * distances).sum(1)
    return _mean_of_counted(relu(margin + difference), counted)


def _require_shape(name: str, given: Tensor, shape: tuple[int, ...]) -> None:
    if given.shape != shape or given.layout != torch.strided:
        raise ValueError(
            f"{name} must be dense, of shape {shape}, not {given.layout} {tuple(given.shape)}"
        )


def _mean_of_counted(losses: Tensor, counted: Tensor) -> Tensor:
    """Mean of the losses that count; 0, still part of the graph, where none does."""
    total = torch.where(counted, losses, torch.zeros_like(losses)).sum()
    return total / counted.sum().clamp(min=1)
