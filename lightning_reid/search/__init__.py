"""Find the images that are nearest to another one."""

from lightning_reid.models.trained import TrainedModel
from lightning_reid.search.embedder import Embedder
from lightning_reid.search.gallery import Change, Gallery, Match

__all__ = ["Change", "Embedder", "Gallery", "Match", "TrainedModel"]
