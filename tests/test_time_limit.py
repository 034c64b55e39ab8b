"""A suite that is cut off names the tests that did not run."""

from pathlib import Path

import pytest
from forked_commands import run_python

TESTS = """
import time

def test_before():
    pass

def test_wrong():
    assert {right}

def test_running():
    time.sleep(100)

def test_after():
    pass
"""


@pytest.mark.parametrize(("right", "status"), [(True, 0), (False, 1)])
def test_what_did_not_run_is_named(right, status):
    Path("test_it.py").write_text(TESTS.format(right=right))
    options = ["-p", "time_limit", "-p", "no:cacheprovider", "-ra", "--minutes=0.05"]
    program = "import time_limit, time, sys, pytest; time_limit._BEGAN = time.monotonic();"
    program += "sys.exit(pytest.main(sys.argv[1:]))"
    ended = run_python("-c", program, *options, "test_it.py")
    assert ended.status == status, ended.output
    named = [line.split("minutes: ")[1] for line in ended.output.splitlines() if "NOT RUN" in line]
    assert named == ["test_it.py::test_running", "test_it.py::test_after"]
    assert f"{2 if right else 1} passed, 2 skipped" in ended.output
