"""Files that are written whole."""

import os
import time
from pathlib import Path

import pytest
from forked_commands import run_python

from lightning_reid.errors import InputError
from lightning_reid.whole_files import whole_file, write_output

WRITES = """
import sys, time
from pathlib import Path
from lightning_reid.whole_files import whole_file
for turn in range(20):
    with whole_file(Path("shared.txt")) as stream:
        for _ in range(20):
            stream.write(sys.argv[1].encode() * 1000)
            stream.flush()
            time.sleep(0.0005)
"""


def test_of_two_processes_the_second_waits(tmp_path):
    (tmp_path / "writes.py").write_text(WRITES)
    child = os.fork()
    if child == 0:
        try:
            os.chdir(tmp_path)
            put = Path.replace  # as late as it may be on a busy machine
            Path.replace = lambda file, place: (time.sleep(0.01), put(file, place))[1]
            for _ in range(20):
                with whole_file(tmp_path / "shared.txt") as stream:
                    for _ in range(20):
                        stream.write(b"a" * 1000)
                        stream.flush()
                        time.sleep(0.0005)
        finally:
            os._exit(0)
    ended = run_python(tmp_path / "writes.py", "b", folder=tmp_path)
    _, status = os.waitpid(child, 0)
    assert (ended.status, status) == (0, 0), ended.errors
    content = (tmp_path / "shared.txt").read_bytes()
    assert len(content) == 20_000
    assert len({*content}) == 1  # of one of the two
    assert sorted(file.name for file in tmp_path.iterdir()) == ["shared.txt", "writes.py"]


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe", "rest"])
def test_what_is_in_its_place(kind, tmp_path):
    beside, precious = tmp_path / ".file.part", tmp_path / "precious"
    precious.write_text("kept")
    if kind == "pipe":
        os.mkfifo(beside)
    elif kind == "rest":
        beside.write_text("what a kill has left, which is longer")
    else:
        beside.symlink_to(precious if kind == "link" else tmp_path / "nothing")
    with whole_file(tmp_path / "file") as stream:
        stream.write(b"new")
    assert (tmp_path / "file").read_text() == "new"
    assert precious.read_text() == "kept"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "precious"}


def test_errors_of_the_block_pass_and_leave_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), whole_file(tmp_path / "file"):
        (tmp_path / "elsewhere").read_text()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["file/below", "folder"])
def test_a_place_that_cannot_be_written(place, tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=f"cannot write .*{place}: .*; give another place with"):
        write_output(tmp_path / place, b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}
