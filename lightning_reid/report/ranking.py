"""Query results as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lightning_reid.metrics import Collected

_HEIGHT, _WIDTH, _FRAME, _TEXT = 128, 64, 4, 14
_CELL_WIDTH, _CELL_HEIGHT = _WIDTH + 2 * _FRAME + 4, _HEIGHT + _TEXT + 2 * _FRAME + 4
_COLOURS = {"query": (90, 90, 90), "match": (20, 150, 60), "mismatch": (200, 40, 40)}


def draw_rankings(
    seen: Collected,
    paths: Sequence[str],
    camera_names: Sequence[str],
    num_queries: int = 8,
    num_results: int = 10,
) -> Image.Image:
    """Each row a query and its nearest gallery images; green frames match, red ones do not.

    Gallery images of the query's identity and camera are left out, as in the numbers.

    Args:
        seen: the evaluation set as :meth:`~lightning_reid.RetrievalMetrics.collect` gives it.
        paths: image files by ``index``.
        camera_names: names by camera number, written above the images.
        num_queries: rows; queries are taken evenly from all of them.
        num_results: gallery images in a row.
    """
    query, gallery = seen.is_query.nonzero()[:, 0], (~seen.is_query).nonzero()[:, 0]
    rows = query[torch.linspace(0, len(query) - 1, min(num_queries, len(query))).long()]
    canvas = Image.new(
        "RGB", ((num_results + 1) * _CELL_WIDTH, len(rows) * _CELL_HEIGHT), (255, 255, 255)
    )
    for y, row in enumerate(rows):
        nearest = _nearest(seen, row, gallery)[:num_results]
        for x, i in enumerate([row, *nearest]):
            same = bool(seen.identities[i] == seen.identities[row])
            kind = "query" if x == 0 else "match" if same else "mismatch"
            camera = camera_names[int(seen.cameras[i])]
            tile = _tile(paths[int(seen.index[i])], camera, kind)
            canvas.paste(tile, (x * _CELL_WIDTH, y * _CELL_HEIGHT))
    return canvas


def _nearest(seen: Collected, row: Tensor, gallery: Tensor) -> Tensor:
    junk = (seen.identities[gallery] == seen.identities[row]) & (
        seen.cameras[gallery] == seen.cameras[row]
    )
    kept = gallery[~junk]
    distance = (seen.embeddings[kept] - seen.embeddings[row]).square().sum(1)
    return kept[distance.argsort()]


def _tile(path: str | Path, camera: str, kind: str) -> Image.Image:
    tile = Image.new("RGB", (_CELL_WIDTH, _CELL_HEIGHT), (255, 255, 255))
    draw = ImageDraw.Draw(tile)
    draw.text((_FRAME, 0), f"query, {camera}" if kind == "query" else camera, fill=(60, 60, 60))
    draw.rectangle((1, _TEXT, _CELL_WIDTH - 3, _CELL_HEIGHT - 3), fill=_COLOURS[kind])
    with Image.open(path) as image:
        picture = image.convert("RGB").resize((_WIDTH, _HEIGHT))
    tile.paste(picture, (1 + _FRAME, _TEXT + _FRAME))
    return tile
