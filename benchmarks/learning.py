r"""Whether each method learns, against no training, its own ablations and full supervision.

    python benchmarks/learning.py real --root ../shared/data/pku_reid \
        --torch-home ../shared/weights --json benchmarks/results/learning_real.json
    python benchmarks/learning.py drawn --seeds 0 1 2 --json benchmarks/results/learning_drawn.json
    python benchmarks/learning.py drawn --table pcsl --json benchmarks/results/pcsl_drawn.json

``real`` takes a folder in Market-1501 layout, an ImageNet MobileNetV2 at 128 x 64, and 30 epochs of
25 batches of 32. ``drawn`` takes 60 SyntheticPersons in five cameras and a ResNet-18 from random
weights at 48 x 24, in runs of a minute. Every run is one of the command line. A run that is in the
JSON file already is not repeated, so that a long table can be made in pieces (``--rows``,
``--seeds``).

The table ``pcsl`` varies every choice that PCSL's abstract leaves open, one at a time.

What differs from the published settings was chosen without identities: features are
camera-normalised before labels are made, since otherwise hardly any cluster spans two cameras (the
log shows it); there are never more online positives than cameras; schedules are shortened, for all
methods alike. Reliable and soft labels start from a model of other people, who are drawn ones here.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from measurement import environment, report

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SHOWN = ("mAP", "rank1", "camera_normalized/mAP", "camera_normalized/rank1")
ON_CPU = ("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")


class Run(NamedTuple):
    """What a row of a table runs.

    Attributes:
        method: name of its config.
        options: of the command line.
        from_source: starts from a model of other, labelled people.
    """

    method: str
    options: tuple[str, ...]
    from_source: bool = False


class Kind(NamedTuple):
    """What the rows of a table share, and how methods are fitted to it."""

    data: str
    network: tuple[str, ...]
    images: tuple[str, ...]
    epochs: int
    global_epochs: int
    source_epochs: int
    o2cap: tuple[str, ...] = ()
    calr: tuple[str, ...] = ()
    pcsl: tuple[str, ...] = ()
    reliable_soft: tuple[str, ...] = ()
    schedule: tuple[str, ...] = ()


KINDS = {
    "real": Kind(
        data="market1501",
        network=("--model.backbone=mobilenet_v2",),
        images=("--data.size=[128,64]", "--data.augmentation.pad=5"),
        epochs=30,
        global_epochs=24,
        source_epochs=30,
        o2cap=("--model.num_positives=2",),
        calr=("--model.local_epochs=3", "--model.milestones=[18]"),
        pcsl=("--model.soft_epoch=8",),
        reliable_soft=("--model.epochs_per_round=10",),
        schedule=("--model.warmup_epochs=3", "--model.milestones=[20]"),
    ),
    "drawn": Kind(
        data="synthetic_persons",
        network=("--model.backbone=resnet18", "--model.weights=null"),
        images=(
            "--data.size=[48,24]",
            "--data.augmentation.pad=2",
            "--data.num_workers=0",
            "--data.num_train_identities=60",
            "--data.num_test_identities=30",
            "--data.num_distractors=20",
        ),
        epochs=16,
        global_epochs=11,
        source_epochs=16,
        calr=("--model.local_epochs=1", "--model.milestones=[8]"),
        pcsl=("--model.soft_epoch=4",),
        reliable_soft=("--model.epochs_per_round=8",),
        schedule=("--model.warmup_epochs=2", "--model.milestones=[12]"),
    ),
}
NORMALIZED = "--model.normalize_cameras=true"
DENSITY = ("--model.clusterer=DensityClusterer", "--model.min_similarity=0.2")
SUN_AND_JUNG = (
    "--model.threshold=0.7",
    NORMALIZED,
    "--data.augmentation.flip=0",
    "--data.augmentation.pad=0",
    "--data.augmentation.erase=0",
    "--data.augmentation.rotate=20",
    "--data.augmentation.shift=0.2",
)


def runs_of(kind: Kind) -> dict[str, Run]:
    """The rows of a table."""
    o2cap = (NORMALIZED, *kind.o2cap, *kind.schedule)
    calr = (NORMALIZED, *DENSITY, *kind.calr)
    pcsl = (*kind.pcsl, *kind.schedule)
    reliable_soft = (*kind.reliable_soft, *SUN_AND_JUNG)
    within = ("--model.soft_weight=0", "--model.soft_triplet_weight=0")
    return {
        "O2CAP": Run("o2cap", o2cap),
        "O2CAP without online loss": Run("o2cap", (*o2cap, "--model.online_weight=0")),
        "O2CAP without offline loss": Run("o2cap", (*o2cap, "--model.offline_weight=0")),
        "CAP": Run("cap", (NORMALIZED, *kind.schedule)),
        "CALR": Run("calr", calr),
        # without stage 1; stage 2 is as long as with it
        "CALR without refinement": Run(
            "calr",
            (*calr, "--model.refinement=none", f"--trainer.max_epochs={kind.global_epochs}"),
        ),
        "CALR without alignment": Run("calr", (*calr, "--model.align_epochs=0")),
        "reliable and soft labels": Run("reliable_soft", reliable_soft, from_source=True),
        "reliable labels only": Run(
            "reliable_soft", (*reliable_soft, "--model.soft=false"), from_source=True
        ),
        "PCSL": Run("pcsl", pcsl),
        "PCSL, within cameras only": Run("pcsl", (*pcsl, *within)),
        "full supervision": Run("supervised", kind.schedule),
    }


def choices_of_pcsl(kind: Kind) -> dict[str, Run]:
    """PCSL with one of our choices changed."""
    default = (*kind.pcsl, *kind.schedule)
    changes = {
        "default": (),
        "k = 1": ("k=1",),
        "k = 5": ("k=5",),
        "k = 10": ("k=10",),
        "bandwidth 0.1": ("bandwidth=0.1",),
        "bandwidth 0.5": ("bandwidth=0.5",),
        "bandwidth 1": ("bandwidth=1",),
        "cosine kernel": ("kernel=cosine",),
        "Jaccard kernel": ("kernel=jaccard",),
        "not mutual": ("mutual=false",),
        "with confidence": ("confidence=true",),
        "not mutual, with confidence": ("mutual=false", "confidence=true"),
        "not camera-normalised": ("normalize_cameras=false",),
        "without weighted cross-entropy": ("soft_weight=0",),
        "without weighted triplets": ("soft_triplet_weight=0",),
        "within cameras only": ("soft_weight=0", "soft_triplet_weight=0"),
    }
    return {
        name: Run("pcsl", (*default, *(f"--model.{change}" for change in changed)))
        for name, changed in changes.items()
    }


TABLES = {"methods": runs_of, "pcsl": choices_of_pcsl}


def main() -> None:
    """Make the runs that the table lacks, and show it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--table", choices=TABLES, default="methods")
    parser.add_argument("--root", help="folder of the images; drawn if it is not there")
    parser.add_argument("--torch-home", help="where pretrained weights lie, if not at home")
    parser.add_argument("--rows", nargs="*", help="all by default; none shows the table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sources", type=Path, default=Path("runs/sources"))
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    kind = KINDS[arguments.kind]
    runs = TABLES[arguments.table](kind)
    if arguments.torch_home:
        os.environ["TORCH_HOME"] = str(Path(arguments.torch_home).resolve())
    records = json.loads(arguments.json.read_text())["runs"] if arguments.json.is_file() else []
    for seed in arguments.seeds:
        for name in runs if arguments.rows is None else arguments.rows:
            if any(r["row"] == name and r["seed"] == seed for r in records):
                continue
            records += measured(name, runs[name], kind, seed, arguments)
            write(arguments.kind, records, arguments.json)
    show(arguments.kind, [UNTRAINED, UNTRAINED_SOURCE, *runs], records)


UNTRAINED = "untrained"
UNTRAINED_SOURCE = "source model, not trained here"


def measured(
    name: str, run: Run, kind: Kind, seed: int, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Results of a run, and of the network that it began with."""
    options = [*kind.network, *kind.images, "--data.batches_per_epoch=25"]
    options += [f"--trainer.max_epochs={kind.epochs}", *run.options]
    options += [f"--data.root={arguments.root}"] if arguments.root else []
    if run.from_source:
        options.append(f"--model.weights={source_model(kind, seed, arguments)}")
    with tempfile.TemporaryDirectory() as folder:
        fit(run.method, kind.data, seed, Path(folder, "run"), options)
        with Path(folder, "run", "metrics.csv").open() as file:
            tests = [row for row in csv.DictReader(file) if row["test/mAP"]]
    before, after = ({key: float(row[f"test/{key}"]) for key in SHOWN} for row in tests)
    first = UNTRAINED_SOURCE if run.from_source else UNTRAINED
    told = [option for option in options if "root" not in option and "weights=" not in option]
    made_by = {"config": run.method, "options": told, "commit": environment()["commit"]}
    return [
        {"row": first, "seed": seed, **before},
        {"row": name, "seed": seed, **after, **made_by},
    ]


def source_model(kind: Kind, seed: int, arguments: argparse.Namespace) -> Path:
    """Checkpoint of a model of other people, all of them labelled; trained if it is not there."""
    folder = arguments.sources / f"{arguments.kind}-{seed}"
    checkpoint = folder.resolve() / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        options = [*kind.network, *kind.images, *kind.schedule, "--model.neck=false"]
        persons = arguments.sources / f"{arguments.kind}-persons"
        options += ["--data.drawing_seed=1", f"--data.root={persons}"]
        options += [
            "--data.batches_per_epoch=25",
            f"--trainer.max_epochs={kind.source_epochs}",
            "--evaluate=false",
        ]
        fit("supervised", "synthetic_persons", seed, folder, options)
    return checkpoint


def fit(method: str, data: str, seed: int, folder: Path, options: list[str]) -> None:
    """Run the command line; what it says goes into a file."""
    command = [sys.executable, "-m", "lightning_reid", "fit"]
    command += [f"--config={CONFIGS}/methods/{method}.yaml", f"--config={CONFIGS}/data/{data}.yaml"]
    command += [*ON_CPU, *options, f"--seed_everything={seed}", f"--run_dir={folder}"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    said = folder.with_suffix(".log")
    with said.open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nfailed:\n{said.read_text()[-3000:]}")


def write(kind: str, records: list[dict[str, Any]], file: Path) -> None:
    """Keep what has been measured so far."""
    records[:] = {(r["row"], r["seed"]): r for r in records}.values()
    content = {"kind": kind, "runs": records, "environment": environment()}
    file.write_text(json.dumps(content, indent=1) + "\n")


def show(kind: str, names: list[str], records: list[dict[str, Any]]) -> None:
    """Means over the seeds, in percent."""
    rows = []
    for name in names:
        of_row = [r for r in records if r["row"] == name]
        if of_row:
            means = (100 * statistics.mean(r[key] for r in of_row) for key in SHOWN)
            seeds = " ".join(f"{100 * r['mAP']:.1f}" for r in of_row)
            rows.append((name, *means, seeds))
    report(f"{kind}: mean over seeds, %", ("row", *SHOWN, "mAP of each seed"), rows)


if __name__ == "__main__":
    main()
