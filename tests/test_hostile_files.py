"""Files that would run a program if their pickles were read."""

import os
import shutil

import briefly_trained
import numpy as np
import pytest
import torch
from command_line import run

from lightning_reid.cli import run_command_line
from lightning_reid.errors import InputError
from lightning_reid.labels import read_local_labels
from lightning_reid.search import Embedder, Gallery, TrainedModel


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, sign):
        self.sign = sign

    def __reduce__(self):
        return os.mkdir, (str(self.sign),)


@pytest.fixture(scope="module")
def checkpoint(persons, tmp_path_factory):
    return briefly_trained.train(persons, tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def sign(tmp_path):
    """The folder that must not be there; a trap that works would leave it."""
    sign = tmp_path / "sign"
    torch.save(Trap(sign), tmp_path / "trap")
    torch.load(tmp_path / "trap", weights_only=False)
    sign.rmdir()
    yield sign
    assert not sign.exists()


@pytest.fixture
def trapped(checkpoint, sign, tmp_path):
    """A run's checkpoint with something more in it, beside the run's settings."""
    shutil.copytree(checkpoint.parents[1], tmp_path / "run")
    content = torch.load(checkpoint, weights_only=True)
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    torch.save({**content, "callbacks": {"Trap": Trap(sign)}}, file)
    return file


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_commands_refuse_a_checkpoint_with_code(command, trapped, persons, tmp_path):
    with pytest.raises(
        InputError, match=r"last.ckpt holds more than tensors \(\w+.mkdir\).*was not loaded"
    ):
        run(command, persons, tmp_path / "other", f"--ckpt_path={trapped}")


def test_search_and_export_refuse_it(trapped, persons):
    ckpt_path = f"--ckpt_path={trapped}"
    gallery = persons / "bounding_box_test"
    for words in (["search", f"--gallery={gallery}", f"--query={gallery}"], ["export"]):
        with pytest.raises(InputError, match="was not loaded"):
            run_command_line([*words, ckpt_path])


def test_it_is_no_pretrained_backbone_either(trapped, persons, tmp_path):
    with pytest.raises(ValueError, match=r"\w+.mkdir.*was not loaded"):
        run("fit", persons, tmp_path / "other", f"--model.weights={trapped}")


def test_label_files_are_arrays_alone(sign, tmp_path):
    columns = {"names": np.array(["a.jpg"]), "cameras": np.zeros(1, dtype=int)}
    file = tmp_path / "local_labels.npz"
    np.savez(file, local_labels=np.array([Trap(sign)], dtype=object), **columns)
    with pytest.raises(InputError, match="local_labels.npz cannot be read: .*holds object"):
        read_local_labels(file)


def test_so_is_the_index_of_a_gallery(checkpoint, sign, persons, tmp_path):
    embedder = Embedder(TrainedModel.load(checkpoint), device="cpu")
    Gallery(embedder, tmp_path / "index").add(persons / "bounding_box_test")
    (table,) = (tmp_path / "index").glob("*.npz")
    with np.load(table) as columns:
        np.savez(table, **{**columns, "told": np.array([Trap(sign)], dtype=object)})
    with pytest.raises(InputError, match="the index .* cannot be read"):
        Gallery(embedder, tmp_path / "index")


def test_settings_are_values_alone(checkpoint, sign, persons, tmp_path):
    shutil.copytree(checkpoint.parents[1], tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(f"data: !!python/object/apply:pathlib.Path.touch [{sign}]\n")
    with pytest.raises(InputError, match="config.yaml does not tell the size"):
        TrainedModel.load(tmp_path / "run")
    with pytest.raises(
        InputError, match=r"config.yaml is no YAML: could not determine a constructor"
    ):
        run("fit", persons, tmp_path / "other", f"--config={config}")
