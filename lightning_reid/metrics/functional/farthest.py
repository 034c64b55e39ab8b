"""How far the farthest image is from every image, exactly, mostly by products in few bits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from lightning_reid.clustering.precision import fast_type, full_precision
from lightning_reid.clustering.progress import shown
from lightning_reid.clustering.rounding import Frame, RoundedPoints, smallest_exact
from lightning_reid.metrics.functional.images import squared_norms

_BLOCK_ROWS = 2048  # a block of products stays in the processor's cache
_CHUNK = 128  # images of which the farthest by rounded products is remembered


@torch.no_grad()
def farthest_distances(points: Tensor) -> Tensor:
    """Find the squared distance of the farthest row from every row.

    Products in bfloat16, where it is fast, tell which chunks of rows may hold the farthest, with a
    bound on what rounding does; the distances to these are computed in float32.

    Args:
        points: ``(N, D)`` float32; rounding is least where their mean is near 0.

    Returns:
        ``(N,)`` float32, not negative.
    """
    everyone = torch.arange(len(points), device=points.device)
    rounded = Frame.around(points).round(points, everyone, fast_type(points.device.type))
    candidates = _may_hold_farthest(_largest_by_chunk(rounded), rounded.error(rounded))
    norms = squared_norms(points)
    farthest = torch.zeros_like(norms)
    with full_precision(points.device.type):
        for members, flags in zip(torch.split(everyone, _CHUNK), candidates, strict=True):
            rows = flags.nonzero().flatten()
            distances = norms[rows, None] + norms[members]
            distances.addmm_(points[rows], points[members].T, alpha=-2)
            farthest[rows] = farthest[rows].maximum(distances.amax(1))
    return farthest


def _largest_by_chunk(rounded: RoundedPoints) -> Tensor:
    """The largest product of each row with each chunk, ``(N, C)``, by half of all products."""
    count = len(rounded.right)
    largest = rounded.right.new_empty(count, -(-count // _CHUNK))
    starts = range(0, count, _BLOCK_ROWS)
    blocks = [(row, column) for row in starts for column in range(row, count, _BLOCK_ROWS)]
    with full_precision(rounded.right.device.type):
        for row, column in shown(blocks, "Searching the farthest"):
            rows, columns = slice(row, row + _BLOCK_ROWS), slice(column, column + _BLOCK_ROWS)
            products = rounded.left(rows.start, rows.stop) @ rounded.right[columns].T
            for own, others, block in ((rows, column, products), (columns, row, products.T)):
                found = _chunk_maxima(block)
                first = others // _CHUNK
                largest[own, first : first + found.shape[1]] = found
    return largest


def _chunk_maxima(products: Tensor) -> Tensor:
    missing = -products.shape[1] % _CHUNK
    padded = pad(products, (0, missing), value=-torch.inf) if missing else products
    return padded.view(len(padded), -1, _CHUNK).amax(2)


def _may_hold_farthest(largest: Tensor, errors: Tensor) -> Tensor:
    """Tell for each chunk ``(C, N)`` of which rows it may hold the farthest.

    Args:
        largest: ``(N, C)`` products, rounded.
        errors: ``(N,)`` what they may be off by beside that.
    """
    flags = []
    for part, error in zip(
        torch.split(largest, _BLOCK_ROWS), torch.split(errors, _BLOCK_ROWS), strict=True
    ):
        reached = smallest_exact(part).amax(1) - error
        flags.append(-smallest_exact(-part) >= (reached - error)[:, None])
    return torch.cat(flags).T.contiguous()
