"""Metrics as pure functions."""

from lightning_reid.metrics.functional.bootstrap import bootstrap_interval
from lightning_reid.metrics.functional.camera_pairs import CameraPairTable, camera_pair_table
from lightning_reid.metrics.functional.clusters import (
    cluster_quality,
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
    "bootstrap_interval",
    "camera_pair_table",
    "cluster_quality",
    "expand_queries",
    "open_set_rates",
    "query_scores",
    "rand_agreement",
    "retrieval_metrics",
    "soft_label_accuracy",
    "verification_rates",
]
