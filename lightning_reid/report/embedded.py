"""Pictures inside a page."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from lightning_reid.data import UnreadableImageError, read_image

_LARGE_FILE = 400_000  # bytes; larger pictures are embedded as JPEG
_MOST_PIXELS = 3_000_000  # of such a picture


class Embedded(NamedTuple):
    """A picture as a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


def embed(file: Path) -> Embedded:
    """A PNG file as it is or, if it is large, as a JPEG of at most three million pixels.

    Raises:
        OSError: if it cannot be read.
    """
    told = file.stat()
    return _embed(file, (told.st_mtime_ns, told.st_size))


@lru_cache(maxsize=32)  # most pictures are the same after the next epoch
def _embed(file: Path, version: tuple[int, int]) -> Embedded:
    size = version[1]
    try:
        pixels = read_image(str(file))
    except UnreadableImageError as error:
        raise OSError(str(error)) from error
    height, width = pixels.shape[1:]
    if size <= _LARGE_FILE:
        return Embedded(_uri("png", file.read_bytes()), width, height)
    whole = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    scale = min(1.0, (_MOST_PIXELS / (width * height)) ** 0.5)
    small = whole.resize((max(1, int(width * scale)), max(1, int(height * scale))))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=85, optimize=True)
    return Embedded(_uri("jpeg", stream.getvalue()), *small.size)


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
