"""Settings and files shared by the tests of models."""

import pytest
import torch


@pytest.fixture
def pretrained_mobilenet(monkeypatch, shared):
    """The file of torchvision's mobilenet_v2 weights, in the folder that torch.hub looks in."""
    hub = shared / "weights" / "hub"
    monkeypatch.setattr(torch.hub, "_hub_dir", str(hub))
    return hub / "checkpoints" / "mobilenet_v2-b0353104.pth"


@pytest.fixture
def empty_hub(monkeypatch, tmp_path):
    """A folder for downloads with nothing in it, and no connection to fill it."""

    def fail(url, *args, **kwargs):
        raise OSError("no connection")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    return tmp_path / "hub" / "checkpoints"
