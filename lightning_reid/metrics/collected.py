"""What an evaluation has seen: embeddings, who and which camera they show, and their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lightning_reid.errors import InputError
from lightning_reid.indices import whole_numbers

Sides: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""Embeddings, identities and cameras, of queries and gallery each: as all functions take them."""


@dataclass(frozen=True)
class Collected:
    """Everything a :class:`~lightning_reid.RetrievalMetrics` has seen, in order of ``index``.

    Attributes:
        embeddings: ``(N, D)``.
        identities: ``(N,)`` int64, -1 where unknown.
        cameras: ``(N,)`` int64.
        is_query: ``(N,)`` bool; the others are gallery.
        index: ``(N,)`` int64, position in the evaluation set, each once; where ``update`` was given
            none, the position among all updates.

    Example:
        >>> rows, columns = torch.eye(3), torch.tensor([[4, 4, 5], [0, 1, 1], [7, 8, 9]])
        >>> seen = Collected(rows, *columns[:2], torch.tensor([True, False, False]), columns[2])
        >>> query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = seen.sides()
        >>> query_ids.tolist(), gallery_ids.tolist()
        ([4], [4, 5])
    """

    embeddings: Tensor
    identities: Tensor
    cameras: Tensor
    is_query: Tensor
    index: Tensor

    def sides(self) -> Sides:
        """What all functions that compare queries with a gallery begin with.

        ``query_scores(*seen.sides())`` has a row for each image where ``is_query``. Nothing is
        copied where the queries stand together, and the gallery images.
        """
        query, gallery = _places(self.is_query), _places(~self.is_query)
        return (
            self.embeddings[query],
            self.embeddings[gallery],
            self.identities[query],
            self.identities[gallery],
            self.cameras[query],
            self.cameras[gallery],
        )


_COLUMNS = {
    "embeddings": (2, "floating point"),
    "identities": (1, "integers"),
    "cameras": (1, "integers"),
    "is_query": (1, "bool"),
    "index": (1, "integers"),
}


def checked_columns(**columns: Any) -> dict[str, Tensor]:
    """Check the columns of a batch, and give those of integers as int64.

    Args:
        columns: by the names of the attributes of :class:`Collected`, ``(B, D)`` and ``(B,)``.

    Raises:
        InputError: unless shapes and types are as said there, and integers fit int64.
    """
    for name, column in columns.items():
        if not isinstance(column, Tensor):
            raise InputError(f"{name} must be a tensor, not {type(column).__name__}")
    if len({len(column) for column in columns.values() if column.ndim}) != 1:
        lengths = {name: tuple(column.shape) for name, column in columns.items()}
        raise InputError(f"arguments differ in length: {lengths}")
    for name, column in columns.items():
        ndim, kind = _COLUMNS[name]
        if column.ndim != ndim or _kind(column) != kind:
            shape = "(B, D)" if ndim == 2 else "(B,)"
            raise InputError(
                f"{name} must be {kind} of shape {shape}, not {_kind(column)} "
                f"({column.dtype}) of shape {tuple(column.shape)}"
            )
    return {
        name: whole_numbers(name, column) if _COLUMNS[name][1] == "integers" else column.detach()
        for name, column in columns.items()
    }


def _kind(column: Tensor) -> str:
    if column.is_floating_point():
        return "floating point"
    if column.is_complex():
        return "complex"
    return "bool" if column.dtype == torch.bool else "integers"


def _places(flags: Tensor) -> slice | Tensor:
    """Where the flags are; a slice, which copies nothing, if they stand together."""
    places = flags.nonzero().flatten()
    if len(places) == 0:
        return slice(0)
    first, last = int(places[0]), int(places[-1])
    return slice(first, last + 1) if last - first + 1 == len(places) else places
