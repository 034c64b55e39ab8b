"""What a manifest of a million rows costs: seconds, memory, and what a worker process adds.

    python benchmarks/manifest.py [--rows N] [--json FILE]

Draws manifests and a folder in which every path leads to a small image (links to a thousand files).
``ManifestData(...).setup("fit")`` reads each manifest in a fresh process; Python's ``csv`` module
alone is the least it can take. Below 5 seconds and 1 GB is the aim; the memory that the imports
take is told apart.

Then a forked worker of a DataLoader goes over all images. What it adds to its private memory after
the first image is compared with a worker whose images are a list of objects. Python's garbage
collector is kept off what was there before the fork: sooner or later it would copy all that was
imported into every worker, some 120 MB, whatever the images are.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from measurement import peak_memory, report
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from lightning_reid import ManifestData
from lightning_reid.data import read_image

CAMERAS, IMAGES, PER_PERSON, PER_TRACK = 40, 1000, 17, 400
NAMES = ("path", "camera", "identity", "tracklet", "frame", "time")
WATCHED = 5000  # images between two looks at a worker's memory


def main() -> None:
    """Draw, measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # in a process of its own
    arguments = parser.parse_args()
    if arguments.one:
        what, settings = arguments.one
        steps = {"read": read, "csv module": read_with_csv, "visit": visit}
        print(json.dumps(steps[what](**json.loads(settings))))
        return
    with tempfile.TemporaryDirectory() as folder:
        short, whole = draw(Path(folder), arguments.rows)
        readings = [
            ("path and camera", "read", {"root": short}),
            ("six columns", "read", {"root": whole}),
            ("six columns, csv module alone", "csv module", {"root": whole}),
            ("six columns, test of people", "read", {"root": whole, "test": "identity"}),
        ]
        if find_spec("pyarrow"):
            readings.append(("six columns, Parquet", "read", {"root": as_parquet(whole)}))
        rows = [[name, *costs(what, arguments.repeats, **given)] for name, what, given in readings]
        visits = [[kind, *in_new_process("visit", root=short, kind=kind)] for kind in KINDS]
    columns = (
        "manifest",
        "seconds",
        "CPU seconds",
        "GB after imports",
        "GB beyond at most",
        "GB kept",
    )
    title = f"Reading {arguments.rows} rows, medians of {arguments.repeats} fresh processes"
    seen = ("images", "MB private at first", "MB added at most", "images a second")
    workers = [dict(zip(seen, row, strict=True)) for row in visits]
    report("A forked worker goes over all images", seen, visits)
    # of a busy machine the CPU's seconds tell more
    report(title, columns, rows, arguments.json, workers=workers, load=os.getloadavg())


def draw(folder: Path, rows: int) -> tuple[str, str]:
    """Two manifests of the same images: of two columns and of six."""
    real = folder / "camera_00" / "2024-05-17" / "part_000"
    real.mkdir(parents=True)
    Image.new("RGB", (8, 16), (90, 120, 30)).save(real / f"{0:08d}.jpg")
    for image in range(1, IMAGES):
        (real / f"{image:08d}.jpg").hardlink_to(real / f"{0:08d}.jpg")
    for part in range(1, -(-rows // (CAMERAS * IMAGES))):
        real.with_name(f"part_{part:03d}").symlink_to(real)
    for camera in range(1, CAMERAS):
        (folder / f"camera_{camera:02d}").symlink_to(folder / "camera_00")
    files = str(folder / "short.csv"), str(folder / "whole.csv")
    for file, width in zip(files, (2, len(NAMES)), strict=True):
        with Path(file).open("w", newline="") as text:
            writer = csv.writer(text)
            writer.writerow(NAMES[:width])
            writer.writerows(row[:width] for row in drawn_rows(rows))
    return files


def drawn_rows(count: int) -> Iterator[tuple[Any, ...]]:
    """What a tracker would write of each image."""
    for i in range(count):
        camera, image, part = i % CAMERAS, i // CAMERAS % IMAGES, i // (CAMERAS * IMAGES)
        path = f"camera_{camera:02d}/2024-05-17/part_{part:03d}/{image:08d}.jpg"
        moment = f"2024-05-17T10:{i // 60 % 60:02d}:{i % 60:02d}"
        person, track = i // PER_PERSON, f"track_{i // PER_TRACK:06d}"
        yield path, f"camera_{camera:02d}", person, track, i, moment


def as_parquet(file: str) -> str:
    """The same manifest as a Parquet file."""
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    target = str(Path(file).with_suffix(".parquet"))
    parquet.write_table(arrow_csv.read_csv(file), target)
    return target


def costs(what: str, repeats: int, **settings: Any) -> list[float]:
    """Medians over fresh processes."""
    measured = [in_new_process(what, **settings) for _ in range(repeats)]
    return [statistics.median(values) for values in zip(*measured, strict=True)]


def in_new_process(what: str, **settings: Any) -> list[float]:
    """What a step prints that runs in a process of its own, without a GPU."""
    command = [sys.executable, __file__, "--one", what, json.dumps(settings)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    found: list[float] = json.loads(done.stdout)
    return found


def read(root: str, **settings: Any) -> list[float]:
    """See :func:`measure`."""
    data = ManifestData(root, num_workers=0, **settings)
    return measure(lambda: data.setup("fit"))


def read_with_csv(root: str) -> list[float]:
    """The same of a loop that keeps nothing."""

    def loop() -> None:
        with Path(root).open(newline="", encoding="utf-8") as text:
            for _ in csv.reader(text):
                pass

    return measure(loop)


def measure(step: Callable[[], None]) -> list[float]:
    """Seconds by the clock and of the CPU; GB before, beyond that at most, and kept."""
    before = resident()
    with peak_memory() as peak:
        start, cpu = time.perf_counter(), time.process_time()
        step()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return [seconds, cpu, before, peak.gigabytes, resident() - before]


def resident() -> float:
    """GB of this process that are in memory."""
    return float(psutil.Process().memory_info().rss) / 1e9


class ListedImages(Dataset[Any]):
    """What is usual: a list of objects."""

    def __init__(self, data: ManifestData) -> None:
        self.samples = list(data.train_samples)

    def __getitem__(self, index: int) -> Any:
        return read_image(self.samples[index].path)


class OurImages(Dataset[Any]):
    """The data module's own, only decoded."""

    def __init__(self, data: ManifestData) -> None:
        self.images: Any = data.label_dataloader().dataset
        self.images.transform = lambda image: image

    def __getitem__(self, index: int) -> Any:
        return self.images[index]


KINDS: dict[str, type[Dataset[Any]]] = {"ours": OurImages, "a list of objects": ListedImages}


class Watched(Dataset[int]):
    """Visits images; hands out the process's private memory in bytes, now and then, else 0."""

    def __init__(self, images: Dataset[Any], count: int) -> None:
        self.images, self.count = images, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        self.images[index]
        return 0 if index % WATCHED else int(psutil.Process().memory_full_info().uss)


def visit(root: str, kind: str) -> list[float]:
    """MB that are private to a worker after its first image, MB added since, images a second."""
    data = ManifestData(root, size=(16, 8), num_workers=0)
    data.setup("fit")
    watched = Watched(KINDS[kind](data), len(data.train_samples))
    loader = DataLoader(
        watched,
        batch_size=1000,
        num_workers=1,
        multiprocessing_context="fork",
        worker_init_fn=lambda _: gc.freeze(),
    )
    start = time.perf_counter()
    seen = [memory for batch in loader for memory in batch.tolist() if memory]
    seconds = time.perf_counter() - start
    return [seen[0] / 1e6, (max(seen) - seen[0]) / 1e6, len(watched) / seconds]


if __name__ == "__main__":
    main()
