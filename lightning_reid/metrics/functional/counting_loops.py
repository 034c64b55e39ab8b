"""The compiled loop of counting; importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_reid.clustering.compilation import compiled

_CHUNK = 1024  # distances that stay in the nearest cache while all thresholds are compared


@compiled
def count(
    distances: NDArray[Any],
    thresholds: NDArray[Any],
    counts: NDArray[np.int64],
    start: int,
    stop: int,
) -> None:
    """Add to ``counts`` how many distances are at most each threshold.

    Args:
        distances: ``(B, G)``.
        thresholds: ``(B, M)``, ascending; infinite ones are skipped.
        counts: ``(B, M)``.
        start: first row to do.
        stop: row after the last.
    """
    for row in range(start, stop):
        for begin in range(0, distances.shape[1], _CHUNK):
            chunk = distances[row, begin : begin + _CHUNK]
            for place in range(thresholds.shape[1]):
                threshold = thresholds[row, place]
                if threshold == np.inf:
                    break
                found = np.int32(0)  # as wide as a float32: vector instructions
                for column in range(chunk.size):
                    found += np.int32(chunk[column] <= threshold)
                counts[row, place] += found
