"""Numbers to judge a model by: retrieval and cluster quality."""

from lightning_reid.metrics.functional import (
    QueryScores,
    cluster_quality,
    query_scores,
    rand_agreement,
    retrieval_metrics,
    soft_label_accuracy,
)
from lightning_reid.metrics.retrieval import Collected, RetrievalMetrics

__all__ = [
    "Collected",
    "QueryScores",
    "RetrievalMetrics",
    "cluster_quality",
    "query_scores",
    "rand_agreement",
    "retrieval_metrics",
    "soft_label_accuracy",
]
