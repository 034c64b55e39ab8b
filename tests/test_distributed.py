"""Two real processes against one. Equality of training is not claimed here, labels are."""

import csv
import os
import subprocess
import sys

import pytest
from command_line import arguments

FIRST = ("labels/clusters", "labels/outliers", "labels/proxies", "labels/silhouette")


def first_values(folder):
    """The first labelling and the test before training, from a run's log."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        name: next(float(row[name]) for row in rows if row[name]) for name in (*FIRST, "test/mAP")
    }


def test_two_processes_find_the_labels_and_the_map_of_one(persons, tmp_path):
    # one fewer, so that the ranks have different numbers of images
    root = tmp_path / "ragged"
    root.mkdir()
    for folder in ("query", "bounding_box_train", "bounding_box_test"):
        files = sorted((persons / folder).iterdir())
        (root / folder).mkdir()
        for file in files[: len(files) - (len(files) + 1) % 2]:
            (root / folder / file.name).symlink_to(file)
    values = []
    for devices in (1, 2):
        folder = tmp_path / f"{devices}"
        args = arguments("fit", root, folder, "--model.eps=0.7", "--model.min_samples=2")
        args += [f"--trainer.devices={devices}", "--trainer.max_epochs=1"]
        args += ["--trainer.strategy=ddp", "--model.k1=8"] if devices > 1 else ["--model.k1=8"]
        subprocess.run(
            [sys.executable, "-m", "lightning_reid", *args],
            check=True,
            capture_output=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert (folder / "checkpoints" / "last.ckpt").is_file()
        values.append(first_values(folder))
    assert values[1] == pytest.approx(values[0], rel=1e-4)
