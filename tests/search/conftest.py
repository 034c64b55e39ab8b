"""A trained model, and galleries that may be spoilt."""

import shutil

import pytest
from briefly_trained import train


@pytest.fixture(scope="session")
def checkpoint(persons, tmp_path_factory):
    """Of a trained model; read only."""
    return train(persons, tmp_path_factory.mktemp("searched") / "run")


@pytest.fixture
def model(checkpoint, tmp_path):
    """A checkpoint in a run folder of its own."""
    run = shutil.copytree(checkpoint.parents[1], tmp_path / "run")
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture
def crops(persons, tmp_path):
    """A folder of images that may be spoilt."""
    return shutil.copytree(persons / "bounding_box_test", tmp_path / "crops")


@pytest.fixture
def query(persons):
    """An image that is not in the gallery."""
    return sorted((persons / "query").glob("*.jpg"))[0]
