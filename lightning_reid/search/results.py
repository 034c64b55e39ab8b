"""What a search prints and writes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from lightning_reid.cells import write_cells
from lightning_reid.errors import InputError
from lightning_reid.search.gallery import Match
from lightning_reid.search.picture import draw_results, size_of
from lightning_reid.terminal import SafeConsole
from lightning_reid.whole_files import write_output

_LARGEST = {"JPEG": 65_500, "WEBP": 16_383}  # pixels of a side that a format can hold
_HEADER = ("query", "rank", "similarity", "camera", "path")


def print_results(found: Mapping[str, Sequence[Match]]) -> None:
    """A table for each query: rank, cosine similarity, camera where known, path."""
    console = SafeConsole()
    if not console.is_terminal:
        console.width = 10_000  # a path that another program reads stays in one line
    for query, matches in found.items():
        cameras = any(match.camera for match in matches)
        columns = ("rank", "similarity", *(("camera",) if cameras else ()), "path")
        table = Table(*columns, title=query, title_justify="left")
        table.columns[-1].overflow = "fold"
        for rank, match in enumerate(matches, 1):
            camera = (match.camera,) if cameras else ()
            cells = (str(rank), f"{match.similarity:.3f}", *camera, match.path)
            table.add_row(*cells)
        console.print(table)


def write_results(found: Mapping[str, Sequence[Match]], picture: Path) -> None:
    """Write the picture, and the table beside it as CSV.

    Args:
        found: for each query its matches.
        picture: file to write; its ending says the format.

    Raises:
        InputError: if it cannot be written, or the picture is too large for its format; the table
            is there then.
    """
    table = picture.with_suffix(".csv")
    rows = [
        (query, rank, round(match.similarity, 6), match.camera, match.path)
        for query, matches in found.items()
        for rank, match in enumerate(matches, 1)
    ]
    written = io.BytesIO()
    write_cells(written, [_HEADER, *rows])
    write_output(table, written.getvalue())
    form, (width, height) = format_of(picture), size_of(found)
    most = _LARGEST.get(form)
    if most is not None and max(width, height) > most:
        raise InputError(
            f"the picture of {len(found)} queries has {width:,} x {height:,} pixels, and {form} "
            f"holds at most {most:,} a side: give an --output that ends in .png, or fewer queries; "
            f"the table is in {table}"
        )
    drawn = io.BytesIO()
    draw_results(found).save(drawn, form)
    write_output(picture, drawn.getvalue())


def format_of(picture: Path) -> str:
    """Pillow's name of the format that a file name asks for.

    Raises:
        InputError: if it is none.
    """
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
    if picture.suffix.lower() not in formats:
        raise InputError(f"output {picture} must end in {', '.join(formats)}")
    return formats[picture.suffix.lower()]
