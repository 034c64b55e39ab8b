"""Cluster numbers without gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def number_by_first(groups: NDArray[Any], min_size: int = 1) -> NDArray[np.int64]:
    """Number groups from 0 in the order of their first members.

    Args:
        groups: (N,) integers; equal ones are a group.
        min_size: Members of smaller groups get -1.

    Returns:
        (N,) numbers.
    """
    _, first, group, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    by_first = np.argsort(first)
    large = by_first[sizes[by_first] >= min_size]
    numbers = np.full(len(sizes), -1)
    numbers[large] = np.arange(len(large))
    return numbers[group]
