"""Damaged image files: each yields an error that names it, or an image.

    python damaged_images.py FOLDER COUNT [SEED]

A decoder that dies takes the process with it; the file it died of then lies in the folder.
"""

import io
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, features

from lightning_reid.data import UnreadableImageError, read_image
from lightning_reid.data.images import image_damage, image_orientation

PNG = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of the color types of PNG
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PASSES = (  # of interlaced PNG: first column, first row, step of columns, step of rows
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def chunk(name, content=b""):
    checksum = struct.pack(">L", zlib.crc32(name + content))
    return struct.pack(">L", len(content)) + name + content + checksum


def png_of_noise(rng, height, width, depth, color, interlaced=False, further=b""):
    """A file of any mode, with every filter; Pillow writes few of them."""

    def rows(height, width):
        length = (width * CHANNELS[color] * depth + 7) // 8
        if not (height and width):
            return b""
        lines = (bytes([rng.integers(5)]) + rng.bytes(length) for _ in range(height))
        return b"".join(lines)

    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    pixels = b"".join(rows(-((y - height) // dy), -((x - width) // dx)) for x, y, dx, dy in passes)
    header = struct.pack(">LLBBBBB", width, height, depth, color, 0, 0, interlaced)
    palette = chunk(b"PLTE", rng.bytes(3 * 2**depth)) if color == 3 else b""
    end = chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND")
    return PNG + chunk(b"IHDR", header) + palette + further + end


def saved(image, kind, **options):
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def sound_files(rng, height=48, width=24):
    """Files of every format and mode that is read, by what they are."""
    small = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    clear = image.convert("RGBA")
    clear.putalpha(image.convert("L"))
    frames = [image.rotate(angle).quantize(16) for angle in (0, 20, 40)]
    colored = [frame.convert("RGB") for frame in frames]
    moving = {"save_all": True, "append_images": frames[1:]}
    files = {
        f"PNG {color} {depth} {interlaced}": png_of_noise(
            rng, height, width, depth, color, interlaced
        )
        for color, depths in DEPTHS.items()
        for depth in depths
        for interlaced in (False, True)
    }
    files |= {
        "PNG moving": saved(colored[0], "PNG", save_all=True, append_images=colored[1:]),
        "PNG comments": saved(image, "PNG", exif=tagged(6), icc_profile=rng.bytes(300)),
        "JPEG": saved(image, "JPEG", exif=tagged(5)),
        "JPEG progressive": saved(image, "JPEG", progressive=True),
        "JPEG grey": saved(image.convert("L"), "JPEG"),
        "JPEG CMYK": saved(image.convert("CMYK"), "JPEG"),
        "JPEG restarting": saved(image, "JPEG", restart_marker_blocks=2, subsampling=0),
        "WEBP": saved(image, "WEBP", exif=tagged(6)),
        "WEBP lossless": saved(clear, "WEBP", lossless=True),
        "WEBP clear": saved(clear, "WEBP"),
        "WEBP moving": saved(colored[0], "WEBP", save_all=True, append_images=colored[1:]),
        "GIF": saved(image, "GIF", interlace=True),
        "GIF grey": saved(image.convert("L"), "GIF"),
        "GIF moving": saved(frames[0], "GIF", **moving, transparency=3, disposal=2),
        "PPM": saved(image, "PPM"),
        "PPM letters": b"P3 6 4 255 " + b"12 34 56 " * 24,
        "JPEG2000": saved(image, "JPEG2000"),
    }
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        files[f"BMP {mode}"] = saved(clear.convert(mode), "BMP")
        files[f"TIFF {mode}"] = saved(clear.convert(mode), "TIFF", exif=tagged(8))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        files[f"TIFF {compression}"] = saved(image, "TIFF", compression=compression)
    files["TIFF group4"] = saved(image.convert("1"), "TIFF", compression="group4")
    files["TIFF 16"] = saved(Image.fromarray(np.arange(48, dtype=np.uint16).reshape(8, 6)), "TIFF")
    if features.check("avif"):
        files["AVIF"] = saved(image, "AVIF", exif=tagged(6))
    return files


def tagged(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def damaged(rng, data, others):
    """The file with one to four things wrong."""
    for _ in range(rng.integers(1, 5)):
        what = rng.integers(7)
        place = int(rng.integers(len(data) or 1))
        run = int(rng.integers(1, 60))
        if what == 0:
            flipped = bytes([data[place] ^ 1 << int(rng.integers(8))]) if data else b""
            data = data[:place] + flipped + data[place + 1 :]
        elif what == 1:
            data = data[:place] + bytes(run) + data[place + run :]
        elif what == 2:
            data = data[:place] + rng.bytes(run) + data[place + run :]
        elif what == 3 and rng.integers(3) == 0:
            data = data[:place]
        elif what == 4:  # in the header
            place = int(rng.integers(100))
            data = data[:place] + rng.bytes(1 + run // 20) + data[place + 1 + run // 20 :]
        elif what == 5 and rng.integers(3) == 0:  # goes on as another file
            data = data[:place] + others[rng.integers(len(others))][place:]
        elif what == 6 and rng.integers(3) == 0:  # another header
            place = int(rng.integers(40))
            data = others[rng.integers(len(others))][:place] + data[place:]
    if data.startswith(PNG) and rng.integers(2):
        return with_right_checksums(data)  # or the damage would never reach the decoder
    return data


def png_with_damaged_pixels(file):
    """An image file as a PNG with one wrong byte."""
    with Image.open(file) as image:
        data = bytearray(saved(image, "PNG"))
    data[len(data) // 2] ^= 1
    return bytes(data)


def with_right_checksums(data):
    whole, place = PNG, len(PNG)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">L", data, place)
        content = data[place + 8 : place + 8 + length]
        whole += chunk(data[place + 4 : place + 8], content)
        place += 12 + length
    return whole


def read_damaged_files(folder, count, seed=0):
    """Read so many files; returns how many of them are decoded."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    files = sound_files(rng)
    kinds, contents = list(files), list(files.values())
    endings = (".jpg", ".png", ".webp", ".gif", ".bmp", ".tif", ".avif", ".JPEG", "")
    decoded = 0
    for number in range(count):
        kind = kinds[number % len(kinds)]
        file = folder / f"{number} {kind}{endings[rng.integers(len(endings))]}"
        file.write_bytes(damaged(rng, files[kind], contents))
        message, image = "", None
        try:
            image = read_image(str(file))
        except UnreadableImageError as error:
            message = str(error)
        if image is None:
            assert f"cannot read image {file}: " in message, message
        else:
            assert (image.dtype, image.ndim, len(image)) == (torch.uint8, 3, 3)
            decoded += 1
        if number % 5 == 0:
            image_damage(file.read_bytes())
            assert image_orientation(file.read_bytes()) in range(1, 9)
        file.unlink()
    return decoded


if __name__ == "__main__":
    print(read_damaged_files(Path(sys.argv[1]), *map(int, sys.argv[2:])), "decoded")
