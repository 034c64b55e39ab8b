"""Undo the last halving of a network's feature map.

Matching people needs finer maps than naming objects: without the last stride the map has twice the
height and width at the same weights.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lightning_reid.models.dry_run import dry_run

_STRIDED_TYPES = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_SETTINGS = ("kernel_size", "stride", "padding")


@dataclass(frozen=True)
class _Halving:
    layer: nn.Module
    before: tuple[int, ...]  # height and width
    after: tuple[int, ...]


def remove_last_stride(trunk: nn.Module, image_size: tuple[int, int]) -> bool:
    """Set the stride of the layers that halve the map last to 1, in place.

    They are found by running the network once: the last layer of stride 2 that is executed, and
    those beside it (the shortcut of the same block), which see a map of the same size. Padding is
    set so that they keep the size of their input. A network where no such layer decides the size
    of the map, or that cannot run without it, is left as it is.

    Args:
        trunk: Maps images (B, 3, H, W) to a feature map (B, C, h, w).
        image_size: Height and width in pixels that the network accepts.

    Returns:
        Whether a stride was removed.
    """
    halvings, map_size = _trace(trunk, image_size)
    if not halvings or halvings[-1].after != map_size:
        return False
    size = halvings[-1].before
    layers = [halving.layer for halving in halvings if halving.before == size]
    settings = [{name: getattr(layer, name) for name in _SETTINGS} for layer in layers]
    for layer in layers:
        _keep_size(layer)
    if _map_size(trunk, image_size) == size:
        return True
    for layer, setting in zip(layers, settings, strict=True):
        vars(layer).update(setting)
    return False


def _trace(
    trunk: nn.Module, image_size: tuple[int, int]
) -> tuple[list[_Halving], tuple[int, ...] | None]:
    """The layers of stride 2 in order of execution, and the size of the final map."""
    halvings: list[_Halving] = []

    def record(layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        halvings.append(_Halving(layer, tuple(args[0].shape[-2:]), tuple(output.shape[-2:])))

    layers = [module for module in trunk.modules() if isinstance(module, _STRIDED_TYPES)]
    hooks = [
        layer.register_forward_hook(record) for layer in layers if _pair(layer.stride) == (2, 2)
    ]
    try:
        map_size = _map_size(trunk, image_size)
    finally:
        for hook in hooks:
            hook.remove()
    return halvings, map_size


def _map_size(trunk: nn.Module, image_size: tuple[int, int]) -> tuple[int, ...] | None:
    """Height and width of the final map; None if there is none."""
    try:
        output = dry_run(trunk, image_size)
    except (AssertionError, RuntimeError, ValueError):
        return None
    return tuple(output.shape[2:]) or None


def _keep_size(layer: nn.Module) -> None:
    """Make a layer of stride 2 return a map of its input's size."""
    kernel = _pair(layer.kernel_size)
    layer.stride = (1, 1)  # type: ignore[assignment]
    if isinstance(layer, nn.Conv2d):
        reach = [d * (k - 1) for d, k in zip(layer.dilation, kernel, strict=True)]
        even = all(r % 2 == 0 for r in reach)
        layer.padding = (reach[0] // 2, reach[1] // 2) if even else "same"
    elif kernel[0] % 2 and kernel[1] % 2:
        layer.padding = (kernel[0] // 2, kernel[1] // 2)  # type: ignore[assignment]
    else:  # a pool of 2x2 only halves: without its stride nothing is left to do
        layer.kernel_size, layer.padding = (1, 1), (0, 0)  # type: ignore[assignment]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
