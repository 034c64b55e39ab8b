"""The four programs that the README shows run, on either Lightning."""

import re
from pathlib import Path

import pytest
from programs import run_program
from small_methods import camera_folders

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.py"))
LIGHTNINGS = ("import pytorch_lightning as pl", "import lightning.pytorch as pl")

TOLD = {
    "your_datamodule": r"(?m)^([2-9]|\d\d) clusters",
    "your_module": r"(?m)^([2-9]|\d\d) clusters",
    "plain_pytorch": r"epoch 1: ([2-9]|\d\d) proxies, loss \d",
    "only_the_metric": r"mAP +0\.[4-9]",
}


@pytest.fixture(scope="module")
def crops(persons, tmp_path_factory):
    """A folder with ``crops/<camera>/*.jpg`` in it."""
    root = tmp_path_factory.mktemp("examples")
    camera_folders(persons, root / "crops")
    return root


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_it_runs(file, crops):
    output = run_program(file.read_text(), crops)
    assert re.search(TOLD[file.stem], output), output


@pytest.mark.parametrize(
    "file", [f for f in EXAMPLES if LIGHTNINGS[0] in f.read_text()], ids=lambda file: file.stem
)
def test_it_runs_on_the_other_lightning(file, crops):
    pytest.importorskip("lightning")
    program = file.read_text().replace(*LIGHTNINGS)
    assert "pytorch_lightning" not in program
    assert "clusters" in run_program(program, crops, LIGHTNING_REID_BASE="lightning")
