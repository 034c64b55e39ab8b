"""From a file to what the network takes: images per second and core.

    python benchmarks/decoding.py [--json FILE] [--against CHECKOUT]

Draws people into 128 x 64 files, as Market-1501's are, and loads them for training at 256 x 128
with the papers' augmentation, in one process on one thread. Counts the processor's time, so that a
busy machine matters little. The aim is 350 images per second and core.

With another checkout of the project, both load the same files in turns, a process each, and the
last columns tell the other's time divided by this one's, at the median of all turns and from the
fastest turn of each: 1.1 means that this checkout loads 10 % more images per second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measurement import report
from PIL import Image
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
CHECKOUT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.serve:
        serve(arguments.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        draw_files(Path(folder), arguments.images)
        if arguments.against:
            rows = compare(Path(folder), arguments.against.resolve(), arguments.repeats)
        else:
            rows = measure(Path(folder), arguments.repeats)
    columns = ["what", "images per second and core", "microseconds"]
    further = {}
    if arguments.against:
        columns += ["times the other, median", "times the other, fastest"]
        command = ["git", "-C", str(arguments.against), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        further["other commit"] = done.stdout.strip()
    title = "Loading, 128 x 64 files to 256 x 128"
    report(title, columns, rows, arguments.json, **further)


def draw_files(folder: Path, count: int) -> None:
    """Files of 128 x 64 pixels, in a folder for each kind."""
    root = draw_synthetic_persons(
        folder / "drawn", num_train_identities=count // 10, size=(128, 64), progress=False
    )
    drawn = sorted((root / "bounding_box_train").glob("*.jpg"))[:count]
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "A maker", "A model of camera", 1

    def write_tagged(image: torch.Tensor, file: str) -> None:
        picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        picture.save(file, "JPEG", exif=exif)

    writers = {"JPEG": write_jpeg, "JPEG with EXIF": write_tagged, "PNG": write_png}
    for kind, write in writers.items():
        (folder / kind).mkdir()
        suffix = ".png" if kind == "PNG" else ".jpg"
        for number, source in enumerate(drawn):
            write(read_image(str(source)), str(folder / kind / f"{number}{suffix}"))


def ways_of(folder: Path) -> dict[str, tuple[Callable[[int], object], int]]:
    """Return the measurements of every kind of file, with their number of images."""
    return {
        f"{kind}: {name}": (way, len([*(folder / kind).iterdir()]))
        for kind in ("JPEG", "JPEG with EXIF", "PNG")
        for name, way in ways_to_load(sorted(map(str, (folder / kind).iterdir()))).items()
    }


def ways_to_load(files: list[str]) -> dict[str, Callable[[int], object]]:
    """Decoding alone, what is needed at least, and what a data set does."""
    cameras = torch.zeros(len(files), dtype=torch.int64)
    train = train_transform(SIZE, Augmentation())
    shrink = resize(SIZE)
    trained = ImageDataset(files, cameras, train)
    cached = ImageDataset(files, cameras, train, cache=ImageCache(len(files), SIZE))
    tested = ImageDataset(files, cameras, test_transform(SIZE))
    return {
        "decode": lambda i: read_image(files[i]),
        "decode and resize": lambda i: shrink(read_image(files[i])),
        "training": lambda i: trained[Draw(i, i)],
        "training, cache=ram": lambda i: cached[Draw(i, i)],
        "evaluation": lambda i: tested[i],
    }


def measure(folder: Path, repeats: int) -> list[tuple[str, float, float]]:
    """Speed of this checkout."""
    rows = []
    for name, (way, count) in ways_of(folder).items():
        seconds = min(processor_seconds(way, count) for _ in range(repeats + 1))
        rows.append((name, 1 / seconds, seconds * 1e6))
    return rows


def compare(
    folder: Path, other: Path, repeats: int
) -> list[tuple[str, float, float, float, float]]:
    """Speed of this checkout, and how many times that of another."""
    servers = [server_of(checkout, folder) for checkout in (CHECKOUT, other)]
    rows = []
    for name in ways_of(folder):
        turns = [[asked(server, name) for server in servers] for _ in range(repeats + 1)][1:]
        own, others = zip(*turns, strict=True)
        ratio = statistics.median(theirs / ours for ours, theirs in turns)
        rows.append((name, 1 / min(own), min(own) * 1e6, ratio, min(others) / min(own)))
    for server in servers:
        server.stdin.close()  # type: ignore[union-attr]
        server.wait()
    return rows


def server_of(checkout: Path, folder: Path) -> subprocess.Popen[str]:
    """Process that measures a checkout on request."""
    command = [sys.executable, __file__, "--serve", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)  # type: ignore[call-overload]


def asked(server: subprocess.Popen[str], name: str) -> float:
    """Seconds for an image that the process has measured."""
    print(name, file=server.stdin, flush=True)
    return float(server.stdout.readline())  # type: ignore[union-attr]


def serve(folder: Path) -> None:
    """Measure what standard input names, line by line."""
    ways = ways_of(folder)
    for line in sys.stdin:
        print(processor_seconds(*ways[line.strip()]), flush=True)


def processor_seconds(way: Callable[[int], object], count: int) -> float:
    """Of one image."""
    start = time.process_time()
    for i in range(count):
        way(i)
    return (time.process_time() - start) / count


if __name__ == "__main__":
    main()
