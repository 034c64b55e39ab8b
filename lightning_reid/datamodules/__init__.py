"""One small class per data set."""

from lightning_reid.datamodules.base import ReIDDataModule
from lightning_reid.datamodules.market1501 import Market1501
from lightning_reid.datamodules.synthetic import SyntheticPersons

__all__ = ["Market1501", "ReIDDataModule", "SyntheticPersons"]
