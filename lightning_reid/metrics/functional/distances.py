"""Distances from queries to the gallery, a block of queries at a time."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lightning_reid.clustering.precision import full_precision
from lightning_reid.metrics.functional.images import squared_norms


class Distances(Protocol):
    """How far every gallery image is from every query; only blocks of it are ever in memory."""

    def block(self, rows: slice) -> Tensor:
        """Distances ``(B, G)`` of some queries, comparable between queries.

        They may be overwritten; the next block takes their place in memory.
        """


class EuclideanDistances:
    """Squared Euclidean distances, in the embeddings' type of number.

    Args:
        query: ``(Q, D)``.
        gallery: ``(G, D)``.
    """

    def __init__(self, query: Tensor, gallery: Tensor) -> None:
        self.query, self.gallery = query, gallery
        self._norms = squared_norms(query), squared_norms(gallery)
        self._room = query.new_empty(0, len(gallery))

    def block(self, rows: slice) -> Tensor:
        """See :meth:`Distances.block`; rounding may leave a distance of 0 a little negative."""
        norms, gallery_norms = self._norms
        own = norms[rows, None]
        if len(self._room) < len(own):
            self._room = own.new_empty(len(own), len(gallery_norms))
        distances = torch.add(own, gallery_norms, out=self._room[: len(own)])
        with full_precision(distances.device.type):
            return distances.addmm_(self.query[rows], self.gallery.T, alpha=-2)
