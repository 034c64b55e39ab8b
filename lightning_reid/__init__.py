"""Camera-aware person re-identification without identity labels, on PyTorch Lightning."""

from lightning_reid.callbacks import PseudoLabelCallback
from lightning_reid.datamodules import (
    CUHK03,
    MARS,
    MSMT17,
    PRID2011,
    DukeMTMCreID,
    DukeMTMCVideoReID,
    ManifestData,
    Market1501,
    PersonX,
    ReIDDataModule,
    SyntheticPersons,
    VeRi776,
    VIPeR,
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
    "CUHK03",
    "MARS",
    "MSMT17",
    "O2CAP",
    "PCSL",
    "PRID2011",
    "DukeMTMCVideoReID",
    "DukeMTMCreID",
    "ManifestData",
    "Market1501",
    "PersonX",
    "PseudoLabelCallback",
    "PseudoLabels",
    "ReIDDataModule",
    "ReIDModule",
    "ReliableSoftLabels",
    "RetrievalMetrics",
    "Supervised",
    "SyntheticPersons",
    "VIPeR",
    "VeRi776",
]
