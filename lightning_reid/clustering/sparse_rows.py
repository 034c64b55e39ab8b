"""Sparse matrices as the steps of the Jaccard distance hand them on."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Sets(NamedTuple):
    """A set of rows for every row: where each begins (N + 1) int64, and the members, int32."""

    begins: Tensor
    columns: Tensor


class Rows(NamedTuple):
    """Sparse rows: where each begins (N + 1) int64, columns int32, and values float32."""

    begins: Tensor
    columns: Tensor
    values: Tensor
