"""Retrieval quality under the camera rule, exact and in blocks, as a pure function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor

_BLOCK_ELEMENTS = 1 << 22  # similarities held at once: 16 MB


class QueryScores(NamedTuple):
    """What every query scored; all ``(Q,)``.

    Attributes:
        average_precision: mean of the precisions at the query's matches.
        inverse_penalty: number of matches over the rank of the last one (mINP's summand).
        first_match: rank of the first match, from 1.
        valid: the query has a match in another camera; where not, the other three are 0.
    """

    average_precision: Tensor
    inverse_penalty: Tensor
    first_match: Tensor
    valid: Tensor


def retrieval_metrics(
    query: Tensor | npt.ArrayLike,
    gallery: Tensor | npt.ArrayLike,
    query_ids: Tensor | npt.ArrayLike,
    gallery_ids: Tensor | npt.ArrayLike,
    query_cameras: Tensor | npt.ArrayLike,
    gallery_cameras: Tensor | npt.ArrayLike,
    ranks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """MAP, mINP and CMC under the Market-1501 protocol.

    A gallery image with the query's identity *and* camera is ignored for that query. Queries
    without a match in another camera are left out and counted. Ties: an image that does not match
    and lies at exactly the distance of a match counts as ranked before it, so that embeddings which
    have collapsed to a point score low.

    Args:
        query: ``(Q, D)`` embeddings, compared by Euclidean distance.
        gallery: ``(G, D)`` embeddings.
        query_ids: ``(Q,)`` identities.
        gallery_ids: ``(G,)`` identities.
        query_cameras: ``(Q,)`` cameras.
        gallery_cameras: ``(G,)`` cameras.
        ranks: ranks of the CMC curve to report, from 1.

    Returns:
        ``mAP``, ``mINP`` and ``rank<k>`` in [0, 1], ``num_valid_queries``. All but the last are
        NaN where no query is valid.

    Raises:
        ValueError: if lengths or dimensions disagree, or a rank is below 1.

    Example:
        >>> q, g = torch.eye(2), torch.tensor([[1.0, 0.1], [0.1, 1.0], [0.5, 0.5]])
        >>> retrieval_metrics(q, g, [7, 8], [7, 8, 8], [0, 0], [1, 1, 0], ranks=(1,))
        {'mAP': 1.0, 'mINP': 1.0, 'rank1': 1.0, 'num_valid_queries': 2.0}
    """
    if min(ranks, default=1) < 1:
        raise ValueError(f"ranks count from 1, got {tuple(ranks)}")
    scores = query_scores(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras)
    valid = scores.valid
    mean = {
        "mAP": scores.average_precision[valid].mean(),
        "mINP": scores.inverse_penalty[valid].mean(),
        **{f"rank{k}": (scores.first_match[valid] <= k).double().mean() for k in ranks},
    }
    return {**{k: float(v) for k, v in mean.items()}, "num_valid_queries": float(valid.sum())}


def query_scores(
    query: Tensor | npt.ArrayLike,
    gallery: Tensor | npt.ArrayLike,
    query_ids: Tensor | npt.ArrayLike,
    gallery_ids: Tensor | npt.ArrayLike,
    query_cameras: Tensor | npt.ArrayLike,
    gallery_cameras: Tensor | npt.ArrayLike,
) -> QueryScores:
    """Scores of every single query; arguments as for :func:`retrieval_metrics`."""
    query, gallery = torch.as_tensor(query), torch.as_tensor(gallery)
    ids, cameras = _columns(query, query_ids, query_cameras, "query")
    gallery_ids, gallery_cameras = _columns(gallery, gallery_ids, gallery_cameras, "gallery")
    if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"query (Q, D) and gallery (G, D) differ: {tuple(query.shape)}, {tuple(gallery.shape)}"
        )
    block = max(1, _BLOCK_ELEMENTS // max(1, len(gallery)))
    half_norm = gallery.float().square().sum(1) / 2
    parts = [
        _score_block(
            # squared distance, halved and less the query's own norm: the same order, one product
            half_norm - query[i : i + block].float() @ gallery.float().T,
            ids[i : i + block, None] == gallery_ids[None],
            cameras[i : i + block, None] == gallery_cameras[None],
        )
        for i in range(0, len(query), block)
    ]
    if not parts:
        none = torch.zeros(0, device=query.device)
        return QueryScores(none.double(), none.double(), none.long(), none.bool())
    return QueryScores(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _columns(
    embeddings: Tensor, ids: Tensor | npt.ArrayLike, cameras: Tensor | npt.ArrayLike, name: str
) -> tuple[Tensor, Tensor]:
    ids = torch.as_tensor(ids, device=embeddings.device)
    cameras = torch.as_tensor(cameras, device=embeddings.device)
    if not len(embeddings) == len(ids) == len(cameras):
        raise ValueError(
            f"{name}: {len(embeddings)} embeddings, {len(ids)} identities, {len(cameras)} cameras"
        )
    return ids, cameras


def _score_block(distance: Tensor, same_identity: Tensor, same_camera: Tensor) -> QueryScores:
    """Scores from one block of ``(B, G)`` distances; only the ranks of the matches are formed."""
    match = same_identity & ~same_camera
    count = match.sum(1)
    width = max(1, int(count.max()))
    # the distances of every query's matches, ascending, padded with +inf
    row, column = match.nonzero(as_tuple=True)
    slot = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    matched = distance.new_full((len(distance), width), float("inf"))
    matched[row, slot] = distance[row, column]
    matched = matched.sort(dim=1).values
    # how many of the others lie at or before each match: they fall into the first match not nearer
    before = torch.searchsorted(matched, distance.masked_fill(same_identity, float("inf")))
    others = torch.zeros(len(distance), width + 1, dtype=torch.int64, device=row.device)
    others.scatter_add_(1, before, (~same_identity).long())
    position = torch.arange(1, width + 1, device=row.device)
    rank = others[:, :width].cumsum(1) + position
    present = position <= count[:, None]
    precision = torch.where(present, position.double() / rank, 0.0)
    last = rank.gather(1, (count - 1).clamp(min=0)[:, None])[:, 0]
    valid = count > 0
    return QueryScores(
        average_precision=precision.sum(1) / count.clamp(min=1),
        inverse_penalty=torch.where(valid, count.double() / last, 0.0),
        first_match=torch.where(valid, rank[:, 0], 0),
        valid=valid,
    )
