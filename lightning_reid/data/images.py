"""Image files and images in memory, decoded to upright RGB pixels.

Every part of the package that shows pixels to a network or to a reader takes them from here. The
decoder is chosen by the content of a file: torchvision for JPEG, which is twice as fast there,
Pillow for all other formats.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from lightning_reid.errors import InputError

if TYPE_CHECKING:  # imported where used: it loads slowly
    from PIL import Image, ImageFile

MAX_PIXELS = 120_000_000
"""Default limit of height times width; decoding so many takes 0.4 (JPEG) to 2 GB (WebP)."""

_FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000 and PPM"
_PLUGINS = {  # of Pillow, by the name it registers them under; no other decoder is ever started
    "WEBP": "WebP",
    "GIF": "Gif",
    "BMP": "Bmp",
    "TIFF": "Tiff",
    "AVIF": "Avif",
    "JPEG2000": "Jpeg2K",
    "PPM": "Ppm",
}
# never wait for the writer of a pipe
_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_BYTES_PER_PIXEL = 16  # no format here takes more for the first image of a file
_METADATA = 1 << 26  # bytes that a file may hold besides

# Orientation of EXIF to (whether rows and columns are exchanged, dimensions flipped afterwards)
_TURNS: dict[int, tuple[bool, list[int]]] = {
    2: (False, [2]),
    3: (False, [1, 2]),
    4: (False, [1]),
    5: (True, []),
    6: (True, [2]),
    7: (True, [1, 2]),
    8: (True, [1]),
}
_ORIENTATION = 0x0112  # tag of EXIF and TIFF

_JPEG = b"\xff\xd8\xff"
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _END_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xE1
_JPEG_DAMAGE = (b"Corrupt JPEG data", b"Premature end", b"Inconsistent progression")
_ONE_AT_A_TIME = threading.Lock()
_MOST_SCANS = 1000  # each takes the time of a whole image and may be a few bytes; usual are 1 to 12

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = struct.Struct(">LLBBBBB")  # width, height, depth, color type, three methods
# What Pillow calls the pixels it makes and those that are stored, by color type and depth
_ONE_BYTE = {
    (0, 1): ("1", "1"),
    (0, 2): ("L", "L;2"),
    (0, 4): ("L", "L;4"),
    (0, 8): ("L", "L"),
    (2, 8): ("RGB", "RGB"),
    (3, 1): ("P", "P;1"),
    (3, 2): ("P", "P;2"),
    (3, 4): ("P", "P;4"),
    (3, 8): ("P", "P"),
    (4, 8): ("LA", "LA"),
    (6, 8): ("RGBA", "RGBA"),
}
_TWO_BYTES = {  # upper and lower bytes of colors; or both, as channels
    (0, 16): ("LA", "LA"),
    (2, 16): ("RGB", "RGB;16B", "RGB;16L"),
    (4, 16): ("RGBA", "RGBA"),
    (6, 16): ("RGBA", "RGBA;16B", "RGBA;16L"),
}
_COLORS = (2, 6)  # color types

_CODE_LOCATION = re.compile(r"^\w+, \S+:\d+, ")  # what torchvision puts before its messages
_NO_MEMORY = re.compile("allocate memory|insufficient memory|bad_alloc", re.I)
_ENDS_EARLY = "the file ends too early"
_NO_SIZE = "the file does not say how large the image is"
_SYSTEM_ERRORS = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)  # which no other file would escape


class UnreadableImageError(InputError):
    """An image file that cannot be decoded; the message names it.

    Example:
        >>> try:
        ...     read_image("gate/nobody.png")
        ... except UnreadableImageError as error:
        ...     print(str(error).partition(":")[0])
        cannot read image gate/nobody.png
    """


class ImageHeader(NamedTuple):
    """Format, stored size and orientation of an image, read before any pixel is decoded.

    Attributes:
        format: ``"JPEG"``, ``"PNG"``, ``"WEBP"``, ``"GIF"``, ``"BMP"``, ``"TIFF"``, ``"AVIF"``,
            ``"JPEG2000"`` or ``"PPM"``.
        height: Pixels, as stored.
        width: Pixels, as stored.
        orientation: EXIF orientation, 1 to 8; 1, which is upright, if there is none or it is
            malformed.
    """

    format: str
    height: int
    width: int
    orientation: int


def read_image(path: str, *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Decode an image file to upright RGB pixels.

    EXIF orientation is applied, transparency dropped, and of several frames the first is taken;
    16 bits become 8 by dividing by 257.

    Args:
        path: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000 or PPM file, whatever its ending.
        max_pixels: Largest height times width; checked before anything is decoded.

    Returns:
        Image ``(3, H, W)``, uint8.

    Raises:
        UnreadableImageError: If the file is missing, no regular file, damaged beyond decoding, of
            another format, larger than ``max_pixels``, or holds floats or integers beyond 16 bits.
            The message names the file.
        MemoryError: If there is not enough memory.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     Image.new("RGB", (2, 1), (255, 0, 128)).save(f"{folder}/gate.png")
        ...     print(read_image(f"{folder}/gate.png").tolist())
        [[[255, 255]], [[0, 0]], [[128, 128]]]
    """
    with _errors_naming(path):
        return decode_image(read_file(path, max_pixels=max_pixels), max_pixels=max_pixels)


def examine_image(
    path: str, *, max_pixels: int = MAX_PIXELS
) -> tuple[Tensor, ImageHeader, str | None]:
    """Decode an image file as :func:`read_image` does, and describe the file.

    Args:
        path: Image file.
        max_pixels: Largest height times width.

    Returns:
        Image ``(3, H, W)``, uint8; its header; and what is wrong with the file, as
        :func:`image_damage` says it, or None.

    Raises:
        UnreadableImageError: If the file cannot be decoded.
        MemoryError: If there is not enough memory.
    """
    with _errors_naming(path):
        data = read_file(path, max_pixels=max_pixels)
        return _decode_damaged(data, max_pixels)


def read_file(path: str, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """Read the bytes of a regular file.

    Args:
        path: File name; names that are not UTF-8 hold surrogate escapes, as in ``os.listdir``.
        max_pixels: See :func:`read_image`; files far beyond such an image are not read.

    Raises:
        OSError: If the file cannot be read.
        InputError: If it is no regular file, such as a folder, a pipe or a device, or too large.
    """
    descriptor = os.open(path, _OPEN)  # a file object takes twice as long
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InputError("not a regular file")
        if status.st_size > _BYTES_PER_PIXEL * max_pixels + _METADATA:
            raise InputError(
                f"{status.st_size / 1e9:.1f} GB are too large for an image of at most "
                f"max_pixels={max_pixels}"
            )
        parts = [os.read(descriptor, status.st_size)]
        while parts[-1] and sum(map(len, parts)) < status.st_size:  # at most 2 GB are read at once
            parts.append(os.read(descriptor, status.st_size))
    finally:
        os.close(descriptor)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Decode the bytes of an image file to upright RGB pixels, as :func:`read_image` does.

    Args:
        data: Content of the file.
        max_pixels: Largest height times width.

    Returns:
        Image ``(3, H, W)``, uint8.

    Raises:
        Exception: Of any kind, as decoders raise them, if that is not possible.
    """
    return _decode(data, max_pixels)[0]


def _decode(data: bytes, max_pixels: int) -> tuple[Tensor, ImageHeader]:
    """Decode an image file to upright pixels, and read its header on the way."""
    if data.startswith(_JPEG):
        header = _jpeg_header(data)
        _require_size(header, max_pixels)
        if len(data) > 10 * _MOST_SCANS and data.count(b"\xff\xda") > _MOST_SCANS:
            raise InputError(f"the image has more than {_MOST_SCANS} scans")
        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        image: Tensor = decode_jpeg(encoded, mode=ImageReadMode.RGB)
        return _upright(image, header.orientation), header
    if data.startswith(_PNG):
        png = _parse_png(data)
        _require_size(png.header, max_pixels)
        return _upright(_decode_png(png), png.header.orientation), png.header
    with _open_with_pillow(data) as picture:
        header = _pillow_header(picture)
        _require_size(header, max_pixels)
        image = _decode_gif(picture) if picture.format == "GIF" else pixels_of_pillow(picture)
        return image, header


def read_header(data: bytes) -> ImageHeader:
    """Read format, size and orientation of an image without decoding its pixels.

    Args:
        data: Content of the file.

    Raises:
        Exception: Of any kind, as decoders raise them, if there is no such header.

    Example:
        >>> from PIL import Image
        >>> with io.BytesIO() as file:
        ...     Image.new("L", (64, 128)).save(file, "BMP")
        ...     read_header(file.getvalue())
        ImageHeader(format='BMP', height=128, width=64, orientation=1)
    """
    if data.startswith(_JPEG):
        return _jpeg_header(data)
    if data.startswith(_PNG):
        return _parse_png(data).header
    with _open_with_pillow(data) as picture:
        return _pillow_header(picture)


def image_orientation(data: bytes) -> int:
    """Return the EXIF orientation of an image file, 1 to 8; 1 is upright.

    Args:
        data: Content of the file; anything else than an image counts as upright.
    """
    try:
        return read_header(data).orientation
    except Exception as error:  # damaged files make decoders raise about anything
        _reraise_if_not_of_the_file(error)
        return 1


def image_damage(data: bytes) -> str | None:
    """Describe the damage of an image file that may still be decodable.

    Damaged JPEG data decodes to an image whose lower part is grey or shifted, and libjpeg only
    prints a line to the standard error stream, without a name. This function decodes the image
    once more and returns that line; meanwhile the stream of the whole process is redirected, so
    call it from one thread or, better, from a worker process. What is wrong with files that cannot
    be decoded is returned too.

    Args:
        data: Content of the file.

    Returns:
        The damage in a few words; None if there is none. Bytes after the end of the image are no
        damage.
    """
    try:
        return _decode_damaged(data, MAX_PIXELS)[2]
    except Exception as error:  # damaged files make decoders raise about anything
        _reraise_if_not_of_the_file(error)
        return _reason(error)


def _decode_damaged(data: bytes, max_pixels: int) -> tuple[Tensor, ImageHeader, str | None]:
    """Decode an image file, and say what is wrong with it although that is possible."""
    if data.startswith(_JPEG):
        with _printed_by_libjpeg() as warnings:
            decoded = _decode(data, max_pixels)
        return *decoded, warnings[0] if warnings else None
    decoded = _decode(data, max_pixels)
    return *decoded, _parse_png(data).damage if data.startswith(_PNG) else None


@contextmanager
def _errors_naming(path: str) -> Iterator[None]:
    """Turn what a decoder raises into an error that names the file."""
    try:
        yield
    except Exception as error:  # damaged files make decoders raise about anything
        _reraise_if_not_of_the_file(error)
        raise UnreadableImageError(
            f"cannot read image {path}: {_reason(error)}; on_error=skip goes on without such images"
        ) from error


def pixels_of_pillow(image: Image.Image) -> Tensor:
    """Convert an image of Pillow as image files are read: upright, RGB.

    Args:
        image: Of any mode; turned upright by its EXIF orientation, as ``ImageOps.exif_transpose``
            does. A crop of it keeps the orientation of the whole.

    Returns:
        Image ``(3, H, W)``, uint8.

    Raises:
        InputError: If it holds floats or integers beyond 16 bits.
    """
    image.load()
    # loading turns TIFF upright, and some versions of Pillow keep its orientation nevertheless
    orientation = 1 if image.format == "TIFF" else _pillow_orientation(image)
    return _upright(_pixels(image), orientation)


def _pixels(image: Image.Image) -> Tensor:
    """Convert an image of Pillow as it lies."""
    if image.mode == "F":
        raise InputError("an image of floats: save it with 8 or 16 bits")
    # Pillow itself would cut off all levels above 255
    return _grey(np.asarray(image)) if image.mode.startswith("I") else _rgb(image)


def _rgb(image: Image.Image) -> Tensor:
    """Copy the pixels of an image of 8 bits; strides are those of torchvision's decoders."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if not min(rgb.size):
        return torch.zeros((3, rgb.height, rgb.width), dtype=torch.uint8)
    pixels = torch.frombuffer(bytearray(rgb.tobytes()), dtype=torch.uint8)
    return pixels.view(rgb.height, rgb.width, 3).permute(2, 0, 1)


def _grey(levels: npt.NDArray[Any]) -> Tensor:
    """Convert an image ``(H, W)`` of integers."""
    if levels.size and not 0 <= levels.min() <= levels.max() < 2**16:
        raise InputError(
            f"an image of integers from {levels.min()} to {levels.max()}: save it with 8 or 16 bits"
        )
    return _eight_bits(levels >> 8, levels & 255).expand(3, -1, -1).contiguous()


def _eight_bits(upper: npt.NDArray[Any], lower: npt.NDArray[Any]) -> Tensor:
    """Divide levels of 16 bits, given as two bytes, by 257 and round them."""
    upper = upper.astype(np.uint8, copy=False)
    rest = lower.astype(np.int16) - upper  # as levels are 257 * upper + rest
    return torch.from_numpy(upper + (rest > 128) - (rest < -128))


def _upright(image: Tensor, orientation: int) -> Tensor:
    """Turn an image ``(3, H, W)`` by its EXIF orientation."""
    if orientation not in _TURNS:
        return image
    exchanged, flipped = _TURNS[orientation]
    return (image.transpose(1, 2) if exchanged else image).flip(flipped)


def _require_size(header: ImageHeader, max_pixels: int) -> None:
    if header.height * header.width > max_pixels:
        raise InputError(
            f"{header.width} x {header.height} pixels are more than max_pixels={max_pixels} allows"
        )


def _reraise_if_not_of_the_file(error: Exception) -> None:
    """Raise what another file would not escape: too little memory, too many open files."""
    if isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno in _SYSTEM_ERRORS
    ):
        raise error
    if _NO_MEMORY.search(str(error)):
        raise MemoryError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Return the first sentence of what a decoder says, without where in its code that is."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = _CODE_LOCATION.sub("", str(error).strip()).split("\n")[0]
    return text.split(". ")[0] or type(error).__name__


# JPEG


def _jpeg_header(data: bytes) -> ImageHeader:
    """Walk through the segments before the pixels, as libjpeg does."""
    height = width = -1
    orientation = 1
    position = 2
    try:
        while True:
            if data[position] != 0xFF:
                position = data.index(b"\xff", position)
            marker = data[position + 1]
            if marker == 0xFF:  # padding
                position += 1
                continue
            if marker in _WITHOUT_LENGTH:
                position += 2
                continue
            if marker in (_START_OF_SCAN, _END_OF_IMAGE):
                break
            length = data[position + 2] << 8 | data[position + 3]
            if marker in _FRAME_HEADERS and width < 0:
                height, width = struct.unpack_from(">HH", data, position + 5)
            elif marker == _APP1 and orientation == 1:
                segment = data[position + 4 : position + 2 + length]
                if segment.startswith(b"Exif\0\0"):
                    orientation = _exif_orientation(segment[6:])
            position += 2 + max(2, length)
    except (ValueError, IndexError, struct.error):
        raise InputError(_ENDS_EARLY) from None
    if width < 0:
        raise InputError(_NO_SIZE)
    return ImageHeader("JPEG", height, width, orientation)


def _exif_orientation(block: bytes) -> int:
    """Read the orientation from a block of EXIF; 1 if there is none or it is malformed."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "L", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", block, entry)
            if tag == _ORIENTATION:
                layout = order + {1: "B", 4: "L"}.get(kind, "H")
                (value,) = struct.unpack_from(layout, block, entry + 8)
                return value if value in _TURNS else 1
    except struct.error:
        pass
    return 1


@contextmanager
def _printed_by_libjpeg() -> Iterator[list[str]]:
    """Collect the warnings that libjpeg prints to the standard error stream inside the block."""
    warnings: list[str] = []
    with _ONE_AT_A_TIME, ExitStack() as undo:
        try:
            saved = os.dup(2)
        except OSError:  # the process has no such stream
            saved = os.open(os.devnull, os.O_WRONLY)
        read, write = os.pipe()  # holds far more than one line
        printed = undo.enter_context(os.fdopen(read, "rb"))
        os.dup2(write, 2)
        os.close(write)
        try:
            yield warnings
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            for line in printed.read().splitlines(keepends=True):
                if line.startswith(_JPEG_DAMAGE):
                    warnings.append(line.decode("ascii", "replace").strip())
                else:  # of another thread
                    with suppress(OSError):
                        os.write(2, line)


# PNG


class _Png(NamedTuple):
    """The chunks of a PNG file.

    Attributes:
        header: Size and orientation.
        color: Color type, and bits of a channel.
        interlaced: Whether the pixels are stored in seven passes.
        palette: Colors as RGB, if the pixels are places in it.
        pixels: All of them, compressed.
        damage: What is wrong with the chunks that are not needed; None if nothing is.
    """

    header: ImageHeader
    color: tuple[int, int]
    interlaced: int
    palette: bytes
    pixels: bytes
    damage: str | None


def _parse_png(data: bytes) -> _Png:
    """Take a file apart and compare the chunks that make up its pixels with their checksums.

    Pillow does not compare those of pixels; libpng does, but torchvision dies of what it finds.
    """
    view = memoryview(data)
    described = palette = b""
    pixels: list[memoryview] = []
    orientation, damage = 1, None
    position, name = len(_PNG), b""
    while name != b"IEND":
        if position + 12 > len(data):
            damage = _ENDS_EARLY
            break
        (length,) = struct.unpack_from(">L", data, position)
        name, start, end = data[position + 4 : position + 8], position + 8, position + 8 + length
        if end + 4 > len(data):
            damage = _ENDS_EARLY
            break
        wrong = zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">L", data, end)[0]
        if wrong:
            damage = f"the checksum of its chunk {name.decode('ascii', 'replace')} is wrong"
        if wrong and name in (b"IHDR", b"PLTE", b"IDAT"):
            raise InputError(damage)
        if bool(described) == (name == b"IHDR"):
            raise InputError("its chunks are in no valid order")
        if name == b"IHDR":
            described = data[start:end]
        elif name == b"PLTE":
            palette = data[start:end]
        elif name == b"IDAT":
            pixels.append(view[start:end])
        elif not name[0] & 0x20 and name != b"IEND":  # a capital: it must not be skipped
            raise InputError(f"it has an unknown chunk {name!r}")
        elif name == b"eXIf" and not wrong:
            orientation = _exif_orientation(data[start:end])
        position = end + 4
    if len(described) != _PNG_HEADER.size:
        raise InputError(_NO_SIZE)
    if not pixels:
        raise InputError(damage or "it has no pixels")
    width, height, depth, color, *methods, interlaced = _PNG_HEADER.unpack(described)
    if any(methods) or interlaced > 1 or not (width and height):
        raise InputError("its header is invalid")
    header = ImageHeader("PNG", height, width, orientation)
    return _Png(header, (color, depth), interlaced, palette, b"".join(pixels), damage)


def _decode_png(png: _Png) -> Tensor:
    """Decode with Pillow, whose PNG decoder survives every damage, unlike torchvision's."""
    if png.color in _TWO_BYTES:
        # Pillow would drop the lower bytes of colors; grey is stored as two channels of 8 bits are
        mode, *layouts = _TWO_BYTES[png.color]
        levels = [np.asarray(_png_picture(png, mode, layout)) for layout in layouts]
        if png.color[0] in _COLORS:
            upper, lower = levels
            return _eight_bits(upper[..., :3], lower[..., :3]).permute(2, 0, 1)
        grey = _eight_bits(levels[0][..., 0], levels[0][..., 1])
        return grey.expand(3, -1, -1).contiguous()
    if png.color not in _ONE_BYTE:
        raise InputError("its header is invalid")
    picture = _png_picture(png, *_ONE_BYTE[png.color])
    if picture.mode == "P":
        picture.putpalette(png.palette)
    return _rgb(picture)


def _png_picture(png: _Png, mode: str, layout: str) -> Image.Image:
    from PIL import Image

    size = (png.header.width, png.header.height)
    return Image.frombytes(mode, size, png.pixels, "zip", layout, png.interlaced)


# Other formats


@lru_cache(maxsize=1)
def _plugins() -> list[tuple[Any, Any]]:
    """Import the decoders of Pillow that are used: what opens a format and what recognizes it."""
    from PIL import Image

    found = []
    for name, module in _PLUGINS.items():
        with suppress(ImportError):  # AVIF came with Pillow 11.3
            import_module(f"PIL.{module}ImagePlugin")
            found.append(Image.OPEN[name])
    return found


def _open_with_pillow(data: bytes) -> ImageFile.ImageFile:
    """Read the header of an image; ``Image.open`` would warn of sizes that are allowed here."""
    for opened, accepts in _plugins():
        accepted = accepts(data[:16])
        if isinstance(accepted, str):  # the format is known, but its library is not installed
            raise InputError(accepted)
        if accepted:
            picture: ImageFile.ImageFile = opened(io.BytesIO(data), "")
            return picture
    raise InputError(f"not one of {_FORMATS}" if data else "the file is empty")


def _pillow_header(picture: Image.Image) -> ImageHeader:
    return ImageHeader(
        picture.format or "", picture.height, picture.width, _pillow_orientation(picture)
    )


def _pillow_orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(_ORIENTATION)
    except MemoryError:
        raise
    except Exception:  # malformed EXIF makes Pillow raise about anything
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def _decode_gif(picture: Any) -> Tensor:
    """Decode the first frame, with the background color of the file where it is transparent."""
    ((_, (left, top, right, bottom), *_),) = picture.tile
    picture.load()
    levels, pixels = np.asarray(picture), np.array(picture.convert("RGB"))
    empty = np.ones(levels.shape, dtype=np.bool_)
    frame = np.s_[top:bottom, left:right]
    empty[frame] = levels[frame] == picture.info.get("transparency", -1)
    color = picture.info.get("background", 0)
    if palette := picture.global_palette:  # otherwise levels of grey
        color = list(palette.palette[3 * color : 3 * color + 3]) or 0
    pixels[empty] = color
    return torch.from_numpy(pixels).permute(2, 0, 1)
