"""Images from disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.io import ImageReadMode, decode_image

from lightning_reid.data.image_cache import ImageCache
from lightning_reid.data.samplers import Draw
from lightning_reid.data.strings import Strings
from lightning_reid.errors import InputError

if TYPE_CHECKING:  # imported where used: it loads slowly
    from PIL import Image

OnError = Literal["stop", "skip"]

_CODE_PLACE = re.compile(r"^\w+, \S+:\d+, ")  # before what torchvision says

# what torchvision decodes; anything else goes to Pillow
_DECODED = (".jpg", ".jpeg", ".png", ".webp", ".gif")

_STEP = 257  # levels of 16 bits for one of 8: 65,535 / 255


class UnreadableImageError(InputError):
    """An image file that cannot be decoded; the message names it.

    Example:
        >>> try:
        ...     read_image("gate/nobody.png")
        ... except UnreadableImageError as error:
        ...     print(str(error).partition(":")[0])
        cannot read image gate/nobody.png
    """


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
    ) -> None:
        self.paths = paths if isinstance(paths, Strings) else Strings(paths)
        self.transform = transform
        self.columns = {"camera": cameras, **(columns or {})}
        self.on_error = on_error
        self.cache = cache
        for name, column in self.columns.items():
            if len(column) != len(self.paths):
                raise ValueError(f"{len(column)} values of {name!r} for {len(self.paths)} images")

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
        if self.cache is None:
            return read_image(self.paths[index])
        return self.cache.get(index, lambda: read_image(self.paths[index]))


def read_image(path: str) -> Tensor:
    """Decode an image file to ``(3, H, W)`` uint8 RGB.

    Of several frames the first is taken; 16 bits become 8 by dividing by 257.

    Args:
        path: image file. JPEG, PNG, WebP and GIF, by its ending, are decoded by torchvision, others
            by Pillow.

    Raises:
        UnreadableImageError: naming the file, if it is missing, damaged, of an unknown format, or
            holds floats or integers beyond 16 bits.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     Image.new("RGB", (2, 1), (255, 0, 128)).save(f"{folder}/gate.png")
        ...     print(read_image(f"{folder}/gate.png").tolist())
        [[[255, 255]], [[0, 0]], [[128, 128]]]
    """
    try:
        if not path.lower().endswith(_DECODED):
            return _read_with_pillow(path)
        image: Tensor = decode_image(path, mode=ImageReadMode.RGB)
        if image.ndim == 4:  # frames of an animated GIF
            image = image[0]
        if image.dtype == torch.uint16:
            image = ((image.int() + _STEP // 2) // _STEP).to(torch.uint8)
    except MemoryError:  # which is not the file's fault
        raise
    except Exception as error:  # damaged files make decoders raise about anything
        raise UnreadableImageError(
            f"cannot read image {path}: {_reason(error)}; on_error=skip goes on without such images"
        ) from error
    return image


def _reason(error: Exception) -> str:
    """The first sentence of what a decoder says, without where in its code that is."""
    told = _CODE_PLACE.sub("", str(error).strip()).split("\n")[0]
    return told.split(". ")[0] or type(error).__name__


def _read_with_pillow(path: str) -> Tensor:
    from PIL import Image

    with Image.open(path) as image:
        return pixels_of_pillow(image)


def pixels_of_pillow(image: Image.Image) -> Tensor:
    """An image of Pillow as files are read: ``(3, H, W)`` uint8 RGB.

    Raises:
        InputError: if it holds floats or integers beyond 16 bits.
    """
    if image.mode == "F":
        raise InputError("an image of floats: save it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
    # Pillow itself would cut off all above 255
    levels = np.asarray(image).astype(np.int64)
    if levels.size and not 0 <= levels.min() <= levels.max() < 2**16:
        raise InputError(
            f"an image of integers from {levels.min()} to {levels.max()}: save it with 8 or 16 bits"
        )
    grey = torch.from_numpy(((levels + _STEP // 2) // _STEP).astype(np.uint8))
    return grey.expand(3, -1, -1).contiguous()


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
