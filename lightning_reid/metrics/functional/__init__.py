"""Metrics as pure functions."""

from lightning_reid.metrics.functional.clusters import (
    cluster_quality,
    rand_agreement,
    soft_label_accuracy,
)
from lightning_reid.metrics.functional.retrieval import (
    QueryScores,
    query_scores,
    retrieval_metrics,
)

__all__ = [
    "QueryScores",
    "cluster_quality",
    "query_scores",
    "rand_agreement",
    "retrieval_metrics",
    "soft_label_accuracy",
]
