"""How a run scales: processes on this machine, and what more GPUs and images would meet.

    python benchmarks/scaling.py processes [--json FILE]
    python benchmarks/scaling.py worksheet [--json FILE]
    python benchmarks/scaling.py schedules [--json FILE]

``processes`` trains O2CAP with 1, 2 and 4 processes of one thread each on the same global batch,
each count several times in turns, and gives medians. More processes than cores share them.

``worksheet`` computes, for 1, 8 and 64 GPUs and 1, 10 and 100 million images, what each part of an
epoch takes and what a GPU has to hold. Nothing of it has been run on a GPU. Measured here: loading
an image and everything after the neighbours, per image (``benchmarks/results``). Counted: the
network's operations and parameters. Stated, as constants below: what a GPU computes and a network
carries.

``schedules`` estimates in the same way how long the published schedules take on one GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from measurement import report
from torch.utils.flop_counter import FlopCounterMode

from lightning_reid import O2CAP, SyntheticPersons
from lightning_reid.models import EmbeddingNetwork

RESULTS = Path(__file__).with_name("results")
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
GLOBAL_BATCH, BATCHES, EPOCHS = 64, 10, 3

# stated: an H100-like GPU, half precision, at the share of its peak that training reaches
GPU_FLOPS = 989e12 * 0.35
GPU_MEMORY = 80e9
NETWORK_BYTES = 50e9  # a second and GPU: 400 Gbit/s between machines
HOST_MEMORY = 2e12  # of a machine with 8 GPUs
CORES = 24  # of the host for each GPU, which load its images
DIMENSIONS, PROXIES_PER_IMAGE, BATCH = 2048, 1 / 4, 64  # a GPU
TRAINING_MEMORY = 20e9  # of a GPU, for the network and its batch
STATED = {
    "operations a second and GPU": GPU_FLOPS,
    "bytes of a GPU": GPU_MEMORY,
    "bytes of a host": HOST_MEMORY,
    "bytes a second and GPU between machines": NETWORK_BYTES,
    "cores for each GPU": CORES,
    "images in the batch of a GPU": BATCH,
    "dimensions": DIMENSIONS,
    "images for each proxy": 1 / PROXIES_PER_IMAGE,
    "bytes for network and batch": TRAINING_MEMORY,
}

# stated: operations a second that training reaches, 40 % and 35 % of the peak
GPUS = {"RTX 3090, float32": 35.6e12 * 0.4, "A100, 16-mixed": 312e12 * 0.35}
_STAGE_2 = 50  # epochs of CALR over all cameras
# cost what the plain network costs
_SAME_COST = ("_ibn", "_ibn_gem", "_gem", "_self_paced")
TRAINING_IMAGES = {"market1501": 12_936, "dukemtmcreid": 16_522, "msmt17": 32_621}


def main() -> None:
    """Measure or compute, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("processes", "worksheet", "schedules", "one"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--root", type=Path, default=Path("data/synthetic_persons"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--devices", type=int, default=1, help="of the part 'one'")
    arguments = parser.parse_args()
    if arguments.part == "processes":
        processes(arguments.root, arguments.repeats, arguments.json)
    elif arguments.part == "worksheet":
        worksheet(arguments.json)
    elif arguments.part == "schedules":
        schedules(arguments.json)
    else:
        print(json.dumps(one(arguments.root, arguments.devices)))


# processes on this machine


class Clock(pl.Callback):
    """Seconds of every epoch, labels apart."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._start = 0.0

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        """The first batch is there."""
        if batch_idx == 0:
            self._start = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """The last one is over."""
        if trainer.is_last_batch:
            self.seconds.append(time.perf_counter() - self._start)


def one(root: Path, devices: int) -> dict[str, float]:
    """A run with so many processes; the first one's clock."""
    torch.set_num_threads(1)
    pl.seed_everything(0, verbose=False)
    data = SyntheticPersons(
        root,
        size=(96, 48),
        batch_size=GLOBAL_BATCH // devices,
        batches_per_epoch=BATCHES,
        num_workers=0,
    )
    model = O2CAP(backbone="resnet18", weights=None, normalize_cameras=True)
    clock = Clock()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_epochs=EPOCHS,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    last = trainer.callback_metrics
    labelling = {k: float(v) for k, v in last.items() if k.startswith("labels/seconds/")}
    extraction = labelling.pop("labels/seconds/extraction")
    if not trainer.is_global_zero:
        sys.exit()
    return {
        "training images per second": GLOBAL_BATCH * (BATCHES - 1) / median(clock.seconds),
        "extracted images per second": len(data.train_samples) / extraction,
        "seconds from features to labels": sum(labelling.values()),
    }


def processes(root: Path, repeats: int, file: Path | None) -> None:
    """Counts of processes in turns, so that what else the machine does meets all of them."""
    counts = (1, 2, 4)
    runs: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    for _ in range(repeats):
        for count in counts:
            runs[count].append(_started(root, count))
    rows = []
    for count in counts:
        medians = {name: median(run[name] for run in runs[count]) for name in runs[count][0]}
        rows.append((count, *medians.values()))
    head = ("processes", *runs[1][0])
    title = f"O2CAP, ResNet-18 at 96 x 48, global batch {GLOBAL_BATCH}, {os.cpu_count()} cores"
    report(title, head, rows, file, repeats=repeats)


def _started(root: Path, count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, "one", "--devices", str(count), "--root", root.resolve()],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    measured: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


# what cannot be measured here


@dataclass(frozen=True)
class Costs:
    """Of a single image or parameter.

    Args:
        forward: operations of the network on an image.
        parameters: of the network.
        loading: seconds of a core to decode and transform an image for training.
        after: seconds of the first process for each image, from neighbours to labels.
        after_bytes: memory of the first process for each image, beside its features.
    """

    forward: float
    parameters: float
    loading: float
    after: float
    after_bytes: float

    @classmethod
    def here(cls) -> Costs:
        """As counted and as measured."""
        network = EmbeddingNetwork("resnet50", None)
        network.eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, 256, 128))
        decoding = json.loads((RESULTS / "decoding.json").read_text())["rows"]
        (training,) = (row for row in decoding if row["what"] == "JPEG: training")
        largest = json.loads((RESULTS / "clustering_table.json").read_text())["rows"][-1]
        return cls(
            counter.get_total_flops(),
            sum(p.numel() for p in network.parameters()),
            1 / training["images per second and core"],
            largest["after neighbours"] / largest["images"],
            1e9 * largest["peak GB after neighbours"] / largest["images"],
        )


def seconds(costs: Costs, gpus: int, images: float) -> dict[str, float]:
    """Of every part of an epoch that sees each image once."""
    share, steps = images / gpus, images / (gpus * BATCH)
    network, loading = share * costs.forward / GPU_FLOPS, share * costs.loading / CORES
    proxies, between = images * PROXIES_PER_IMAGE, 1 / NETWORK_BYTES if gpus > 1 else 0.0
    return {
        "training: network": 3 * network,
        "training: loading images": loading,
        "training: gradients between GPUs": steps * 2 * 4 * costs.parameters * between,
        # similarities, and the gradients through them
        "training: proxies": steps * 3 * 2 * BATCH * proxies * DIMENSIONS / GPU_FLOPS,
        "training: batches between GPUs": steps * 4 * gpus * BATCH * DIMENSIONS * between,
        "labels: network": network,
        "labels: loading images": loading,
        "labels: features between GPUs": 4 * images * DIMENSIONS * between,
        # every process searches for its share of the images
        "labels: neighbors": 2 * share * images * DIMENSIONS / GPU_FLOPS,
        "labels: the rest, in one process": images * costs.after,
    }


def gigabytes(costs: Costs, images: float) -> dict[str, float]:
    """What every GPU holds, whatever their number, and what the first host holds."""
    row = 4 * DIMENSIONS / 1e9
    return {
        "network and batch": TRAINING_MEMORY / 1e9,
        "features": images * row,
        # the memory, and its next state
        "proxies": 2 * images * PROXIES_PER_IMAGE * row,
        "first host, for labels": images * costs.after_bytes / 1e9,
    }


def worksheet(file: Path | None) -> None:
    """Every size: how long an epoch takes, on what, and what breaks first."""
    costs, rows, parts = Costs.here(), [], []
    for images in (1e6, 1e7, 1e8):
        held = gigabytes(costs, images)
        for gpus in (1, 8, 64):
            taken = seconds(costs, gpus, images)
            longest = max(taken, key=lambda part: taken[part])
            share = taken[longest] / sum(taken.values())
            minutes = sum(taken.values()) / 60
            size = (f"{images:,.0f}", gpus)
            rows.append((*size, minutes, longest, share, first_to_break(held)))
            parts.append({"images": images, "GPUs": gpus, "seconds": taken, "gigabytes": held})
    head = ("images", "GPUs", "minutes an epoch", "longest part", "its share", "breaks first")
    report(
        "Worksheet: computed, not run",
        head,
        rows,
        file,
        stated=STATED,
        costs=vars(costs),
        parts=parts,
    )


def schedules(file: Path | None) -> None:
    """How long the published schedules take, by the operations of network and backward pass."""
    forward, rows = Costs.here().forward, []
    for data, images in TRAINING_IMAGES.items():
        for config in sorted((CONFIGS / "published" / data).glob("*.yaml")):
            settings = yaml.safe_load(config.read_text())
            drawn, epochs = settings["data"]["init_args"], settings["trainer"]["max_epochs"]
            if config.stem.removeprefix("calr").removeprefix("o2cap") in _SAME_COST:
                continue
            trained = drawn["batch_size"] * all_batches(settings, images)
            # labels are made once an epoch
            operations = (3 * trained + epochs * images) * forward
            hours = [operations / rate / 3600 for rate in GPUS.values()]
            rows.append((data, config.stem, epochs, trained, *hours))
    head = ("data", "schedule", "epochs", "images trained on", *(f"hours on {gpu}" for gpu in GPUS))
    report("Published schedules: estimated, not run", head, rows, file, stated=GPUS)


def all_batches(settings: dict[str, Any], images: int) -> int:
    """Training batches of a schedule; where outliers are left out, as if there were none."""
    drawn, epochs = settings["data"]["init_args"], settings["trainer"]["max_epochs"]
    batches = drawn["batches_per_epoch"]
    if batches in (None, "clustered"):
        batches = images // drawn["batch_size"]
    local = settings["model"]["init_args"].get("local_batches_per_epoch", batches)
    stage_2 = min(epochs, _STAGE_2) if local != batches else epochs
    return int(stage_2 * batches + (epochs - stage_2) * local)


def first_to_break(held: dict[str, float]) -> str:
    """What has no room."""
    on_gpu = {name: held[name] for name in ("network and batch", "features", "proxies")}
    if sum(on_gpu.values()) > GPU_MEMORY / 1e9:
        largest = max(on_gpu, key=lambda name: on_gpu[name])
        return f"{largest}: {on_gpu[largest]:,.0f} GB on every GPU"
    if held["first host, for labels"] > HOST_MEMORY / 1e9:
        return f"labels: {held['first host, for labels']:,.0f} GB on the first host"
    return "nothing"


if __name__ == "__main__":
    main()
