"""Metrics as pure functions."""

from lightning_reid.metrics.functional.bootstrap import bootstrap_interval
from lightning_reid.metrics.functional.camera_pairs import CameraPairTable, camera_pair_table
from lightning_reid.metrics.functional.clusters import (
    bcubed_quality,
    cluster_quality,
    cross_camera_quality,
    quality_by_camera,
    rand_agreement,
    soft_label_accuracy,
)
from lightning_reid.metrics.functional.expansion import Expansion, expand_queries
from lightning_reid.metrics.functional.open_set import open_set_rates
from lightning_reid.metrics.functional.reranking import Reranking
from lightning_reid.metrics.functional.retrieval import (
    QueryScores,
    query_scores,
    retrieval_metrics,
)
from lightning_reid.metrics.functional.verification import verification_rates

__all__ = [
    "CameraPairTable",
    "Expansion",
    "QueryScores",
    "Reranking",
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
