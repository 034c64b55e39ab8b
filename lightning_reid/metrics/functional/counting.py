"""How many of the distances in a row lie at or before each of a few thresholds."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from lightning_reid.clustering.threads import over_row_ranges

_FEW = 64  # thresholds; for more a sorted row is cheaper than comparing with each


def at_or_before(distances: Tensor, thresholds: Tensor) -> Tensor:
    """Count the distances of each row that are at most each of its thresholds.

    Args:
        distances: ``(B, G)``; may be overwritten.
        thresholds: ``(B, M)``, ascending; where infinite the count means nothing.

    Returns:
        ``(B, M)`` int64.
    """
    if distances.device.type == "cpu" and thresholds.shape[1] <= _FEW:
        return _compared(distances, thresholds)
    return torch.searchsorted(ascending(distances), thresholds, right=True)


def ascending(rows: Tensor) -> Tensor:
    """Sort every row of a matrix; on the CPU, in place."""
    if rows.device.type != "cpu":
        return rows.sort(dim=1).values
    array = rows.numpy()  # many times faster than torch's, which sorts places too
    over_row_ranges(lambda start, stop: array[start:stop].sort(axis=1), len(array))
    return rows


def _compared(distances: Tensor, thresholds: Tensor) -> Tensor:
    from lightning_reid.metrics.functional import counting_loops  # loads numba

    counts = torch.zeros(thresholds.shape, dtype=torch.int64)
    arrays = (distances.numpy(), thresholds.numpy(), counts.numpy())
    over_row_ranges(partial(counting_loops.count, *arrays), len(counts))
    return counts
