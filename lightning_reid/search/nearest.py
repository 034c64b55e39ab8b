"""The exact nearest rows of queries, by cosine, from blocks of unit rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from lightning_reid.data.samples import UNKNOWN, Integers
from lightning_reid.search.embedder import Vectors

_TOGETHER = 256  # queries whose products with a block are formed at once
_FEW = 64  # hits of a query in a block that are not worth a higher limit
_EXACT = 2048  # hits whose similarity is computed in float64 at a time
# OpenBLAS needs less for a product; it ends the process where NumPy raises an error
_PRODUCT_MEMORY = 2**26
_LOWEST = np.finfo(np.float32).min  # of what is left out: -inf


def nearest_rows(
    blocks: Iterable[Vectors],
    queries: Vectors,
    count: int,
    cameras: Integers | None = None,
    excluded: Integers | None = None,
) -> tuple[npt.NDArray[np.float64], Integers]:
    """Find the rows with the largest inner products with each query, exactly.

    Candidates are found by products in float32; which of them are the nearest is decided in
    float64, and among equal ones by their place. Memory is O(Q count) and some blocks.

    Args:
        blocks: Unit rows ``(n, D)``, float32, N in all; each is used before the next is asked for.
        queries: Unit rows ``(Q, D)``, float32.
        count: Rows to find for each query.
        cameras: ``(N,)`` cameras of the rows.
        excluded: ``(Q,)`` camera whose rows are left out for each query, which is in no camera's
            number if none is. None: no row is left out.

    Returns:
        Inner products ``(Q, count)``, float64, largest first, and rows ``(Q, count)``, int64; -inf
        and -1 where there are fewer rows.

    Example:
        >>> rows = np.array([[1, 0], [0, 1], [0, 1], [0.6, 0.8]], dtype=np.float32)
        >>> similarities, found = nearest_rows([rows], rows[1:2], count=3)
        >>> found.tolist(), similarities.round(3).tolist()
        ([[1, 2, 3]], [[1.0, 1.0, 0.8]])
        >>> nearest_rows([rows], rows[1:2], 3, np.array([0, 5, 0, 0]), np.array([5]))[1].tolist()
        [[2, 3, 0]]
    """
    np.empty(_PRODUCT_MEMORY, dtype=np.uint8)
    starts = range(0, len(queries), _TOGETHER)
    chosen = [_Nearest(queries[start : start + _TOGETHER], count) for start in starts]
    first = 0
    for block in blocks:
        for start, nearest in zip(starts, chosen, strict=True):
            products = nearest.queries @ block.T
            if excluded is not None and cameras is not None:
                own = cameras[first : first + len(block)]
                out = excluded[start : start + _TOGETHER, None] == own
                np.copyto(products, -np.inf, where=out)
            nearest.take(products, block, first)
        first += len(block)
    for nearest in chosen:
        nearest.settle()
    return (
        np.concatenate([np.empty((0, count)), *(n.similarities for n in chosen)]),
        np.concatenate([np.empty((0, count), dtype=np.int64), *(n.rows for n in chosen)]),
    )


class _Nearest:
    """The nearest rows so far of some queries.

    Args:
        queries: ``(Q, D)`` unit rows.
        count: Rows to keep for each.
    """

    def __init__(self, queries: Vectors, count: int) -> None:
        self.queries = np.ascontiguousarray(queries, dtype=np.float32)
        self.similarities = np.full((len(queries), count), -np.inf)
        self.rows = np.full((len(queries), count), UNKNOWN, dtype=np.int64)
        self._exact = self.queries.astype(np.float64)
        self._limits = np.full(len(queries), _LOWEST, dtype=np.float32)
        # a sum of D products in float32 is off by less than this, in whatever order
        self._error = np.float32((queries.shape[1] + 8) * 2.0**-24)
        self._hits: list[tuple[Integers, npt.NDArray[np.float64], Integers]] = []

    def take(self, products: Vectors, block: Vectors, first: int) -> None:
        """Keep what may be among the nearest.

        Args:
            products: ``(Q, n)`` with a block; -inf for rows that are left out.
            block: ``(n, D)``.
            first: Number of its first row.
        """
        hits = products >= self._limits[:, None]
        self._raise_limits(products, hits)
        # of a flat array, which is ten times as fast
        query, row = np.divmod(np.flatnonzero(hits), products.shape[1])
        for start in range(0, len(query), _EXACT):
            queries, rows = query[start : start + _EXACT], row[start : start + _EXACT]
            exact = np.einsum("nd,nd->n", self._exact[queries], block[rows].astype(np.float64))
            self._hits.append((queries, exact, rows + first))
        if sum(len(hit[0]) for hit in self._hits) >= self.rows.size:
            self.settle()

    def _raise_limits(self, products: Vectors, hits: npt.NDArray[np.bool_]) -> None:
        """Leave out, where a block alone holds enough that is nearer."""
        count = self.rows.shape[1]
        if products.shape[1] <= count:
            return
        crowded = np.flatnonzero(np.count_nonzero(hits, axis=1) > max(2 * count, _FEW))
        if len(crowded):
            own = products[crowded]
            least = np.partition(own, own.shape[1] - count, axis=1)[:, own.shape[1] - count]
            self._limits[crowded] = np.maximum(self._limits[crowded], least - 2 * self._error)
            hits[crowded] = own >= self._limits[crowded, None]

    def settle(self) -> None:
        """Choose among what was there before and what has come."""
        size, count = self.rows.shape
        kept = np.repeat(np.arange(size), count), self.similarities.ravel(), self.rows.ravel()
        parts = zip(kept, *self._hits, strict=True)
        queries, similarities, rows = (np.concatenate(part) for part in parts)
        self._hits.clear()
        order = np.lexsort((rows, -similarities, queries))
        places = np.searchsorted(queries[order], np.arange(size))[:, None] + np.arange(count)
        order = order[places]
        self.similarities, self.rows = similarities[order], rows[order]
        least = self.similarities[:, -1] - self._error
        self._limits = np.maximum(self._limits, least.astype(np.float32))
