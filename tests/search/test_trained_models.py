"""Models from checkpoints alone."""

import shutil

import pytest
import torch

from lightning_reid.errors import InputError
from lightning_reid.search import TrainedModel


def test_a_run_and_its_checkpoint_are_one_model(checkpoint):
    model = TrainedModel.load(checkpoint)
    assert model.size == (32, 16)
    again = TrainedModel.load(checkpoint.parents[1])
    assert again.source == checkpoint
    assert again.fingerprint == model.fingerprint
    assert not model.network.training


def test_the_fingerprint_follows_weights_and_preprocessing(checkpoint, tmp_path):
    model = TrainedModel.load(checkpoint)
    assert TrainedModel.load(checkpoint, (64, 32)).fingerprint != model.fingerprint
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["network.neck.running_mean"][0] += 1e-3
    torch.save(content, tmp_path / "changed.ckpt")
    changed = TrainedModel.load(tmp_path / "changed.ckpt", model.size)
    assert changed.fingerprint != model.fingerprint


def test_without_its_run_a_checkpoint_needs_a_size(checkpoint, tmp_path):
    alone = shutil.copy(checkpoint, tmp_path / "alone.ckpt")
    with pytest.raises(InputError, match=r"config.yaml does not tell the size .* --size"):
        TrainedModel.load(alone)
    (tmp_path / "config.yaml").write_text("data: {init_args: {size: '${.other}'}}")
    with pytest.raises(InputError, match="--size"):
        TrainedModel.load(alone)
    fingerprint = TrainedModel.load(checkpoint).fingerprint
    assert TrainedModel.load(alone, (32, 16)).fingerprint == fingerprint


OURS = {
    "lightning_reid": {"method": "O2CAP"},
    "state_dict": {},
    "epoch": 1,
    "global_step": 2,
    "pytorch-lightning_version": "2.6.0",
}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"state_dict": {"conv.weight": torch.zeros(1)}}, "not written by a run of lightning_reid"),
        (torch.zeros(3), "not written by a run of lightning_reid"),
        ({**OURS, "hyper_parameters": {}}, "tell its backbone"),
        ({**OURS, "hyper_parameters": {"backbone": "resnet18"}}, "do not fit the network"),
    ],
)
def test_other_checkpoints_are_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=f"other.ckpt .*{words}|{words}.*other.ckpt|{words}"):
        TrainedModel.load(tmp_path / "other.ckpt", (32, 16))


def test_no_checkpoint(tmp_path):
    (tmp_path / "broken.ckpt").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="broken.ckpt is not a checkpoint"):
        TrainedModel.load(tmp_path / "broken.ckpt")
    for given in (tmp_path, tmp_path / "nowhere.ckpt"):
        with pytest.raises(FileNotFoundError, match=f"no checkpoint {given}"):
            TrainedModel.load(given)
