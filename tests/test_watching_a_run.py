"""What a run shows while it goes: in a file, in a terminal, when it is interrupted."""

import csv
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from command_line import EASY_CLUSTERS, arguments
from forked_commands import run_python

from lightning_reid.cli import run_command_line


def command(persons, folder, *options):
    given = arguments("fit", persons, folder, *EASY_CLUSTERS, *options)
    given = [option for option in given if "enable_progress_bar" not in option]
    return ["-m", "lightning_reid", *given]


def test_a_file_gets_a_line_for_every_labelling_and_epoch(persons, tmp_path):
    done = run_python(*command(persons, tmp_path / "run", "--data.val=test"))
    assert done.status == 0, done.errors
    told = [line for line in done.errors.splitlines() if re.match("labels|epoch|test:", line)]
    number = r"\d+(\.\d+)?"
    expected = [
        rf"test: mAP {number} %, rank1 {number} %",
        rf"labels for epoch 0: clusters \d+, outliers {number} %",
        rf"epoch 0 of 0 to 1: loss {number}, mAP {number} %, rank1 {number} %, seconds {number}",
        rf"labels for epoch 1: clusters \d+, outliers {number} %",
        rf"epoch 1 of 0 to 1: loss {number}, mAP {number} %, rank1 {number} %, seconds {number}",
        rf"labels after the last epoch: clusters \d+, outliers {number} %",
        rf"test: mAP {number} %, rank1 {number} %",
    ]
    for line, pattern in zip(told, expected, strict=True):
        assert re.fullmatch(pattern, line)
    for output in (done.output, done.errors):
        assert not {"\r", "\x1b", "╸"} & set(output)
        assert "it/s" not in output


def test_the_printed_loss_is_in_a_table_which_a_resumed_run_goes_on_with(persons, tmp_path):
    folder = tmp_path / "run"
    given = command(persons, folder, "--evaluate=false")
    told = []
    for further in ([], ["--ckpt_path=last", "--trainer.max_epochs=3"]):
        done = run_python(*given, *further)
        assert done.status == 0, done.errors
        told += re.findall(r"epoch (\d+) of .*: loss ([\d.]+),", done.errors)
    with (folder / "tables" / "epochs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], f"{float(row['loss']):.3f}") for row in rows] == told
    assert [epoch for epoch, _ in told] == ["0", "1", "2"]
    assert all(float(row["seconds"]) > 0 for row in rows)


def in_a_terminal(given, monkeypatch):
    """What a command writes to a terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    written = []

    def read():
        with suppress(OSError):  # the other end was closed
            while part := os.read(ours, 65536):
                written.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    # a terminal that has no colors would have no bars either
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    size = {"TERM": "xterm-256color", "COLUMNS": "140"}
    ended = run_python(*given, terminal=os.ttyname(theirs), **size)
    os.close(theirs)
    reader.join()
    os.close(ours)
    return ended.status, b"".join(written).decode()


def test_a_terminal_gets_bars_with_what_matters(persons, tmp_path, monkeypatch):
    given = command(persons, tmp_path / "run", "--data.val=test", "--trainer.log_every_n_steps=1")
    status, written = in_a_terminal(given, monkeypatch)
    assert status == 0, written
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    bars = [line for line in re.split(r"[\r\n]+", plain) if line.startswith("Epoch")]
    last = [line for line in bars if "mAP:" in line][-1]
    assert re.search(r"3/3 .*loss: \d+\.\d+ clusters: \d+ outliers: \d+\.\d % mAP: \d+\.\d %", last)
    # what is told while a bar is shown has a line of its own
    stopped = [line for line in re.split(r"[\r\n]+", plain) if "`max_epochs=2` reached" in line]
    assert [line.strip() for line in stopped] == ["`Trainer.fit` stopped: `max_epochs=2` reached."]
    assert "labels for epoch" not in plain
    with (tmp_path / "run" / "tables" / "epochs.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]


def test_without_a_bar_a_terminal_gets_lines(persons, tmp_path, monkeypatch):
    given = command(persons, tmp_path / "run", "--evaluate=false")
    status, written = in_a_terminal([*given, "--trainer.enable_progress_bar=false"], monkeypatch)
    assert status == 0, written
    for line in ("labels for epoch 0: ", "epoch 0 of 0 to 1: loss ", "labels after the last epoch"):
        assert line in written
    assert "Epoch 0/" not in written
    assert "it/s" not in written


def test_the_keyboard_ends_a_run_with_how_to_go_on(persons, tmp_path):
    folder = tmp_path / "a run"
    given = command(
        persons, folder, "--trainer.max_epochs=100000", "--evaluate=false",
        "--trainer.enable_progress_bar=false",
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, *given],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # what runs in the background of a shell inherits that it is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        patience = time.monotonic() + 120
        while not (folder / "checkpoints" / "last.ckpt").is_file():
            assert process.poll() is None
            assert time.monotonic() < patience
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode != 0
    assert "Traceback" not in told
    line = next(line for line in told.splitlines() if line.startswith("Interrupted. To go on"))
    words = shlex.split(line.partition(": ")[2])
    assert words[:2] == ["lightning-reid", "fit"]
    os.environ.pop("PL_GLOBAL_SEED", None)
    with pytest.warns(UserWarning, match="nothing was trained"):
        went_on = run_command_line([*words[1:], "--trainer.max_epochs=1"])
    assert went_on.trainer.current_epoch >= 1
    assert [path.name for path in tmp_path.iterdir()] == ["a run"]
