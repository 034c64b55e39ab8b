"""A picture of what each camera sees."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw

from lightning_reid.data.extremes import Integers
from lightning_reid.inspection.images import Pixels
from lightning_reid.report.lettering import font_of, shortened

_COLUMNS, _GAP, _TEXT = 10, 4, 18
_PER_CAMERA, _FEWEST, _ALTOGETHER = 40, 4, 8_000  # thumbnails that are kept in memory
_LONGEST_NAME = 60  # characters: at most 240 bytes, and file systems take 255


def choose_images(cameras: Integers, seed: int = 0) -> Integers:
    """Positions of up to 40 random images of each camera, fewer for more than 200 cameras.

    Args:
        cameras: ``(N,)``, from 0.
        seed: of the choice.
    """
    if not len(cameras):
        return np.empty(0, dtype=np.int64)
    most = int(np.clip(_ALTOGETHER // (cameras.max() + 1), _FEWEST, _PER_CAMERA))
    shuffled = np.random.default_rng(seed).permutation(len(cameras))
    order = shuffled[np.argsort(cameras[shuffled], kind="stable")]
    starts = np.searchsorted(cameras[order], cameras[order])
    chosen: Integers = np.sort(order[np.arange(len(order)) - starts < most])
    return chosen


def draw_contact_sheet(title: str, thumbnails: Sequence[Pixels]) -> Image.Image:
    """Thumbnails in rows of ten, in the order given, under a line of text.

    Args:
        title: above them, in letters of the font; what does not fit is cut.
        thumbnails: ``(h, w, 3)`` uint8 each.
    """
    height = max(picture.shape[0] for picture in thumbnails) + _GAP
    width = max(picture.shape[1] for picture in thumbnails) + _GAP
    rows = math.ceil(len(thumbnails) / _COLUMNS)
    size = (_GAP + _COLUMNS * width, _TEXT + _GAP + rows * height)
    sheet = Image.new("RGB", size, (255, 255, 255))
    font = font_of(12)
    written = shortened(title, font, sheet.width - 2 * _GAP)
    ImageDraw.Draw(sheet).text((_GAP, _GAP), written, (60, 60, 60), font)
    for place, picture in enumerate(thumbnails):
        row, column = divmod(place, _COLUMNS)
        position = (_GAP + column * width, _TEXT + _GAP + row * height)
        sheet.paste(Image.fromarray(picture), position)
    return sheet


def file_names(cameras: Sequence[str]) -> Iterator[str]:
    """For each camera a file name without suffix, whatever it is called; no two alike."""
    taken: set[str] = set()
    for camera in cameras:
        plain = re.sub(r"[^\w-]+", "_", camera)[:_LONGEST_NAME] or "camera"
        name, number = plain, 1
        while name.casefold() in taken:  # as file systems that ignore case would see it
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        yield name
