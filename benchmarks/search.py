"""What a search costs: a query among up to a million embeddings, and keeping an index up to date.

    python benchmarks/search.py [--sizes 10000 100000 1000000] [--dimensions 512 2048] [--json FILE]

"Search" compares random unit vectors with all of an index on disk, as ``lightning-reid search``
does: exactly, without reading it first. The first search of a process finds the file in the page
cache, as it was just written. "Update" looks at every file of a gallery whose images are already
embedded (empty files; none is decoded). Below one second for a query is the aim.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
from measurement import median_seconds, peak_memory, report

from lightning_reid.data import Samples, Strings
from lightning_reid.search.index import Index
from lightning_reid.search.listing import Listing, list_images

_QUERIES = (1, 16)
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
    threads = faiss.omp_get_max_threads()
    report("lightning-reid search", columns, rows, arguments.json, faiss_threads=threads)


def searched(
    folder: Path, size: int, dimensions: int, repeats: int
) -> Iterator[tuple[str, int, int, float, float | str]]:
    """Writing, opening and searching an index of drawn vectors."""
    rng = np.random.default_rng(0)
    vectors = faiss.IndexFlatIP(dimensions)
    for first in range(0, size, _BLOCK):
        vectors.add(_unit(rng, min(_BLOCK, size - first), dimensions))
    images = Samples(
        Strings(f"/gallery/{i // _PER_FOLDER:04d}/{i:07d}.jpg" for i in range(size)),
        rng.integers(0, 8, size),
        [f"c{camera}" for camera in range(8)],
    )
    drawn = Index(_FINGERPRINT, Listing(images, np.zeros((size, 2), dtype=np.int64)), vectors)
    start = time.perf_counter()
    drawn.write(folder)
    yield "write", size, dimensions, time.perf_counter() - start, "-"
    del drawn, vectors
    with peak_memory() as peak:
        start = time.perf_counter()
        index = Index.read(folder, _FINGERPRINT, mapped=True)
        opened = time.perf_counter() - start
    yield "open", size, dimensions, opened, peak.gigabytes
    allowed = images.cameras != 0
    for count in _QUERIES:
        queries = _unit(rng, count, dimensions)
        for what, among in (("search", None), ("search without a camera", allowed)):
            with peak_memory() as peak:
                seconds = median_seconds(
                    lambda queries=queries, among=among: index.nearest(queries, _NEAREST, among),
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
    faiss.normalize_L2(drawn)
    return drawn


if __name__ == "__main__":
    main()
