"""That it learns: minutes, not seconds."""

import csv
from pathlib import Path

import pytest

from lightning_reid.cli import run_command_line

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def map_before_and_after(folder):
    with (folder / "metrics.csv").open() as file:
        return [float(row["test/mAP"]) for row in csv.DictReader(file) if row["test/mAP"]]


@pytest.mark.slow
def test_the_demo_gains_25_points(tmp_path):
    run_command_line(
        [
            "fit",
            f"--config={CONFIGS}/demo.yaml",
            f"--data.root={tmp_path}/persons",
            f"--run_dir={tmp_path}/run",
            "--trainer.enable_progress_bar=false",
        ]
    )
    before, after = map_before_and_after(tmp_path / "run")
    assert before < 0.35
    assert after > before + 0.25


@pytest.mark.slow
def test_real_people_are_found_again_without_labels(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(shared / "weights"))
    run_command_line(
        [
            "fit",
            f"--config={CONFIGS}/methods/o2cap.yaml",
            f"--config={CONFIGS}/data/market1501.yaml",
            f"--data.root={shared}/data/pku_reid",
            "--data.size=[128,64]",
            "--data.augmentation.pad=5",
            "--data.batches_per_epoch=25",
            "--model.backbone=mobilenet_v2",
            "--model.normalize_cameras=true",
            "--model.num_positives=2",
            "--trainer.accelerator=cpu",
            "--trainer.max_epochs=30",
            "--trainer.enable_progress_bar=false",
            f"--run_dir={tmp_path}/run",
        ]
    )
    before, after = map_before_and_after(tmp_path / "run")
    assert before < 0.06
    assert after > 0.2
