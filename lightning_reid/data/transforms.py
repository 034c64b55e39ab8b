"""From an image on disk to what the network takes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torchvision.transforms import v2

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied. Defaults: CAP, O2CAP and CALR.

    Args:
        flip: probability of a horizontal flip.
        pad: pixels added on every side before a random crop back to size; scale it with the size.
        erase: probability that a random rectangle is erased.
        erase_area: smallest and largest share of the image that is erased.
        erase_aspect: smallest and largest height over width of the rectangle.
        jitter: strength of random brightness, contrast and saturation; 0 in the papers.
    """

    flip: float = 0.5
    pad: int = 10
    erase: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_aspect: tuple[float, float] = (0.3, 1 / 0.3)
    jitter: float = 0.0


def train_transform(size: tuple[int, int], augmentation: Augmentation) -> v2.Transform:
    """Resize, flip, pad and crop, normalise, erase.

    Args:
        size: height and width in pixels.
        augmentation: what is varied and how much.

    Returns:
        From ``(3, h, w)`` uint8 to ``(3, *size)`` float32, normalised with ImageNet's statistics.
        Erased areas hold ImageNet's mean *after* normalisation, as in the published code.
    """
    a = augmentation
    jitter = [v2.ColorJitter(a.jitter, a.jitter, a.jitter)] if a.jitter else []
    return v2.Compose(
        [
            v2.Resize(size, v2.InterpolationMode.BICUBIC, antialias=True),
            v2.RandomHorizontalFlip(a.flip),
            v2.RandomCrop(size, padding=a.pad),
            *jitter,
            *_to_network(),
            v2.RandomErasing(a.erase, a.erase_area, a.erase_aspect, value=list(IMAGENET_MEAN)),
        ]
    )


def test_transform(size: tuple[int, int]) -> v2.Transform:
    """Resize and normalise; arguments and result as for :func:`train_transform`."""
    return v2.Compose(
        [v2.Resize(size, v2.InterpolationMode.BICUBIC, antialias=True), *_to_network()]
    )


def _to_network() -> list[v2.Transform]:
    return [
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(IMAGENET_MEAN), list(IMAGENET_STD)),
    ]
