"""Networks that turn person images into embeddings, and their pretrained weights."""

from lightning_reid.models.backbones import build_backbone
from lightning_reid.models.camera_discriminator import CameraDiscriminator, reverse_gradient
from lightning_reid.models.embedding import EmbeddingNetwork
from lightning_reid.models.pooling import GeneralizedMeanPool
from lightning_reid.models.weights import LoadReport, load_weights

__all__ = [
    "CameraDiscriminator",
    "EmbeddingNetwork",
    "GeneralizedMeanPool",
    "LoadReport",
    "build_backbone",
    "load_weights",
    "reverse_gradient",
]
