"""Runs that are stopped from outside say so, end with the status of the signal, and can go on."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from briefly_trained import train
from command_line import EASY_CLUSTERS, arguments
from forked_commands import run_forked
from whole_runs import lines, read

from lightning_reid.report.record import RunRecord

TERM, INT = signal.SIGTERM, signal.SIGINT


def stopped(arguments, tmp_path, moment, number=TERM, count=1, method="O2CAP", **environment):
    return run_forked(
        arguments, tmp_path / "log", kill_at=(method, moment, count, number), **environment
    )


def fit(root, folder, *options):
    short = ["--evaluate=false", "--data.num_workers=1", "--trainer.max_epochs=3"]
    return arguments("fit", root, folder, *EASY_CLUSTERS, *short, *options)


@pytest.mark.parametrize(
    ("moment", "count", "number"),
    [
        ("extracting", 1, TERM),
        ("labelling", 1, TERM),
        ("in a step", 5, TERM),
        ("in a step", 5, INT),
    ],
)
def test_a_fit_that_is_stopped_says_how_to_go_on(moment, count, number, persons, tmp_path):
    folder = tmp_path / "run"
    ended = stopped(fit(persons, folder), tmp_path, moment, number, count)
    assert ended.status == 128 + number, ended.output
    assert "Traceback" not in ended.output
    command = f"lightning-reid fit --config {folder}/config.yaml"
    if count == 5:
        command += f" --ckpt_path {folder}/checkpoints/last.ckpt"
    assert f"{command}\n" in ended.output
    assert ended.output.endswith("lightning-reid: interrupted\n")
    assert ended.left == 0


@pytest.fixture(scope="module")
def trained(persons, tmp_path_factory):
    return train(persons, tmp_path_factory.mktemp("trained") / "run").parents[1]


@pytest.mark.parametrize(
    ("command", "moment", "number"),
    [
        ("test", "evaluating", INT),
        ("validate", "validating", TERM),
        ("predict", "predicting", TERM),
        ("predict", "predicting", INT),
    ],
)
def test_commands_of_the_trainer(command, moment, number, trained, persons, tmp_path):
    given = arguments(command, persons, trained, "--ckpt_path=last", "--data.num_workers=1")
    ended = stopped(given, tmp_path, moment, number)
    assert ended.status == 128 + number, ended.output
    assert ended.output.endswith("lightning-reid: interrupted\n")
    assert "Traceback" not in ended.output
    assert ended.left == 0


@pytest.mark.parametrize(
    ("command", "number"), [("check", TERM), ("check", INT), ("search", TERM), ("export", TERM)]
)
def test_commands_beside_the_trainers(command, number, trained, persons, tmp_path):
    gallery = persons / "bounding_box_test"
    given, method, moment = {
        "check": (["check", "--data=Market1501", f"--data.root={persons}"], "Market1501", "setup"),
        "search": (["search", f"--ckpt_path={trained}", f"--gallery={gallery}"], "O2CAP", "load"),
        "export": (["export", f"--ckpt_path={trained}"], "O2CAP", "load"),
    }[command]
    given += [f"--query={gallery}"] if command == "search" else []
    moment = {"setup": "reading the data", "load": "model loaded"}[moment]
    ended = stopped(given, tmp_path, moment, number, method=method)
    assert ended.status == 128 + number, ended.output
    assert ended.output == "lightning-reid: interrupted\n"


def test_a_signal_before_anything_of_the_trainer(persons, tmp_path):
    ended = stopped(
        fit(persons, tmp_path / "run"), tmp_path, "reading the data", method="Market1501"
    )
    assert ended.status == 143
    assert ended.output.endswith("lightning-reid: interrupted\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [False, True], ids=["the first", "all"])
def test_two_processes(whole_group, persons, tmp_path):
    folder = tmp_path / "run"
    options = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=500"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lightning_reid", *fit(persons, folder, *options)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        end = time.monotonic() + 120
        while not (folder / "checkpoints" / "last.ckpt").is_file() and time.monotonic() < end:
            time.sleep(0.1)
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 3  # the second process, and a worker of each
        (os.killpg if whole_group else os.kill)(process.pid, TERM)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143, told
    assert f"--ckpt_path {folder}/checkpoints/last.ckpt\n" in told
    assert told.count("lightning-reid: interrupted\n") == 1
    assert "Traceback" not in told
    assert not psutil.wait_procs(started, timeout=15)[1]


SCONTROL = """#!/bin/sh
echo "$@" >> "$CALLS"
kill -TERM $PPID
"""


@pytest.fixture
def slurm(tmp_path):
    """What SLURM's environment looks like; what it was asked for stands in a file."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(SCONTROL)
    program.chmod(0o755)
    one = {"NTASKS": "1", "NTASKS_PER_NODE": "1", "NNODES": "1", "NODELIST": "localhost"}
    ranks = {"PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    told = {"JOB_ID": "4711", "JOB_NAME": "train", **one, **ranks}
    return {
        **{f"SLURM_{name}": value for name, value in told.items()},
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
    }


@pytest.mark.parametrize(
    "count", [pytest.param(2, marks=pytest.mark.slow), 5], ids=["first epoch", "second epoch"]
)
def test_a_job_that_slurm_requeues_goes_on_in_its_folder(count, slurm, persons, tmp_path):
    folder, usr1 = tmp_path / "run", signal.SIGUSR1
    given = fit(persons, folder, "--trainer.log_every_n_steps=1")
    ended = stopped(given, tmp_path, "after a step", usr1, count, **slurm)
    assert ended.status == 143, ended.output
    assert (tmp_path / "calls").read_text() == "requeue 4711\n"
    assert (folder / "hpc_ckpt_1.ckpt").is_file()
    again = run_forked(given, tmp_path / "again", **slurm, SLURM_RESTART_COUNT="1")
    assert again.status == 0, again.output
    assert f"goes on from {folder}/hpc_ckpt_1.ckpt" in again.output
    assert not (tmp_path / "run-2").exists()
    assert not list(folder.glob("hpc_ckpt*"))
    record = RunRecord.read(folder)
    assert record.epochs_done == 3
    assert len(record.continued) == 1
    assert read(folder)["global_step"] == 9
    steps = [int(line["step"]) for line in lines(folder) if "train/loss" in line]
    # the checkpoint is saved before the step that it follows is logged
    assert {*range(9)} - {*steps} <= {count - 1, count}
    assert len(steps) == len({*steps})


@pytest.mark.slow
def test_a_job_that_failed_with_its_node_goes_on_from_its_last_epoch(slurm, persons, tmp_path):
    folder = tmp_path / "run"
    given = fit(persons, folder)
    ended = stopped(given, tmp_path, "in a step", signal.SIGKILL, 5, **slurm)
    assert ended.status == -9
    again = run_forked(given, tmp_path / "again", **slurm, SLURM_RESTART_COUNT="1")
    assert again.status == 0, again.output
    assert f"goes on from {folder}/checkpoints/last.ckpt" in again.output
    assert not (tmp_path / "run-2").exists()
