"""One small class per data set."""

from lightning_reid.datamodules.base import ReIDDataModule
from lightning_reid.datamodules.dukemtmc_reid import DukeMTMCreID
from lightning_reid.datamodules.market1501 import Market1501
from lightning_reid.datamodules.msmt17 import MSMT17
from lightning_reid.datamodules.synthetic import SyntheticPersons
from lightning_reid.datamodules.veri776 import VeRi776

__all__ = ["MSMT17", "DukeMTMCreID", "Market1501", "ReIDDataModule", "SyntheticPersons", "VeRi776"]
