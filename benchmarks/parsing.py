"""From the lists or folders of a public set to numbered images and cameras.

    python benchmarks/parsing.py [--json FILE]

Draws lists of MSMT17's and MARS's size and empty files of Market-1501's, and reads them as a run
does. "parse" ends with the columns of paths, cameras and identities; "index" is all of ``setup``:
splits, numbers of cameras, whether queries have matches, the comparison with published statistics.
Below one second for MSMT17 is the aim.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measurement import median_seconds, report
from scipy.io import savemat

from lightning_reid import MARS, MSMT17, Market1501, ReIDDataModule

# images, people and cameras of each list or folder
_MSMT17 = {
    "train": (30_248, 1_041),
    "val": (2_373, 1_041),
    "query": (11_659, 3_060),
    "gallery": (82_161, 3_060),
}
_MARKET = {
    "bounding_box_train": (12_936, 751),
    "query": (3_368, 750),
    "bounding_box_test": (19_732, 750),
}
_MARS = {"train": (509_914, 8_298, 625), "test": (681_089, 12_180, 636)}
_MARS_QUERIES = 1_980


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # drawn, so not as published
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(Path(folder), arguments.repeats))
    columns = ("what", "images listed", "parse, seconds", "index, seconds")
    report("Reading lists and folders", columns, rows, arguments.json)


def measure(root: Path, repeats: int) -> Iterator[tuple[str, int, float, float]]:
    """Medians for every layout."""
    draw_msmt17(root / "msmt17")
    draw_market(root / "market1501")
    draw_mars(root / "mars")

    def row(name: str, listed: int, made: ReIDDataModule) -> tuple[str, int, float, float]:
        def parse() -> None:
            for split in ("train", "query", "gallery"):
                made.samples(split)

        def index() -> None:
            type(made)(made.root, num_workers=0).setup()

        return name, listed, median_seconds(parse, repeats), median_seconds(index, repeats)

    msmt17 = sum(images for images, _ in _MSMT17.values())
    yield row("MSMT17, four lists", msmt17, MSMT17(root / "msmt17"))
    market = sum(images for images, _ in _MARKET.values())
    yield row("Market-1501, three folders", market, Market1501(root / "market1501"))
    mars = sum(images for images, *_ in _MARS.values())
    yield row("MARS, one frame of each track", mars, MARS(root / "mars"))


def draw_msmt17(root: Path) -> None:
    """Lists of full size, and no images."""
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        (root / name).mkdir(parents=True)
    for name, (images, people) in _MSMT17.items():
        identities = np.arange(images) * people // images
        lines = [
            f"{person:04d}/{person:04d}_{i % 1000:03d}_{camera:02d}_0303morning_{i % 10000:04d}_0"
            f".jpg {person}\n"
            for i, (person, camera) in enumerate(
                zip(identities, rng.integers(1, 16, images), strict=True)
            )
        ]
        (root / f"list_{name}.txt").write_text("".join(lines))


def draw_market(root: Path) -> None:
    """Folders of full size; the files are empty."""
    rng = np.random.default_rng(0)
    for name, (images, people) in _MARKET.items():
        (root / name).mkdir(parents=True)
        for i, camera in enumerate(rng.integers(1, 7, images)):
            file = f"{1 + i * people // images:04d}_c{camera}s1_{i:06d}_00.jpg"
            (root / name / file).touch()


def draw_mars(root: Path) -> None:
    """Names and tracks of full size, and no images."""
    rng = np.random.default_rng(0)
    (root / "info").mkdir(parents=True)
    for part, (images, count, people) in _MARS.items():
        first = np.arange(count) * images // count
        last = np.append(first[1:], images)
        identities, cameras = np.arange(count) * people // count, rng.integers(1, 7, count)
        tracks = np.stack([first + 1, last, identities, cameras], axis=1)
        savemat(root / f"info/tracks_{part}_info.mat", {f"track_{part}_info": tracks})
        names = [
            f"{person:04d}C{camera}T{track:04d}F{frame:03d}.jpg\n"
            for track, (start, end, person, camera) in enumerate(tracks)
            for frame in range(1, end - start + 2)
        ]
        (root / f"info/{part}_name.txt").write_text("".join(names))
    queries = rng.permutation(_MARS["test"][1])[:_MARS_QUERIES] + 1
    savemat(root / "info/query_IDX.mat", {"query_IDX": queries[None]})


if __name__ == "__main__":
    main()
