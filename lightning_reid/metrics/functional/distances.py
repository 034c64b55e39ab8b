"""Distances from queries to the gallery, a block of queries at a time."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lightning_reid.clustering.duplicates import find_piles
from lightning_reid.clustering.precision import full_precision
from lightning_reid.metrics.functional.images import Images


class Distances(Protocol):
    """How far every gallery image is from every query; only blocks of it are ever in memory."""

    def block(self, rows: slice) -> Tensor:
        """Distances ``(B, G)`` of some queries, comparable between queries.

        They may be overwritten; the next block takes their place in memory.
        """


class EuclideanDistances:
    """Squared Euclidean distances, in the embeddings' type of number.

    Identical gallery embeddings are equally far from a query, to the last bit.

    Args:
        query: from which.
        gallery: to which.
    """

    def __init__(self, query: Images, gallery: Images) -> None:
        self.query, self.gallery = query, gallery
        self._room = query.embeddings.new_empty(0, len(gallery))
        self._piles = find_piles(gallery.embeddings)

    def block(self, rows: slice) -> Tensor:
        """See :meth:`Distances.block`; rounding may leave a distance of 0 a little negative."""
        own, others = self.query.embeddings[rows], self.gallery.embeddings
        if len(self._room) < len(own):
            self._room = own.new_empty(len(own), len(others))
        norms = self.query.squared_norms[rows, None]
        distances = torch.add(norms, self.gallery.squared_norms, out=self._room[: len(own)])
        with full_precision(distances.device.type):
            distances.addmm_(own, others.T, alpha=-2)
        if self._piles is not None:
            # products may sum the columns at their edge in another order
            copies, first = self._piles.copies
            distances[:, copies] = distances[:, first]
        return distances
