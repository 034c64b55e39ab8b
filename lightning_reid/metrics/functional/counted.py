"""What counts for each query: its matches, and the images of others that they compete with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_reid.metrics.functional.counting import ascending
from lightning_reid.metrics.functional.distances import Distances
from lightning_reid.metrics.functional.images import UNKNOWN, Images
from lightning_reid.metrics.functional.runs import runs

_PAIR_ENTRIES = 8  # distances that take the memory of one pair of the same identity


class Counted(NamedTuple):
    """The distances that count for a block of queries.

    Attributes:
        rows: the queries.
        matches: ``(B, M)`` distances of their matches, ascending; infinite where there are fewer.
        others: ``(B, G)`` distances of the images of others; infinite where an image does not
            count or is no other's.
        identified: ``(B,)`` bool, the query's identity is known.
    """

    rows: slice
    matches: Tensor
    others: Tensor
    identified: Tensor


@dataclass(frozen=True)
class SameIdentity:
    """The gallery images of each query's identity, found without comparing every pair.

    Attributes:
        order: ``(G,)`` gallery images sorted by identity.
        first: ``(Q,)`` where the query's identity begins in that order.
        count: ``(Q,)`` how many gallery images have it; none where it is unknown.
        identified: ``(Q,)`` bool, the query's identity is known.
        junk: ``(J,)`` gallery images whose identity is unknown.
    """

    order: Tensor
    first: Tensor
    count: Tensor
    identified: Tensor
    junk: Tensor

    @classmethod
    def of(cls, query_ids: Tensor, gallery_ids: Tensor) -> SameIdentity:
        """Find them, for int64 identities; -1 is unknown and the same as none."""
        ordered, order = gallery_ids.sort(stable=True)
        first = torch.searchsorted(ordered, query_ids)
        count = torch.searchsorted(ordered, query_ids, right=True) - first
        identified = query_ids != UNKNOWN
        junk = (gallery_ids == UNKNOWN).nonzero().flatten()
        return cls(order, first, count * identified, identified, junk)

    def blocks(self, entries: int) -> list[slice]:
        """Divide the queries into blocks that take the memory of about so many distances.

        They are the same whoever works on them, and so are the last bits of distances.
        """
        count, most = len(self.count), max(self.count.tolist(), default=0)
        size = max(1, entries // max(1, len(self.order) + _PAIR_ENTRIES * most))
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def pairs(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Pairs of one identity: place of the query among the rows, and the gallery image."""
        row, place = runs(self.count[rows])
        return row, self.order[self.first[rows][row] + place]


def counted_blocks(
    query: Images,
    gallery: Images,
    distances: Distances,
    cross_camera_only: bool,
    entries: int,
    share: tuple[int, int] = (0, 1),
) -> Iterator[Counted]:
    """Compute the distances of all queries, block by block, and tell what counts.

    Args:
        query: the queries.
        gallery: the gallery.
        distances: between them.
        cross_camera_only: see :func:`counted`.
        entries: distances to hold at a time.
        share: (which, of how many) shares of the blocks to do.
    """
    same = SameIdentity.of(query.identities, gallery.identities)
    for rows in same.blocks(entries)[share[0] :: share[1]]:
        yield counted(
            distances.block(rows), rows, same, query.cameras, gallery.cameras, cross_camera_only
        )


def counted(
    distances: Tensor,
    rows: slice,
    same: SameIdentity,
    query_cameras: Tensor,
    gallery_cameras: Tensor,
    cross_camera_only: bool = False,
) -> Counted:
    """Part the distances of a block of queries into those of matches and of others.

    An image with the query's identity and camera does not count, nor, if ``cross_camera_only``,
    any other image of the query's camera. An image of unknown identity counts for no query, and
    for a query of unknown identity no image does.

    Args:
        distances: ``(B, G)``; overwritten.
        rows: the queries.
        same: of all queries with the gallery.
        query_cameras: ``(Q,)``, of all queries.
        gallery_cameras: ``(G,)``.
        cross_camera_only: see above.
    """
    cameras = query_cameras[rows]
    row, column = same.pairs(rows)
    elsewhere = cameras[row] != gallery_cameras[column]
    near = distances[row, column][elsewhere]
    distances[row, column] = torch.inf
    identified = same.identified[rows]
    distances[~identified] = torch.inf
    distances.index_fill_(1, same.junk, torch.inf)
    if cross_camera_only:
        distances.masked_fill_(cameras[:, None] == gallery_cameras, torch.inf)
    count = torch.bincount(row[elsewhere], minlength=len(cameras))
    row, place = runs(count)
    matches = distances.new_full((len(cameras), max(1, int(count.max()))), torch.inf)
    matches[row, place] = near
    return Counted(rows, ascending(matches), distances, identified)
