"""Images from disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_reid.data.image_cache import ImageCache
from lightning_reid.data.images import MAX_PIXELS, UnreadableImageError, read_image
from lightning_reid.data.samplers import Draw
from lightning_reid.data.strings import Strings

OnError = Literal["stop", "skip"]


class ImageDataset(Dataset[dict[str, Any]]):
    """Images with their camera and position, and nothing that could tell an identity.

    Item ``i`` is ``{"image", "camera", "index"}`` plus one entry per additional column. Paths stay
    inside: names hold identities. An item that is asked for by a
    :class:`~lightning_reid.data.Draw` is transformed with random numbers that follow from the
    draw's seed alone.

    Args:
        paths: image files.
        cameras: ``(N,)`` int64, from 0.
        transform: from a ``(3, H, W)`` uint8 image to what the network takes.
        columns: further ``(N,)`` tensors to hand out, such as identities in an evaluation.
        on_error: ``"stop"`` raises an error for an image that cannot be read; ``"skip"`` gives a
            black one, and every item an entry ``"readable"``.
        cache: keeps images in memory.
        max_pixels: Largest height times width of a file; a larger one cannot be read.

    Raises:
        UnreadableImageError: on access, if a file cannot be decoded.
        ValueError: if lengths differ.

    Example:
        >>> from lightning_reid.data import test_transform
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     Image.new("RGB", (60, 160)).save(f"{folder}/gate.png")
        ...     transform = test_transform((256, 128))
        ...     item = ImageDataset([f"{folder}/gate.png"], torch.tensor([3]), transform)[0]
        >>> item["image"].shape, item["camera"], item["index"]
        (torch.Size([3, 256, 128]), tensor(3), tensor(0))
    """

    def __init__(
        self,
        paths: Sequence[str],
        cameras: Tensor,
        transform: Callable[[Tensor], Tensor],
        columns: Mapping[str, Tensor] | None = None,
        on_error: OnError = "stop",
        cache: ImageCache | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.paths = paths if isinstance(paths, Strings) else Strings(paths)
        self.transform = transform
        self.columns = {"camera": cameras, **(columns or {})}
        self.on_error = on_error
        self.cache = cache
        self.max_pixels = max_pixels
        for name, column in self.columns.items():
            if len(column) != len(self.paths):
                raise ValueError(f"{len(column)} values of {name!r} for {len(self.paths)} images")

    def __getstate__(self) -> dict[str, Any]:
        # tensors would move into /dev/shm on their way to workers that are not forked
        arrays = {name: column.numpy() for name, column in self.columns.items()}
        return {**vars(self), "columns": arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        tensors = {name: torch.from_numpy(array) for name, array in state["columns"].items()}
        vars(self).update(state, columns=tensors)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = {name: column[index] for name, column in self.columns.items()}
        item["index"] = torch.tensor(int(index))
        try:
            image = self._image(index)
        except UnreadableImageError:
            if self.on_error == "stop":
                raise
            image = torch.zeros(3, 1, 1, dtype=torch.uint8)
            item["readable"] = torch.tensor(False)
        else:
            if self.on_error == "skip":
                item["readable"] = torch.tensor(True)
        if isinstance(index, Draw):
            with _random_numbers_from(index.seed):
                return {"image": self.transform(image), **item}
        return {"image": self.transform(image), **item}

    def _image(self, index: int) -> Tensor:
        def read() -> Tensor:
            return read_image(self.paths[index], max_pixels=self.max_pixels)

        return read() if self.cache is None else self.cache.get(index, read)


@contextmanager
def _random_numbers_from(seed: int) -> Iterator[None]:
    """What is drawn inside follows from the seed, and nothing outside notices."""
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)
