"""A full disk, a read-only folder: a clear line, early where it can be known, and nothing lost."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from command_line import EASY_CLUSTERS, arguments
from forked_commands import run_forked
from small_methods import one_line_error
from whole_runs import differences, lines, read

OPTIONS = [*EASY_CLUSTERS, "--evaluate=false", "--trainer.max_epochs=3"]


def test_a_file_where_the_folder_should_be(persons, tmp_path, monkeypatch):
    (tmp_path / "run").write_text("mine")
    for folder in (tmp_path / "run", tmp_path / "run" / "deeper"):
        error = one_line_error(monkeypatch, persons, folder)
        assert f"cannot write to {folder}: Not a directory: {tmp_path}/run; choose" in error
    assert (tmp_path / "run").read_text() == "mine"


def test_a_file_where_the_checkpoints_should_be(persons, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("mine")
    error = one_line_error(monkeypatch, persons, tmp_path / "run")
    assert "Not a directory" in error
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["checkpoints"]


def in_own_mounts(script, **places):
    """Run a shell script that may mount what the rest of the machine does not see."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("needs unshare and user namespaces")
    environment = {k: v for k, v in os.environ.items() if k != "PL_GLOBAL_SEED"}
    environment |= {k: str(v) for k, v in places.items()}
    done = subprocess.run(
        [*alone, "bash", "-ec", script],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def fit(root, folder, *options):
    command = [sys.executable, "-m", "lightning_reid"]
    return shlex.join([*command, *arguments("fit", root, folder, *OPTIONS, *options)])


def test_a_read_only_folder_is_told_before_anything_is_computed(persons, tmp_path):
    (tmp_path / "run").mkdir()
    script = f"""
        mount --bind "$FOLDER" "$FOLDER"
        mount -o remount,ro,bind "$FOLDER"
        ! {fit(persons, tmp_path / "run")}
    """
    told = in_own_mounts(script, FOLDER=tmp_path / "run").splitlines()
    assert told[-1].startswith(f"lightning-reid: cannot write to {tmp_path}/run: Read-only")
    assert not any("Traceback" in line or "Writing to" in line for line in told)


def test_a_full_disk_loses_nothing(persons, tmp_path):
    whole, disk, saved = (tmp_path / name for name in ("whole", "disk", "saved"))
    ended = run_forked(arguments("fit", persons, whole, *OPTIONS), tmp_path / "log")
    assert ended.status == 0, ended.output
    disk.mkdir()
    script = f"""
        mount -t tmpfs -o size=$SMALL tmpfs "$DISK"
        ! {fit(persons, disk / "run")}
        mount -o remount,size=$LARGE "$DISK"
        {fit(persons, disk / "run", "--ckpt_path=last")}
        cp -r "$DISK/run" "$SAVED"
    """
    size = (whole / "checkpoints" / "last.ckpt").stat().st_size
    told = in_own_mounts(script, DISK=disk, SAVED=saved, SMALL=size * 3 // 2, LARGE=size * 4)
    failure = [line for line in told.splitlines() if line.startswith("lightning-reid: ")]
    assert len(failure) == 1
    assert "last.ckpt: " in failure[0]
    assert "No space left on device: it needs more than the" in failure[0]
    assert "what was there before is untouched" in failure[0]
    assert f"--ckpt_path {disk}/run/checkpoints/last.ckpt" in told  # how to resume
    assert "Traceback" not in told
    assert differences(read(saved), read(whole)) == []
    assert lines(saved) == lines(whole)
