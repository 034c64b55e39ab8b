"""Rows of small framed images with words above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from lightning_reid.data import UnreadableImageError, read_image
from lightning_reid.report.lettering import font_of, shortened

Frame = Literal["plain", "query", "match", "mismatch"]

HEIGHT = 144  # pixels of an image
_NARROWEST, _WIDEST = 56, 216
_FRAME, _GAP, _LINE, _HEADING = 6, 4, 14, 24
_ABOVE = 2  # pixels between a caption and its image
_BADGE = 18  # pixels of the mark in a corner
_WHITE, _TEXT, _EMPTY = (255, 255, 255), (50, 50, 50), (225, 225, 225)
# colours, thickness and marks differ, so that no eye depends on one of them
_COLOURS = {
    "plain": (200, 200, 200),
    "query": (70, 70, 70),
    "match": (0, 140, 70),
    "mismatch": (205, 30, 30),
}
_THICKNESS = {"plain": 1, "query": 3, "match": _FRAME, "mismatch": 3}
_MARKS = {"match": "✓", "mismatch": "✗"}


class Tile(NamedTuple):
    """An image in a row.

    Attributes:
        image: file to read, or the image itself.
        caption: above it, in one line or several; what does not fit is cut.
        frame: what it is.
    """

    image: str | Image.Image
    caption: str = ""
    frame: Frame = "plain"


class Row(NamedTuple):
    """Images side by side under a line of text; None stands for some that are left out."""

    heading: str
    tiles: Sequence[Tile | None]


def read_picture(path: str) -> Image.Image | None:
    """An image as training decodes it; None if it cannot be."""
    try:
        return Image.fromarray(read_image(path).permute(1, 2, 0).contiguous().numpy())
    except UnreadableImageError:
        return None


def draw_rows(rows: Sequence[Row], width: int | None = None) -> Image.Image:
    """All rows, one above the other, every image as large as fits into the same space.

    Args:
        rows: what to draw.
        width: of that space in pixels; None: as most images need.
    """
    pictures = [[tile and _small(tile.image) for tile in row.tiles] for row in rows]
    if width is None:
        width = _common_width([image for row in pictures for image in row if image is not None])
    caption = _caption_height(rows)
    cell = _cell_size(width, caption)
    canvas = Image.new("RGB", size_of_rows(rows, width), _WHITE)
    draw = ImageDraw.Draw(canvas)
    font = font_of(13)
    for number, (row, images) in enumerate(zip(rows, pictures, strict=True)):
        y = number * (_HEADING + cell[1] + _GAP)
        heading = shortened(row.heading, font, canvas.width - 2 * _GAP)
        draw.text((_GAP, y + _GAP), heading, _TEXT, font)
        for x, (tile, image) in enumerate(zip(row.tiles, images, strict=True)):
            place = (_GAP + x * (cell[0] + _GAP), y + _HEADING)
            if tile is not None:
                canvas.paste(_cell(tile, image, width, caption), place)
            elif x:
                middle = (place[0] + cell[0] // 2, place[1] + cell[1] // 2)
                draw.text(middle, "…", _TEXT, font_of(24), anchor="mm")
    return canvas


def size_of_rows(rows: Sequence[Row], width: int) -> tuple[int, int]:
    """Width and height in pixels of what :func:`draw_rows` draws, without reading an image."""
    cell = _cell_size(width, _caption_height(rows))
    longest = max((len(row.tiles) for row in rows), default=0)
    height = _HEADING + cell[1] + _GAP
    return longest * (cell[0] + _GAP) + _GAP, len(rows) * height + _GAP


def _caption_height(rows: Sequence[Row]) -> int:
    """That of the caption with most lines."""
    lines = [tile.caption.count("\n") + 1 for row in rows for tile in row.tiles if tile is not None]
    return max(lines, default=1) * _LINE + _ABOVE


def _cell_size(width: int, caption: int) -> tuple[int, int]:
    """Width and height of a tile with frame and caption."""
    return width + 2 * _FRAME, HEIGHT + 2 * _FRAME + caption


def _small(image: str | Image.Image) -> Image.Image | None:
    """At most as large as a tile may be."""
    picture = read_picture(image) if isinstance(image, str) else image
    if picture is None:
        return None
    scale = min(HEIGHT / picture.height, _WIDEST / picture.width)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BILINEAR)


def _common_width(images: Sequence[Image.Image]) -> int:
    """That of most images when as high as a tile."""
    shapes = [image.width / image.height for image in images]
    usual = float(np.median(shapes)) if shapes else 0.5
    return int(np.clip(round(HEIGHT * usual), _NARROWEST, _WIDEST))


def _cell(tile: Tile, image: Image.Image | None, width: int, caption: int) -> Image.Image:
    """A tile under its caption, as large as all of them."""
    cell = Image.new("RGB", _cell_size(width, caption), _WHITE)
    whole = (cell.width, cell.height - caption)
    draw = ImageDraw.Draw(cell)
    font = font_of(11)
    for number, line in enumerate(tile.caption.split("\n")):
        draw.text((0, number * _LINE), shortened(line, font, whole[0]), _TEXT, font)
    thickness = _THICKNESS[tile.frame]
    draw.rectangle((0, caption, whole[0] - 1, caption + whole[1] - 1), _COLOURS[tile.frame])
    inside = (thickness, caption + thickness)
    end = (whole[0] - 1 - thickness, caption + whole[1] - 1 - thickness)
    draw.rectangle((*inside, *end), _EMPTY if image is None else _WHITE)
    if image is None:
        note = shortened("unreadable", font, width)
        draw.text((_FRAME, caption + whole[1] // 2), note, _TEXT, font)
    else:
        image.thumbnail((width, HEIGHT))
        left, top = (whole[0] - image.width) // 2, (whole[1] - image.height) // 2
        cell.paste(image, (left, caption + top))
    if mark := _MARKS.get(tile.frame):
        corner = (0, caption, _BADGE, caption + _BADGE)
        draw.rectangle(corner, _COLOURS[tile.frame])
        middle = (_BADGE // 2, caption + _BADGE // 2)
        draw.text(middle, mark, _WHITE, font_of(14), anchor="mm")
    return cell
