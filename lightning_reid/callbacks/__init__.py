"""When things happen in a run."""

from lightning_reid.callbacks.embeddings import EmbeddingWriter
from lightning_reid.callbacks.pictures import RankingPicture
from lightning_reid.callbacks.pseudo_labels import (
    NoClustersError,
    PseudoLabelCallback,
    extract_features,
    label_statistics,
)

__all__ = [
    "EmbeddingWriter",
    "NoClustersError",
    "PseudoLabelCallback",
    "RankingPicture",
    "extract_features",
    "label_statistics",
]
