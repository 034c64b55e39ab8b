"""Small data sets on disk, in any layout, with anything wrong with them."""

import shutil

import numpy as np
import pytest
from PIL import Image

from lightning_reid import ReIDDataModule
from lightning_reid.data import Sample


class ListedImages(ReIDDataModule):
    """A data set whose splits are lists; a missing one cannot be read."""

    def __init__(self, root, splits, **kwargs):
        super().__init__(root, **{"batch_size": 8, "size": (32, 16), **kwargs})
        self.splits = splits

    def samples(self, split):
        if split not in self.splits:
            raise FileNotFoundError(f"no list of {split} images")
        return self.splits[split]

    @property
    def has_test(self):
        return "query" in self.splits


@pytest.fixture
def copy(persons, tmp_path):
    """A copy of the drawn people, to be spoilt."""
    return shutil.copytree(persons, tmp_path / "persons")


@pytest.fixture
def draw(tmp_path):
    """Draws a picture of its own for each name, of blocks that survive compression."""

    def drawn(name, size=(32, 16), kind=".png", seed=None):
        rng = np.random.default_rng([*name.encode()] if seed is None else seed)
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        file = tmp_path / f"{name}{kind}"
        Image.fromarray(pixels).resize(size[::-1], Image.Resampling.NEAREST).save(file)
        return str(file)

    return drawn


@pytest.fixture
def crowd(draw):
    """Lists ``people`` in each of the cameras, with as many images each, drawn on the way."""

    def listed(split, people, cameras=("c1", "c2"), images=2, known=True, **drawing):
        name = "{}_{}_{}_{}".format
        return [
            Sample(
                draw(name(split, person, camera, i), **drawing), camera, person if known else None
            )
            for person in people
            for camera in cameras
            for i in range(images)
        ]

    return listed


@pytest.fixture
def listed_images(tmp_path):
    """Makes a data module of lists; keyword arguments as for ReIDDataModule."""
    return lambda splits, **kwargs: ListedImages(tmp_path, splits, **kwargs)


@pytest.fixture
def sound(crowd):
    """A data set with nothing wrong."""
    return {
        "train": crowd("train", range(6)),
        "query": crowd("query", range(10, 13), images=1),
        "gallery": crowd("gallery", range(10, 14)),
    }
