"""The methods, one file each."""

from lightning_reid.methods.base import ReIDModule
from lightning_reid.methods.calr import CALR
from lightning_reid.methods.cap import CAP
from lightning_reid.methods.o2cap import O2CAP
from lightning_reid.methods.pcsl import PCSL
from lightning_reid.methods.reliable_soft import ReliableSoftLabels
from lightning_reid.methods.supervised import Supervised

__all__ = ["CALR", "CAP", "O2CAP", "PCSL", "ReIDModule", "ReliableSoftLabels", "Supervised"]
