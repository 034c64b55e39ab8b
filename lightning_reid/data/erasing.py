"""Random erasing with the distribution of the published re-identification codes.

torchvision's ``RandomErasing`` draws the aspect ratio log-uniformly and tries ten times; the codes
of CAP, O2CAP and CALR draw it uniformly and try a hundred times, so that most boxes are tall.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_reid.errors import require

_ATTEMPTS = 100  # of the published codes


def erasing_boxes(
    count: int,
    size: tuple[int, int],
    area: tuple[float, float] = (0.02, 0.4),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
    attempts: int = _ATTEMPTS,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw a box inside each of several images.

    Share of the area and height over width are uniform. Of several attempts the first box that is
    smaller than the image on both sides counts; its place is uniform.

    Args:
        count: Number of images B.
        size: Height and width of the images in pixels.
        area: Smallest and largest share of the image's area; 0.02 and 0.4 in O2CAP and CALR.
        aspect: Smallest and largest height over width; 0.3 and 1/0.3 in O2CAP and CALR.
        attempts: How many boxes are tried for an image; 100 in the published codes.
        device: Where the boxes are drawn, with torch's random numbers of that device.

    Returns:
        ``(B, 4)`` int64: top, left, height, width. Height and width are 0 where no box fitted.

    Raises:
        InputError: If ``count`` or ``attempts`` is below 1.

    Example:
        >>> boxes = erasing_boxes(2000, (256, 128))
        >>> round(float((boxes[:, 3] > boxes[:, 2]).float().mean()), 1)  # wider than tall
        0.2
    """
    require("count", count, 1)
    require("attempts", attempts, 1)
    height, width = size
    shares, ratios, down, right = torch.rand(4, count, attempts, device=device)
    areas = (area[0] + shares * (area[1] - area[0])) * height * width
    ratios = aspect[0] + ratios * (aspect[1] - aspect[0])
    heights = (areas * ratios).sqrt().round().long()
    widths = (areas / ratios).sqrt().round().long()
    fits = (heights < height) & (widths < width)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    tops = (down * (height - heights + 1)).long()
    lefts = (right * (width - widths + 1)).long()
    boxes = torch.stack([tops, lefts, heights * fits, widths * fits], dim=-1)
    return boxes.gather(1, first[..., None].expand(-1, 1, 4))[:, 0]


def erase_boxes(images: Tensor, boxes: Tensor, value: Sequence[float]) -> Tensor:
    """Fill a box of each image with a colour.

    Args:
        images: ``(B, C, H, W)``, of any dtype.
        boxes: ``(B, 4)``: top, left, height, width, as from :func:`erasing_boxes`.
        value: C numbers in the unit of the images; rounded for images of integers.

    Returns:
        New images of the same shape and dtype.

    Example:
        >>> image = torch.zeros(1, 1, 2, 3, dtype=torch.uint8)
        >>> erase_boxes(image, torch.tensor([[0, 1, 2, 1]]), value=[123.7]).tolist()
        [[[[0, 124, 0], [0, 124, 0]]]]
    """
    top, left, height, width = boxes[:, :, None].unbind(1)
    rows = torch.arange(images.shape[-2], device=images.device)
    columns = torch.arange(images.shape[-1], device=images.device)
    in_rows = (rows >= top) & (rows < top + height)
    in_columns = (columns >= left) & (columns < left + width)
    inside = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
    colour = torch.tensor(list(value), device=images.device)
    if not images.dtype.is_floating_point:
        colour = colour.round()
    return torch.where(inside, colour.to(images.dtype)[:, None, None], images)


class RandomErase(nn.Module):
    """Erase a random box of each image with some probability.

    Args:
        probability: That a box of an image is erased; 0.5 in the published codes.
        area: See :func:`erasing_boxes`.
        aspect: See :func:`erasing_boxes`.
        value: See :func:`erase_boxes`.
        attempts: See :func:`erasing_boxes`.

    Example:
        >>> erase = RandomErase(1.0, value=[9.0])
        >>> bool((erase(torch.zeros(4, 1, 64, 32)) == 9).flatten(1).any(1).all())
        True
    """

    def __init__(
        self,
        probability: float = 0.5,
        area: tuple[float, float] = (0.02, 0.4),
        aspect: tuple[float, float] = (0.3, 1 / 0.3),
        value: Sequence[float] = (0.0, 0.0, 0.0),
        attempts: int = _ATTEMPTS,
    ) -> None:
        super().__init__()
        self.probability = probability
        self.area = area
        self.aspect = aspect
        self.value = tuple(value)
        self.attempts = attempts

    def forward(self, images: Tensor) -> Tensor:
        """Erase boxes of ``(B, C, H, W)`` or ``(C, H, W)`` images, each with its own draw."""
        batch = images if images.ndim == 4 else images[None]
        count, size = len(batch), (batch.shape[-2], batch.shape[-1])
        chosen = torch.rand(count, device=batch.device) < self.probability
        if batch.device.type == "cpu" and not chosen.any():  # elsewhere asking would wait
            return images
        boxes = erasing_boxes(
            count, size, self.area, self.aspect, self.attempts, device=batch.device
        )
        erased = erase_boxes(batch, boxes * chosen[:, None], self.value)
        return erased if images.ndim == 4 else erased[0]
