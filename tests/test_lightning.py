"""Which of the two names of Lightning everything is built on."""

import os
import subprocess
import sys

import pytest
from command_line import EASY_CLUSTERS, arguments

TOLD = "import lightning_reid.lightning as chosen; print(chosen.BASE, chosen.pl.__name__)"


def python(*given, **environment):
    """Run Python with nothing imported before."""
    return subprocess.run(
        [sys.executable, *given],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


@pytest.mark.parametrize(
    ("before", "chosen"),
    [
        ("", "pytorch_lightning"),
        ("import lightning; ", "lightning"),
        ("import lightning.pytorch; ", "lightning"),
        ("import pytorch_lightning, lightning; ", "pytorch_lightning"),
    ],
)
def test_it_is_what_was_imported_before(before, chosen):
    pytest.importorskip("lightning")
    assert python("-c", before + TOLD).stdout.split()[0] == chosen


def test_the_environment_decides():
    pytest.importorskip("lightning")
    told = python("-c", f"import pytorch_lightning; {TOLD}", LIGHTNING_REID_BASE="lightning")
    assert told.stdout.split() == ["lightning", "lightning.pytorch"]
    refused = python("-c", TOLD, LIGHTNING_REID_BASE="lightening")
    assert "must be one of pytorch_lightning, lightning, not 'lightening'" in refused.stderr


def test_the_command_line_of_the_other_one(persons, tmp_path):
    pytest.importorskip("lightning")
    given = arguments("fit", persons, tmp_path / "run", *EASY_CLUSTERS)
    done = python("-m", "lightning_reid", *given, LIGHTNING_REID_BASE="lightning")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    assert "lightning.pytorch" in (tmp_path / "run" / "config.yaml").read_text()
