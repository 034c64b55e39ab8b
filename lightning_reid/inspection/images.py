"""Every image decoded once: its size, a digest and a hash of what it shows, some thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2.functional import resize

from lightning_reid.clustering.progress import shown
from lightning_reid.data import UnreadableImageError, read_image
from lightning_reid.data.extremes import Booleans, Integers
from lightning_reid.data.workers import workers_for
from lightning_reid.inspection.duplicates import Hashes

Pixels: TypeAlias = npt.NDArray[np.uint8]

_ROW = np.dtype(
    [
        ("height", np.int64),
        ("width", np.int64),
        ("readable", np.bool_),
        ("plain", np.bool_),
        ("digest", np.uint64),
        ("hash", np.uint64),
    ]
)
_BATCH = 64
_THUMBNAIL = 128  # pixels of the longer side
_HASHED = (8, 9)  # 8 rows of 8 differences
_FINER = 4  # the hash is taken from the means of so many pixels squared
_PLAIN = 4  # levels of 256 between the darkest and the brightest spot


@dataclass(frozen=True)
class Measured:
    """What was seen of N images; all zeros for those that could not be read.

    Args:
        height: ``(N,)`` pixels.
        width: ``(N,)`` pixels.
        readable: ``(N,)`` whether training could read them.
        plain: ``(N,)`` whether they are of one colour.
        digest: ``(N,)`` uint64 of size and pixels; equal where these are equal.
        hash: ``(N,)`` uint64 difference hash; few bits apart where images look the same.
        thumbnails: ``(h, w, 3)`` uint8 by position, of the images that were asked for.
        reasons: why an image could not be read, by position.
    """

    height: Integers
    width: Integers
    readable: Booleans
    plain: Booleans
    digest: Hashes
    hash: Hashes
    thumbnails: dict[int, Pixels] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)


def measure(
    paths: Sequence[str], keep: Integers | None = None, num_workers: int | None = None
) -> Measured:
    """Decode every image once, as training does, and measure it.

    Args:
        paths: N image files.
        keep: positions of the images of which to keep a thumbnail.
        num_workers: processes; None: as many as there are cores, at most 16, and fewer for few
            images.
    """
    if num_workers is None:
        num_workers = workers_for(len(paths))
    dataset = _Images(paths, frozenset() if keep is None else frozenset(keep.tolist()))
    loader = DataLoader(dataset, _BATCH, num_workers=num_workers, collate_fn=_Looks.of)
    batches: Any = loader  # needs no more of a sequence than a length
    looks: list[_Looks] = list(shown(batches, "Reading images"))
    rows = np.concatenate([np.empty(0, dtype=_ROW), *(look.rows for look in looks)])
    return Measured(
        **{name: np.ascontiguousarray(rows[name]) for name in _ROW.names or ()},
        thumbnails={i: picture for look in looks for i, picture in look.thumbnails},
        reasons={i: reason for look in looks for i, reason in look.reasons},
    )


def difference_hash(image: Tensor) -> tuple[int, bool]:
    """Whether grey rises from left to right, on a grid: 64 bits that hardly change with quality.

    Args:
        image: ``(3, H, W)`` uint8.

    Returns:
        The bits as a number, and whether the image is of one colour, which makes them chance.
    """
    rows, columns = _HASHED
    small = resize(image, [rows * _FINER, columns * _FINER], antialias=True).float().mean(0)
    grey = avg_pool2d(small[None], _FINER)[0]
    rises = (grey[:, 1:] > grey[:, :-1]).flatten().numpy()
    plain = bool(small.max() - small.min() < _PLAIN)
    return int.from_bytes(np.packbits(rises).tobytes(), "big"), plain


class _Look(NamedTuple):
    """One image."""

    position: int
    row: tuple[Any, ...]
    thumbnail: Pixels | None = None
    reason: str | None = None


class _Looks(NamedTuple):
    """A batch of images on its way between processes."""

    rows: npt.NDArray[np.void]
    thumbnails: list[tuple[int, Pixels]]
    reasons: list[tuple[int, str]]

    @classmethod
    def of(cls, looks: Sequence[_Look]) -> _Looks:
        return cls(
            np.array([look.row for look in looks], dtype=_ROW),
            [(look.position, look.thumbnail) for look in looks if look.thumbnail is not None],
            [(look.position, look.reason) for look in looks if look.reason is not None],
        )


class _Images(Dataset[_Look]):
    def __init__(self, paths: Sequence[str], keep: frozenset[int]) -> None:
        self.paths = paths
        self.keep = keep

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> _Look:
        try:
            image = read_image(self.paths[index])
        except UnreadableImageError as error:
            return _Look(index, (0, 0, False, False, 0, 0), reason=str(error))
        height, width = image.shape[1:]
        bits, plain = difference_hash(image)
        row = (height, width, True, plain, _digest(image), bits)
        return _Look(index, row, _thumbnail(image) if index in self.keep else None)


def _digest(image: Tensor) -> int:
    """64 bits of a hash of size and pixels: in a million images no two agree by chance."""
    pixels = image.permute(1, 2, 0).contiguous()  # as decoded: rarely a copy
    seen = blake2b(str(tuple(pixels.shape)).encode(), digest_size=8)
    seen.update(pixels.numpy().tobytes())
    return int.from_bytes(seen.digest(), "big")


def _thumbnail(image: Tensor) -> Pixels:
    height, width = image.shape[1:]
    scale = _THUMBNAIL / max(height, width)
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    small = resize(image, size, antialias=True)
    pixels: Pixels = small.permute(1, 2, 0).to(torch.uint8).contiguous().numpy()
    return pixels
