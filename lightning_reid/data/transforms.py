"""From an image on disk to what the network takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torchvision.transforms import v2

from lightning_reid.data.erasing import RandomErase
from lightning_reid.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied. Defaults: CAP, O2CAP and CALR.

    Args:
        flip: probability of a horizontal flip.
        pad: pixels added on every side before a random crop back to size; scale it with the size.
        erase: probability that a random rectangle is erased, see
            :class:`~lightning_reid.data.RandomErase`.
        erase_area: smallest and largest share of the image that is erased; 0.02 to 0.2 in CAP.
        erase_aspect: smallest and largest height over width of the rectangle; drawn uniformly, as
            in the published codes.
        jitter: strength of random brightness, contrast and saturation; 0 in the papers.
        rotate: largest rotation in degrees, either way; 20 in Sun & Jung.
        shift: largest shift as a share of width and height, either way; 0.2 in Sun & Jung. What a
            rotation or shift leaves empty is filled with the nearest pixel.

    Raises:
        InputError: if a value is out of its range.

    Example:
        >>> Augmentation(rotate=20, shift=0.2).flip  # Sun & Jung; the rest as in CAP
        0.5
        >>> Augmentation(pad=-1)
        Traceback (most recent call last):
            ...
        lightning_reid.errors.InputError: augmentation: pad must be 0 or more, not -1
    """

    flip: float = 0.5
    pad: int = 10
    erase: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_aspect: tuple[float, float] = (0.3, 1 / 0.3)
    jitter: float = 0.0
    rotate: float = 0.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "erase"):
            self._require(name, 0 <= getattr(self, name) <= 1, "a probability between 0 and 1")
        for name in ("pad", "jitter", "rotate"):
            self._require(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        self._require("shift", 0 <= self.shift < 1, "0 or more and below 1")
        low, high = self.erase_area
        self._require("erase_area", 0 < low <= high <= 1, "two shares in (0, 1], smallest first")
        low, high = self.erase_aspect
        self._require("erase_aspect", 0 < low <= high < math.inf, "above 0, smallest first")

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise InputError(f"augmentation: {name} must be {rule}, not {getattr(self, name)}")


def train_transform(size: tuple[int, int], augmentation: Augmentation) -> v2.Transform:
    """Resize, flip, rotate and shift, pad and crop, jitter, normalise, erase.

    Args:
        size: height and width in pixels.
        augmentation: what is varied and how much.

    Returns:
        From ``(3, h, w)`` uint8 to ``(3, *size)`` float32, normalised with ImageNet's statistics.
        Erased areas hold ImageNet's mean *after* normalisation, as in the published code.

    Example:
        >>> grey = torch.full((3, 160, 60), 128, dtype=torch.uint8)
        >>> train_transform((256, 128), Augmentation())(grey).shape
        torch.Size([3, 256, 128])
        >>> plain = Augmentation(flip=0, pad=0, erase=0)
        >>> torch.equal(train_transform((256, 128), plain)(grey), test_transform((256, 128))(grey))
        True
    """
    a = augmentation
    jitter = [v2.ColorJitter(a.jitter, a.jitter, a.jitter)] if a.jitter else []
    return v2.Compose(
        [
            resize(size),
            v2.RandomHorizontalFlip(a.flip),
            *_rotate_and_shift(size, a.rotate, a.shift),
            v2.RandomCrop(size, padding=a.pad),
            *jitter,
            *_to_network(),
            RandomErase(a.erase, a.erase_area, a.erase_aspect, IMAGENET_MEAN),
        ]
    )


def test_transform(size: tuple[int, int]) -> v2.Transform:
    """Resize and normalise.

    Args:
        size: height and width in pixels.

    Returns:
        As :func:`train_transform`.

    Example:
        >>> white = torch.full((3, 160, 60), 255, dtype=torch.uint8)
        >>> images = test_transform((256, 128))(white)
        >>> images.shape, images[:, 0, 0]  # (1 - mean) / standard deviation of each colour
        (torch.Size([3, 256, 128]), tensor([2.2489, 2.4286, 2.6400]))
    """
    return v2.Compose([resize(size), *_to_network()])


def resize(size: tuple[int, int]) -> v2.Transform:
    """To height and width in pixels, as in the published code; leaves images of that size alone."""
    return v2.Resize(size, v2.InterpolationMode.BICUBIC, antialias=True)


def _rotate_and_shift(size: tuple[int, int], rotate: float, shift: float) -> list[v2.Transform]:
    if not (rotate or shift):
        return []
    height, width = size
    # how far from the centre a shifted pixel lies at most; 1 for its interpolation and rounding
    y, x = (0.5 + shift) * height + 1, (0.5 + shift) * width + 1
    sine = math.sin(math.radians(min(rotate, 90)))
    # so wide an edge that the warp looks nowhere beyond it
    pad_y, pad_x = math.ceil(y + x * sine - height / 2), math.ceil(x + y * sine - width / 2)
    # RandomAffine counts in shares of the padded image
    shares = (shift * width / (width + 2 * pad_x), shift * height / (height + 2 * pad_y))
    return [
        v2.Pad([pad_x, pad_y], padding_mode="edge"),
        v2.RandomAffine(rotate, translate=shares, interpolation=v2.InterpolationMode.BILINEAR),
        v2.CenterCrop(size),
    ]


def _to_network() -> list[v2.Transform]:
    return [
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(IMAGENET_MEAN), list(IMAGENET_STD)),
    ]
