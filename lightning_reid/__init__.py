"""Camera-aware person re-identification without identity labels, on PyTorch Lightning."""

from lightning_reid.callbacks import PseudoLabelCallback
from lightning_reid.datamodules import Market1501, ReIDDataModule, SyntheticPersons
from lightning_reid.labels import PseudoLabels
from lightning_reid.methods import CAP, O2CAP, ReIDModule
from lightning_reid.metrics import RetrievalMetrics

__all__ = [
    "CAP",
    "O2CAP",
    "Market1501",
    "PseudoLabelCallback",
    "PseudoLabels",
    "ReIDDataModule",
    "ReIDModule",
    "RetrievalMetrics",
    "SyntheticPersons",
]
