"""Decoded images in memory that processes share."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from typing import IO, Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from lightning_reid.data.transforms import resize
from lightning_reid.resources import require_memory

_SHARE = 0.8  # of the free memory


class ImageCache:
    """Resized images, kept when they are first asked for.

    The memory is shared between the worker processes that load images, whichever way these are
    started, and between all loaders that are given the same cache. It is not in ``/dev/shm``, which
    containers keep small, and is freed when the last of the processes ends, even if it is killed.
    Any other copy of a cache, such as a pickled one, is empty.

    Args:
        count: Number of images.
        size: Height and width in pixels.

    Raises:
        InputError: If that would not leave enough memory.

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
        file = _file_in_memory()
        file.truncate(max(1, needed + count))  # filled with zeros
        self._attach(file, count, size)

    def get(self, index: int, read: Callable[[], Tensor]) -> Tensor:
        """Image ``index``, ``(3, *size)`` uint8; ``read`` is called the first time."""
        if not self.kept[index]:
            # two processes may both do this: they write the same
            self.images[index] = self.resize(read())
            self.kept[index] = 1
        return self.images[index]

    def __reduce__(self) -> tuple[Any, ...]:
        count, size = len(self.kept), tuple(self.images.shape[2:])
        if get_spawning_popen() is None:
            return ImageCache, (count, size)
        # a process is being started and inherits the file
        return _attached, (reduction.DupFd(self._file.fileno()), count, size)

    def _attach(self, file: IO[bytes], count: int, size: tuple[int, int]) -> None:
        self._file = file
        memory = torch.frombuffer(mmap.mmap(file.fileno(), 0), dtype=torch.uint8)
        needed = count * 3 * size[0] * size[1]
        self.images = memory[:needed].view(count, 3, *size)
        self.kept = memory[needed : needed + count]
        self.resize: v2.Transform = resize(size)


def _attached(descriptor: Any, count: int, size: tuple[int, int]) -> ImageCache:
    """Open in a worker process the cache of the process that started it."""
    cache = ImageCache.__new__(ImageCache)
    cache._attach(os.fdopen(descriptor.detach(), "r+b", buffering=0), count, size)
    return cache


def _file_in_memory() -> IO[bytes]:
    """Open a file without a name: in memory on Linux, elsewhere on disk."""
    try:
        return os.fdopen(os.memfd_create("lightning_reid"), "r+b", buffering=0)
    except (AttributeError, OSError):
        return tempfile.TemporaryFile(buffering=0)
