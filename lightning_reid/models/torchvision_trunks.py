"""torchvision's classification networks without their classifiers."""

import difflib
import re
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torchvision
from torch import Tensor, nn

from lightning_reid.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from lightning_reid.errors import InputError
from lightning_reid.models.ibn import IBN_RESNETS, build_ibn_resnet
from lightning_reid.models.vision_transformer import VisionTransformerTrunk

# Children of torchvision's networks that come after the feature map; all others are executed in
# the order in which they are registered.
_HEAD = frozenset(
    {"AuxLogits", "aux1", "aux2", "avgpool", "classifier", "dropout", "fc", "flatten", "head"}
)


class HalfRange(nn.Module):
    """Turns ImageNet's normalisation into the one GoogLeNet and Inception were trained with.

    Their weights expect (x - 0.5) / 0.5 for x in [0, 1].
    """

    def forward(self, images: Tensor) -> Tensor:
        """Rescale images (B, 3, H, W) normalised by ImageNet's mean and standard deviation."""
        mean = images.new_tensor(IMAGENET_MEAN).view(3, 1, 1)
        std = images.new_tensor(IMAGENET_STD).view(3, 1, 1)
        return (images * std + mean - 0.5) / 0.5


# By the first part of the name: what to call the builder with, and the steps that torchvision
# writes into forward instead of keeping them as children.
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception": {"aux_logits": False, "init_weights": True},
}
_FIRST: dict[str, Callable[[], nn.Module]] = {"googlenet": HalfRange, "inception": HalfRange}
_LAST: dict[str, Callable[[], nn.Module]] = {"densenet": nn.ReLU}


def torchvision_names() -> list[str]:
    """Names of torchvision's classification networks and of the IBN variants of its ResNets."""
    return sorted([*torchvision.models.list_models(module=torchvision.models), *IBN_RESNETS])


def build_torchvision_trunk(name: str) -> nn.Module:
    """Build a torchvision network, randomly initialised, without its classifier.

    The tensors have torchvision's names.

    Args:
        name: A torchvision name such as "resnet50", or an IBN variant such as "resnet50_ibn_a".

    Returns:
        Maps images (B, 3, H, W) to a feature map (B, C, h, w); a vision transformer to (B, C).

    Raises:
        ValueError: Unknown name; the message suggests close ones.
    """
    names = torchvision_names()
    if name not in names:
        guess = f" (did you mean 'timm/{name}'?)" if _is_in_timm(name) else suggestion(name, names)
        raise InputError(
            f"unknown backbone '{name}'{guess}; use a name of "
            "torchvision.models, 'timm/<name>' for a timm model, or give a module" + _as_class(name)
        )
    if name in IBN_RESNETS:
        return _cut(build_ibn_resnet(name), "resnet")
    family = name.split("_")[0].rstrip("0123456789")
    arguments = _ARGUMENTS.get(family, {})
    network = torchvision.models.get_model(name, weights=None, **arguments)
    if isinstance(network, torchvision.models.VisionTransformer):
        return VisionTransformerTrunk(network)
    return _cut(network, family)


def suggestion(name: str, names: list[str]) -> str:
    """A question that offers the names closest to a misspelt one; empty if none is close."""
    close = difflib.get_close_matches(name.lower(), names, n=3)
    return f" (did you mean {' or '.join(repr(each) for each in close)}?)" if close else ""


def _is_in_timm(name: str) -> bool:
    if find_spec("timm") is None:
        return False
    import timm

    return bool(timm.is_model(name))


def _as_class(name: str) -> str:
    """Return how to name a class of the user's on the command line, if that was tried."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", name):
        return ""
    return f""", on the command line as --model.backbone '{{"class_path": "{name}"}}'"""


def _cut(network: nn.Module, family: str) -> nn.Module:
    """The children before the head, in a row and under their names."""
    steps: OrderedDict[str, nn.Module] = OrderedDict()
    if family in _FIRST:
        steps["first"] = _FIRST[family]()
    for name, child in network.named_children():
        if name not in _HEAD:
            # a bare list cannot be called
            steps[name] = nn.Sequential(*child) if isinstance(child, nn.ModuleList) else child
    if family in _LAST:
        steps["last"] = _LAST[family]()
    return nn.Sequential(steps)
