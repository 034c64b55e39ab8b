"""Decoded images in memory that processes share."""

from __future__ import annotations

import mmap
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from lightning_reid.data.transforms import resize
from lightning_reid.resources import require_memory

_SHARE = 0.8  # of the free memory


class ImageCache:
    """Resized images, kept when they are first asked for.

    The memory is shared between the worker processes that load images, and between all loaders
    that are given the same cache.

    Args:
        count: number of images.
        size: height and width in pixels.

    Raises:
        InputError: if that would not leave enough memory.

    Example:
        >>> cache = ImageCache(count=1, size=(4, 2))
        >>> cache.get(0, lambda: torch.full((3, 8, 8), 7, dtype=torch.uint8)).shape
        torch.Size([3, 4, 2])
        >>> cache.get(0, lambda: print("read again")).unique()
        tensor([7], dtype=torch.uint8)
    """

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        needed = count * 3 * size[0] * size[1]
        what = f"cache=ram for {count} images of {size[0]} x {size[1]}"
        require_memory(what, int(needed / _SHARE), "cpu", "leave out the cache, or lower the size")
        # not in /dev/shm, which containers keep small
        self.images = _shared_bytes(needed).view(count, 3, *size)
        self.kept = _shared_bytes(count)
        self.resize: v2.Transform = resize(size)

    def get(self, index: int, read: Callable[[], Tensor]) -> Tensor:
        """Image ``index``, ``(3, *size)`` uint8; ``read`` is called the first time."""
        if not self.kept[index]:
            # two processes may both do this: they write the same
            self.images[index] = self.resize(read())
            self.kept[index] = 1
        return self.images[index]


def _shared_bytes(count: int) -> Tensor:
    """Zeros, shared with processes that are forked from this one."""
    return torch.frombuffer(mmap.mmap(-1, max(1, count)), dtype=torch.uint8)[:count]
