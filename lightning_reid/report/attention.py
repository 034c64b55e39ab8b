"""Which parts of an image its embedding comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from lightning_reid.models import EmbeddingNetwork
from lightning_reid.report.tiles import HEIGHT, Row, Tile, draw_rows, read_picture

Floats = npt.NDArray[np.float32]


class Attended(NamedTuple):
    """An image and where its embedding comes from.

    Attributes:
        path: image file.
        attention: ``(h, w)``; the smallest value is dark, the largest bright.
        caption: above it.

    Example:
        >>> attended = Attended("gate/1.jpg", attention=np.array([[0.1], [0.7]]), caption="gate")
        >>> int(attended.attention.argmax())  # the lower half
        1
    """

    path: str
    attention: Floats
    caption: str = ""


def attention_maps(network: EmbeddingNetwork, images: Tensor) -> Tensor | None:
    """What each cell of the last feature map adds to the embedding, along its own direction.

    A cell's share is its activations times the gradient of the embedding's length before that is
    made 1. With average and generalised-mean pooling, whose output grows as the map does, the
    shares of all cells sum to that length, but for what the neck adds to every image alike.

    Args:
        network: in evaluation mode; nothing of it is changed, no gradient is left in it.
        images: ``(B, 3, H, W)``.

    Returns:
        ``(B, h, w)``; None if the backbone gives no map of more than one cell.

    Example:
        >>> from lightning_reid.models import EmbeddingNetwork
        >>> network = EmbeddingNetwork(torch.nn.Conv2d(3, 8, 5, stride=4), weights=None).eval()
        >>> attention_maps(network, torch.rand(2, 3, 65, 33)).shape
        torch.Size([2, 16, 8])
    """
    with torch.no_grad():
        maps = network.backbone(images.contiguous(memory_format=torch.channels_last))
    if maps.ndim != 4 or maps.shape[2] * maps.shape[3] < 2:
        return None
    # Lightning evaluates in inference mode, whose tensors have no gradients
    with torch.inference_mode(False), torch.enable_grad():
        leaf = maps.clone().requires_grad_()
        pooled = network.pool(leaf)
        pooled = pooled.to(torch.promote_types(pooled.dtype, torch.float32))
        embedding = network.project(pooled)
        length = (embedding * normalize(embedding).detach()).sum()
        (gradient,) = torch.autograd.grad(length, leaf)
    shares: Tensor = (gradient.float() * leaf.detach().float()).sum(1)
    return shares


def draw_attention(rows: Mapping[str, Sequence[Attended]]) -> Image.Image:
    """Images, each beside itself under its map; the brighter, the more a part contributes.

    Args:
        rows: images by the heading of their row.

    Returns:
        An RGB image; where a file cannot be read it says so.

    Example:
        >>> attention = np.array([[0.1], [0.7]], dtype=np.float32)  # more from the lower half
        >>> picture = draw_attention({"two queries": [Attended("1.jpg", attention)] * 2})
        >>> picture.mode, picture.width > 4 * 56
        ('RGB', True)
    """
    return draw_rows(
        [
            Row(heading, [tile for image in images for tile in _pair(image)])
            for heading, images in rows.items()
        ]
    )


def _pair(image: Attended) -> tuple[Tile, Tile | None]:
    picture = read_picture(image.path)
    under = None if picture is None else Tile(overlay(picture, image.attention))
    return Tile(image.path, image.caption), under


def overlay(picture: Image.Image, attention: Floats) -> Image.Image:
    """The picture in grey, lit in the colours of its map."""
    import matplotlib

    size = (max(1, round(picture.width * HEIGHT / picture.height)), HEIGHT)
    low, high = float(attention.min()), float(attention.max())
    scaled = (attention - low) / (high - low) if high > low else np.zeros_like(attention)
    grown = Image.fromarray(scaled.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    strength = np.clip(np.asarray(grown), 0, 1)
    colours = matplotlib.colormaps["inferno"](strength)[..., :3]
    grey = np.asarray(picture.convert("L").resize(size), dtype=np.float32)[..., None] / 255
    mixed = 0.4 * grey + 0.6 * colours
    return Image.fromarray((255 * mixed).astype(np.uint8))
