"""Whether it learns: label-free training on real images, several seeds.

    python benchmarks/learning.py --root ../shared/data/pku_reid --torch-home ../shared/weights

Runs the command line on a folder in Market-1501 layout with an ImageNet MobileNetV2 at 128 x 64, 30
epochs of 25 batches of 32, and reports mAP before and after, of plain and of camera-normalised
embeddings. Two settings differ from the published defaults, both chosen without identities: the
features are camera-normalised before clustering (otherwise hardly any cluster spans the cameras,
which the log shows), and there are as many online positives as there are cameras, two.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measurement import report

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SETTINGS = [
    f"--config={CONFIGS}/methods/o2cap.yaml",
    f"--config={CONFIGS}/data/market1501.yaml",
    "--model.backbone=mobilenet_v2",
    "--model.normalize_cameras=true",
    "--model.num_positives=2",
    "--data.size=[128,64]",
    "--data.augmentation.pad=5",
    "--data.batches_per_epoch=25",
    "--trainer.max_epochs=30",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]
SHOWN = ("mAP", "rank1", "camera_normalized/mAP", "camera_normalized/rank1")


def main() -> None:
    """Train with every seed and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, help="folder in Market-1501 layout")
    parser.add_argument("--torch-home", help="where pretrained weights lie, if not at home")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    arguments, further = parser.parse_known_args()
    rows = []
    for seed in arguments.seeds:
        before, after = train(arguments, seed, further)
        if not rows:
            rows.append(("untrained", *(before[name] for name in SHOWN)))
        rows.append((f"seed {seed}", *(after[name] for name in SHOWN)))
    trained = [row[1:] for row in rows[1:]]
    rows.append(("mean", *(statistics.mean(column) for column in zip(*trained, strict=True))))
    title = f"O2CAP on {Path(arguments.root).name}"
    options = [option for option in (*SETTINGS, *further) if not option.startswith("--config")]
    report(title, ("run", *SHOWN), rows, arguments.json, options=options)


def train(
    arguments: argparse.Namespace, seed: int, further: list[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Test results of the untrained and of the trained network."""
    environment = dict(os.environ)
    if arguments.torch_home:
        environment["TORCH_HOME"] = arguments.torch_home
    with tempfile.TemporaryDirectory() as folder:
        own = (f"--data.root={arguments.root}", f"--seed_everything={seed}")
        command = [sys.executable, "-m", "lightning_reid", "fit", *SETTINGS, *own, *further]
        subprocess.run([*command, f"--run_dir={folder}/run"], check=True, env=environment)
        with (Path(folder) / "run" / "metrics.csv").open() as file:
            tests = [row for row in csv.DictReader(file) if row["test/mAP"]]
    before, after = ({name: float(row[f"test/{name}"]) for name in SHOWN} for row in tests)
    return before, after


if __name__ == "__main__":
    main()
