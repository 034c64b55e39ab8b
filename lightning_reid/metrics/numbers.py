"""All numbers of one ranking, computed by one process or shared out over several."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_reid.metrics.evaluation import Evaluation
from lightning_reid.metrics.functional.bootstrap import bootstrap_interval
from lightning_reid.metrics.functional.distances import Distances
from lightning_reid.metrics.functional.images import Images
from lightning_reid.metrics.functional.open_set import rates_at_false_alarms
from lightning_reid.metrics.functional.retrieval import (
    QueryScores,
    block_scores,
    mean_values,
    score_values,
)
from lightning_reid.metrics.functional.single_shot import single_shot_values
from lightning_reid.metrics.functional.verification import (
    PairDistances,
    pair_distances,
    rates_at_false_positives,
)
from lightning_reid.metrics.share import Share


def ranking_numbers(
    query: Images, gallery: Images, distances: Distances, wanted: Evaluation, share: Share
) -> dict[str, float]:
    """Compute what is wanted of a ranking.

    Args:
        query: the queries.
        gallery: the gallery.
        distances: between them.
        wanted: what to report; the ranking itself is as it is.
        share: this process's part; every process gets all numbers.
    """
    sides, rule, part = (
        (query, gallery, distances),
        wanted.cross_camera_only,
        (share.which, share.of),
    )
    scores = QueryScores(*share.sums(block_scores(*sides, rule, part)))
    values = score_values(scores, wanted.ranks)
    if wanted.protocol == "cuhk03":
        hits = single_shot_values(*sides, wanted.ranks, rule, part)
        values |= zip(hits, share.sums(list(hits.values())), strict=True)
    numbers = mean_values(values)
    if wanted.confidence is not None:
        numbers |= _intervals(values, wanted.confidence)
    if wanted.false_alarm_rates:
        numbers |= rates_at_false_alarms(scores, wanted.false_alarm_rates)
    if rates := wanted.false_positive_rates:
        pairs = pair_distances(*sides, rates, rule, part)
        numbers |= rates_at_false_positives(_of_all(pairs, share), rates)
    return numbers


def _intervals(values: dict[str, Tensor], confidence: float) -> dict[str, float]:
    """Bootstrap intervals of the means over the valid queries."""
    valid = values["valid"] > 0
    intervals = {
        name: bootstrap_interval(column[valid], confidence=confidence)
        for name, column in values.items()
        if name != "valid"
    }
    return {
        f"{name}_{end}": limit
        for name, interval in intervals.items()
        for end, limit in zip(("low", "high"), interval, strict=True)
    }


def _of_all(pairs: PairDistances, share: Share) -> PairDistances:
    """The pairs of all processes; each has kept enough of them to find the smallest."""
    count = share.joined(pairs.positives.new_tensor([pairs.num_negatives], dtype=torch.int64))
    return PairDistances(
        share.joined(pairs.positives),
        share.joined(pairs.negatives).sort().values,
        int(count.sum()),
    )
