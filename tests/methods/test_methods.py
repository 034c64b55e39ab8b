import inspect
from itertools import pairwise

import pytest
import pytorch_lightning as pl
import torch

import lightning_reid
from lightning_reid import CAP, O2CAP, Market1501, PseudoLabels, ReIDModule
from lightning_reid.callbacks import PseudoLabelCallback
from lightning_reid.clustering import (
    AgglomerativeClusterer,
    CameraDensityClusterer,
    DensityClusterer,
    InfomapClusterer,
    KMeansClusterer,
)
from lightning_reid.losses import update_memory

METHODS = [
    value
    for value in vars(lightning_reid).values()
    if inspect.isclass(value) and issubclass(value, ReIDModule) and not inspect.isabstract(value)
]


class Pixels(torch.nn.Module):
    """A user's own backbone: the picture in 4 x 2 cells."""

    num_features = 24

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images, (4, 2)).flatten(1) * self.scale


def trainer(folder, **kwargs):
    settings = {"max_epochs": 2, "logger": False, "enable_checkpointing": False, **kwargs}
    return pl.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def data(root, **kwargs):
    settings = {"batch_size": 8, "batches_per_epoch": 3, "num_workers": 0, **kwargs}
    return Market1501(root, size=(32, 16), **settings)


def method(cls, **kwargs):
    pl.seed_everything(0, verbose=False)
    clusterer = DensityClusterer(k1=8, k2=2, eps=0.6, min_samples=2)
    settings = {"clusterer": clusterer, "learning_rate": 1e-3, **kwargs}
    return cls(backbone=Pixels(), weights=None, **settings)


@pytest.mark.parametrize("cls", METHODS)
def test_every_method_fits_and_tests(cls, persons, tmp_path):
    model, runner = method(cls), trainer(tmp_path)
    runner.fit(model, data(persons))
    (result,) = runner.test(model, data(persons), verbose=False)
    assert 0 < result["test/mAP"] <= 1
    assert "test/camera_normalized/mAP" in result
    assert model.memory.norm(dim=1).allclose(torch.ones(len(model.memory)))
    assert len(model.memory) == model.current_labels().num_groups


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize(
    "clusterer",
    [
        CameraDensityClusterer(3, 6, 2, 2, eps=0.7, min_samples=2),
        InfomapClusterer(k=8, min_size=2),
        KMeansClusterer(num_clusters=4),
        AgglomerativeClusterer(images_per_cluster=4, k1=6, k2=2),
    ],
    ids=lambda clusterer: type(clusterer).__name__,
)
def test_every_method_takes_every_clusterer(cls, clusterer, persons, tmp_path):
    if isinstance(clusterer, InfomapClusterer):
        pytest.importorskip("infomap")
    model, runner = method(cls, clusterer=clusterer), trainer(tmp_path, max_epochs=1)
    runner.fit(model, data(persons))
    assert model.current_labels().num_clusters > 1
    assert runner.callback_metrics["train/loss"].isfinite()


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions(cls, precision, persons, tmp_path):
    model, runner = method(cls), trainer(tmp_path, precision=precision, max_epochs=1)
    runner.fit(model, data(persons))
    assert model.memory.dtype == (torch.float64 if precision == "64-true" else torch.float32)
    assert runner.callback_metrics["train/loss"].isfinite()


@pytest.mark.parametrize("cls", METHODS)
def test_the_same_seed_gives_the_same_network(cls, persons, tmp_path):
    def weights():
        model = method(cls)
        trainer(tmp_path).fit(model, data(persons, num_workers=1))
        return torch.cat([p.flatten() for p in model.parameters()])

    torch.testing.assert_close(weights(), weights(), rtol=0, atol=0)


@pytest.mark.parametrize("cls", METHODS)
def test_a_method_never_reads_an_identity(cls, persons, tmp_path, monkeypatch):
    def leak(*_):
        raise AssertionError("identities were read")

    monkeypatch.setattr("lightning_reid.datamodules.base._identities", leak)
    callback = PseudoLabelCallback(diagnostics=False)
    trainer(tmp_path, callbacks=[callback], max_epochs=1).fit(method(cls), data(persons))


def test_the_memory_moves_once_a_batch_after_the_loss_has_seen_it(persons, tmp_path):
    seen = []

    class Watched(O2CAP):
        def training_step(self, batch, batch_idx):
            before = self.memory.clone()
            step = super().training_step(batch, batch_idx)
            assert torch.equal(self.memory, before)
            seen.append((before, step["embeddings"].detach(), step["targets"]))
            return step

    model = method(Watched)
    trainer(tmp_path, max_epochs=1).fit(model, data(persons))
    assert len(seen) == 3
    for (before, embeddings, targets), (after, *_) in pairwise(seen):
        assert not torch.equal(before, after)
        assert torch.equal(after, update_memory(before, embeddings, targets, model.momentum))


def test_gradients_reach_the_network_but_not_the_memory(persons):
    datamodule = data(persons)
    datamodule.setup("fit")
    model = method(O2CAP)
    model.trainer = pl.Trainer(accelerator="cpu", logger=False)
    model.log = model.log_dict = lambda *_, **__: None
    count = len(datamodule.train_samples)
    cameras = torch.tensor([int(s.camera[1:]) - 1 for s in datamodule.train_samples])
    labels = PseudoLabels.from_clusters(torch.arange(count) % 5, cameras)
    datamodule.assign(labels)
    model.adopt(labels, torch.nn.functional.normalize(torch.randn(count, 24), dim=1))
    step = model.training_step(next(iter(datamodule.train_dataloader())), 0)
    step["loss"].backward()
    assert model.network.backbone.trunk.scale.grad.abs() > 0
    before = model.memory.clone()
    model.on_train_batch_end(step, {}, 0)
    moved = (model.memory != before).any(dim=1).nonzero()[:, 0]
    assert set(moved.tolist()) == set(step["targets"].tolist())


def test_cap_looks_across_cameras_later(persons, tmp_path):
    model = method(CAP, inter_camera_epoch=1)
    runner = trainer(tmp_path, max_epochs=1)
    runner.fit(model, data(persons))
    assert "train/loss_inter" not in runner.callback_metrics
    model = method(CAP, inter_camera_epoch=0)
    runner = trainer(tmp_path, max_epochs=1)
    runner.fit(model, data(persons))
    total = runner.callback_metrics["train/loss"]
    parts = runner.callback_metrics["train/loss_intra"], runner.callback_metrics["train/loss_inter"]
    torch.testing.assert_close(total, parts[0] + 0.5 * parts[1])


def test_schedule_of_the_published_code():
    optimizers = method(O2CAP, learning_rate=3.5e-4).configure_optimizers()
    rate = optimizers["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert rate(0) == pytest.approx(0.01)
    assert rate(5) == pytest.approx(0.505)
    assert [rate(e) for e in (10, 19, 20, 39, 40)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_labels_without_proxies_are_refused():
    with pytest.raises(ValueError, match="proxies"):
        method(O2CAP).adopt(PseudoLabels(torch.tensor([0, 1])), torch.eye(2, 24))


def test_training_without_labels_says_who_makes_them():
    with pytest.raises(RuntimeError, match="PseudoLabelCallback"):
        method(O2CAP).current_labels()


def test_a_given_callback_is_used(persons, tmp_path):
    callback = PseudoLabelCallback(interval=2)
    runner = trainer(tmp_path, callbacks=[callback])
    runner.fit(method(O2CAP), data(persons))
    kept = [c for c in runner.callbacks if isinstance(c, PseudoLabelCallback)]
    assert kept == [callback]


def test_a_checkpoint_restores_memory_and_labels(persons, tmp_path):
    model, runner = method(O2CAP), trainer(tmp_path)
    runner.fit(model, data(persons))
    runner.save_checkpoint(tmp_path / "model.ckpt")
    back = O2CAP.load_from_checkpoint(tmp_path / "model.ckpt", backbone=Pixels(), weights_only=True)
    assert vars(back.clusterer) == vars(model.clusterer)
    assert torch.equal(back.memory, model.memory)
    assert torch.equal(back.current_labels().hard, model.current_labels().hard)
    assert torch.equal(back.proxy_cameras, model.proxy_cameras)
