import shutil

import pytest
import pytorch_lightning as pl
import torch
from command_line import run
from small_methods import Cells, Log, make, market, one_line_error, same_state, state_of, train
from torch.nn.functional import cross_entropy

from lightning_reid import Supervised
from lightning_reid.errors import InputError
from lightning_reid.losses import batch_hard_triplet_loss

FIT = ["--model=Supervised", "--trainer.max_epochs=1", "--evaluate=false"]


@pytest.fixture(scope="module")
def fewer(persons, tmp_path_factory):
    """The same data without its last two training identities."""
    copy = tmp_path_factory.mktemp("data") / "fewer"
    shutil.copytree(persons, copy)
    for file in (copy / "bounding_box_train").iterdir():
        if file.name[:4] in ("0005", "0006"):
            file.unlink()
    return copy


@pytest.fixture(scope="module")
def saved(persons, tmp_path_factory):
    """A model of six identities and its checkpoint."""
    folder = tmp_path_factory.mktemp("supervised")
    model = make(Supervised)
    runner = train(model, market(persons), folder, 1)
    runner.save_checkpoint(folder / "six.ckpt")
    return model, folder / "six.ckpt"


@pytest.fixture(scope="module")
def run_folder(persons, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "supervised"
    run("fit", persons, folder, *FIT)
    return folder


def test_the_loss_is_the_sum_of_its_parts(persons, tmp_path):
    log = Log()
    model = make(Supervised, triplet_weight=0.3)
    train(model, market(persons), tmp_path, 2, log)
    for logged in log.epochs:
        parts = logged["train/loss_identities"] + 0.3 * logged["train/loss_triplets"]
        assert logged["train/loss"] == pytest.approx(parts, rel=1e-5)
        assert logged["train/loss_identities"] > 0
        assert logged["train/loss_triplets"] > 0


def test_the_parts_are_what_the_paper_says(persons, tmp_path):
    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            # training mode: the batch norm sees this batch; its statistics are put back
            before = state_of(pl_module)
            pooled = pl_module.network.features(batch["image"])
            logits = pl_module.head(pl_module.network.neck(pooled))
            pl_module.load_state_dict(before)
            identities = trainer.datamodule.training_labels("full")[batch["index"]]
            self.expected = (
                cross_entropy(logits, identities, label_smoothing=0.2),
                batch_hard_triplet_loss(pooled, identities, margin=0.7),
            )

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            logged = trainer.callback_metrics
            names = ("train/loss_identities", "train/loss_triplets")
            for name, value in zip(names, self.expected, strict=True):
                torch.testing.assert_close(logged[name], value.detach())

    model = make(Supervised, label_smoothing=0.2, margin=0.7)
    train(model, market(persons, batches_per_epoch=3), tmp_path, 1, Watch())


def test_labels_are_the_identities_and_made_once(persons, tmp_path):
    class Counted(Supervised):
        made = 0

        def label(self, *args):
            self.made += 1
            return super().label(*args)

    model, data = make(Counted), market(persons)
    train(model, data, tmp_path, 3)
    assert model.made == 1
    expected = [sample.identity - 1 for sample in data.train_samples]  # 1 to 6 in this data
    assert model.current_labels().hard.tolist() == expected
    assert model.head.weight.shape == (6, 24)


def test_a_checkpoint_loads_before_any_data_is_known(saved):
    model, file = saved
    loaded = Supervised.load_from_checkpoint(file, backbone=Cells(), weights_only=True)
    assert loaded.head_size == 6
    assert same_state(state_of(loaded), state_of(model))
    assert loaded.labels is None


def test_the_command_line_tests_a_checkpoint(run_folder, persons, fewer):
    done = run("test", fewer, run_folder, "--model=Supervised", "--ckpt_path=last")
    assert done.model.head_size == 6
    written = torch.load(run_folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert same_state(state_of(done.model), written["state_dict"])
    assert 0 < done.trainer.callback_metrics["test/mAP"] <= 1


def test_other_data_gets_a_new_head(saved, persons, fewer, tmp_path):
    def weights_at_start(root):
        class Watch(pl.Callback):
            def on_train_start(self, trainer, pl_module):
                self.state = state_of(pl_module)
                held = {id(p) for g in trainer.optimizers[0].param_groups for p in g["params"]}
                assert id(pl_module.head.weight) in held

        watch = Watch()
        loaded = Supervised.load_from_checkpoint(saved[1], backbone=Cells(), weights_only=True)
        train(loaded, market(root), tmp_path, 1, watch)
        assert loaded.head.weight.shape == (loaded.head_size, 24)
        assert len(loaded.current_labels()) == len(market_samples(root))
        return watch.state

    before, again, other = state_of(saved[0]), weights_at_start(persons), weights_at_start(fewer)
    assert same_state(again, before)  # the same data: the head stays
    assert other.pop("head.weight").shape == (4, 24)
    del before["head.weight"]
    assert same_state(other, before)


def market_samples(root):
    data = market(root)
    data.setup("fit")
    return data.train_samples


def test_a_run_does_not_go_on_with_other_people(saved, fewer, tmp_path):
    with pytest.raises(InputError, match="data with 6 classes, this data has 4"):
        train(make(Supervised), market(fewer), tmp_path, 2, checkpoint=saved[1])


def test_the_command_line_refuses_other_people_in_one_line(
    run_folder, fewer, tmp_path, monkeypatch
):
    last = run_folder / "checkpoints" / "last.ckpt"
    config = (run_folder / "config.yaml").read_text()
    options = (*FIT, "--trainer.max_epochs=2", f"--ckpt_path={last}")
    message = one_line_error(monkeypatch, fewer, tmp_path / "run", *options)
    assert "data with 6 classes, this data has 4" in message
    assert (run_folder / "config.yaml").read_text() == config


def test_a_run_does_not_go_on_with_other_images_of_as_many_people(saved, persons, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(persons, copy)
    next((copy / "bounding_box_train").glob("0001*")).unlink()
    with pytest.raises(InputError, match="71"):
        train(make(Supervised), market(copy), tmp_path, 2, checkpoint=saved[1])


def test_identities_have_to_be_known(persons, tmp_path, monkeypatch):
    options = [*FIT, "--data=small_methods.Unlabelled"]
    message = one_line_error(monkeypatch, persons, tmp_path / "run", *options)
    assert "have no identities, which this method needs" in message
    with pytest.raises(InputError, match="Supervised needs the identities"):
        make(Supervised).label(torch.eye(2), torch.zeros(2), epoch=0)


def test_without_triplets_and_groups_it_is_plain_classification(persons, tmp_path):
    log = Log()
    model = make(Supervised, sampling="images", triplet_weight=0.0, label_smoothing=0.0)
    train(model, market(persons), tmp_path, 1, log)
    assert model.labels.sampling == "images"
    (logged,) = log.epochs
    assert "train/loss_triplets" not in logged
    assert logged["train/loss"] == logged["train/loss_identities"]
    with pytest.raises(InputError, match="sampling"):
        make(Supervised, sampling="cameras")
