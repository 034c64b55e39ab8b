"""What a run does about images that cannot be read."""

import shutil
import warnings

import pytest
import torch
from command_line import EASY_CLUSTERS, run
from damaged_images import png_with_damaged_pixels
from every_method import METHODS
from small_methods import make, market, one_line_error, train

from lightning_reid import CAP, PseudoLabelCallback


@pytest.fixture
def damaged(persons, tmp_path):
    """Drawn people, two of whose training images and one gallery image are damaged."""
    root = shutil.copytree(persons, tmp_path / "damaged")
    files = [
        *sorted((root / "bounding_box_train").glob("*"))[3:20:9],
        sorted((root / "bounding_box_test").glob("*"))[5],
    ]
    files[0].write_bytes(png_with_damaged_pixels(files[0]))  # libpng ends the process over it
    for file in files[1:]:
        file.write_bytes(file.read_bytes()[:300])
    return root, [file.name for file in files]


def test_a_run_stops_and_names_the_image(damaged, tmp_path, monkeypatch):
    root, (first, second, _) = damaged
    message = one_line_error(
        monkeypatch, root, tmp_path / "run", "--evaluate=false", *EASY_CLUSTERS
    )
    assert first in message or second in message
    assert "cannot read image" in message


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_goes_on_without_them_and_names_them_at_the_end(damaged, tmp_path, workers):
    root, names = damaged
    skip = ["--data.on_error=skip", f"--data.num_workers={workers}", *EASY_CLUSTERS]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = run("fit", root, tmp_path / "run", *skip)
    told = [str(w.message) for w in caught if "could not be read" in str(w.message)]
    assert all(any(name in message for message in told) for name in names)
    paths = made.datamodule.paths("train")
    bad = torch.tensor([any(name in path for name in names) for path in paths])
    assert bad.sum() == 2
    assert (made.model.labels.hard[bad] == -1).all()
    assert len(made.model.labels) == len(paths)


def test_a_camera_of_which_no_image_can_be_read_is_no_obstacle(persons, tmp_path):
    root = shutil.copytree(persons, tmp_path / "damaged")
    for file in (root / "bounding_box_train").glob("*_c1*"):
        file.write_bytes(file.read_bytes()[:300])
    data = market(root, on_error="skip", batches_per_epoch=2)
    made = make(CAP)
    with pytest.warns(UserWarning, match="could not be read"):
        train(made, data, tmp_path / "run", 1)
    assert (made.labels.hard[data.train_cameras == 0] == -1).all()
    assert made.labels.num_clusters > 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_without_them(method, damaged, tmp_path):
    root, names = damaged
    seen = []

    class Watched(method):
        def training_step(self, batch, batch_idx):
            seen.extend(batch["index"].tolist())
            return super().training_step(batch, batch_idx)

    data = market(root, on_error="skip", batches_per_epoch=6)
    settings = {"num_clusters": 4} if "Soft" in method.__name__ else {}
    with pytest.warns(UserWarning, match="could not be read: 2 images"):
        train(make(Watched, **settings), data, tmp_path / "run", 2)
    drawn = {data.paths("train")[i].rsplit("/", 1)[1] for i in seen}
    assert len(drawn) > 20
    assert not drawn & {*names}


def test_an_image_that_vanishes_while_training(persons, tmp_path):
    root = shutil.copytree(persons, tmp_path / "persons")
    data = market(root, on_error="skip", batches_per_epoch=30)
    gone = []

    class Vanish(PseudoLabelCallback):
        """Once labels are made, images that will be drawn disappear."""

        def on_train_start(self, trainer, pl_module):
            for path in list(data.paths("train"))[:40:2]:
                (root / path).unlink()
                gone.append(path)

    with pytest.warns(UserWarning, match="could not be read: 20 images"):
        train(make(METHODS[0], clusterer=None), data, tmp_path / "run", 1, Vanish(interval=9))
    assert len(gone) == 20
