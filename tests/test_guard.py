"""Tests keep to their own folders, and those that do not are found."""

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from forked_commands import run_forked, run_python
from guard import sitecustomize as guard
from programs import run_fresh

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def refused():
    """Return a function that asserts that exactly these paths were refused, in that order."""

    def assert_refused(*paths):
        lines = guard.recorded().splitlines()
        assert [line.rpartition(" ")[2] for line in lines] == [str(path) for path in paths]
        assert all("test_guard.py" in line for line in lines)

    return assert_refused


def test_current_folder_home_and_shared_folder_are_the_tests_own(tmp_path):
    assert Path.cwd() == tmp_path
    session = Path.home().parent
    assert session in tmp_path.parents
    assert session in Path(tempfile.gettempdir()).parents
    with tempfile.NamedTemporaryFile() as file:
        assert session in Path(file.name).parents


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("lost"),
        lambda path: path.open("ab").close(),
        lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("mine"),
        lambda path: Path("mine").replace(path),
    ],
)
def test_writing_into_the_repository_is_refused(write, refused):
    Path("mine").touch()
    stray = ROOT / "stray"
    with pytest.raises(guard.OutsideError, match="is outside"):
        write(stray)
    assert not stray.exists()
    refused(stray)


def test_removing_from_the_repository_is_refused(refused):
    with pytest.raises(guard.OutsideError):
        Path(__file__).unlink()
    with pytest.raises(guard.OutsideError):
        Path(__file__).rename("mine")
    refused(__file__, __file__)


def test_links_out_of_the_folder_are_followed(refused):
    Path("link").symlink_to(ROOT)
    with pytest.raises(guard.OutsideError):
        Path("link/stray").touch()
    Path("link").rename("other")  # the link itself is the test's own
    Path("other").unlink()
    refused(ROOT / "stray")


def test_no_process_starts_in_the_repository(refused):
    assert run_fresh("-c", "", folder=ROOT).returncode == 0
    refused(ROOT)


def test_an_error_that_is_caught_is_recorded(refused):
    with suppress(Exception):
        (ROOT / "stray").touch()
    refused(ROOT / "stray")


def test_other_processes_are_guarded(persons, tmp_path, refused):
    program = f"open({str(ROOT / 'stray')!r}, 'w')"
    assert "is outside" in run_fresh("-c", program).stderr
    assert "is outside" in run_python("-c", program).errors
    refused(ROOT / "stray", ROOT / "stray")
    stray = ["--config=market1501", f"--data.root={persons}", f"--output={ROOT / 'stray'}"]
    assert run_forked(["check", *stray], tmp_path / "log").status != 0
    assert not (ROOT / "stray").exists()
    refused(ROOT / "stray" / "pictures" / "cameras")


def test_reading_and_compiled_code_are_free():
    (ROOT / "pyproject.toml").read_text()
    list((ROOT / "tests").iterdir())
    assert run_fresh("-c", "import json.tool").returncode == 0
    with Path(os.devnull).open("w") as file:
        print(sys.version, file=file)
    assert not guard.recorded()
