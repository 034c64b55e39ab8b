"""Queries and what was found for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from lightning_reid.metrics import Collected, QueryScores
from lightning_reid.metrics.functional.images import UNKNOWN
from lightning_reid.report.tiles import Frame, Row, Tile, draw_rows

Integers = npt.NDArray[np.int64]


class Ranking(NamedTuple):
    """What was found for a query.

    Attributes:
        query: position of the query among all images.
        nearest: positions of the nearest gallery images that count, nearest first.
        first_match: position of the first that matches.
        rank: its rank, from 1.
        average_precision: of the query.
    """

    query: int
    nearest: list[int]
    first_match: int
    rank: int
    average_precision: float


def worst_queries(scores: QueryScores, identities: Tensor, count: int) -> Integers:
    """Queries whose first match comes last, each of another identity.

    Args:
        scores: of Q queries.
        identities: ``(Q,)``.
        count: how many at most.

    Returns:
        Positions among the queries, worst first; only such that have a match at all.
    """
    valid, first_match, precision = _columns(scores)
    order = valid[np.lexsort((precision, -first_match))]
    return _one_of_each(order, identities, count)


def typical_queries(scores: QueryScores, identities: Tensor, count: int) -> Integers:
    """Queries whose average precision is nearest to the median, each of another identity.

    Arguments and result are those of :func:`worst_queries`; the nearest come first.
    """
    valid, _, precision = _columns(scores)
    if not len(valid):
        return valid
    distance = np.abs(precision - np.median(precision))
    return _one_of_each(valid[np.argsort(distance, kind="stable")], identities, count)


def rank_gallery(
    seen: Collected,
    scores: QueryScores,
    chosen: Integers,
    num_results: int = 10,
    cross_camera_only: bool = False,
) -> list[Ranking]:
    """The nearest gallery images of some queries.

    Gallery images of the query's identity and camera are left out, and those of unknown identity,
    as in the numbers.

    Args:
        seen: the evaluation set.
        scores: of all its queries.
        chosen: positions among the queries; each must have a match.
        num_results: gallery images to keep.
        cross_camera_only: leave out all gallery images of the query's camera.

    Returns:
        For each chosen query what was found, in their order.

    Raises:
        IndexError: if one of them has no match.

    Example:
        >>> from lightning_reid.metrics import Collected, query_scores
        >>> positions = torch.tensor([[0.0], [1.0], [2.0]])  # a query, somebody else, a match
        >>> people, cameras = torch.tensor([7, 8, 7]), torch.tensor([0, 1, 1])
        >>> is_query = torch.tensor([True, False, False])
        >>> seen = Collected(positions, people, cameras, is_query, torch.arange(3))
        >>> (ranking,) = rank_gallery(seen, query_scores(*seen.sides()), np.array([0]))
        >>> ranking.nearest, ranking.first_match, ranking.rank
        ([1, 2], 2, 2)
    """
    queries, gallery = seen.is_query.nonzero()[:, 0], (~seen.is_query).nonzero()[:, 0]
    rankings = []
    for number in chosen.tolist():
        row = queries[number]
        same = seen.identities[gallery] == seen.identities[row]
        junk = (seen.cameras[gallery] == seen.cameras[row]) & (same | cross_camera_only)
        junk |= seen.identities[gallery] == UNKNOWN
        kept = gallery[~junk]
        difference = seen.embeddings[kept] - seen.embeddings[row]
        order = difference.square().sum(1).argsort(stable=True)
        found = same[~junk][order]
        ranking = Ranking(
            query=int(row),
            nearest=kept[order[:num_results]].tolist(),
            first_match=int(kept[order[found.nonzero()[0, 0]]]),
            rank=int(scores.first_match[number]),
            average_precision=float(scores.average_precision[number]),
        )
        rankings.append(ranking)
    return rankings


def draw_rankings(
    rankings: Sequence[Ranking],
    identities: Tensor,
    cameras: Tensor,
    paths: Sequence[str],
    camera_names: Sequence[str],
) -> Image.Image:
    """Each row a query and its nearest gallery images, and its first match if that comes later.

    Thick green frames with a tick match, thin red ones with a cross do not.

    Args:
        rankings: the rows.
        identities: ``(N,)`` of all images.
        cameras: ``(N,)`` of all images.
        paths: N image files.
        camera_names: by camera number, written above the images.

    Returns:
        An RGB image; where a file cannot be read it says so.

    Example:
        >>> from lightning_reid.metrics import Collected, query_scores
        >>> positions, people = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([7, 8, 7])
        >>> cameras, is_query = torch.tensor([0, 1, 1]), torch.tensor([True, False, False])
        >>> seen = Collected(positions, people, cameras, is_query, torch.arange(3))
        >>> rankings = rank_gallery(seen, query_scores(*seen.sides()), np.array([0]))
        >>> paths = ["gate/1.jpg", "hall/1.jpg", "hall/2.jpg"]
        >>> picture = draw_rankings(rankings, people, cameras, paths, ["gate", "hall"])
        >>> picture.mode, picture.width > 3 * 56  # a query and two gallery images side by side
        ('RGB', True)
    """

    def tile(position: int, frame: Frame, before: str = "") -> Tile:
        return Tile(paths[position], before + camera_names[int(cameras[position])], frame)

    rows = []
    for ranking in rankings:
        matches = (identities[torch.tensor(ranking.nearest)] == identities[ranking.query]).tolist()
        tiles: list[Tile | None] = [tile(ranking.query, "query", "query, ")]
        tiles += [
            tile(position, "match" if match else "mismatch")
            for position, match in zip(ranking.nearest, matches, strict=True)
        ]
        if not any(matches):
            tiles += [None, tile(ranking.first_match, "match", f"{ranking.rank}: ")]
        precision = f"{100 * ranking.average_precision:.0f} %"
        rows.append(
            Row(f"first match at rank {ranking.rank}, average precision {precision}", tiles)
        )
    return draw_rows(rows)


def _columns(scores: QueryScores) -> tuple[Integers, Integers, npt.NDArray[np.float64]]:
    """Positions, first matches and precisions of the valid queries."""
    valid = scores.valid.cpu().numpy()
    first_match = scores.first_match.cpu().numpy()[valid]
    return valid.nonzero()[0], first_match, scores.average_precision.cpu().numpy()[valid]


def _one_of_each(order: Integers, identities: Tensor, count: int) -> Integers:
    """The first of each identity, in order."""
    _, first = np.unique(identities.cpu().numpy()[order], return_index=True)
    return order[np.sort(first)[:count]]
