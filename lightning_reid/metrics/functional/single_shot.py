"""CUHK03's protocol: a gallery with one image of each identity, drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_reid.metrics.functional.counted import Counted, counted_blocks
from lightning_reid.metrics.functional.distances import Distances
from lightning_reid.metrics.functional.images import Images

_BLOCK_ENTRIES = 1 << 24  # distances, or comparisons with them, held at once


@torch.no_grad()
def single_shot_values(
    query: Images,
    gallery: Images,
    distances: Distances,
    ranks: Sequence[int],
    cross_camera_only: bool = False,
    share: tuple[int, int] = (0, 1),
) -> dict[str, Tensor]:
    """The chance that the match is among the first k of a gallery with one image of each identity.

    For every query, an image of each gallery identity is drawn from those that count. The peers
    draw 10 or 100 times and report the mean; this is the mean over all draws. Whether the image
    drawn of another identity lies before the match is a toss for each identity, independent of
    the rest; from their chances follows that of every number of identities before the match.

    Args:
        query: the queries.
        gallery: the gallery.
        distances: between them; ties count against the match.
        ranks: the ks, from 1.
        cross_camera_only: ignore all gallery images of the query's camera.
        share: (which, of how many) shares of the queries to do.

    Returns:
        ``(Q,)`` float64 as ``rank<k>``; 0 for queries without a match or of other shares.
    """
    hits = torch.zeros(len(query), len(ranks), dtype=torch.float64, device=query.embeddings.device)
    blocks = counted_blocks(query, gallery, distances, cross_camera_only, _BLOCK_ENTRIES, share)
    if len(gallery) and ranks:
        order, ends = _by_identity(gallery.identities)
        for block in blocks:
            hits[block.rows] = _block_hits(block, order, ends, ranks)
    return {f"rank{k}": column for k, column in zip(ranks, hits.T.contiguous(), strict=True)}


def _block_hits(block: Counted, order: Tensor, ends: Tensor, ranks: Sequence[int]) -> Tensor:
    """The mean over each query's matches, as each of them is as likely to be drawn."""
    others = block.others[:, order]
    sizes = _per_identity(others.isfinite(), ends)
    present = block.matches.isfinite()
    deepest = min(max(ranks), len(ends))
    columns = torch.as_tensor(ranks, device=others.device).clamp(max=deepest) - 1
    sums = torch.zeros(len(others), len(ranks), dtype=torch.float64, device=others.device)
    step = max(1, _BLOCK_ENTRIES // others.shape[1])
    for row, place in (pairs.T for pairs in torch.split(present.nonzero(), step)):
        before = others[row] <= block.matches[row, place][:, None]
        chances = _per_identity(before, ends) / sizes[row].clamp(min=1)
        sums.index_add_(0, row, _chance_of_rank(chances.double(), deepest)[:, columns])
    return sums / present.sum(1).clamp(min=1)[:, None]


def _by_identity(identities: Tensor) -> tuple[Tensor, Tensor]:
    """Gallery images sorted by identity, and where each identity ends."""
    ordered, order = identities.sort(stable=True)
    sizes = torch.unique_consecutive(ordered, return_counts=True)[1]
    return order, sizes.cumsum(0)


def _per_identity(flags: Tensor, ends: Tensor) -> Tensor:
    """Count the flags ``(P, G)``, sorted by identity, of each identity: ``(P, I)``."""
    totals = flags.cumsum(1, dtype=torch.int32)[:, ends - 1]
    return totals.diff(dim=1, prepend=totals.new_zeros(len(totals), 1))


def _chance_of_rank(chances: Tensor, deepest: int) -> Tensor:
    """The chance ``(P, deepest)`` that the rank is at most 1, 2, ...

    Args:
        chances: ``(P, I)`` that each identity lies before the match.
        deepest: largest rank asked for.
    """
    used = max((chances > 0).sum(1).tolist(), default=0)
    exactly = chances.new_zeros(len(chances), deepest)
    exactly[:, 0] = 1
    for chance in chances.sort(dim=1, descending=True).values[:, :used].T:
        moved = exactly * chance[:, None]
        exactly -= moved
        exactly[:, 1:] += moved[:, :-1]
    return exactly.cumsum(1)
