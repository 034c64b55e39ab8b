"""Images in an order in which neighbours stand together.

Memory is fetched in lines and kept in caches: work that goes from neighbour to neighbour is faster
where these are near, and takes about the same time per image however many there are (see
``benchmarks/clustering.py``).
"""

from __future__ import annotations

import torch
from torch import Tensor

_NEAREST = 12  # neighbours whose number an image may take over
_ROUNDS = 2  # of doing so; many more would lead far away through chance neighbours


def together(ranks: Tensor) -> Tensor:
    """Order images by the smallest number among their near neighbours and those of these.

    Args:
        ranks: (N, K) neighbours of each image, nearest first, -1 where a place is empty.

    Returns:
        (N,) int64 numbers of the images in the order.
    """
    places = torch.arange(len(ranks), dtype=torch.int32, device=ranks.device)
    near = ranks[:, :_NEAREST]
    own = places[:, None]
    near = torch.where(near < 0, own, near).flatten()
    for _ in range(_ROUNDS):
        places = places.index_select(0, near).view(len(ranks), -1).amin(dim=1)
    return places.argsort(stable=True)


def renumbered(ranks: Tensor, order: Tensor) -> Tensor:
    """Give the neighbours of images in an order, by their places in that order.

    Args:
        ranks: (N, K) neighbours of each image, -1 where a place is empty.
        order: (N,) numbers of the images in the order.

    Returns:
        (N, K), of the type of ``ranks``.
    """
    places = torch.empty(len(order) + 1, dtype=ranks.dtype, device=ranks.device)
    places[order] = torch.arange(len(order), dtype=ranks.dtype, device=ranks.device)
    places[-1] = -1  # where -1 leads
    return places[ranks[order].to(torch.int64)]
