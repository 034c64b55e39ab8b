"""When things happen in a run."""

from lightning_reid.callbacks.embeddings import EmbeddingWriter
from lightning_reid.callbacks.extraction import extract_features
from lightning_reid.callbacks.label_statistics import label_statistics
from lightning_reid.callbacks.page import Page
from lightning_reid.callbacks.pictures import Pictures
from lightning_reid.callbacks.pseudo_labels import (
    NoClustersError,
    PseudoLabelCallback,
    label_history,
)

__all__ = [
    "EmbeddingWriter",
    "NoClustersError",
    "Page",
    "Pictures",
    "PseudoLabelCallback",
    "extract_features",
    "label_history",
    "label_statistics",
]
