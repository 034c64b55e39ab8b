"""Two real processes against one. Equality of training is not claimed here, labels are."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import EASY_CLUSTERS, arguments
from forked_commands import run_python

from lightning_reid.distributed import seed_of

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
        args = arguments("fit", root, folder, *EASY_CLUSTERS)
        args += [f"--trainer.devices={devices}", "--trainer.max_epochs=1"]
        args += ["--trainer.strategy=ddp"] if devices > 1 else []
        ended = run_python("-m", "lightning_reid", *args)
        assert ended.status == 0, ended.errors
        assert (folder / "checkpoints" / "last.ckpt").is_file()
        values.append(first_values(folder))
    assert values[1] == pytest.approx(values[0], rel=1e-4)


def patient_training(persons, folder, *options):
    script = Path(__file__).with_name("patient_training.py")
    return run_python(script, persons, folder, *options, limit=150)


def test_ranks_share_the_search_and_wait_for_the_clusters(persons, tmp_path):
    finished = patient_training(persons, tmp_path, "12")  # longer than a collective may take
    assert finished.status == 0, finished.errors
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert torch.equal(first["labels"], second["labels"])
    assert first["calls"] == 2  # before and after the epoch
    assert second["calls"] == 0
    assert first["searched"] + second["searched"] == 2 * len(first["labels"])
    assert abs(first["searched"] - second["searched"]) <= 2


def test_a_failure_of_the_first_rank_ends_all(persons, tmp_path):
    finished = patient_training(persons, tmp_path, "0", "fail")
    assert finished.status != 0  # and did not wait for the time-out of the test
    assert "nothing to be found here" in finished.errors


def test_every_outcome_of_the_first_rank_reaches_all(tmp_path):
    script = Path(__file__).with_name("first_rank_outcomes.py")
    finished = run_python(script, tmp_path, limit=150)
    assert finished.status == 0, finished.errors
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert [told[:2] for told in first] == [told[:2] for told in second]
    number, plain, restored, pickled, given, after = first
    assert number == after == ["gave", 7, None]
    assert plain[:2] == ["InputError", "the plain reason"]
    told = "TwoReasonsError: one reason and another"
    assert restored == ["RuntimeError", told, "TwoReasonsError"]
    assert pickled == ["RuntimeError", "ValueError: the real reason", "ValueError"]
    assert "pickle" in given[1]


def test_seeds_of_as_many_numbers_differ():
    pairs = [(seed, epoch) for seed in range(30) for epoch in range(30)]
    assert len({seed_of(*pair) for pair in pairs}) == len(pairs)
    assert seed_of(7) == seed_of(7, 0)


LEAVES = """
import atexit, sys
import torch.distributed as dist

atexit.register(lambda: print("groups left:", dist.is_initialized()))  # is called last

from lightning_reid.distributed import _patient_group

store = dist.FileStore(sys.argv[1], 1)
dist.init_process_group("gloo", store=store, rank=0, world_size=1)
_patient_group(dist.group.WORLD)
print("groups there:", dist.is_initialized())
"""


def test_groups_end_before_python_does(tmp_path):
    command = [sys.executable, "-c", LEAVES, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["groups there: True", "groups left: False"]


def test_batch_norm_of_all_processes_is_told_to_need_gpus(persons, tmp_path):
    ranks = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.sync_batchnorm=true"]
    command = arguments("fit", persons, tmp_path / "run", *ranks, "--evaluate=false")
    done = run_python("-m", "lightning_reid", *command)
    assert done.status != 0
    told = "lightning-reid: the Trainer's sync_batchnorm=True works on GPUs alone; "
    assert f"{told}samples_per_bn_group=16 does the same everywhere" in done.errors
    assert "Traceback" not in done.errors
