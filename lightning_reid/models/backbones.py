"""Build a backbone from a name or from a module of the user's."""

import logging
from pathlib import Path
from typing import Literal

from torch import nn

from lightning_reid.errors import InputError, require_size
from lightning_reid.models.dry_run import find_image_size
from lightning_reid.models.interface import Backbone
from lightning_reid.models.last_stride import remove_last_stride
from lightning_reid.models.timm_trunks import TIMM_PREFIX, build_timm_trunk
from lightning_reid.models.torchvision_trunks import build_torchvision_trunk
from lightning_reid.models.weights import load_weights

__all__ = ["Backbone", "build_backbone"]

_logger = logging.getLogger(__name__)


def build_backbone(
    backbone: str | nn.Module,
    weights: str | Path | None,
    last_stride: Literal[1, 2] = 1,
    weights_size: tuple[int, int] | None = None,
    stem_relu: bool = True,
) -> Backbone:
    """Build a backbone: a network without its classifier.

    Args:
        backbone: A torchvision name such as "resnet50" or "vit_b_16"; "resnet50_ibn_a" (18, 34,
            50, 101) for ResNets with instance-batch norm; "timm/<name>" for a timm model; or a
            module that maps images (B, 3, H, W) to features (B, C, h, w) or (B, C), without a
            classifier. Vision transformers return the class token and take any size divisible
            by their patch; torchvision's maxvit takes 224x224 only.
        weights: "DEFAULT" or the name of published weights such as "IMAGENET1K_V1"; a checkpoint
            file, see `load_weights`; or None for random initialisation (a module of the user's
            keeps its values).
        last_stride: 1 sets the layers that halve the map last to stride 1, which doubles the map's
            height and width; 2 leaves them. Networks without such a layer (vit, swin) or that
            cannot run without it (maxvit, inception_v3) and modules of the user's are left as
            they are.
        weights_size: Height and width in pixels of the images that ``weights`` were trained on;
            needed only where a vision transformer's file does not tell, see `load_weights`.
        stem_relu: False leaves out the ReLU after a ResNet's first convolution, as CAP's code does.

    Returns:
        A module that maps images (B, 3, H, W) to features (B, C, h, w) or (B, C); its
        ``num_features`` is C.

    Raises:
        FileNotFoundError: The weights file is not there.
        MissingPackageError: timm or safetensors is needed and not installed.
        DownloadError: Published weights could not be downloaded.
        InputError: Unknown backbone, unfit weights, an argument of another type, a last stride
            other than 1 or 2, a module whose number of channels cannot be found, or
            ``stem_relu=False`` for a network that is no ResNet of torchvision's.

    Example:
        >>> images = torch.rand(1, 3, 64, 32)
        >>> build_backbone("resnet18", weights=None)(images).shape
        torch.Size([1, 512, 4, 2])
        >>> build_backbone("resnet18", weights=None, last_stride=2)(images).shape
        torch.Size([1, 512, 2, 1])
        >>> build_backbone(torch.nn.Conv2d(3, 8, 5), weights=None).num_features
        8
    """
    if last_stride not in (1, 2):
        raise InputError(f"last_stride must be 1 or 2, not {last_stride}")
    if not isinstance(backbone, str | nn.Module):
        raise InputError(
            "backbone must be a name such as 'resnet50' or a module that maps images to features, "
            f"got {backbone!r}"
        )
    if not isinstance(weights, str | Path | None):
        raise InputError(
            "weights must be a file, the name of published weights such as 'DEFAULT', or None for "
            f"random initialisation, got {weights!r}"
        )
    if weights_size is not None:
        require_size(weights_size)
    if isinstance(backbone, nn.Module):
        trunk, name = backbone, type(backbone).__name__
    else:
        trunk, name = _build_trunk(backbone), backbone
    if weights is not None:
        load_weights(trunk, weights, name, weights_size)
    if not stem_relu:
        _remove_stem_relu(trunk, name)
    if isinstance(backbone, nn.Module):
        return _own_backbone(trunk)
    image_size, features = find_image_size(trunk)
    if last_stride == 1 and not remove_last_stride(trunk, image_size):
        _logger.info("%s has no last stride that could be set to 1", name)
    return Backbone(trunk, features.shape[1], returns_maps=features.ndim == 4)


def _build_trunk(name: str) -> nn.Module:
    if name.startswith(TIMM_PREFIX):
        return build_timm_trunk(name)
    return build_torchvision_trunk(name)


def _remove_stem_relu(trunk: nn.Module, name: str) -> None:
    children = dict(trunk.named_children())
    if not isinstance(children.get("relu"), nn.ReLU) or "maxpool" not in children:
        raise InputError(f"stem_relu=false is for ResNets of torchvision, not for {name}")
    trunk.relu = nn.Identity()


def _own_backbone(network: nn.Module) -> Backbone:
    """Return a backbone of a module of the user's, which may declare its channels."""
    declared = getattr(network, "num_features", None)
    if isinstance(declared, int):
        return Backbone(network, declared)
    _, features = find_image_size(network)
    return Backbone(network, features.shape[1], returns_maps=features.ndim == 4)
