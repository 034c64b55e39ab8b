"""Retrieval quality under the camera rule, exact and in blocks, as pure functions."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from lightning_reid.errors import InputError, require, require_one_of
from lightning_reid.metrics.functional.counted import Counted, counted_blocks
from lightning_reid.metrics.functional.counting import at_or_before
from lightning_reid.metrics.functional.distances import Distances, EuclideanDistances
from lightning_reid.metrics.functional.images import Images, Values, checked_images
from lightning_reid.metrics.functional.reranking import Reranking, reranked
from lightning_reid.metrics.functional.single_shot import single_shot_values
from lightning_reid.metrics.functional.undefined import warn_without_match

ProtocolName = Literal["market", "cuhk03"]
PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)

_BLOCK_ELEMENTS = 1 << 25  # distances held at once: 134 MB; products of fewer rows are slower


class QueryScores(NamedTuple):
    """What every query scored; all ``(Q,)``.

    Attributes:
        average_precision: mean of the precisions at the query's matches.
        inverse_penalty: number of matches over the rank of the last one (mINP's summand).
        first_match: rank of the first match, from 1.
        valid: the query has a match that counts; where not, the three before are 0.
        nearest_match: distance of the first match, infinite where there is none.
        nearest: distance of the nearest gallery image that counts, whoever it shows; infinite where
            none counts.
        identified: the query's identity is known; where not, nothing counts for it.

    Example:
        >>> query, gallery = torch.tensor([[0.0]]), torch.tensor([[1.0], [2.0], [3.0]])
        >>> scores = query_scores(query, gallery, [5], [6, 5, 5], [0], [1, 1, 1])
        >>> scores.first_match.item(), scores.nearest.item(), scores.nearest_match.item()
        (2, 1.0, 4.0)
        >>> round(scores.average_precision.item(), 4)  # (1 / 2 + 2 / 3) / 2
        0.5833
    """

    average_precision: Tensor
    inverse_penalty: Tensor
    first_match: Tensor
    valid: Tensor
    nearest_match: Tensor
    nearest: Tensor
    identified: Tensor


def retrieval_metrics(
    query: Values,
    gallery: Values,
    query_ids: Values,
    gallery_ids: Values,
    query_cameras: Values,
    gallery_cameras: Values,
    ranks: Sequence[int] = (1, 5, 10),
    rerank: bool | Reranking = False,
    protocol: ProtocolName = "market",
    cross_camera_only: bool = False,
) -> dict[str, float]:
    """MAP, mINP and CMC.

    A gallery image with the query's identity *and* camera is ignored for that query. Queries
    without a match in another camera are left out and counted. Average precision is the mean of
    the precisions at the matches, not the area under an interpolated curve.

    Identity -1 is unknown. Such a gallery image is ignored for every query, neither right nor
    wrong, like the junk images of Market-1501's evaluation code; it stays a neighbour for
    re-ranking, which uses no identities. Such a query has no match, and so is left out.

    Ties: an image that does not match and lies at exactly the distance of a match counts as ranked
    before it, so that embeddings which have collapsed to a point score low.

    The embeddings may have been through :func:`~lightning_reid.clustering.camera_normalize` (query
    and gallery together) or :func:`~lightning_reid.metrics.expand_queries` before.

    Args:
        query: ``(Q, D)`` embeddings, compared by Euclidean distance in float32, or in float64 if
            one side is float64.
        gallery: ``(G, D)`` embeddings.
        query_ids: ``(Q,)`` identities, integers of any width from 0, or -1 where unknown.
        gallery_ids: ``(G,)`` identities, likewise.
        query_cameras: ``(Q,)`` cameras, integers of any width.
        gallery_cameras: ``(G,)`` cameras, likewise.
        ranks: ranks of the CMC curve to report, from 1.
        rerank: rank by the k-reciprocal distance of
            :class:`~lightning_reid.metrics.Reranking` instead; True takes its defaults.
        protocol: "market", or "cuhk03": the CMC is the mean over all galleries that have a single
            image of each identity. It is computed, not drawn, so that no seed matters. mAP and
            mINP are from all images in both.
        cross_camera_only: ignore all gallery images of the query's camera, not only those with its
            identity.

    Returns:
        ``mAP``, ``mINP`` and ``rank<k>`` in [0, 1], ``num_valid_queries``. All but the last are
        NaN where no query is valid; a warning then says why.

    Raises:
        InputError: if lengths or dimensions disagree, an embedding is NaN, infinite or too long for
            squared distances, an identity or a camera is no integer, an identity is below -1,
            ranks are not integers from 1, or the protocol is unknown.

    Example:
        >>> q, g = torch.eye(2), torch.tensor([[1.0, 0.1], [0.1, 1.0], [0.5, 0.5]])
        >>> retrieval_metrics(q, g, [7, 8], [7, 8, 8], [0, 0], [1, 1, 0], ranks=(1,))
        {'mAP': 1.0, 'mINP': 1.0, 'rank1': 1.0, 'num_valid_queries': 2.0}
    """
    ranks = checked_ranks(ranks)
    require_one_of("protocol", protocol, PROTOCOLS)
    sides = checked_images(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras)
    distances = distances_between(*sides, rerank)
    values = score_values(block_scores(*sides, distances, cross_camera_only), ranks)
    if protocol == "cuhk03":
        values |= single_shot_values(*sides, distances, ranks, cross_camera_only)
    if not values["valid"].any():
        warn_without_match(*sides)
    return mean_values(values)


@torch.no_grad()
def query_scores(
    query: Values,
    gallery: Values,
    query_ids: Values,
    gallery_ids: Values,
    query_cameras: Values,
    gallery_cameras: Values,
    rerank: bool | Reranking = False,
    cross_camera_only: bool = False,
) -> QueryScores:
    """Scores of every single query; arguments and errors as for :func:`retrieval_metrics`.

    Example:
        >>> query, gallery = torch.eye(2), torch.tensor([[0.9, 0.1], [0.8, 0.2]])
        >>> scores = query_scores(query, gallery, [7, 8], [7, 8], [0, 0], [1, 1])
        >>> scores.first_match.tolist(), scores.average_precision.tolist()
        ([1, 1], [1.0, 1.0])
    """
    one, other = checked_images(
        query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras
    )
    return block_scores(one, other, distances_between(one, other, rerank), cross_camera_only)


def checked_ranks(ranks: Sequence[int]) -> tuple[int, ...]:
    """Give ranks of a CMC curve as plain numbers.

    Raises:
        InputError: if they are no integers from 1 in a list or tuple.
    """
    try:
        numbers = tuple(operator.index(rank) for rank in ranks)
    except TypeError:
        raise InputError(
            f"ranks must be a list of integers, such as [1, 5, 10], not {ranks!r}"
        ) from None
    require("the smallest rank", min(numbers, default=1), 1)
    return numbers


def score_values(scores: QueryScores, ranks: Sequence[int]) -> dict[str, Tensor]:
    """What each query adds to each of the means of :func:`retrieval_metrics`.

    Args:
        scores: of the queries.
        ranks: as there.

    Returns:
        ``(Q,)`` float64 by the names of the means, and whether a query is ``"valid"``, 1 or 0.
    """
    hit = {f"rank{k}": (scores.first_match <= k) & scores.valid for k in ranks}
    return {
        "mAP": scores.average_precision,
        "mINP": scores.inverse_penalty,
        **{name: column.double() for name, column in hit.items()},
        "valid": scores.valid.double(),
    }


def mean_values(values: dict[str, Tensor]) -> dict[str, float]:
    """The means over all valid queries, and their number."""
    count = float(values["valid"].sum())
    sums = {name: float(column.sum()) for name, column in values.items() if name != "valid"}
    means = {name: total / count if count else float("nan") for name, total in sums.items()}
    return {**means, "num_valid_queries": count}


def distances_between(
    query: Images, gallery: Images, rerank: bool | Reranking = False
) -> Distances:
    """The distances to rank by."""
    plain = EuclideanDistances(query, gallery)
    if rerank is False or not len(query) or not len(gallery):
        return plain
    return reranked(plain, Reranking() if rerank is True else rerank)


def score_block(block: Counted) -> QueryScores:
    """Scores of one block of queries; only the ranks of the matches are formed."""
    matches, others = block.matches, block.others
    present = matches.isfinite()
    count = present.sum(1)
    nearest = matches[:, 0]
    if others.shape[1]:
        nearest = nearest.minimum(others.amin(1))
    position = torch.arange(1, matches.shape[1] + 1, device=matches.device)
    rank = at_or_before(others, matches) + position
    precision = torch.where(present, position.double() / rank, 0.0)
    last = rank.gather(1, (count - 1).clamp(min=0)[:, None])[:, 0]
    valid = count > 0
    return QueryScores(
        average_precision=precision.sum(1) / count.clamp(min=1),
        inverse_penalty=torch.where(valid, count.double() / last, 0.0),
        first_match=torch.where(valid, rank[:, 0], 0),
        valid=valid,
        nearest_match=matches[:, 0],
        nearest=nearest,
        identified=block.identified,
    )


@torch.no_grad()
def block_scores(
    query: Images,
    gallery: Images,
    distances: Distances,
    cross_camera_only: bool = False,
    share: tuple[int, int] = (0, 1),
) -> QueryScores:
    """Scores of all queries, block by block.

    Args:
        query: the queries.
        gallery: the gallery.
        distances: between them.
        cross_camera_only: as for :func:`retrieval_metrics`.
        share: (which, of how many) shares of the queries to do; the scores of others are 0, so
            that all shares sum to the whole.
    """
    count, new = len(query), query.embeddings.new_zeros
    scores = QueryScores(
        average_precision=new(count, dtype=torch.float64),
        inverse_penalty=new(count, dtype=torch.float64),
        first_match=new(count, dtype=torch.int64),
        valid=new(count, dtype=torch.bool),
        nearest_match=new(count),
        nearest=new(count),
        identified=new(count, dtype=torch.bool),
    )
    for block in counted_blocks(
        query, gallery, distances, cross_camera_only, _BLOCK_ELEMENTS, share
    ):
        for column, part in zip(scores, score_block(block), strict=True):
            column[block.rows] = part
    return scores
