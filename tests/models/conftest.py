"""Settings and files shared by the tests of models."""

from pathlib import Path

import pytest
import torch

SHARED_WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """On maps this small, threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def pretrained_mobilenet(monkeypatch):
    """The file of torchvision's mobilenet_v2 weights, in the folder that torch.hub looks in."""
    file = SHARED_WEIGHTS / "hub" / "checkpoints" / "mobilenet_v2-b0353104.pth"
    if not file.is_file():
        pytest.skip(f"pretrained weights are not there: {file}")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(SHARED_WEIGHTS / "hub"))
    return file


@pytest.fixture
def empty_hub(monkeypatch, tmp_path):
    """A folder for downloads with nothing in it, and no connection to fill it."""

    def fail(url, *args, **kwargs):
        raise OSError("no connection")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    return tmp_path / "hub" / "checkpoints"
