"""Networks that turn person images into embeddings, and their pretrained weights."""

from lightning_reid.models.backbones import build_backbone
from lightning_reid.models.batch_norm import GroupBatchNorm, divide_batch, group_batch_norms
from lightning_reid.models.camera_discriminator import CameraDiscriminator, reverse_gradient
from lightning_reid.models.checkpoint_files import tensors_only
from lightning_reid.models.embedding import EmbeddingNetwork
from lightning_reid.models.pooling import GeneralizedMeanPool
from lightning_reid.models.weights import LoadReport, load_weights

__all__ = [
    "CameraDiscriminator",
    "EmbeddingNetwork",
    "GeneralizedMeanPool",
    "GroupBatchNorm",
    "LoadReport",
    "build_backbone",
    "divide_batch",
    "group_batch_norms",
    "load_weights",
    "reverse_gradient",
    "tensors_only",
]
