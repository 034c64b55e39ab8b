import pytest
import pytorch_lightning as pl
import torch
from small_methods import market, train

from lightning_reid import O2CAP, Market1501, PseudoLabelCallback, PseudoLabels
from lightning_reid.callbacks import NoClustersError, label_statistics
from lightning_reid.clustering import DensityClusterer, InfomapClusterer, KMeansClusterer
from lightning_reid.data import Augmentation
from lightning_reid.labels import group_means
from lightning_reid.losses import cluster_contrastive_loss, update_memory


class OwnLabels(pl.LightningModule):
    """Somebody else's module: one linear layer, and labels from a list of givens."""

    def __init__(self, givens):
        super().__init__()
        self.layer = torch.nn.Linear(3 * 32 * 16, 4)
        self.givens = givens
        self.calls = []
        self.drawn = []

    def embed(self, images):
        return torch.nn.functional.normalize(self.layer(images.flatten(1)), dim=1)

    def label(self, features, cameras, epoch):
        assert not torch.is_grad_enabled()
        self.calls.append((epoch, features, cameras))
        hard = self.givens[min(len(self.calls) - 1, len(self.givens) - 1)](len(features))
        return PseudoLabels(hard)

    def adopt(self, labels, features):
        self.labels = labels

    def training_step(self, batch, batch_idx):
        assert set(batch) == {"image", "camera", "index"}
        self.drawn.append((self.current_epoch, self.labels.hard[batch["index"]]))
        return self.embed(batch["image"]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def quarters(n):
    return torch.arange(n) % 4


def halves(n):
    return torch.arange(n) % 2


def first_two_only(n):
    return torch.where(torch.arange(n) < 8, torch.arange(n) % 2, -1)


def one_cluster(n):
    return torch.zeros(n, dtype=torch.int64)


def outliers(n):
    return torch.full((n,), -1)


def data(root, **kwargs):
    settings = {"batch_size": 8, "batches_per_epoch": 3, "num_workers": 0, **kwargs}
    return Market1501(root, size=(32, 16), **settings)


def trainer_in(folder, *callbacks, **kwargs):
    settings = {"max_epochs": 3, "logger": False, "enable_checkpointing": False, **kwargs}
    return pl.Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def fit(
    root, folder, *givens, callback=None, module=None, clusterer=None, data_options=None, **trainer
):
    callback = callback or PseudoLabelCallback()
    module = module or OwnLabels(givens)
    if clusterer is not None:
        module.clusterer = clusterer
    datamodule = data(root, **data_options or {})
    trainer_in(folder, callback, **trainer).fit(module, datamodule)
    return module, callback, datamodule


def test_labels_are_made_before_every_epoch(persons, tmp_path):
    module, callback, datamodule = fit(persons, tmp_path, quarters)
    assert [epoch for epoch, *_ in module.calls] == [0, 1, 2, 3]
    _, features, cameras = module.calls[0]
    assert len(features) == len(datamodule.train_samples)
    expected = [datamodule.camera_names.index(s.camera) for s in datamodule.train_samples]
    assert cameras.tolist() == expected
    assert len(callback.history) == 4


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_is_drawn_by_its_own_labels(persons, tmp_path, num_workers):
    # the labels of epoch 0 and 2 leave most images out: a stale batch would show
    module, *_ = fit(
        persons,
        tmp_path,
        first_two_only,
        quarters,
        first_two_only,
        data_options={"num_workers": num_workers},
    )
    for epoch, drawn in module.drawn:
        assert drawn.max() <= (3 if epoch == 1 else 1)
        assert drawn.min() >= 0


def test_labels_may_be_kept_for_several_epochs(persons, tmp_path):
    module, *_ = fit(persons, tmp_path, quarters, callback=PseudoLabelCallback(interval=2))
    assert [epoch for epoch, *_ in module.calls] == [0, 2]
    with pytest.raises(ValueError, match="interval must be at least 1, not 0"):
        PseudoLabelCallback(interval=0)


def small_cluster(count):
    return torch.where(torch.arange(count) < 4, 0, -1)


@pytest.mark.parametrize(
    ("given", "clusterer", "message"),
    [
        (outliers, DensityClusterer(), "0 clusters .*: raise eps or lower min_samples$"),
        (small_cluster, DensityClusterer(), "1 clusters .*: raise eps or lower min_samples$"),
        (one_cluster, DensityClusterer(), "1 clusters .*: lower eps$"),
        (one_cluster, KMeansClusterer(1), "1 clusters .*: raise num_clusters$"),
        (outliers, InfomapClusterer(), "0 clusters .*: lower min_similarity or min_size$"),
        (outliers, None, "0 clusters .*: change the settings of the clusterer$"),
    ],
)
def test_nothing_to_train_on_stops_with_advice(persons, tmp_path, given, clusterer, message):
    with pytest.raises(NoClustersError, match=message):
        fit(persons, tmp_path, given, clusterer=clusterer)


def test_labels_that_were_not_used_are_not_in_the_history(persons, tmp_path):
    callback = PseudoLabelCallback()
    with pytest.warns(UserWarning, match="labels before are kept"):
        fit(persons, tmp_path, quarters, outliers, outliers, callback=callback)
    assert [labelling["epoch"] for labelling in callback.history] == [0]
    assert callback.history[0]["labels/clusters"] > 1


@pytest.mark.parametrize("given", [outliers, one_cluster])
def test_a_later_failure_keeps_the_labels_before(persons, tmp_path, given):
    with pytest.warns(UserWarning, match="labels before are kept"):
        module, *_ = fit(persons, tmp_path, quarters, given, quarters)
    assert {epoch for epoch, _ in module.drawn} == {0, 1, 2}


def test_fewer_groups_than_a_batch_draws_is_told(persons, tmp_path):
    with pytest.warns(UserWarning, match="2 groups are fewer than the 4"):
        module, *_ = fit(persons, tmp_path, halves, data_options={"batch_size": 16}, max_epochs=1)
    assert len(module.drawn) == 3


def test_a_dry_run_labels_one_batch(persons, tmp_path):
    options = {"eval_batch_size": 8}
    module, *_ = fit(persons, tmp_path, outliers, data_options=options, fast_dev_run=1)
    assert len(module.calls) == 2
    assert len(module.calls[0][1]) == 8
    assert len(module.drawn) == 1


def test_limited_batches(persons, tmp_path):
    module, *_ = fit(persons, tmp_path, quarters, limit_train_batches=1)
    assert len(module.drawn) == 3


def test_overfitting_keeps_labels_and_batches(persons, tmp_path):
    module, *_ = fit(persons, tmp_path, quarters, overfit_batches=2)
    assert len(module.calls) == 1
    by_epoch = [torch.cat([d for e, d in module.drawn if e == epoch]) for epoch in range(3)]
    assert torch.equal(by_epoch[0], by_epoch[1])


def test_features_that_are_not_finite_stop(persons, tmp_path):
    class Broken(OwnLabels):
        def embed(self, images):
            return super().embed(images) * float("nan")

    with pytest.raises(ValueError, match="feature of .*bounding_box_train.* is NaN"):
        fit(persons, tmp_path, module=Broken([quarters]))


def test_a_data_module_without_the_protocol_is_named(tmp_path):
    loader = torch.utils.data.DataLoader(torch.zeros(4, 3, 32, 16))
    with pytest.raises(TypeError, match="needs a data module with label_dataloader"):
        trainer_in(tmp_path, PseudoLabelCallback()).fit(OwnLabels([quarters]), loader)


def test_no_callback_can_watch_what_was_computed_from_identities(persons, tmp_path):
    seen = set()

    class Watching(PseudoLabelCallback):
        def on_validation_end(self, trainer, pl_module):
            seen.update(trainer.callback_metrics)

        def on_fit_end(self, trainer, pl_module):
            seen.update(trainer.callback_metrics)

    _, callback, _ = fit(persons, tmp_path, quarters, callback=Watching())
    assert "labels/clusters" in seen
    assert "diagnostics/ari" in callback.history[-1]
    assert not [name for name in seen if name.startswith("diagnostics/")]


def test_identities_are_for_diagnostics_that_can_be_switched_off(persons, tmp_path, monkeypatch):
    _, callback, _ = fit(persons, tmp_path, quarters)
    assert {"diagnostics/ari", "diagnostics/cross_camera_pair_recall"} <= {*callback.history[0]}

    def leak(self):
        raise AssertionError("identities were read")

    monkeypatch.setattr(Market1501, "train_identities", property(leak))
    _, callback, _ = fit(
        persons, tmp_path, quarters, callback=PseudoLabelCallback(diagnostics=False)
    )
    assert not any("diagnostics" in key for key in callback.history[0])


def test_statistics():
    labels = PseudoLabels.from_clusters(
        torch.tensor([0, 0, 0, 1, 1, -1]), torch.tensor([0, 1, 1, 2, 2, 0]), {"silhouette": 0.25}
    )
    before = PseudoLabels(torch.tensor([4, 4, 4, 2, 2, 2]))
    stats = label_statistics(labels, torch.tensor([0, 1, 1, 2, 2, 0]), before)
    assert stats["labels/clusters"] == 2
    assert stats["labels/proxies"] == 3
    assert stats["labels/outliers"] == 1
    assert stats["labels/cross_camera_share"] == 0.5
    assert stats["labels/stability"] == 1
    assert stats["labels/silhouette"] == 0.25
    assert stats["labels/size_median"] == 2.5


def test_a_resumed_run_goes_on_with_its_labels(persons, tmp_path):
    def train(epochs, ckpt_path=None):
        pl.seed_everything(0, verbose=False)
        module = O2CAP(
            backbone="shufflenet_v2_x0_5",
            weights=None,
            clusterer=DensityClusterer(k1=8, eps=0.7, min_samples=2),
        )
        checkpoint = pl.callbacks.ModelCheckpoint(
            tmp_path / f"{epochs}", save_last=True, save_on_train_epoch_end=True
        )
        trainer = trainer_in(tmp_path, checkpoint, max_epochs=epochs, enable_checkpointing=True)
        datamodule = data(persons, augmentation=Augmentation(flip=0, pad=0, erase=0))
        trainer.fit(module, datamodule, ckpt_path=ckpt_path, weights_only=True)
        return module

    whole = train(3)
    train(2)
    resumed = train(3, ckpt_path=tmp_path / "2" / "last.ckpt")
    assert torch.equal(resumed.current_labels().hard, whole.current_labels().hard)
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    torch.testing.assert_close(resumed.memory, whole.memory, rtol=0, atol=0)


class OwnMemory(pl.LightningModule):
    """Makes a memory of its labels, moves it, and tells no checkpoint of it."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(24, 8)

    def embed(self, images):
        cells = torch.nn.functional.adaptive_avg_pool2d(images, (4, 2)).flatten(1)
        return torch.nn.functional.normalize(self.layer(cells), dim=1)

    def label(self, features, cameras, epoch):
        return PseudoLabels(quarters(len(features)))

    def adopt(self, labels, features):
        self.clusters = labels.hard
        self.memory = group_means(features, labels.hard)

    def training_step(self, batch, batch_idx):
        embeddings, clusters = self.embed(batch["image"]), self.clusters[batch["index"]]
        loss = cluster_contrastive_loss(embeddings, clusters, self.memory)
        self.memory = update_memory(self.memory, embeddings, clusters, 0.5)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_module_that_keeps_nothing_is_given_its_labels_again(persons, tmp_path):
    def train(epochs, **resumed):
        pl.seed_everything(0, verbose=False)
        kept = pl.callbacks.ModelCheckpoint(
            tmp_path / f"{epochs}", save_last=True, save_on_train_epoch_end=True
        )
        callbacks = [PseudoLabelCallback(), kept]
        trainer = trainer_in(tmp_path, *callbacks, max_epochs=epochs, enable_checkpointing=True)
        module = OwnMemory()
        trainer.fit(module, data(persons), **resumed)
        return module

    whole = train(3)
    train(2)
    resumed = train(3, ckpt_path=tmp_path / "2" / "last.ckpt", weights_only=True)
    assert torch.equal(resumed.memory, whole.memory)
    assert torch.equal(resumed.layer.weight, whole.layer.weight)


def test_an_epoch_that_is_cut_short_is_told(persons, tmp_path):
    with pytest.warns(
        UserWarning, match="epoch 1 was ended after 1 of its 2 batches, by max_steps"
    ):
        train(
            OwnLabels([quarters]), market(persons), tmp_path, -1, PseudoLabelCallback(), max_steps=3
        )


def test_a_second_fit_labels_for_the_epoch_that_is_next(persons, tmp_path):
    module, data, callback = OwnLabels([quarters]), market(persons), PseudoLabelCallback()
    trainer = train(module, data, tmp_path, 2, callback)
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, data)
    assert [epoch for epoch, *_ in module.calls] == [0, 1, 2, 2, 3]
    assert [row["epoch"] for row in callback.history] == [2, 3]
