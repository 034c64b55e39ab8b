"""The network that turns person images into unit-length embeddings."""

from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from typing_extensions import Self

from lightning_reid.errors import InputError
from lightning_reid.models.backbones import build_backbone
from lightning_reid.models.batch_norm import group_batch_norms
from lightning_reid.models.pooling import AveragePool, build_pool
from lightning_reid.models.precision import at_least_float32
from lightning_reid.models.tensor_names import UnwrappedNames


class EmbeddingNetwork(UnwrappedNames):
    """Backbone, pooling, batch-norm neck, unit length.

    The neck (https://arxiv.org/abs/1903.07071) keeps its bias at zero, so that embeddings stay
    centred. Convolutions and images are laid out channels last, in which they are faster.

    Args:
        backbone: See `build_backbone`.
        weights: See `build_backbone`; None for random initialisation, which has to be asked for.
        pooling: "avg" or "gem" for maps; leave it out for networks that pool their tokens
            themselves.
        last_stride: See `build_backbone`.
        dropout: Probability of zeroing a value of the embedding during training.
        neck: False leaves the batch norm out: embeddings are the pooled features.
        samples_per_bn_group: Images that batch norm sees in training, see `GroupBatchNorm`; None
            for the batch of a device, as usual.
        weights_size: See `build_backbone`.
        stem_relu: See `build_backbone`.

    Attributes:
        embedding_dim: Length of the embeddings, the number of channels of the backbone.

    Raises:
        InputError: Unknown backbone, weights or pooling; see also `build_backbone`.

    Example:
        >>> network = EmbeddingNetwork(torch.nn.Conv2d(3, 8, 5), weights=None).eval()
        >>> embeddings = network(torch.rand(2, 3, 64, 32))
        >>> embeddings.shape, embeddings.norm(dim=1).round().tolist()
        (torch.Size([2, 8]), [1.0, 1.0])
    """

    def __init__(
        self,
        backbone: str | nn.Module,
        weights: str | Path | None,
        pooling: Literal["avg", "gem"] = "avg",
        last_stride: Literal[1, 2] = 1,
        dropout: float = 0.0,
        neck: bool = True,
        samples_per_bn_group: int | None = None,
        weights_size: tuple[int, int] | None = None,
        stem_relu: bool = True,
    ) -> None:
        super().__init__()
        self.pool = build_pool(pooling)
        self.dropout = nn.Dropout(dropout)
        self.backbone = build_backbone(backbone, weights, last_stride, weights_size, stem_relu)
        if self.backbone.returns_maps is False:
            self._require_no_pooling()
        self.embedding_dim = self.backbone.num_features
        self.neck: nn.Module = nn.Identity()
        if neck:
            self.neck = nn.BatchNorm1d(self.embedding_dim)
            self.neck.bias.requires_grad_(False)
        if samples_per_bn_group is not None:
            group_batch_norms(self, samples_per_bn_group)
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to pooled features before the neck, (B, D), at least float32."""
        if images.is_floating_point():
            images = images.to(next(self.backbone.parameters(), images).dtype)
        features = self.backbone(images.contiguous(memory_format=torch.channels_last))
        if features.ndim == 4:
            features = self.pool(features)
        else:
            self._require_no_pooling()
        return cast(Tensor, features.to(torch.promote_types(features.dtype, torch.float32)))

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Convert the backbone as asked; all behind it stays at least float32."""
        if recurse:
            for name, part in self.named_children():
                part._apply(fn if name == "backbone" else at_least_float32(fn))  # type: ignore[no-untyped-call]
        super()._apply(at_least_float32(fn), recurse=False)  # type: ignore[no-untyped-call]
        return self

    def _require_no_pooling(self) -> None:
        if not isinstance(self.pool, AveragePool):
            raise InputError(
                "pooling='gem' needs a backbone that returns feature maps, and this one pools its "
                "tokens itself: leave pooling out"
            )

    def project(self, features: Tensor) -> Tensor:
        """Map pooled features (B, D) through neck and dropout to what classifiers take, (B, D)."""
        return cast(Tensor, self.dropout(self.neck(features)))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to embeddings (B, D) of length 1, at least float32."""
        return normalize(self.project(self.features(images)))
