"""From a file to what the network takes: images per second and core.

    python benchmarks/decoding.py [--json FILE]

Draws people into 128 x 64 files, as Market-1501's are, and loads them for training at 256 x 128
with the papers' augmentation, in one process on one thread. Counts the processor's time, so that a
busy machine matters little. The aim is 350 images per second and core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measurement import report
from torchvision.io import write_jpeg, write_png

from lightning_reid.data import (
    Augmentation,
    Draw,
    ImageCache,
    ImageDataset,
    read_image,
    test_transform,
    train_transform,
)
from lightning_reid.data.synthetic import draw_synthetic_persons
from lightning_reid.data.transforms import resize

SIZE = (256, 128)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, write in (("JPEG", write_jpeg), ("PNG", write_png)):
            files = drawn_files(Path(folder, kind), kind.lower(), write, arguments.images)
            rows += measure(kind, files, arguments.repeats)
    columns = ("what", "images per second and core", "microseconds")
    report("Loading, 128 x 64 files to 256 x 128", columns, rows, arguments.json)


def drawn_files(
    folder: Path, suffix: str, write: Callable[[torch.Tensor, str], None], count: int
) -> list[str]:
    """Files of 128 x 64 pixels."""
    root = draw_synthetic_persons(
        folder / "drawn", num_train_identities=count // 10, size=(128, 64), progress=False
    )
    drawn = sorted((root / "bounding_box_train").glob("*.jpg"))[:count]
    files = [str(folder / f"{i}.{suffix}") for i in range(len(drawn))]
    for source, file in zip(drawn, files, strict=True):
        write(read_image(str(source)), file)
    return files


def measure(kind: str, files: list[str], repeats: int) -> list[tuple[str, float, float]]:
    """Speed of decoding alone, of what is needed at least, and of what a data set does."""
    cameras = torch.zeros(len(files), dtype=torch.int64)
    train = train_transform(SIZE, Augmentation())
    shrink = resize(SIZE)
    trained = ImageDataset(files, cameras, train)
    cached = ImageDataset(files, cameras, train, cache=ImageCache(len(files), SIZE))
    tested = ImageDataset(files, cameras, test_transform(SIZE))
    ways: dict[str, Callable[[int], object]] = {
        "decode": lambda i: read_image(files[i]),
        "decode and resize": lambda i: shrink(read_image(files[i])),
        "training": lambda i: trained[Draw(i, i)],
        "training, cache=ram": lambda i: cached[Draw(i, i)],
        "evaluation": lambda i: tested[i],
    }
    rows = []
    for name, way in ways.items():
        seconds = min(processor_seconds(way, len(files)) for _ in range(repeats + 1))
        rows.append((f"{kind}: {name}", 1 / seconds, seconds * 1e6))
    return rows


def processor_seconds(way: Callable[[int], object], count: int) -> float:
    """Of one image."""
    start = time.process_time()
    for i in range(count):
        way(i)
    return (time.process_time() - start) / count


if __name__ == "__main__":
    main()
