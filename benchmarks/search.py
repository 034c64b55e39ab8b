"""What a search costs: a query among up to a million embeddings, and keeping an index up to date.

    python benchmarks/search.py [--sizes 10000 100000 1000000] [--dimensions 512 2048] [--json FILE]

"Search" compares random unit vectors with all of an index on disk, as ``lightning-reid search``
does: exactly, some rows at a time. All of them find the file in the page cache, as it was just
written. The first search of a process also verifies the checksums of what it reads. "Without a
camera" leaves out one of eight, "without their own" another one for each query. "Update" looks at
every file of a gallery whose images are already embedded (empty files; none is decoded). Below one
second for a query is the aim, and at most 1.3 times as long without a camera.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measurement import median_seconds, peak_memory, report

from lightning_reid.data import Samples, Strings
from lightning_reid.search.index import Index
from lightning_reid.search.listing import Listing, list_images

_QUERIES = (1, 16, 256)
_CAMERAS = 8
_NEAREST = 10
_BLOCK = 50_000  # vectors drawn at a time
_PER_FOLDER = 1_000
_FINGERPRINT = "drawn"


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dimensions", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--most", type=float, default=4.1, help="Gigabytes of the largest index")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows += list(updated(Path(folder), size, arguments.repeats))
        for dimensions in arguments.dimensions:
            if 4e-9 * size * dimensions > arguments.most:
                continue
            with tempfile.TemporaryDirectory() as folder:
                rows += list(searched(Path(folder), size, dimensions, arguments.repeats))
    columns = ("what", "images", "dimensions", "seconds", "memory, GB")
    report("lightning-reid search", columns, rows, arguments.json)


def searched(
    folder: Path, size: int, dimensions: int, repeats: int
) -> Iterator[tuple[str, int, int, float, float | str]]:
    """Writing, opening and searching an index of drawn vectors."""
    rng = np.random.default_rng(0)
    starts = range(0, size, _BLOCK)
    vectors = (_unit(rng, min(_BLOCK, size - first), dimensions) for first in starts)
    images = Samples(
        Strings(f"/gallery/{i // _PER_FOLDER:04d}/{i:07d}.jpg" for i in range(size)),
        rng.integers(0, _CAMERAS, size),
        [f"c{camera}" for camera in range(_CAMERAS)],
    )
    listing = Listing(images, np.zeros((size, 2), dtype=np.int64))
    written = Index.empty(_FINGERPRINT, dimensions).write(
        folder, listing, np.empty(0, dtype=bool), vectors
    )
    start = time.perf_counter()  # again, without drawing
    written.write(folder, listing, np.ones(size, dtype=bool))
    yield "write", size, dimensions, time.perf_counter() - start, "-"
    del written
    with peak_memory() as peak:
        start = time.perf_counter()
        index = Index.read(folder, _FINGERPRINT, dimensions)
        opened = time.perf_counter() - start
    yield "open", size, dimensions, opened, peak.gigabytes
    with peak_memory() as peak:
        start = time.perf_counter()
        index.nearest(_unit(rng, 1, dimensions), _NEAREST)
        first = time.perf_counter() - start
    yield "first search, 1 query", size, dimensions, first, peak.gigabytes
    for count in _QUERIES:
        queries = _unit(rng, count, dimensions)
        excluded = {
            "search": None,
            "search without a camera": np.zeros(count, dtype=np.int64),
            "search without their own cameras": rng.integers(0, _CAMERAS, count),
        }
        for what, cameras in excluded.items():
            with peak_memory() as peak:
                seconds = median_seconds(
                    lambda queries=queries, cameras=cameras: index.nearest(
                        queries, _NEAREST, cameras
                    ),
                    repeats,
                )
            named = f"{what}, {count} {'query' if count == 1 else 'queries'}"
            yield named, size, dimensions, seconds, peak.gigabytes


def updated(folder: Path, size: int, repeats: int) -> Iterator[tuple[str, int, str, float, float]]:
    """Looking at every file of a gallery."""
    for first in range(0, size, _PER_FOLDER):
        inside = folder / f"{first // _PER_FOLDER:04d}"
        inside.mkdir()
        for i in range(first, min(first + _PER_FOLDER, size)):
            (inside / f"{i:07d}.jpg").touch()
    with peak_memory() as peak:
        seconds = median_seconds(lambda: list_images(folder), min(repeats, 3))
    yield "update, nothing changed: list files", size, "-", seconds, peak.gigabytes


def _unit(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    drawn = rng.standard_normal((count, dimensions), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


if __name__ == "__main__":
    main()
