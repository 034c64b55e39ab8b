"""What many tests need: the project's reference data where present, and a few drawn people."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_reid.data.synthetic import draw_synthetic_persons

SHARED = Path(__file__).resolve().parents[2] / "shared"
TINY = {"num_train_identities": 6, "num_test_identities": 4, "num_cameras": 3}


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run the whole suite in two processes, file by file, where pytest-xdist is installed.

    ``-n 0`` runs it in one; single files, where a debugger and ``-s`` should work, are as well.
    """
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    chosen = getattr(config.option, "numprocesses", 0) is not None or config.option.collectonly
    if not (is_worker or chosen or config.option.file_or_dir):
        config.option.numprocesses, config.option.dist = 2, "loadfile"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small networks are many times slower when their threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def heard_logs():
    """What Lightning logs reaches ``caplog``, whoever imported it first."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning"):
        logging.getLogger(name).propagate = True


@pytest.fixture(scope="session")
def shared():
    """The folder of reference data beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("needs the reference data in ../shared")
    return SHARED


@pytest.fixture(scope="session")
def golden(shared):
    """Loads inputs and outputs of a published implementation by name."""
    return lambda name: dict(np.load(shared / "golden" / f"{name}.npz"))


@pytest.fixture(scope="session")
def persons(tmp_path_factory):
    """Root of a few drawn people in Market-1501 layout; read only."""
    root = tmp_path_factory.mktemp("data") / "persons"
    return draw_synthetic_persons(
        root, **TINY, images_per_camera=4, num_distractors=3, progress=False
    )
