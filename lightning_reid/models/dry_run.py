"""One forward pass on a blank image, to learn the shape of what a network returns."""

from typing import cast

import torch
from torch import Tensor, nn

from lightning_reid.errors import InputError
from lightning_reid.resources import is_out_of_memory

# Person images are about 2:1; a few networks only take the square they were trained on.
_IMAGE_SIZES = ((256, 128), (224, 224))


def dry_run(network: nn.Module, image_size: tuple[int, int]) -> Tensor:
    """Run a network on one blank image and leave it as it was.

    The pass is made in evaluation mode and without gradients: batch-norm statistics and the
    training flag of every submodule keep their values.

    Args:
        network: Maps images (B, 3, H, W) to a tensor.
        image_size: Height and width of the image in pixels.

    Returns:
        What the network returned for a batch of one.
    """
    training = [(module, module.training) for module in network.modules()]
    weight = next(network.parameters(), torch.empty(0))
    image = torch.zeros(1, 3, *image_size, device=weight.device, dtype=weight.dtype)
    network.eval()
    try:
        with torch.no_grad():
            return cast(Tensor, network(image))
    finally:
        for module, flag in training:
            module.training = flag


def refused_size(network: nn.Module, image_size: tuple[int, int]) -> Exception | None:
    """Return why a network cannot take images of a size; None if it can.

    Args:
        network: Maps images (B, 3, H, W) to a tensor.
        image_size: Height and width of the image in pixels.
    """
    try:
        dry_run(network, image_size)
    except Exception as error:  # the network may be anyone's
        if is_out_of_memory(error):
            raise
        return error
    return None


def find_image_size(network: nn.Module) -> tuple[tuple[int, int], Tensor]:
    """Find an image size that a network accepts.

    256x128 is tried first, then 224x224.

    Args:
        network: Maps images (B, 3, H, W) to features.

    Returns:
        Height and width in pixels, and the features of one blank image of that size.

    Raises:
        InputError: No size worked, or the network returned something other than features (B, C)
            or (B, C, h, w); the message names the network and its complaint.
    """
    complaints = []
    for size in _IMAGE_SIZES:
        try:
            features = _checked(dry_run(network, size))
        except Exception as error:  # noqa: PERF203 - the network may be anyone's
            complaints.append(f"{size[0]}x{size[1]}: {error}")
        else:
            return size, features
    raise InputError(
        f"{type(network).__name__} cannot be used as a backbone, a trial run failed on images of "
        + "; ".join(complaints)
    )


def _checked(output: object) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(f"it returned a {type(output).__name__} instead of a tensor")
    if output.ndim not in (2, 4):
        raise ValueError(f"it returned {tuple(output.shape)} instead of (B, C) or (B, C, h, w)")
    return output
