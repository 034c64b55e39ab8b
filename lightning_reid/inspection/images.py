"""Measurements of every image: its file, size, quality and a hash of what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import nan
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2.functional import resize

from lightning_reid.clustering.progress import shown
from lightning_reid.data.extremes import Booleans, Integers
from lightning_reid.data.folders import format_of_name
from lightning_reid.data.images import MAX_PIXELS, UnreadableImageError, examine_image
from lightning_reid.data.workers import workers_for
from lightning_reid.inspection.duplicates import Hashes

Pixels: TypeAlias = npt.NDArray[np.uint8]
Grey: TypeAlias = npt.NDArray[np.float32]
Floats: TypeAlias = npt.NDArray[np.float32]

_ROW = np.dtype(
    [
        ("height", np.int64),
        ("width", np.int64),
        ("readable", np.bool_),
        ("plain", np.bool_),
        ("turned", np.bool_),
        ("brightness", np.float32),
        ("sharpness", np.float32),
        ("digest", np.uint64),
        ("hash", np.uint64),
    ]
)
_BATCH = 64
_THUMBNAIL = 128  # pixels of the longer side
_HASHED = (8, 9)  # 8 rows of 8 differences
_FINER = 4  # the hash is taken from the means of so many pixels squared
_PLAIN = 4  # levels of 256 between the darkest and the brightest spot
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # of red, green and blue
_UNREADABLE = (0, 0, False, False, False, 0.0, nan, 0, 0)


@dataclass(frozen=True)
class Measured:
    """What was seen of N images; all zeros for those that could not be read.

    Args:
        height: ``(N,)`` pixels.
        width: ``(N,)`` pixels.
        readable: ``(N,)`` whether training could read them.
        plain: ``(N,)`` whether they are of one colour.
        turned: ``(N,)`` whether their files hold them turned or mirrored, by EXIF.
        brightness: ``(N,)`` float32 mean luminance, from 0 to 255.
        sharpness: ``(N,)`` float32, see :func:`sharpness`; NaN for images of one colour.
        digest: ``(N,)`` uint64 of size and pixels; equal where these are equal.
        hash: ``(N,)`` uint64 difference hash; few bits apart where images look the same.
        thumbnails: ``(h, w, 3)`` uint8 by position, of the images that were asked for.
        reasons: why an image could not be read, by position.
        damage: what is wrong with images that could be read all the same, by position.
        misnamed: format of images whose ending is that of another one, by position.
    """

    height: Integers
    width: Integers
    readable: Booleans
    plain: Booleans
    turned: Booleans
    brightness: Floats
    sharpness: Floats
    digest: Hashes
    hash: Hashes
    thumbnails: dict[int, Pixels] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    damage: dict[int, str] = field(default_factory=dict)
    misnamed: dict[int, str] = field(default_factory=dict)


def measure(
    paths: Sequence[str],
    keep: Integers | None = None,
    num_workers: int | None = None,
    size: tuple[int, int] = (256, 128),
    max_pixels: int = MAX_PIXELS,
) -> Measured:
    """Decode every image once, as training does, and measure it.

    Args:
        paths: N image files.
        keep: positions of the images of which to keep a thumbnail.
        num_workers: processes; None: as many as there are cores, at most 16, and fewer for few
            images.
        size: height and width at which sharpness is measured; smaller images are not enlarged.
        max_pixels: largest height times width of a file; a larger one counts as unreadable.
    """
    if num_workers is None:
        num_workers = workers_for(len(paths))
    kept = frozenset() if keep is None else frozenset(keep.tolist())
    dataset = _Images(paths, kept, size, max_pixels)
    loader = DataLoader(dataset, _BATCH, num_workers=num_workers, collate_fn=_Looks.of)
    batches: Any = loader  # needs no more of a sequence than a length
    looks: list[_Looks] = list(shown(batches, "Reading images"))
    rows = np.concatenate([np.empty(0, dtype=_ROW), *(look.rows for look in looks)])
    columns = {name: np.ascontiguousarray(rows[name]) for name in _ROW.names or ()}
    notes = {name: {k: v for look in looks for k, v in getattr(look, name)} for name in _NOTES}
    return Measured(**columns, **notes)  # type: ignore[arg-type]  # each is of its own type


def difference_hash(image: Tensor) -> tuple[int, bool]:
    """Whether grey rises from left to right, on a grid: 64 bits that hardly change with quality.

    Args:
        image: ``(3, H, W)`` uint8.

    Returns:
        The bits as a number, and whether the image is of one colour, which makes them chance.
    """
    return _hash_of(luminance(image))


def luminance(image: Tensor) -> Grey:
    """Convert an image to grey.

    Args:
        image: ``(3, H, W)`` uint8.

    Returns:
        ``(H, W)`` float32, from 0 to 255.
    """
    pixels = image.permute(1, 2, 0).numpy().astype(np.float32)
    grey: Grey = pixels.reshape(-1, 3).dot(_LUMINANCE).reshape(pixels.shape[:2])
    return grey


def sharpness(grey: Grey, size: tuple[int, int]) -> float:
    """Measure how fine the details of an image are: variance of its Laplacian over its own.

    The quotient does not change with contrast or brightness. It is taken of means of 2 x 2 pixels,
    as noise and the blocks of JPEG would pass for details. Blurred by a Gaussian with a standard
    deviation of 1/64, 1/32 or 1/16 of its height, a crop of a person has about 1/10, 1/50 or 1/200
    of it.

    Args:
        grey: ``(H, W)`` float32.
        size: height and width that the image is reduced to before; smaller ones stay as they are.

    Returns:
        The quotient, from 0 to 20; NaN for images of fewer than six rows or columns, or of one
        grey.
    """
    grey = _reduced(grey, size)
    if min(grey.shape) < 6:
        return nan
    grey = _halved(grey)
    edges: Grey = grey[2:, 1:-1] + grey[:-2, 1:-1]
    edges += grey[1:-1, 2:]
    edges += grey[1:-1, :-2]
    edges -= 4 * grey[1:-1, 1:-1]
    variance = _variance(grey)
    return _variance(edges) / variance if variance > 0 else nan


def _variance(values: Grey) -> float:
    """Return the variance of all values, by one product."""
    flat = values.ravel()
    centered: Grey = flat - flat.sum() / flat.size
    return float(centered.dot(centered)) / len(centered)


def _halved(grey: Grey) -> Grey:
    """Average 2 x 2 pixels at a time; an odd row or column is left out."""
    height, width = (side // 2 * 2 for side in grey.shape)
    rows = grey[0:height:2, :width] + grey[1:height:2, :width]
    means: Grey = np.float32(0.25) * (rows[:, 0::2] + rows[:, 1::2])
    return means


def _reduced(grey: Grey, size: tuple[int, int]) -> Grey:
    """Reduce an image until it just covers a size; leave a smaller one alone."""
    scale = max(size[0] / grey.shape[0], size[1] / grey.shape[1])
    if scale >= 1:
        return grey
    return _resized(grey, *(max(1, round(side * scale)) for side in grey.shape))


def _resized(grey: Grey, height: int, width: int) -> Grey:
    image = torch.from_numpy(grey)[None, None]
    small = interpolate(image, (height, width), mode="bilinear", antialias=True)
    pixels: Grey = small.numpy()[0, 0]
    return pixels


def _hash_of(grey: Grey) -> tuple[int, bool]:
    rows, columns = _HASHED
    small = _resized(grey, rows * _FINER, columns * _FINER)
    means = small.reshape(rows, _FINER, columns, _FINER).sum((1, 3))
    rises = means[:, 1:] > means[:, :-1]
    plain = bool(small.max() - small.min() < _PLAIN)
    return int.from_bytes(np.packbits(rises).tobytes(), "big"), plain


class _Look(NamedTuple):
    """One image."""

    position: int
    row: tuple[Any, ...] = _UNREADABLE
    thumbnails: Pixels | None = None
    reasons: str | None = None
    damage: str | None = None
    misnamed: str | None = None


_NOTES = _Look._fields[2:]  # what few images have


class _Looks(NamedTuple):
    """A batch of images on its way between processes; notes with the position of their image."""

    rows: npt.NDArray[np.void]
    thumbnails: list[tuple[int, Pixels]]
    reasons: list[tuple[int, str]]
    damage: list[tuple[int, str]]
    misnamed: list[tuple[int, str]]

    @classmethod
    def of(cls, looks: Sequence[_Look]) -> _Looks:
        notes = (
            [
                (look.position, getattr(look, name))
                for look in looks
                if getattr(look, name) is not None
            ]
            for name in _NOTES
        )
        return cls(np.array([look.row for look in looks], dtype=_ROW), *notes)


class _Images(Dataset[_Look]):
    def __init__(
        self, paths: Sequence[str], keep: frozenset[int], size: tuple[int, int], max_pixels: int
    ) -> None:
        self.paths = paths
        self.keep = keep
        self.size = size
        self.max_pixels = max_pixels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> _Look:
        path = self.paths[index]
        try:
            image, header, damage = examine_image(path, max_pixels=self.max_pixels)
        except UnreadableImageError as error:
            return _Look(index, reasons=str(error))
        height, width = image.shape[1:]
        grey = luminance(image)
        bits, plain = _hash_of(grey)
        named = format_of_name(path)
        row = (
            *(height, width, True, plain, header.orientation != 1),
            *(grey.mean(), nan if plain else sharpness(grey, self.size)),
            *(_digest(image), bits),
        )
        return _Look(
            index,
            row,
            thumbnail(image) if index in self.keep else None,
            damage=damage,
            misnamed=None if named in (None, header.format) else header.format,
        )


def _digest(image: Tensor) -> int:
    """64 bits of a hash of size and pixels: in a million images no two agree by chance."""
    pixels = image.permute(1, 2, 0).contiguous()  # as decoded: rarely a copy
    seen = blake2b(str(tuple(pixels.shape)).encode(), digest_size=8)
    seen.update(pixels.numpy().tobytes())
    return int.from_bytes(seen.digest(), "big")


def thumbnail(image: Tensor) -> Pixels:
    """Reduce an image ``(3, H, W)``, uint8, to 128 pixels of its longer side, ``(h, w, 3)``."""
    height, width = image.shape[1:]
    scale = _THUMBNAIL / max(height, width)
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    small = resize(image, size, antialias=True)
    pixels: Pixels = small.permute(1, 2, 0).to(torch.uint8).contiguous().numpy()
    return pixels
