"""Numbers to judge a model by: retrieval and cluster quality."""

from lightning_reid.metrics.collected import Collected
from lightning_reid.metrics.evaluation import Evaluation
from lightning_reid.metrics.functional import (
    CameraPairTable,
    Expansion,
    QueryScores,
    Reranking,
    bcubed_quality,
    bootstrap_interval,
    camera_pair_table,
    cluster_quality,
    cross_camera_quality,
    expand_queries,
    open_set_rates,
    quality_by_camera,
    query_scores,
    rand_agreement,
    retrieval_metrics,
    soft_label_accuracy,
    verification_rates,
)
from lightning_reid.metrics.retrieval import RetrievalMetrics

__all__ = [
    "CameraPairTable",
    "Collected",
    "Evaluation",
    "Expansion",
    "QueryScores",
    "Reranking",
    "RetrievalMetrics",
    "bcubed_quality",
    "bootstrap_interval",
    "camera_pair_table",
    "cluster_quality",
    "cross_camera_quality",
    "expand_queries",
    "open_set_rates",
    "quality_by_camera",
    "query_scores",
    "rand_agreement",
    "retrieval_metrics",
    "soft_label_accuracy",
    "verification_rates",
]
