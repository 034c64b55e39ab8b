import subprocess
import sys

import pytest
import torch

from lightning_reid.errors import InputError
from lightning_reid.report.record import RunRecord
from lightning_reid.run_folder import RunFolder, run_of


def finished(folder):
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    return folder


def test_a_fresh_run_never_writes_into_another(tmp_path):
    wanted = tmp_path / "run"
    assert RunFolder.choose("fit", wanted, None) == RunFolder(wanted)
    finished(wanted)
    assert RunFolder.choose("fit", wanted, None).path == tmp_path / "run-2"
    finished(tmp_path / "run-2")
    finished(tmp_path / "run-10")
    finished(tmp_path / "run-other")
    assert RunFolder.choose("fit", wanted, None).path == tmp_path / "run-3"


def test_last_is_the_newest_with_a_checkpoint(tmp_path):
    finished(tmp_path / "run")
    newest = finished(tmp_path / "run-10")
    (tmp_path / "run-11").mkdir()
    with pytest.warns(UserWarning, match="run-11 has no checkpoint yet"):
        chosen = RunFolder.choose("fit", tmp_path / "run", "last")
    assert chosen == RunFolder(newest, newest / "checkpoints" / "last.ckpt")


def test_a_run_without_a_checkpoint_yet_begins_again(tmp_path):
    finished(tmp_path / "run")
    begun = tmp_path / "run-2"
    begun.mkdir()
    (begun / "config.yaml").touch()
    with pytest.warns(UserWarning, match="run-2 was interrupted before its first checkpoint"):
        assert RunFolder.choose("fit", tmp_path / "run", "last") == RunFolder(begun)
    with pytest.warns(UserWarning, match="run-2 has no checkpoint yet"):
        tested = RunFolder.choose("test", tmp_path / "run", "last")
    assert tested.checkpoint == tmp_path / "run" / "checkpoints" / "last.ckpt"
    finished(begun)
    assert RunFolder.choose("fit", tmp_path / "run", "last").checkpoint is not None


def test_trying_to_write_leaves_nothing(tmp_path):
    RunFolder(tmp_path / "new" / "run").require_writable()
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: Not a directory: .*file; choose another folder"):
        RunFolder(tmp_path / "file").require_writable()


def test_a_checkpoint_tells_its_run(tmp_path):
    run = finished(tmp_path / "run")
    file = run / "checkpoints" / "last.ckpt"
    assert RunFolder.choose("fit", tmp_path / "other", str(file)).path == run
    assert RunFolder.choose("test", tmp_path / "other", str(file)).path == run / "test"
    assert run_of(file) == run_of(file, elsewhere=tmp_path / "other") == run
    assert run_of(tmp_path / "copied.ckpt") == tmp_path


def test_a_folder_has_one_spelling(tmp_path, monkeypatch):
    run = finished(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    for spelling in ("run", "./run", "../" + tmp_path.name + "/run", str(run)):
        file = f"{spelling}/checkpoints/last.ckpt"
        assert RunFolder.choose("fit", "other", file).path == run
        assert RunFolder.choose("fit", spelling, "last").path == run


def test_the_settings_of_a_run_tell_it(tmp_path):
    first, newest = finished(tmp_path / "run"), finished(tmp_path / "run-2")
    for folder in (first, newest, tmp_path):
        (folder / "config.yaml").touch()

    def chosen(*configs):
        return RunFolder.choose("test", tmp_path / "run", "last", configs).path.parent

    assert chosen(first / "config.yaml") == first
    assert chosen(newest / "config.yaml", "mine.yaml") == newest
    assert chosen(tmp_path / "config.yaml") == newest  # is no run
    assert RunFolder.choose("fit", "other", "last", [first / "config.yaml"]).path == first


def test_a_run_may_stand_for_its_checkpoint(tmp_path):
    run = finished(tmp_path / "run")
    assert RunFolder.choose("test", "other", str(run)).checkpoint == run / "checkpoints/last.ckpt"
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        RunFolder.choose("test", "other", str(tmp_path))


def test_a_checkpoint_from_elsewhere_is_only_read(tmp_path):
    file = tmp_path / "downloaded.ckpt"
    file.touch()
    chosen = RunFolder.choose("test", tmp_path / "run", str(file))
    assert chosen == RunFolder(tmp_path / "run" / "test", file)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint .*nothing.ckpt: give a file"):
        RunFolder.choose("test", tmp_path, str(tmp_path / "nothing.ckpt"))
    with pytest.raises(FileNotFoundError, match="last.ckpt"):
        RunFolder.choose("fit", tmp_path / "run", "last")


HOLD = """
import sys
from pathlib import Path
from lightning_reid.run_claim import claim
held = claim(Path(sys.argv[1]))
print(held is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held_elsewhere(tmp_path):
    """Starts processes that hold a folder until they are killed."""
    processes = []

    def hold(folder):
        command = [sys.executable, "-c", HOLD, str(folder)]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return processes[-1], processes[-1].stdout.readline().strip() == b"True"

    yield hold
    for process in processes:
        process.kill()
        process.communicate()


def test_runs_that_begin_at_the_same_time_have_folders_of_their_own(held_elsewhere, tmp_path):
    wanted = tmp_path / "run"
    process, got_it = held_elsewhere(wanted)
    assert got_it
    assert not held_elsewhere(wanted)[1]
    assert RunFolder.choose("fit", wanted, None).path == tmp_path / "run-2"
    process.kill()
    process.wait()
    assert RunFolder.choose("fit", wanted, None).path == wanted


def test_a_run_that_is_under_way_is_not_gone_on_from(held_elsewhere, tmp_path):
    last = finished(tmp_path / "run") / "checkpoints" / "last.ckpt"
    held_elsewhere(tmp_path / "run")
    for checkpoint in ("last", str(last)):
        with pytest.raises(InputError, match="another process is training in .*/run"):
            RunFolder.choose("fit", tmp_path / "run", checkpoint)
    assert RunFolder.choose("test", tmp_path / "run", "last").checkpoint == last


def test_last_takes_no_other_run_than_that_of_the_settings(tmp_path):
    wanted, copy = finished(tmp_path / "run"), tmp_path / "copy"
    copy.mkdir()
    (copy / "config.yaml").touch()
    # settings that somebody wrote
    assert RunFolder.choose("fit", wanted, "last", [copy / "config.yaml"]).path == wanted
    (copy / "run.json").write_text('{"command": "fit", "method": "CAP", "data": "MARS"}')
    with pytest.raises(FileNotFoundError, match=r"no checkpoints.last.ckpt in .*copy"):
        RunFolder.choose("fit", wanted, "last", [copy / "config.yaml"])


def begun(folder, epochs_done=0):
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").touch()
    RunRecord("fit", "CAP", "MARS", epochs_done=epochs_done).write(folder)
    return folder


def test_a_run_that_has_no_checkpoint_yet_is_not_taken_for_one_that_has(tmp_path):
    first = begun(tmp_path / "run")
    finished(tmp_path / "run-2")
    settings = [first / "config.yaml"]
    with pytest.warns(UserWarning, match="run was interrupted before its first checkpoint"):
        assert RunFolder.choose("fit", tmp_path / "run", "last", settings) == RunFolder(first)
    with pytest.raises(FileNotFoundError, match=r"no checkpoints.last.ckpt in .*run"):
        RunFolder.choose("test", tmp_path / "run", "last", settings)


def test_a_run_that_keeps_no_checkpoints_is_neither_replaced_nor_begun_again(tmp_path):
    begun(tmp_path / "run", epochs_done=3)
    assert RunFolder.choose("fit", tmp_path / "run", None).path == tmp_path / "run-2"
    with pytest.raises(FileNotFoundError, match=r"no checkpoints.last.ckpt in .*run"):
        RunFolder.choose("fit", tmp_path / "run", "last")


def requeued(folder, job, numbers=(1,), steps=0):
    begun(folder)
    RunRecord("fit", "CAP", "MARS", job=job).write(folder)
    for number in numbers:
        torch.save({"global_step": steps + number}, folder / f"hpc_ckpt_{number}.ckpt")
    return folder


def test_a_requeued_job_finds_its_run_among_those_of_other_jobs(tmp_path, monkeypatch):
    wanted = tmp_path / "run"
    first = requeued(wanted, "7", numbers=(9, 10))
    requeued(tmp_path / "run-2", "8")
    assert RunFolder.choose("fit", wanted, None).path == tmp_path / "run-3"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    expected = RunFolder(first, first / "hpc_ckpt_10.ckpt")
    for checkpoint in (None, "none", str(first / "hpc_ckpt_9.ckpt")):
        assert RunFolder.choose("fit", wanted, checkpoint) == expected
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    assert RunFolder.choose("fit", wanted, None).path == tmp_path / "run-3"


def test_a_job_may_begin_two_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    run = requeued(finished(tmp_path / "old").rename(tmp_path / "run"), "7", numbers=())
    assert RunFolder.choose("fit", run, None).path == tmp_path / "run-2"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    last = run / "checkpoints" / "last.ckpt"
    assert RunFolder.choose("fit", run, None) == RunFolder(run, last)


def test_a_requeued_job_without_a_checkpoint_begins_again_in_its_folder(tmp_path, monkeypatch):
    run = requeued(tmp_path / "run", "7", numbers=())
    RunRecord("fit", "CAP", "MARS", job="7", epochs_done=2).write(run)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert RunFolder.choose("fit", run, None) == RunFolder(run)


def test_last_is_the_checkpoint_that_has_come_farthest(tmp_path):
    run = requeued(finished(tmp_path / "old").rename(tmp_path / "run"), "7", steps=10)
    last, hpc = run / "checkpoints" / "last.ckpt", run / "hpc_ckpt_1.ckpt"
    for steps, expected in ((12, last), (11, last), (10, hpc)):
        torch.save({"global_step": steps}, last)
        for checkpoint in ("last", "last_or_none", str(run)):
            assert RunFolder.choose("fit", run, checkpoint) == RunFolder(run, expected)
    assert RunFolder.choose("test", run, "hpc") == RunFolder(run / "test", hpc)
    hpc.unlink()
    with pytest.raises(FileNotFoundError, match=r"no hpc_ckpt_\* in .*run"):
        RunFolder.choose("fit", run, "hpc")


def test_last_or_none_begins_where_there_is_none(tmp_path):
    run = tmp_path / "run"
    assert RunFolder.choose("fit", run, "last_or_none") == RunFolder(run)
    with pytest.raises(InputError, match="test needs a checkpoint"):
        RunFolder.choose("test", run, "last_or_none")
    last = finished(run) / "checkpoints" / "last.ckpt"
    assert RunFolder.choose("fit", run, "last_or_none") == RunFolder(run, last)
