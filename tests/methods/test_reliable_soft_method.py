import shutil

import pytest
import pytorch_lightning as pl
import torch
from command_line import run
from small_methods import Log, make, market, one_line_error, same_state, state_of, train
from torch.nn.functional import cross_entropy

from lightning_reid import ReliableSoftLabels
from lightning_reid.callbacks import NoClustersError, PseudoLabelCallback
from lightning_reid.clustering import KMeansClusterer
from lightning_reid.errors import InputError

# with a network that has seen nothing, images of one camera are much alike
SOME = {"threshold": 0.98, "num_clusters": 5, "clusters_per_camera": 3}


class Kept(ReliableSoftLabels):
    """Keeps the state at the start and the end of every epoch, and what each labelling made."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.made, self.begun, self.ended, self.states, self.drawn = {}, [], [], [], []

    def label(self, features, cameras, epoch, known=None):
        self.made[epoch] = super().label(features, cameras, epoch, known)
        return self.made[epoch]

    def training_step(self, batch, batch_idx):
        if batch_idx == 0:  # after everything that happens when an epoch starts
            (optimizer,) = self.trainer.optimizers
            self.begun.append((state_of(self.network), state_of(self.head)))
            self.states.append(len(optimizer.state))
        self.drawn += batch["index"].tolist()
        return super().training_step(batch, batch_idx)

    def on_train_epoch_end(self):
        self.ended.append((state_of(self.network), state_of(self.head)))


def fitted(persons, folder, epochs, *callbacks, **kwargs):
    model = make(Kept, **{"epochs_per_round": 2, "learning_rate": 0.1, **SOME, **kwargs})
    source = state_of(model.network)
    train(model, market(persons), folder, epochs, *callbacks)
    return model, source


def test_a_round_starts_from_the_source(persons, tmp_path):
    model, source = fitted(persons, tmp_path, 5)
    for epoch, (network, _) in enumerate(model.begun):
        assert same_state(network, source) == (epoch in (0, 2, 4))
        assert not same_state(model.ended[epoch][0], source)
    # the optimizer remembers nothing of the round before
    assert [count > 0 for count in model.states] == [False, True, False, True, False]


def test_every_round_has_a_classifier_of_its_own(persons, tmp_path):
    first, _ = fitted(persons, tmp_path, 5)
    heads = [head for _, head in first.begun]
    for head in (heads[0], heads[2], heads[4]):
        assert not head["bias"].any()
        assert 0.0005 < head["weight"].std() < 0.002
    assert not same_state(heads[0], heads[2])
    assert not same_state(heads[2], heads[4])
    # whatever was drawn otherwise, seed and round decide
    other, _ = fitted(persons, tmp_path, 3, epochs_per_round=1, dropout=0.0)
    again = [head for _, head in other.begun]
    assert same_state(heads[0], again[0])
    assert same_state(heads[2], again[1])
    assert same_state(heads[4], again[2])
    seeded, _ = fitted(persons, tmp_path, 1, seed=1)
    assert not any(same_state(seeded.begun[0][1], head) for head in heads)


def test_training_goes_on_where_rounds_do_not_restart(persons, tmp_path):
    model, source = fitted(persons, tmp_path, 3, restart=False)
    assert model.source is None
    assert not same_state(model.begun[2][0], source)
    assert same_state(model.begun[2][0], model.ended[1][0])
    # clusters of two rounds have nothing to do with each other
    assert not model.begun[2][1]["bias"].any()


@pytest.mark.parametrize("epochs", [3, 4])
def test_the_network_that_a_run_ends_with_is_trained(epochs, persons, tmp_path):
    model, source = fitted(persons, tmp_path, epochs)
    assert same_state(state_of(model.network), model.ended[-1][0])
    assert same_state(state_of(model.head), model.ended[-1][1])
    assert not same_state(state_of(model.network), source)


def test_labels_are_made_once_a_round(persons, tmp_path):
    model, _ = fitted(persons, tmp_path, 5)
    assert list(model.made) == [0, 2, 4]
    assert torch.equal(model.current_labels().soft, model.made[4].soft)
    # after the last epoch too, for whoever makes the run longer
    assert list(fitted(persons, tmp_path, 4)[0].made) == [0, 2, 4]


def test_a_run_made_longer_begins_its_round_from_the_source(persons, tmp_path):
    short = make(Kept, epochs_per_round=2, dropout=0.0, **SOME)
    source = state_of(short.network)
    train(short, market(persons), tmp_path, 2).save_checkpoint(tmp_path / "two.ckpt")
    longer = make(Kept, epochs_per_round=2, dropout=0.0, **SOME)
    with torch.no_grad():
        longer.network.backbone.trunk.mix.weight.zero_()  # the checkpoint's source holds
    train(longer, market(persons), tmp_path, 3, checkpoint=tmp_path / "two.ckpt")
    assert same_state(longer.begun[0][0], source)
    assert longer.states == [0]


def test_the_schedule_begins_anew_with_every_round():
    model = make(ReliableSoftLabels, epochs_per_round=3, milestones=(2,), warmup_epochs=0)
    rates = [model.learning_rate_factor(epoch) for epoch in range(7)]
    assert rates == pytest.approx([1, 1, 0.1, 1, 1, 0.1, 1])


def unselected(labels):
    """Images whose soft label is no reliable one."""
    return set((labels.soft.max(1).values < 1).nonzero()[:, 0].tolist())


def test_reliable_labels_only(persons, tmp_path):
    model, _ = fitted(persons, tmp_path, 1, soft=False)
    left_out = unselected(model.made[0])
    assert 0 < len(left_out) < 72
    assert {i for i, hard in enumerate(model.made[0].hard.tolist()) if hard < 0} == left_out
    assert model.drawn
    assert not left_out & set(model.drawn)


def test_soft_labels_are_trained_on_too(persons, tmp_path):
    log = Log()
    model = make(Kept, epochs_per_round=2, **SOME)
    train(model, market(persons, batches_per_epoch=9), tmp_path, 1, log)
    labels = model.made[0]
    assert unselected(labels) & set(model.drawn)
    assert set(model.drawn) == set(range(72))
    torch.testing.assert_close(labels.soft.sum(1), torch.ones(72))
    reliable = 1 - len(unselected(labels)) / 72
    assert labels.statistics["reliable_share"] == pytest.approx(reliable)
    assert all(logged["train/loss"] > 0 for logged in log.epochs)


def test_the_loss_is_the_cross_entropy_with_the_labels(persons, tmp_path):
    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            before = state_of(pl_module)
            logits = pl_module.head(pl_module.network.features(batch["image"]))
            pl_module.load_state_dict(before)
            expected = cross_entropy(logits, pl_module.labels.soft[batch["index"]])
            self.expected = expected.detach()

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            torch.testing.assert_close(outputs["loss"].detach(), self.expected)

    fitted(persons, tmp_path, 1, Watch(), dropout=0.0)


def test_no_selected_image_reaches_the_user(persons, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="lower threshold"):
        fitted(persons, tmp_path, 1, threshold=1.0)
    options = ["--model=ReliableSoftLabels", "--model.threshold=1.0", "--evaluate=false"]
    message = one_line_error(monkeypatch, persons, tmp_path / "run", *options)
    assert "threshold is 1.0 and the largest similarity" in message


def test_a_later_round_that_selects_nothing_keeps_the_labels(persons, tmp_path, recwarn):
    class Picky(Kept):
        def label(self, *args):
            self.threshold = 1.0 if self.made else 0.9
            return super().label(*args)

    model = make(Picky, epochs_per_round=2, **SOME)
    train(model, market(persons), tmp_path, 3)
    assert torch.equal(model.current_labels().hard, model.made[0].hard)
    assert any("labels before are kept" in str(w.message) for w in recwarn)


def test_a_single_cluster_reaches_the_user(persons, tmp_path):
    with pytest.raises(NoClustersError, match="found 1 clusters"):
        fitted(persons, tmp_path, 1, num_clusters=1)


def test_a_single_selected_image_reaches_the_user(persons, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(persons, copy)
    of_camera = sorted((copy / "bounding_box_train").glob("*_c3*"))
    for file in of_camera[1:]:
        file.unlink()
    with pytest.raises(InputError):
        fitted(copy, tmp_path, 1, threshold=0.999999)


def test_few_clusters_are_no_reason_to_warn(persons, tmp_path, recwarn):
    model = make(ReliableSoftLabels, **{**SOME, "num_clusters": 2})
    train(model, market(persons, batch_size=32), tmp_path, 1)
    assert not [w for w in recwarn if "groups repeat within a batch" in str(w.message)]


def test_every_round_has_labels_whatever_the_interval_of_the_callback(persons, tmp_path):
    model, source = fitted(persons, tmp_path, 3, PseudoLabelCallback(interval=3))
    assert list(model.made) == [0, 2]
    assert same_state(model.begun[2][0], source)


@pytest.mark.parametrize("setting", [{"epochs_per_round": 0}, {"num_clusters": 0}])
def test_impossible_settings_are_told(setting, persons, tmp_path):
    with pytest.raises(InputError):
        fitted(persons, tmp_path, 1, **setting)


@pytest.mark.parametrize(("count", "size"), [(72, 4), (10, 2), (15100, 755)])
def test_one_cluster_for_twenty_images(count, size):
    class Data:
        train_cameras = torch.zeros(count)

    assert make(ReliableSoftLabels).head_size_of(Data) == size
    assert make(ReliableSoftLabels, num_clusters=7).head_size_of(Data) == 7


def test_the_classifier_has_a_row_for_each_cluster(persons, tmp_path):
    model, _ = fitted(persons, tmp_path, 1, num_clusters=None)
    assert model.head.weight.shape == (4, 24)
    assert model.current_labels().soft.shape == (72, 4)


@pytest.mark.parametrize("options", [{"center": "medoid"}, {"select": "own"}])
def test_other_choices_run(options, persons, tmp_path):
    model, _ = fitted(persons, tmp_path, 2, epochs_per_round=1, **options)
    assert model.current_labels().num_clusters > 1


def test_another_clusterer_is_used_and_kept(persons, tmp_path):
    clusterer = KMeansClusterer(num_clusters=3)
    model, _ = fitted(persons, tmp_path, 1, clusterer=clusterer)
    assert model.current_labels().num_clusters == 3
    assert model.hparams["clusterer"]["init_args"]["num_clusters"] == 3


def test_a_run_starts_from_the_backbone_of_a_supervised_one(persons, tmp_path):
    source = tmp_path / "source"
    run("fit", persons, source, "--model=Supervised", "--trainer.max_epochs=1", "--evaluate=false")
    weights = source / "checkpoints" / "last.ckpt"
    options = ["--model=ReliableSoftLabels", f"--model.weights={weights}", "--evaluate=false"]
    options += ["--model.threshold=0.5", "--trainer.max_epochs=1", "--seed_everything=7"]
    done = run("fit", persons, tmp_path / "run", *options)
    written = torch.load(weights, weights_only=True)["state_dict"]
    started = done.model.source.weights
    of_backbone = [name for name in started if name.startswith("backbone.")]
    assert len(of_backbone) > 100
    for name in of_backbone:
        assert torch.equal(started[name], written[f"network.{name}"]), name
    learnt = state_of(done.model.network)
    assert not same_state(learnt, started)


def test_kmeans_sees_pooled_features_as_they_are(persons, tmp_path):
    seen = []

    class Watched(ReliableSoftLabels):
        def label(self, features, *rest, **kwargs):
            seen.append(features)
            return super().label(features, *rest, **kwargs)

    model = make(Watched, **SOME)
    images = torch.rand(4, 3, 32, 16)
    model.eval()
    assert torch.equal(model.label_features(images), model.network.features(images))
    train(model, market(persons), tmp_path, 1)
    lengths = seen[0].norm(dim=1)
    assert lengths.std() > 1e-3
    with_clusterer = make(ReliableSoftLabels, clusterer=KMeansClusterer(5)).eval()
    torch.testing.assert_close(with_clusterer.label_features(images).norm(dim=1), torch.ones(4))


def test_a_number_of_clusters_for_each_camera(persons, tmp_path, monkeypatch):
    model, _ = fitted(persons, tmp_path, 1, clusters_per_camera=[2, 3, 4])
    assert model.clusters_per_camera == [2, 3, 4]
    with pytest.raises(InputError, match="clusters_per_camera has 2 numbers, .*from 3 cameras"):
        fitted(persons, tmp_path, 1, clusters_per_camera=[2, 3])
    with pytest.raises(InputError, match="clusters_per_camera"):
        make(ReliableSoftLabels, clusters_per_camera=[2, 0, 3])
    options = ["--model=ReliableSoftLabels", "--model.clusters_per_camera=[2,3]"]
    message = one_line_error(monkeypatch, persons, tmp_path / "run", *options, "--evaluate=false")
    assert "give one for each" in message
