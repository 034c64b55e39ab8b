"""One small class per data set."""

from lightning_reid.datamodules.base import ReIDDataModule
from lightning_reid.datamodules.cuhk03 import CUHK03
from lightning_reid.datamodules.duke_video import DukeMTMCVideoReID
from lightning_reid.datamodules.dukemtmc_reid import DukeMTMCreID
from lightning_reid.datamodules.manifest import ManifestData
from lightning_reid.datamodules.market1501 import Market1501
from lightning_reid.datamodules.mars import MARS
from lightning_reid.datamodules.msmt17 import MSMT17
from lightning_reid.datamodules.personx import PersonX
from lightning_reid.datamodules.prid2011 import PRID2011
from lightning_reid.datamodules.synthetic import SyntheticPersons
from lightning_reid.datamodules.veri776 import VeRi776
from lightning_reid.datamodules.viper import VIPeR

__all__ = [
    "CUHK03",
    "MARS",
    "MSMT17",
    "PRID2011",
    "DukeMTMCVideoReID",
    "DukeMTMCreID",
    "ManifestData",
    "Market1501",
    "PersonX",
    "ReIDDataModule",
    "SyntheticPersons",
    "VIPeR",
    "VeRi776",
]
