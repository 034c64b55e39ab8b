"""Queries and what was found, as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from lightning_reid.data.text_columns import natural_order
from lightning_reid.report.lettering import writable
from lightning_reid.report.tiles import Row, Tile, draw_rows, size_of_rows
from lightning_reid.search.gallery import Match

_WIDTH = 96  # pixels of an image


def draw_results(found: Mapping[str, Sequence[Match]]) -> Image.Image:
    """Each row a query, in a dark frame, and the images that were found, nearest first.

    Above them stand rank, cosine similarity and, where known, the camera.

    Args:
        found: for each query file its matches.
    """
    return draw_rows(_rows(found), _WIDTH)


def size_of(found: Mapping[str, Sequence[Match]]) -> tuple[int, int]:
    """Width and height in pixels of the picture of results."""
    return size_of_rows(_rows(found), _WIDTH)


def _rows(found: Mapping[str, Sequence[Match]]) -> list[Row]:
    cameras = {match.camera for matches in found.values() for match in matches} - {""}
    known = sorted(cameras, key=natural_order)
    written = {"": "", **dict(zip(known, writable(known), strict=True))}
    headings = writable([Path(query).name for query in found])
    rows = []
    for heading, (query, matches) in zip(headings, found.items(), strict=True):
        tiles = [
            Tile(match.path, f"{rank}: {match.similarity:.3f}\n{written[match.camera]}")
            for rank, match in enumerate(matches, 1)
        ]
        rows.append(Row(heading, [Tile(query, "query", "query"), *tiles]))
    return rows
