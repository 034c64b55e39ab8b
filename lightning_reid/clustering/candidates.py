"""Candidates for the nearest neighbours, and a limit that all others lie beyond."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_reid.clustering.precision import full_precision
from lightning_reid.clustering.progress import shown
from lightning_reid.clustering.rounding import Frame, smallest_exact
from lightning_reid.clustering.threads import thread_pool

_BLOCK_ROWS = 2048  # of the compiled form: a block of products stays in the processor's cache
_BLOCK_COLUMNS = 2**16  # of the tensor form
_BLOCK_ENTRIES = 2**26  # of the tensor form: products held at a time
_CHUNK = 128  # products of which the tensor form first looks at the smallest


class Candidates(NamedTuple):
    """Candidates of some rows, in ascending order of their limits.

    Attributes:
        indices: ``(R, m)`` row numbers, -1 where there is none.
        limits: ``(R, m)`` float32; the distance to a candidate, and to all after it, is at least
            its limit less the row's error. Distances here are half the squared ones in the frame.
        errors: ``(R,)`` float64.
        unit: what a squared distance is multiplied by to be one of the frame.
        complete: whether there are no others than the candidates.
    """

    indices: Tensor
    limits: Tensor
    errors: Tensor
    unit: float
    complete: bool


class Search(Protocol):
    """Finds candidates from rounded points."""

    def __call__(
        self,
        points: Tensor,
        frame: Frame,
        dtype: torch.dtype,
        rows: Tensor,
        columns: Tensor,
        count: int,
    ) -> Candidates:
        """Find candidates.

        Args:
            points: ``(N, D)`` float32.
            frame: in which they are rounded.
            dtype: to which they are rounded.
            rows: ``(R,)`` numbers of the rows whose neighbours are sought.
            columns: ``(C,)`` numbers of the rows among which they are sought.
            count: candidates per row, at most C.
        """


def tensor_candidates(
    points: Tensor, frame: Frame, dtype: torch.dtype, rows: Tensor, columns: Tensor, count: int
) -> Candidates:
    """Find candidates with tensor operations, on any device; see :class:`Search`."""
    products = torch.full((len(rows), count), torch.inf, dtype=dtype, device=points.device)
    indices = torch.full(products.shape, -1, device=points.device)
    errors = torch.zeros(len(rows), dtype=torch.float64, device=points.device)
    for members in shown(torch.split(columns, _BLOCK_COLUMNS), "Searching neighbours"):
        right = frame.round(points, members, dtype)
        for part in _slices(len(rows), max(1, _BLOCK_ENTRIES // len(members))):
            left = frame.round(points, rows[part], dtype)
            errors[part] = errors[part].maximum(left.error(right))
            with full_precision(points.device.type):
                found, places = _smallest(left.left() @ right.right.T, count)
            found = torch.cat([products[part], found], dim=1)
            products[part], kept = found.topk(count, dim=1, largest=False, sorted=True)
            indices[part] = torch.cat([indices[part], members[places]], dim=1).gather(1, kept)
    return _candidates(indices, products, errors, frame, count == len(columns))


def compiled_candidates(
    points: Tensor, frame: Frame, dtype: torch.dtype, rows: Tensor, columns: Tensor, count: int
) -> Candidates:
    """Find candidates on the CPU with compiled loops; see :class:`Search`.

    Where rows and columns are the same, half of the products give all distances.
    """
    from lightning_reid.clustering import selection_loops

    symmetric = torch.equal(rows, columns)
    right = frame.round(points, columns, dtype)
    left = right if symmetric else frame.round(points, rows, dtype)
    as_integers, largest = _integers(dtype)
    heaps = np.full((len(rows), count), np.int64(largest) << 32)
    farthest = np.full(len(rows), largest)

    parts = torch.get_num_threads()
    with thread_pool() as pool, full_precision("cpu"):
        for row, column in shown(_blocks(rows, columns, symmetric), "Searching neighbours"):
            if column == (row if symmetric else 0):
                queries = left.left(row, row + _BLOCK_ROWS)
            products = queries @ right.right[column : column + _BLOCK_ROWS].T
            keys = products.view(as_integers).numpy()
            mirrored = symmetric and row != column
            offer = partial(selection_loops.take, keys, farthest, heaps, row, column, mirrored)
            list(pool.map(partial(offer, parts=parts), range(parts)))
    heaps.sort(axis=1)
    products = torch.from_numpy((heaps >> 32).astype(farthest.dtype)).view(dtype)
    indices = columns[torch.from_numpy(heaps & 0xFFFFFFFF)]
    return _candidates(indices, products, left.error(right), frame, count == len(columns))


def _blocks(rows: Tensor, columns: Tensor, symmetric: bool) -> list[tuple[int, int]]:
    """First row and column of each block; of half of them where rows and columns are the same."""
    return [
        (row, column)
        for row in range(0, len(rows), _BLOCK_ROWS)
        for column in range(row if symmetric else 0, len(columns), _BLOCK_ROWS)
    ]


def _candidates(
    indices: Tensor, products: Tensor, errors: Tensor, frame: Frame, complete: bool
) -> Candidates:
    return Candidates(indices, smallest_exact(products), errors, frame.scale**2 / 2, complete)


def _integers(dtype: torch.dtype) -> tuple[torch.dtype, Any]:
    """Integers of the same size, which sort as the numbers do unless both are negative."""
    integer = {torch.bfloat16: torch.int16, torch.float32: torch.int32}[dtype]
    largest: NDArray[Any] = torch.tensor(torch.iinfo(integer).max, dtype=integer).numpy()
    return integer, largest[()]


def _smallest(products: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` smallest of each row: they lie in the chunks with the smallest minima."""
    num_rows, num_columns = products.shape
    num_chunks = num_columns // _CHUNK
    count = min(count, num_columns)
    if num_chunks <= 2 * count:
        return products.topk(count, dim=1, largest=False)
    whole = products[:, : num_chunks * _CHUNK].view(num_rows, num_chunks, _CHUNK)
    chunks = whole.amin(dim=2).topk(count, dim=1, largest=False).indices
    places = chunks[:, :, None] * _CHUNK + torch.arange(_CHUNK, device=products.device)
    rest = torch.arange(num_chunks * _CHUNK, num_columns, device=products.device)
    places = torch.cat([places.flatten(1), rest.expand(num_rows, -1)], dim=1)
    nearest, kept = products.gather(1, places).topk(count, dim=1, largest=False)
    return nearest, places.gather(1, kept)


def _slices(length: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, length, size)]
