"""DBSCAN in tensor operations, for any device."""

from __future__ import annotations

import torch
from torch import Tensor


def dbscan_pairs(rows: Tensor, columns: Tensor, size: int, min_samples: int) -> Tensor:
    """Cluster a symmetric graph of neighbours.

    Args:
        rows: (P,) one image of each pair of neighbours, int64; every pair is there both ways.
        columns: (P,) the other image.
        size: N, how many images there are.
        min_samples: A core image has so many neighbours, itself included.

    Returns:
        (N,) int64 labels, numbered by first core image, -1 for outliers.
    """
    is_core = torch.bincount(rows, minlength=size) + 1 >= min_samples  # + 1: itself
    inner = is_core[rows] & is_core[columns]
    roots = connected_components(rows[inner], columns[inner], size)
    is_first = is_core & (roots == torch.arange(size, device=rows.device))
    nobody = size  # a label greater than all
    labels = (is_first.cumsum(0) - 1)[roots].masked_fill(~is_core, nobody)

    reached = ~is_core[rows] & is_core[columns]
    labels = labels.scatter_reduce(0, rows[reached], labels[columns[reached]], "amin")
    return labels.masked_fill(labels == nobody, -1)


def connected_components(rows: Tensor, columns: Tensor, size: int) -> Tensor:
    """Find the connected components of a symmetric graph.

    Every node points to a smaller one, at first to itself. In each round a node and the one it
    points to learn the smallest that is known two steps away, so that paths shrink to half
    (FastSV; Zhang, Azad and Hu, 2020); integer minima do not depend on the order.

    Args:
        rows: (P,) one node of each edge, int64; every edge is there both ways.
        columns: (P,) the other node.
        size: N, how many nodes there are.

    Returns:
        (N,) int64, the first node of the component of each.
    """
    pointers = torch.arange(size, device=rows.device)
    while True:
        ahead = pointers[pointers]
        offers = ahead[columns]
        nearer = ahead.scatter_reduce(0, rows, offers, "amin")
        nearer = nearer.scatter_reduce(0, pointers[rows], offers, "amin")
        if torch.equal(nearer, pointers):
            return pointers
        pointers = nearer
