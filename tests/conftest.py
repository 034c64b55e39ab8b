"""What many tests need: the project's reference data where present, and a few drawn people."""

import logging
import os
import site
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from few_pictures import FEW, draw_only
from guard import sitecustomize as guard
from time_limit import pytest_addoption, pytest_runtest_call, pytest_runtest_setup  # noqa: F401

from lightning_reid.data.synthetic import draw_synthetic_persons

SHARED = Path(__file__).resolve().parents[2] / "shared"
_CACHES = ("HF_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR")
TINY = {"num_train_identities": 6, "num_test_identities": 4, "num_cameras": 3}


# files that take longest come first, so that no process ends long after the others
_LONG = (
    "test_exact_resume.py",
    "test_finished_runs.py",
    "test_readme.py",
    "test_distributed.py",
    "test_dead_ranks.py",
    "test_watching_a_run.py",
    "test_unwritable_folders.py",
    "test_ddp_equality.py",
    "test_determinism.py",
    "test_onnx_export.py",
    "test_cli.py",
    "test_lightning.py",
    "test_examples.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run the whole suite in two processes where pytest-xdist is installed.

    Files stay together, as their tests share fixtures; slow tests share little. ``-n 0`` runs the
    suite in one process; single files, where a debugger and ``-s`` should work, are as well.
    """
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    chosen = getattr(config.option, "numprocesses", 0) is not None or config.option.collectonly
    if not (is_worker or chosen or config.option.file_or_dir):
        config.option.numprocesses = 2
        config.option.dist = "worksteal" if config.option.markexpr == "slow" else "loadfile"
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Put the files of :data:`_LONG` first."""
    order = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


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
    # small networks are many times slower when their threads wait for each other
    os.environ["OMP_NUM_THREADS"] = "1"


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


@pytest.fixture(autouse=True)
def pictures(request):
    """Draw few pictures, unless the test is marked with ``all_pictures``."""
    draw_only(None if "all_pictures" in request.keywords else FEW)
    yield
    draw_only(None)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Let this process use one thread, as those that it starts do."""
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
