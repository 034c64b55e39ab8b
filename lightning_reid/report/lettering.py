"""Text in pictures, in the one font that comes with matplotlib: DejaVu Sans."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from lightning_reid.messages import prints

_LONGEST = 500  # characters of a name; pictures have room for fewer
_MOST_MARKS = 4  # on one letter, as Hebrew has; more would tower over what stands above


def writable(names: Sequence[str]) -> list[str]:
    """Names as the font can write them, on one line each.

    The font has Latin, Greek, Cyrillic, Arabic and Hebrew letters among others. What it has no
    letters for, and what does not print as itself, is left out, and the name's number, from 1,
    stands in front.

    Args:
        names: of cameras, for example, by number. Only their beginning is written.
    """
    return [_writable(name[:_LONGEST], number) for number, name in enumerate(names, start=1)]


def abbreviated(name: str, most: int = 20) -> str:
    """At most so many characters of a name."""
    return name if len(name) <= most else name[: most - 1] + "…"


def shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The beginning of a text that is at most so many pixels wide."""
    beginning = text[: width + 1]  # hardly a letter is narrower than a pixel
    if beginning == text and font.getlength(text) <= width:
        return text
    fits = bisect_left(
        range(len(beginning)), True, key=lambda most: font.getlength(text[:most] + "…") > width
    )
    return text[: max(0, fits - 1)].rstrip() + "…"


@lru_cache
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """The font in a size in pixels."""
    return ImageFont.truetype(_file(), size)


def _file() -> str:
    import matplotlib  # takes a moment, and most commands draw nothing

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


def _writable(name: str, number: int) -> str:
    line = " ".join(name.split())
    letters = filter(prints, _with_few_marks(line))
    written = "".join(letter for letter in letters if ord(letter) in _letters())
    return written if written and written == line else f"#{number} {written.strip()}".rstrip()


def _with_few_marks(line: str) -> Iterator[str]:
    marks = 0
    for letter in line:
        marks = marks + 1 if unicodedata.category(letter) in ("Mn", "Me") else 0
        if marks <= _MOST_MARKS:
            yield letter


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(_file()).get_charmap())
