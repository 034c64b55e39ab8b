"""What many tests need: the project's reference data where present, and a few drawn people."""

import logging
import os
import site
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from guard import sitecustomize as guard

from lightning_reid.data.synthetic import draw_synthetic_persons

SHARED = Path(__file__).resolve().parents[2] / "shared"
_CACHES = ("HF_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR")
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


@pytest.hookimpl(trylast=True)  # once pytest knows its temporary folder
def pytest_configure(config):
    """Give the session a home, caches and a shared temporary folder of its own.

    Set before the tests are collected, as libraries look for their caches when they are imported.
    The processes of pytest-xdist inherit them.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    base = config._tmp_path_factory.getbasetemp()
    for name in [name for name in os.environ if name in _CACHES or name.startswith("XDG_")]:
        del os.environ[name]
    # what a different home would hide from Python and git
    os.environ.setdefault("PYTHONUSERBASE", site.getuserbase())
    os.environ.setdefault("GIT_CONFIG_GLOBAL", str(Path("~/.gitconfig").expanduser()))
    for variable in ("HOME", "TMPDIR", "HYPOTHESIS_STORAGE_DIRECTORY"):
        folder = base / variable.split("_")[0].lower()
        folder.mkdir()
        os.environ[variable] = str(folder)
    tempfile.tempdir = None  # looked for again


@pytest.fixture(scope="session", autouse=True)
def guarded(tmp_path_factory):
    """Keep what the tests of this process write inside the folder of the session.

    Fixtures of modules and sessions find an empty current folder.
    """
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("current"))
    guard.start(Path.home().parent)
    yield
    guard.stop()
    os.chdir(before)


@pytest.fixture(autouse=True)
def own_folder(guarded, tmp_path, monkeypatch):
    """Run every test in its own temporary folder, and fail it if it writes anywhere else."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (lines := guard.recorded()), lines


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
