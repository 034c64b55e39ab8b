"""Identical rows: one of each pile is searched, all of it is listed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lightning_reid.clustering.ranking import NOBODY, pack, unpack

_BLOCK_ENTRIES = 2**24  # neighbours listed at a time
_GOLDEN_RATIO = 0.6180339887498949
_BLOCK_ROWS = 4096  # weighed at a time


@dataclass(frozen=True)
class Piles:
    """Which rows are identical.

    Attributes:
        representative: ``(N,)`` int64, the first row that is identical to each.
    """

    representative: Tensor

    @cached_property
    def copies(self) -> tuple[Tensor, Tensor]:
        """The rows that are not the first of their pile, and the first of each of these piles."""
        rows = torch.arange(len(self.representative), device=self.representative.device)
        copies = (self.representative != rows).nonzero().flatten()
        return copies, self.representative[copies]

    def expand(
        self, packed: Tensor, place: Tensor, rows: Tensor, columns: Tensor, count: int
    ) -> Tensor:
        """List all rows of the piles whose representatives were found.

        Args:
            packed: ``(U, m)`` nearest representatives of some representatives, packed.
            place: ``(R,)`` which of these stands for each row.
            rows: ``(R,)`` row numbers.
            columns: ``(C,)`` row numbers that may be listed, ascending.
            count: neighbours wanted of each row, at most C.

        Returns:
            ``(R, count)`` packed.
        """
        pile = self.representative[columns]
        members = columns[pile.argsort(stable=True)]
        sizes = torch.bincount(pile, minlength=len(self.representative))
        longest = int(sizes.max().clamp(max=count))  # no more of a pile can be needed
        steps = torch.arange(longest, device=rows.device)
        begins = sizes.cumsum(0) - sizes

        def listed(distances: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
            places = begins[found][:, :, None] + steps
            absent = steps >= sizes[found][:, :, None]
            spread = distances[:, :, None].masked_fill(absent, torch.inf)
            return spread.flatten(1), members[places.clamp(max=len(members) - 1)].flatten(1)

        ranked = packed[place][:, :count]
        found = unpack(packed)[1]
        itself = members[begins[found].clamp(max=len(members) - 1)] == found  # may be no column
        in_piles = ((sizes[found] > 1) | ~itself).any(dim=1)[place].nonzero().flatten()
        if ranked.shape[1] < count:
            ranked = torch.nn.functional.pad(ranked, (0, count - ranked.shape[1]))
        for block in torch.split(in_piles, _BLOCK_ENTRIES // (packed.shape[1] * longest) + 1):
            distances, others = listed(*unpack(packed[place[block]]))
            ranked[block] = _after_itself(distances, others, rows[block], columns)[:, :count]
        return ranked


def find_piles(points: Tensor) -> Piles | None:
    """Find identical rows; None if all differ.

    Args:
        points: ``(N, D)`` of floating point.
    """
    if len(points) < 2:
        return None
    # sums over a row are done alike for every row: identical rows have identical sums
    sums = points.sum(dim=1)
    order = sums.argsort(stable=True)
    tied = torch.nn.functional.pad(_equal_to_next(sums[order]), (1, 1))
    rows = order[tied[1:] | tied[:-1]].sort().values
    if len(rows) == 0:
        return None
    # others may stand between those that are identical: a second sum parts them
    rows = rows[_weighted_sums(points, rows).argsort(stable=True)]
    rows = rows[sums[rows].argsort(stable=True)]
    pairs = zip(_parts(rows[:-1]), _parts(rows[1:]), strict=True)
    alike = torch.cat([_rows_equal(points, *pair) for pair in pairs])
    if not alike.any():
        return None
    starts = torch.nn.functional.pad(~alike, (1, 0), value=True)
    first = rows[starts]  # the sorts are stable: the first of a pile has the smallest number
    representative = torch.arange(len(points), device=points.device)
    representative[rows] = first[starts.cumsum(0) - 1]
    return Piles(representative)


def _equal_to_next(values: Tensor) -> Tensor:
    return values[1:] == values[:-1]


def _parts(rows: Tensor) -> tuple[Tensor, ...]:
    return torch.split(rows, _BLOCK_ROWS)


def _rows_equal(points: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return (points[one] == points[other]).all(dim=1)


def _weighted_sums(points: Tensor, rows: Tensor) -> Tensor:
    # multiples of the golden ratio, modulo 1, are all different and far apart
    weights = torch.arange(points.shape[1], device=points.device).mul(_GOLDEN_RATIO).frac()
    return torch.cat([(points[part] * weights).sum(dim=1) for part in _parts(rows)])


def _after_itself(distances: Tensor, others: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Rank neighbours after the row itself, which a large pile may have left out."""
    own = torch.isin(rows, columns)
    distances = distances.masked_fill((others == rows[:, None]) & own[:, None], torch.inf)
    itself = torch.zeros_like(distances[:, :1]).masked_fill(~own[:, None], torch.inf)
    others = others.masked_fill(torch.isinf(distances), NOBODY)
    first = torch.where(own, rows, NOBODY)[:, None]
    return pack(torch.cat([itself, distances], dim=1), torch.cat([first, others], dim=1), rows)
