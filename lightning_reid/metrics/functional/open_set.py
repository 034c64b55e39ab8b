"""Queries who may not be in the gallery at all."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lightning_reid.errors import require
from lightning_reid.metrics.functional.images import Values
from lightning_reid.metrics.functional.reranking import Reranking
from lightning_reid.metrics.functional.retrieval import QueryScores, query_scores
from lightning_reid.metrics.functional.undefined import warn_of_open_set
from lightning_reid.metrics.functional.verification import checked_rates, threshold_limits


@torch.no_grad()
def open_set_rates(
    query: Values,
    gallery: Values,
    query_ids: Values,
    gallery_ids: Values,
    query_cameras: Values,
    gallery_cameras: Values,
    false_alarm_rates: Sequence[float] = (0.01, 0.1),
    rank: int = 1,
    rerank: bool | Reranking = False,
    cross_camera_only: bool = False,
) -> dict[str, float]:
    """Detection and identification rates at rates of false alarms.

    A query without a match that counts is unknown. It raises a false alarm if its nearest gallery
    image is accepted; a known query is found if its first match has at most the rank and is
    accepted. Accepted is what is nearer than a distance, the same for all: the largest at which no
    more than the given share of the unknown queries raise an alarm.

    Args:
        query: ``(Q, D)`` embeddings.
        gallery: ``(G, D)`` embeddings.
        query_ids: ``(Q,)`` identities; those of unknown queries may be any that the gallery lacks,
            but not -1: of such a query nothing is known, and it counts as neither.
        gallery_ids: ``(G,)`` identities; images with -1 are ignored.
        query_cameras: ``(Q,)`` cameras.
        gallery_cameras: ``(G,)`` cameras.
        false_alarm_rates: shares of the unknown queries, from 0 to 1.
        rank: at which a match may stand, from 1.
        rerank: compare by the re-ranked distance.
        cross_camera_only: ignore all gallery images of the query's camera.

    Returns:
        ``dir@<rate>``, the share of the known queries that are found at that rate; NaN where no
        query is known, or none unknown, and a warning says so. ``num_known_queries``,
        ``num_unknown_queries``.

    Raises:
        InputError: as for :func:`~lightning_reid.metrics.retrieval_metrics`, or if the rates are no
            list of numbers between 0 and 1.

    Example:
        >>> query, gallery = torch.tensor([[0.0], [5.0], [9.0]]), torch.tensor([[0.1], [5.5]])
        >>> sides = query, gallery, [7, 8, 9], [7, 8], [0, 0, 0], [1, 1]
        >>> open_set_rates(*sides, false_alarm_rates=[0.0])  # nobody knows the third
        {'dir@0': 1.0, 'num_known_queries': 2.0, 'num_unknown_queries': 1.0}
    """
    require("rank", rank, 1)
    rates = checked_rates("false_alarm_rates", false_alarm_rates)
    scores = query_scores(
        query,
        gallery,
        query_ids,
        gallery_ids,
        query_cameras,
        gallery_cameras,
        rerank,
        cross_camera_only,
    )
    numbers = rates_at_false_alarms(scores, rates, rank)
    if rates:
        warn_of_open_set(numbers)
    return numbers


def rates_at_false_alarms(
    scores: QueryScores, false_alarm_rates: Sequence[float] = (0.01, 0.1), rank: int = 1
) -> dict[str, float]:
    """What :func:`open_set_rates` returns, where the scores of the queries are known."""
    known = scores.valid
    alarms = scores.nearest[scores.identified & ~known].sort().values
    right = scores.nearest_match[known & (scores.first_match <= rank)]
    both = bool(known.any()) and len(alarms) > 0
    limits = threshold_limits(alarms, len(alarms), false_alarm_rates)
    return {
        **{
            f"dir@{rate:g}": float((right < limit).sum() / known.sum()) if both else float("nan")
            for rate, limit in zip(false_alarm_rates, limits, strict=True)
        },
        "num_known_queries": float(known.sum()),
        "num_unknown_queries": float(len(alarms)),
    }
