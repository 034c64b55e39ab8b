"""Queries: image files, or images that are in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from lightning_reid.data.images import pixels_of_pillow
from lightning_reid.errors import InputError

Picture: TypeAlias = Image.Image | npt.NDArray[np.uint8]
Query: TypeAlias = str | Path | Picture


def is_file(query: Query) -> bool:
    """Whether a query is the name of a file, and no picture.

    Raises:
        InputError: if it is neither.
    """
    if isinstance(query, (str, Path)):
        return True
    if isinstance(query, (Image.Image, np.ndarray)):
        return False
    raise InputError(
        "a query is an image file, a PIL image or an (H, W, 3) uint8 array, not "
        f"{type(query).__name__}; search_all takes several"
    )


def pixels_of(picture: Any) -> Tensor:
    """A picture as image files are read: ``(3, H, W)`` uint8 RGB.

    Args:
        picture: A PIL image, which is turned upright by its EXIF orientation, or an ``(H, W, 3)``
            uint8 array in RGB, which is taken as it is.

    Raises:
        InputError: If it is an array of another shape or type, has no pixels, or is a PIL image of
            floats or of integers beyond 16 bits, or one that cannot be decoded.
    """
    if isinstance(picture, Image.Image):
        try:
            picture = pixels_of_pillow(picture).permute(1, 2, 0).numpy()
        except (OSError, SyntaxError) as error:  # it was opened, but not decoded yet
            raise InputError(f"a PIL image cannot be decoded: {error}") from error
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise InputError(
            "an image must be an (H, W, 3) uint8 array in RGB, not "
            f"{picture.dtype} of shape {picture.shape}"
        )
    return torch.from_numpy(picture.transpose(2, 0, 1).copy())
