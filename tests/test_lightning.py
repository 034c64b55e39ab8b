"""Which of the two names of Lightning everything is built on."""

import pytest
from command_line import EASY_CLUSTERS, arguments
from forked_commands import run_python

TOLD = "import lightning_reid.lightning as chosen; print(chosen.BASE, chosen.pl.__name__)"


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
    assert run_python("-c", before + TOLD, bare=True).output.split()[0] == chosen


def test_the_environment_decides():
    pytest.importorskip("lightning")
    program = f"import pytorch_lightning; {TOLD}"
    told = run_python("-c", program, bare=True, LIGHTNING_REID_BASE="lightning")
    assert told.output.split() == ["lightning", "lightning.pytorch"]
    refused = run_python("-c", TOLD, bare=True, LIGHTNING_REID_BASE="lightening")
    assert "must be one of pytorch_lightning, lightning, not 'lightening'" in refused.errors


def test_the_command_line_of_the_other_one(persons, tmp_path):
    pytest.importorskip("lightning")
    given = arguments("fit", persons, tmp_path / "run", *EASY_CLUSTERS)
    done = run_python("-m", "lightning_reid", *given, LIGHTNING_REID_BASE="lightning")
    assert done.status == 0, done.errors
    assert (tmp_path / "run" / "report.html").is_file()
    assert "lightning.pytorch" in (tmp_path / "run" / "config.yaml").read_text()
