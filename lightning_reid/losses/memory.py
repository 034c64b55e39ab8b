"""The memory of cluster or proxy representatives, and how it moves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_reid.indices import checked_indices


@torch.no_grad()
def update_memory(
    memory: Tensor, embeddings: Tensor, targets: Tensor, momentum: float, hardest: bool = False
) -> Tensor:
    """Move the memory towards a batch, image by image in batch order.

    For every image ``i`` in turn ``m[t] = normalize(momentum * m[t] + (1 - momentum) * f[i])``, so
    that the last of several images of one target weighs most (CAP, O2CAP, Cluster Contrast). Images
    of different targets do not interact, so all first images of their targets move at once, then
    all second ones.

    Args:
        memory: ``(P, D)`` unit rows.
        embeddings: ``(B, D)`` unit rows, in batch order (all ranks', in rank order).
        targets: row of the memory that each image moves, ``(B,)``; negative: none.
        momentum: weight of the old row; 0.2 in CAP and O2CAP, 0.1 in Cluster Contrast and CALR.
        hardest: move each row once only, by its image that resembles it least
            (Cluster Contrast's hard variant).

    Returns:
        A new ``(P, D)`` tensor with unit rows; ``memory`` itself is left as it was.

    Raises:
        ValueError: if targets are not so many whole numbers.

    Example:
        >>> memory, image = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0]])
        >>> update_memory(memory, image, targets=torch.tensor([0]), momentum=0.5)
        tensor([[0.7071, 0.7071],
                [0.0000, 1.0000]])
    """
    (targets,) = checked_indices(len(embeddings), targets=targets)
    memory = memory.clone()
    embeddings = embeddings.detach().to(memory.dtype)
    member = targets >= 0
    embeddings, targets = embeddings[member], targets[member]
    if not len(targets):
        return memory
    if hardest:
        keep = _least_similar(memory, embeddings, targets)
        embeddings, targets = embeddings[keep], targets[keep]
    order = targets.argsort(stable=True)
    turn = _position_in_run(targets[order])
    for t in range(int(turn.max()) + 1):
        rows = order[turn == t]
        moved = momentum * memory[targets[rows]] + (1 - momentum) * embeddings[rows]
        memory[targets[rows]] = normalize(moved, dim=1)
    return memory


def _position_in_run(sorted_values: Tensor) -> Tensor:
    """0, 1, 2, ... within every run of equal values."""
    lengths = torch.unique_consecutive(sorted_values, return_counts=True)[1]
    starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
    position: Tensor = torch.arange(len(sorted_values), device=sorted_values.device) - starts
    return position


def _least_similar(memory: Tensor, embeddings: Tensor, targets: Tensor) -> Tensor:
    """The first image of each target among those with the lowest similarity to its row."""
    similarity = (memory[targets] * embeddings).sum(1)
    by_similarity = similarity.argsort(stable=True)
    by_target = by_similarity[targets[by_similarity].argsort(stable=True)]
    return by_target[_position_in_run(targets[by_target]) == 0]
