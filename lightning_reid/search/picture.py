"""Queries and what was found, as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from lightning_reid.data import UnreadableImageError, read_image
from lightning_reid.search.gallery import Match

_HEIGHT, _WIDTH, _FRAME, _GAP, _LINE = 160, 96, 3, 6, 13
_CELL = (_WIDTH + 2 * _FRAME + _GAP, _HEIGHT + 2 * _FRAME + 2 * _LINE + _GAP)
_INK, _PAPER, _QUERY, _FOUND = (40, 40, 40), (255, 255, 255), (20, 90, 180), (190, 190, 190)
_LONGEST = 15  # characters above an image


def draw_results(found: Mapping[str, Sequence[Match]]) -> Image.Image:
    """Each row a query, in a blue frame, and the images that were found, nearest first.

    Above them stand rank, cosine similarity and, where known, the camera.

    Args:
        found: for each query file its matches.
    """
    picture = Image.new("RGB", size_of(found), _PAPER)
    for row, (query, matches) in enumerate(found.items()):
        tiles = [_tile(query, "query", Path(query).name, _QUERY)]
        tiles += [
            _tile(match.path, f"{rank}: {match.similarity:.3f}", match.camera, _FOUND)
            for rank, match in enumerate(matches, 1)
        ]
        for column, tile in enumerate(tiles):
            picture.paste(tile, (_GAP + column * _CELL[0], _GAP + row * _CELL[1]))
    return picture


def size_of(found: Mapping[str, Sequence[Match]]) -> tuple[int, int]:
    """Width and height in pixels of the picture of results."""
    columns = 1 + max(len(matches) for matches in found.values())
    return _GAP + columns * _CELL[0], _GAP + len(found) * _CELL[1]


def _tile(path: str, first_line: str, second_line: str, frame: tuple[int, int, int]) -> Image.Image:
    tile = Image.new("RGB", _CELL, _PAPER)
    draw = ImageDraw.Draw(tile)
    for line, text in enumerate((first_line, second_line)):
        short = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]}.."
        # what Pillow's own letters cannot write becomes a question mark
        written = short.encode("latin-1", "replace").decode("latin-1")
        draw.text((0, line * _LINE), written, fill=_INK)
    top = 2 * _LINE
    box = (0, top, _WIDTH + 2 * _FRAME - 1, top + _HEIGHT + 2 * _FRAME - 1)
    draw.rectangle(box, fill=_PAPER, outline=frame, width=_FRAME)
    try:
        image = Image.fromarray(read_image(path).permute(1, 2, 0).contiguous().numpy())
    except UnreadableImageError:  # gone since it was embedded: it was found nevertheless
        draw.text((_FRAME + 4, top + _HEIGHT // 2), "not there", fill=_INK)
        return tile
    scale = min(_WIDTH / image.width, _HEIGHT / image.height)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    place = (_FRAME + (_WIDTH - image.width) // 2, top + _FRAME + (_HEIGHT - image.height) // 2)
    tile.paste(image, place)
    return tile
