"""Camera-aware person re-identification without identity labels, on PyTorch Lightning."""

from lightning_reid.callbacks import PseudoLabelCallback
from lightning_reid.datamodules import (
    MSMT17,
    DukeMTMCreID,
    Market1501,
    ReIDDataModule,
    SyntheticPersons,
    VeRi776,
)
from lightning_reid.labels import PseudoLabels
from lightning_reid.methods import (
    CALR,
    CAP,
    O2CAP,
    PCSL,
    ReIDModule,
    ReliableSoftLabels,
    Supervised,
)
from lightning_reid.metrics import RetrievalMetrics

__all__ = [
    "CALR",
    "CAP",
    "MSMT17",
    "O2CAP",
    "PCSL",
    "DukeMTMCreID",
    "Market1501",
    "PseudoLabelCallback",
    "PseudoLabels",
    "ReIDDataModule",
    "ReIDModule",
    "ReliableSoftLabels",
    "RetrievalMetrics",
    "Supervised",
    "SyntheticPersons",
    "VeRi776",
]
