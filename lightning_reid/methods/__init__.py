"""The methods, one file each."""

from lightning_reid.methods.base import ReIDModule
from lightning_reid.methods.cap import CAP
from lightning_reid.methods.o2cap import O2CAP

__all__ = ["CAP", "O2CAP", "ReIDModule"]
