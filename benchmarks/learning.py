"""Whether each method learns, against no training, its own ablations and full supervision.

    python benchmarks/learning.py real --root ../shared/data/pku_reid --torch-home ../shared/weights
    python benchmarks/learning.py drawn --seeds 0 1 2

``real`` takes a folder in Market-1501 layout, an ImageNet MobileNetV2 at 128 x 64, and 30 epochs of
25 batches of 32. ``drawn`` takes SyntheticPersons with a ResNet-18 from random weights at 64 x 32,
in runs of about a minute. Every row is a run of the command line; rows that are in the JSON file
already are kept, so that a long table can be made in pieces (``--rows``, ``--seeds``).

Settings that differ from the published ones were chosen without identities: features are
camera-normalised before clustering, since otherwise hardly any cluster spans two cameras (the log
shows it); there are never more online positives than cameras; schedules are shortened alike.
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
from collections.abc import Sequence
from pathlib import Path

import measurement  # noqa

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SHOWN = ("mAP", "rank1", "camera_normalized/mAP", "camera_normalized/rank1")
UNTRAINED = "untrained"

COMMON = {
    "real": (
        f"--config={CONFIGS}/data/market1501.yaml",
        "--model.backbone=mobilenet_v2",
        "--data.size=[128,64]",
        "--data.augmentation.pad=5",
        "--data.batches_per_epoch=25",
        "--trainer.max_epochs=30",
    ),
    "drawn": (
        f"--config={CONFIGS}/data/synthetic_persons.yaml",
        "--model.backbone=resnet18",
        "--model.weights=null",
        "--data.size=[64,32]",
        "--data.augmentation.pad=3",
        "--data.batches_per_epoch=25",
        "--data.num_workers=0",
        "--trainer.max_epochs=16",
    ),
}
"""What all rows of a table share."""

LABEL_FREE = ("--model.normalize_cameras=true",)
SHORT_SCHEDULE = {
    "real": ("--model.warmup_epochs=3", "--model.milestones=[20]"),
    "drawn": ("--model.warmup_epochs=2", "--model.milestones=[12]"),
}
POSITIVES = {"real": ("--model.num_positives=2",), "drawn": ()}
STAGES = {"real": ("--model.local_epochs=4",), "drawn": ("--model.local_epochs=1",)}
SOFT_EPOCH = {"real": ("--model.soft_epoch=8",), "drawn": ("--model.soft_epoch=4",)}


def rows_of(kind: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The rows of a table: name, then config of the method and options."""
    o2cap = (*LABEL_FREE, *POSITIVES[kind])
    calr = (*LABEL_FREE, *STAGES[kind], *SHORT_SCHEDULE[kind])
    pcsl = (*SOFT_EPOCH[kind], *SHORT_SCHEDULE[kind])
    intra_only = ("--model.soft_weight=0", "--model.soft_triplet_weight=0")
    return {
        "O2CAP": ("o2cap", o2cap),
        "O2CAP without online loss": ("o2cap", (*o2cap, "--model.online_weight=0")),
        "O2CAP without offline loss": ("o2cap", (*o2cap, "--model.offline_weight=0")),
        "CAP": ("cap", LABEL_FREE),
        "CALR": ("calr", calr),
        "CALR without refinement": ("calr", (*calr, "--model.refinement=none")),
        "CALR without alignment": ("calr", (*calr, "--model.align_epochs=0")),
        "PCSL": ("pcsl", pcsl),
        "PCSL with labels within cameras only": ("pcsl", (*pcsl, *intra_only)),
        "full supervision": ("supervised", SHORT_SCHEDULE[kind]),
    }


def main() -> None:
    """Train what is missing in the table and show it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=COMMON)
    parser.add_argument("--root", help="folder of the data; drawn if it is not there")
    parser.add_argument("--torch-home", help="where pretrained weights lie, if not at home")
    parser.add_argument("--rows", nargs="*", help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path)
    arguments, further = parser.parse_known_args()
    print(arguments, further)
    rows = rows_of(arguments.kind)
    for seed in arguments.seeds:
        for name in arguments.rows or rows:
            config, options = rows[name]
            before, after = train(arguments, config, (*options, *further), seed)
            print(
                seed,
                name,
                further,
                before["mAP"],
                *(round(100 * after[k], 1) for k in SHOWN),
                flush=True,
            )


def train(
    arguments: argparse.Namespace, config: str, options: Sequence[str], seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Test results of the untrained and of the trained network."""
    environment = dict(os.environ)
    if arguments.torch_home:
        environment["TORCH_HOME"] = arguments.torch_home
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "lightning_reid", "fit"),
            f"--config={CONFIGS}/methods/{config}.yaml",
            *COMMON[arguments.kind],
            *([f"--data.root={arguments.root}"] if arguments.root else []),
            *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
            *options,
            f"--seed_everything={seed}",
            f"--run_dir={folder}/run",
        ]
        subprocess.run(
            command,
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL if not os.environ.get("LOUD") else None,
            stderr=subprocess.DEVNULL if not os.environ.get("LOUD") else None,
        )
        with (Path(folder) / "run" / "metrics.csv").open() as file:
            tests = [row for row in csv.DictReader(file) if row["test/mAP"]]
    before, after = ({name: float(row[f"test/{name}"]) for name in SHOWN} for row in tests)
    return before, after


if __name__ == "__main__":
    main()
