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


REAL = {
    "data.size": "[128,64]",
    "data.augmentation.pad": 5,
    "data.batches_per_epoch": 25,
    "model.backbone": "mobilenet_v2",
    "trainer.accelerator": "cpu",
    "trainer.max_epochs": 30,
    "trainer.enable_progress_bar": "false",
}


def train_on_real_people(method, shared, folder, **settings):
    options = {**REAL, "data.root": shared / "data" / "pku_reid", "run_dir": folder, **settings}
    run_command_line(
        [
            "fit",
            f"--config={CONFIGS}/methods/{method}.yaml",
            f"--config={CONFIGS}/data/market1501.yaml",
            *(f"--{name}={value}" for name, value in options.items()),
        ]
    )
    return map_before_and_after(folder)


@pytest.mark.slow
def test_real_people_are_found_again_without_labels(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(shared / "weights"))
    settings = {"model.normalize_cameras": "true", "model.num_positives": 2}
    before, after = train_on_real_people("o2cap", shared, tmp_path / "run", **settings)
    assert before < 0.06
    assert after > 0.2


@pytest.mark.slow
def test_labels_within_cameras_find_real_people_across_them(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(shared / "weights"))
    settings = {
        "model.soft_epoch": 8,
        "model.warmup_epochs": 3,
        "model.milestones": "[20]",
    }
    before, after = train_on_real_people("pcsl", shared, tmp_path / "run", **settings)
    assert before < 0.06
    assert after > 0.55  # without the soft labels it is 0.49
