"""A process that dies makes all others stop, whatever they wait for and whoever started them."""

import re
import subprocess
import sys
import time

import pytest
from command_line import EASY_CLUSTERS, arguments

LAUNCHERS = {
    "lightning": ["-m", "lightning_reid"],
    "torchrun": [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *("-m", "lightning_reid"),
    ],
}
SECONDS = 60  # it takes 3 to 8


def in_epoch(rank, note):
    callback = "--trainer.callbacks"
    options = [f"{callback}+=dying_ranks.DyingInEpoch", f"{callback}.rank={rank}"]
    return [*EASY_CLUSTERS, *options, f"{callback}.note={note}"]


def while_the_others_wait(note):
    return ["--model.clusterer=dying_ranks.DyingClusterer", f"--model.clusterer.note={note}"]


def fit(launcher, persons, folder, *options):
    """Train with two processes; returns the status and errors, and when all of them had ended."""
    # run() reads until every process has closed the pipes that it inherited
    command = arguments("fit", persons, folder / "run", "--evaluate=false", *options)
    finished = subprocess.run(
        [
            *(sys.executable, *LAUNCHERS[launcher], *command),
            *("--trainer.devices=2", "--trainer.strategy=ddp"),
        ],
        capture_output=True,
        text=True,
        timeout=600,
    )
    return finished.returncode, finished.stderr, time.time()


@pytest.mark.parametrize(
    ("launcher", "rank", "told"),
    [
        # nobody looks after the others when the process that started them has died
        ("lightning", 0, "RuntimeError"),  # the one that was killed told nothing
        ("lightning", 1, "RuntimeError|Child process .* terminated with code -9"),
        ("torchrun", 1, "ChildFailedError"),
    ],
    ids=["lightning-first", "lightning-second", "torchrun-second"],
)
def test_in_the_middle_of_an_epoch(launcher, rank, told, persons, tmp_path):
    note = tmp_path / "note"
    status, errors, end = fit(launcher, persons, tmp_path, *in_epoch(rank, note))
    assert status != 0
    assert end - float(note.read_text()) < SECONDS
    assert re.search(told, errors)


def test_the_first_while_the_others_wait_for_clusters(persons, tmp_path):
    note = tmp_path / "note"
    status, errors, end = fit("lightning", persons, tmp_path, *while_the_others_wait(note))
    assert status != 0
    assert end - float(note.read_text()) < SECONDS
    assert "RuntimeError" in errors
