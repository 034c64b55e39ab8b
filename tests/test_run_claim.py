"""Locks of folders: who has them, what they leave behind, and what others may do to them."""

import errno
import fcntl
import os
import signal
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from forked_commands import run_python

from lightning_reid import run_claim
from lightning_reid.run_claim import claim, hold
from lightning_reid.run_folder import RunFolder


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """The folder of locks, for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(run_claim, "_of_runs", {})
    return tmp_path / "cache" / "lightning_reid" / "locks"


@pytest.fixture
def process(locks):
    """Starts processes that hold a folder until they are killed."""
    started = []

    def start(folder, with_child=False):
        reader, writer = os.pipe()
        started.append(os.fork())
        if started[-1] == 0:
            os.setsid()
            held = claim(folder)
            if not with_child or os.fork():
                os.write(writer, b"1" if held else b"0")
            time.sleep(100)
            os._exit(0)
        assert os.read(reader, 1) == b"1"
        return started[-1]

    yield start
    for running in started:
        with suppress(ProcessLookupError):
            os.killpg(running, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(running, 0)


def kill(process):
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


ENDING = """
import sys
from pathlib import Path
from lightning_reid.run_claim import claim
held = claim(Path(sys.argv[1]))
(file,) = Path(sys.argv[2]).iterdir()
print(oct(file.stat().st_mode & 0o777))
"""


def test_nothing_is_left_behind(locks, tmp_path):
    ended = run_python("-c", ENDING, tmp_path / "run", locks)
    assert (ended.output, ended.errors) == ("0o600\n", "")
    assert locks.stat().st_mode & 0o777 == 0o700
    assert list(locks.iterdir()) == []
    assert not (tmp_path / "run").exists()


def test_what_a_killed_process_left_is_free_and_removed_when_old(process, locks, tmp_path):
    kill(process(tmp_path / "run"))
    (left,) = locks.iterdir()
    with hold(tmp_path / "run", "waiting"):
        assert [*locks.iterdir()] == [left]
    assert list(locks.iterdir()) == []

    process(tmp_path / "held")
    (in_use,) = locks.iterdir()
    old, mine = locks / ("0" * 32), locks / "notes.txt"
    for file in (old, mine):
        file.touch()
    for file in (old, mine, in_use):
        os.utime(file, (1, 1))
    with hold(tmp_path / "other", "waiting"):
        pass
    assert sorted(locks.iterdir()) == sorted([in_use, mine])
    assert claim(tmp_path / "held") is None


def test_children_do_not_hold_it(process, tmp_path):
    running = process(tmp_path / "run", with_child=True)
    assert claim(tmp_path / "run") is None
    kill(running)  # the child lives on
    assert claim(tmp_path / "run") is not None


def test_one_process_may_take_a_run_twice(locks, tmp_path):
    first = claim(tmp_path / "run")
    assert claim(tmp_path / "run") is first
    assert claim(tmp_path / "link" / ".." / "run") is first


def test_threads_take_turns(locks, tmp_path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        with hold(tmp_path, "waiting"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def lock_of(folder, locks):
    """The file that locks a folder."""
    with hold(folder, "waiting"):
        (file,) = locks.iterdir()
    return file


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_lock_that_is_no_file_of_the_user(locks, tmp_path, kind):
    file, victim = lock_of(tmp_path / "run", locks), tmp_path / "victim"
    if kind == "link":
        file.symlink_to(victim)
    else:
        os.mkfifo(file) if kind == "pipe" else file.mkdir()
    with pytest.warns(UserWarning, match="/run cannot be locked .*let no two processes write"):
        assert RunFolder.choose("fit", tmp_path / "run", None).path == tmp_path / "run"
    assert not victim.exists()


def test_a_folder_of_locks_that_others_may_write_into(locks, tmp_path):
    locks.mkdir(parents=True)
    locks.chmod(0o777)
    with pytest.warns(UserWarning, match=f"others may write into {locks}"), hold(tmp_path, "wait"):
        assert list(locks.iterdir()) == []
    if os.geteuid() == 0:
        locks.chmod(0o700)
        os.chown(locks, 65534, 65534)
        with pytest.warns(UserWarning, match="others may write"), hold(tmp_path, "waiting"):
            assert list(locks.iterdir()) == []


def test_the_shared_temporary_folder_is_not_used(process, tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    process(tmp_path / "run")
    assert list(shared.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL])
def test_file_systems_without_locks(locks, tmp_path, monkeypatch, number):
    def unsupported(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.warns(UserWarning, match=f"cannot be locked .*{os.strerror(number)}"):
        assert claim(tmp_path / "run") is not None
    with pytest.warns(UserWarning, match="cannot be locked"), hold(tmp_path, "waiting"):
        pass


def test_no_place_for_locks(locks, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", Path("/proc/nowhere")):
        monkeypatch.setenv("XDG_CACHE_HOME", str(home))
        with pytest.warns(UserWarning, match="cannot be locked"), hold(tmp_path, "waiting"):
            pass
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # means nothing, as the standard has it
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with hold(tmp_path, "waiting"):
        assert len(list((tmp_path / "home/.cache/lightning_reid/locks").iterdir())) == 1
