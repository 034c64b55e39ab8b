"""What ``lightning-reid check`` costs, and that its search for duplicates is not quadratic.

    python benchmarks/check.py [--images 13000] [--json FILE]

Draws a Market-sized set, checks it (reading lists, decoding, comparing, contact sheets, files),
and searches near duplicates among up to a million hashes: unrelated ones, and ones that are all
within a few bits of each other, as of pictures of a single scene.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from measurement import median_seconds, report

from lightning_reid import Market1501
from lightning_reid.data.synthetic import draw_synthetic_persons
from lightning_reid.inspection import inspect, write_inspection
from lightning_reid.inspection.duplicates import Hashes, near_pairs

_IMAGES_PER_PERSON = 23
_SIZES = (13_000, 100_000, 1_000_000)
_DISTANCE = 3


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=13_000)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [checked(arguments), *searched(arguments.repeats)]
    columns = ("what", "images", "seconds", "microseconds per image")
    report("lightning-reid check", columns, rows, arguments.json, workers=arguments.workers)


def checked(arguments: argparse.Namespace) -> tuple[str, int, float, float]:
    """A whole check of drawn people."""
    with tempfile.TemporaryDirectory() as folder:
        people = arguments.images // _IMAGES_PER_PERSON
        root = draw_synthetic_persons(
            Path(folder) / "persons",
            num_train_identities=people * 3 // 4,
            num_test_identities=people - people * 3 // 4,
        )

        def check() -> None:
            done = inspect(Market1501(root), num_workers=arguments.workers)
            write_inspection(done, Path(folder) / "check")

        count = len(list(root.glob("*/*.jpg")))
        return _row("check, 128 x 64", count, median_seconds(check, arguments.repeats, warmup=0))


def searched(repeats: int) -> list[tuple[str, int, float, float]]:
    """The search for near duplicates alone."""
    rng = np.random.default_rng(0)
    rows = []
    for count in _SIZES:
        unrelated = np.unique(rng.integers(0, 2**64, count, dtype=np.uint64))
        bits = np.uint64(1) << rng.integers(0, 64, (6, count)).astype(np.uint64)
        crowded = np.unique(np.bitwise_xor.reduce(bits))
        for what, hashes in (("unrelated", unrelated), ("crowded", crowded)):
            seconds = median_seconds(lambda hashes=hashes: _search(hashes), repeats, warmup=0)
            rows.append(_row(f"search, {what} hashes", len(hashes), seconds))
    return rows


def _search(hashes: Hashes) -> int:
    return sum(len(first) for first, _ in near_pairs(hashes, _DISTANCE))


def _row(what: str, count: int, seconds: float) -> tuple[str, int, float, float]:
    return what, count, seconds, 1e6 * seconds / count


if __name__ == "__main__":
    main()
