"""Images from disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.io import ImageReadMode, decode_image

from lightning_reid.errors import InputError


class UnreadableImageError(InputError):
    """An image file that cannot be decoded; the message names it."""


class ImageDataset(Dataset[dict[str, Any]]):
    """Images with their camera and position, and nothing that could tell an identity.

    Item ``i`` is ``{"image", "camera", "index"}`` plus one entry per additional column. Paths stay
    inside: names hold identities.

    Args:
        paths: image files.
        cameras: ``(N,)`` int64, from 0.
        transform: from a ``(3, H, W)`` uint8 image to what the network takes.
        columns: further ``(N,)`` tensors to hand out, such as identities in an evaluation.

    Raises:
        UnreadableImageError: on access, if a file cannot be decoded.
        ValueError: if lengths differ.
    """

    def __init__(
        self,
        paths: Sequence[str],
        cameras: Tensor,
        transform: Callable[[Tensor], Tensor],
        columns: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.paths = list(paths)
        self.transform = transform
        self.columns = {"camera": cameras, **(columns or {})}
        for name, column in self.columns.items():
            if len(column) != len(self.paths):
                raise ValueError(f"{len(column)} values of {name!r} for {len(self.paths)} images")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.transform(read_image(self.paths[index]))
        item = {name: column[index] for name, column in self.columns.items()}
        return {"image": image, "index": torch.tensor(index), **item}


def read_image(path: str) -> Tensor:
    """Decode an image file to ``(3, H, W)`` uint8 RGB.

    Raises:
        UnreadableImageError: naming the file, if it is missing, damaged or of an unknown format.
    """
    try:
        image: Tensor = decode_image(path, mode=ImageReadMode.RGB)
    except (RuntimeError, OSError, ValueError) as error:
        raise UnreadableImageError(f"cannot read image {path}: {error}") from error
    return image
