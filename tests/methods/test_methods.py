from itertools import pairwise

import pytest
import pytorch_lightning as pl
import torch
from every_method import METHODS, options_of
from small_methods import Log, make, market, one_line_error, train

from lightning_reid import (
    CALR,
    CAP,
    O2CAP,
    PCSL,
    Market1501,
    PseudoLabels,
    ReliableSoftLabels,
    Supervised,
)
from lightning_reid.callbacks import PseudoLabelCallback
from lightning_reid.clustering import (
    AgglomerativeClusterer,
    CameraDensityClusterer,
    DensityClusterer,
    InfomapClusterer,
    KMeansClusterer,
    camera_normalize,
)
from lightning_reid.data import Augmentation
from lightning_reid.errors import InputError
from lightning_reid.losses import update_memory
from lightning_reid.methods.head import HeadModule
from lightning_reid.methods.memory import MemoryModule

WITH_CLUSTERER = [cls for cls in METHODS if "clusterer" in options_of(cls)]
WITH_NORMALIZATION = [cls for cls in METHODS if "normalize_cameras" in options_of(cls)]

# so that a few epochs on a few images pass through everything that a method does
SHORT = {
    "local_epochs": 1,
    "soft_epoch": 1,
    "epochs_per_round": 1,
    "inter_camera_epoch": 1,
    "weight_epoch": 1,
    "align_epochs": 1,
    "threshold": 0.5,
    "warmup_epochs": 0,
}
EPOCHS = 5  # three cameras, then two over all


class Pixels(torch.nn.Module):
    """A user's own backbone: the picture in 4 x 2 cells."""

    num_features = 24

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images, (4, 2)).flatten(1) * self.scale


def trainer(folder, **kwargs):
    settings = {"max_epochs": EPOCHS, "logger": False, "enable_checkpointing": False, **kwargs}
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
    settings = {"clusterer": clusterer, "learning_rate": 1e-3, **SHORT}
    settings = {name: value for name, value in settings.items() if name in options_of(cls)}
    return cls(backbone=Pixels(), weights=None, **{**settings, **kwargs})


@pytest.mark.parametrize("cls", METHODS)
def test_every_method_fits_and_tests(cls, persons, tmp_path):
    model, runner = method(cls), trainer(tmp_path)
    runner.fit(model, data(persons))
    assert runner.callback_metrics["train/loss"].isfinite()
    (result,) = runner.test(model, data(persons), verbose=False)
    assert 0 < result["test/mAP"] <= 1
    assert "test/camera_normalized/mAP" in result
    if isinstance(model, MemoryModule):
        assert model.memory.norm(dim=1).allclose(torch.ones(len(model.memory)))
        assert len(model.memory) == model.current_labels().num_groups


@pytest.mark.parametrize("cls", WITH_CLUSTERER)
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
    model, runner = method(cls, clusterer=clusterer), trainer(tmp_path)
    runner.fit(model, data(persons))
    assert model.current_labels().num_clusters > 1
    assert runner.callback_metrics["train/loss"].isfinite()


@pytest.mark.parametrize("cls", WITH_NORMALIZATION)
def test_every_method_normalises_cameras_before_labelling(cls, persons, tmp_path, monkeypatch):
    calls = []
    for module in {m.__module__ for m in cls.__mro__} | {"lightning_reid.labels.clusters"}:
        monkeypatch.setattr(
            f"{module}.camera_normalize", lambda f, c: calls.append(len(f)) or f, raising=False
        )
    trainer(tmp_path).fit(method(cls, normalize_cameras=True), data(persons))
    assert calls


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions(cls, precision, persons, tmp_path):
    model, runner = method(cls), trainer(tmp_path, precision=precision)
    runner.fit(model, data(persons))
    if isinstance(model, MemoryModule):
        assert model.memory.dtype == (torch.float64 if precision == "64-true" else torch.float32)
    assert runner.callback_metrics["train/loss"].isfinite()


@pytest.mark.parametrize("cls", METHODS)
def test_weights_are_averaged(cls, persons, tmp_path):
    averaging = pl.callbacks.EMAWeightAveraging(decay=0.5)
    model, runner = method(cls), trainer(tmp_path, callbacks=[averaging])
    runner.fit(model, data(persons))
    average = dict(averaging._average_model.module.named_parameters())
    own = dict(model.named_parameters())  # what fit leaves is the average
    assert set(own) == set(average)
    assert all(torch.equal(own[name], average[name]) for name in own)
    assert runner.test(model, data(persons), verbose=False)[0]["test/mAP"] > 0


@pytest.mark.parametrize("cls", METHODS)
def test_parameters_stay_the_same_objects_through_all_phases(cls, persons, tmp_path):
    class Watch(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            self.before = [*map(id, pl_module.parameters())]
            (optimizer,) = trainer.optimizers
            held = {id(p) for group in optimizer.param_groups for p in group["params"]}
            assert held == {id(p) for p in pl_module.parameters() if p.requires_grad}

        def on_train_end(self, trainer, pl_module):
            assert [*map(id, pl_module.parameters())] == self.before

    trainer(tmp_path, callbacks=[Watch()]).fit(method(cls), data(persons))


@pytest.mark.parametrize("cls", METHODS)
def test_a_run_goes_on_from_its_checkpoint(cls, persons, tmp_path):
    def weights(model):
        return torch.cat([p.flatten() for p in model.parameters()])

    # what the random generator of the process decides is not part of a checkpoint
    still = {"dropout": 0.0, "align_epochs": 0}
    still = {name: value for name, value in still.items() if name in options_of(cls)}
    plain = data(persons, augmentation=Augmentation(flip=0, pad=0, erase=0))
    whole = method(cls, **still)
    trainer(tmp_path).fit(whole, plain)

    class CutOff(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.should_stop = trainer.current_epoch == 1  # CALR is at its second camera

    runner = trainer(tmp_path, callbacks=[CutOff()])
    runner.fit(method(cls, **still), plain)
    runner.save_checkpoint(tmp_path / "cut.ckpt")
    second = method(cls, **still)
    runner = trainer(tmp_path)
    runner.fit(second, plain, ckpt_path=tmp_path / "cut.ckpt", weights_only=True)
    assert runner.current_epoch == EPOCHS
    torch.testing.assert_close(weights(second), weights(whole), rtol=0, atol=0)


@pytest.mark.parametrize("cls", METHODS)
def test_the_same_seed_gives_the_same_network(cls, persons, tmp_path):
    def weights():
        model = method(cls)
        trainer(tmp_path).fit(model, data(persons, num_workers=1))
        return torch.cat([p.flatten() for p in model.parameters()])

    torch.testing.assert_close(weights(), weights(), rtol=0, atol=0)


@pytest.mark.parametrize("cls", METHODS)
def test_only_methods_that_declare_it_read_identities(cls, persons, tmp_path, monkeypatch):
    def leak(*_):
        raise AssertionError("identities were read")

    monkeypatch.setattr("lightning_reid.datamodules.base._identities", leak)
    callback = PseudoLabelCallback(diagnostics=False)
    runner = trainer(tmp_path, callbacks=[callback])
    if cls.supervision == "none":
        runner.fit(method(cls), data(persons))
    else:
        with pytest.raises(AssertionError, match="identities were read"):
            runner.fit(method(cls), data(persons))


@pytest.mark.parametrize("cls", METHODS)
def test_a_batch_holds_what_the_method_may_see(cls, persons, tmp_path):
    class Watched(cls):
        def training_step(self, batch, batch_idx):
            allowed = {"image", "camera", "index"}
            assert set(batch) == allowed | (set() if cls.supervision == "none" else {"label"})
            return super().training_step(batch, batch_idx)

    trainer(tmp_path).fit(method(Watched), data(persons))


def test_the_memory_moves_once_a_batch_after_the_loss_has_seen_it(persons, tmp_path):
    seen = []

    class Watched(O2CAP):
        def training_step(self, batch, batch_idx):
            self.before = self.memory.clone()
            return super().training_step(batch, batch_idx)

        def move_memory(self, embeddings, targets):
            assert torch.equal(self.memory, self.before)
            super().move_memory(embeddings, targets)
            seen.append((self.before, embeddings.detach(), targets, self.memory.clone()))

        def on_train_batch_end(self, outputs, batch, batch_idx):
            assert torch.equal(self.memory, seen[-1][-1])

    model = method(Watched)
    trainer(tmp_path, max_epochs=1).fit(model, data(persons))
    assert len(seen) == 3
    for before, embeddings, targets, after in seen:
        assert not torch.equal(before, after)
        assert torch.equal(after, update_memory(before, embeddings, targets, model.momentum))
    for (*_, after), (before, *_) in pairwise(seen):
        assert torch.equal(after, before)


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
    before = model.memory.clone()
    batch = next(iter(datamodule.train_dataloader()))
    model.training_step(batch, 0).backward()
    assert model.network.backbone.trunk.scale.grad.abs() > 0
    assert not model.memory.requires_grad
    moved = (model.memory != before).any(dim=1).nonzero()[:, 0]
    assert set(moved.tolist()) == set(labels.proxies[batch["index"]].tolist())


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
    optimizers = method(O2CAP, warmup_epochs=10).configure_optimizers()
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


def test_a_module_that_is_loaded_alone_has_its_memory_and_no_labels(persons, tmp_path):
    model, runner = method(O2CAP), trainer(tmp_path)
    runner.fit(model, data(persons))
    runner.save_checkpoint(tmp_path / "model.ckpt")
    back = O2CAP.load_from_checkpoint(tmp_path / "model.ckpt", backbone=Pixels(), weights_only=True)
    assert vars(back.clusterer) == vars(model.clusterer)
    assert torch.equal(back.memory, model.memory)
    assert back.labels is None


@pytest.mark.parametrize("cls", [cls for cls in METHODS if cls.datamodule_needs])
def test_what_a_data_module_lacks_is_told(cls, persons, tmp_path):
    class Own(pl.LightningDataModule):
        def label_dataloader(self):
            return []

        def assign(self, labels):
            pass

        def train_dataloader(self):
            return []

    with pytest.raises(InputError, match=f"needs a data module with {cls.datamodule_needs[0]}"):
        trainer(tmp_path).fit(method(cls), Own())


def test_a_batch_with_an_outlier_is_refused():
    model = method(O2CAP)
    labels = PseudoLabels.from_clusters(torch.tensor([0, 0, 1, 1, -1]), torch.zeros(5).long())
    model.adopt(labels, torch.nn.functional.normalize(torch.randn(5, 24), dim=1))
    assert model.targets(torch.tensor([0, 3])).tolist() == [0, 1]
    with pytest.raises(InputError, match="must leave out images"):
        model.targets(torch.tensor([0, 4]))


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ({"dropout": 1.5}, "from 0 to 1"),
        ({"learning_rate": -0.1}, "at least 0"),
        ({"weight_decay": -0.1}, "at least 0"),
        ({"warmup_epochs": -1}, "at least 0"),
        ({"gamma": -0.1}, "at least 0"),
    ],
)
@pytest.mark.parametrize("cls", METHODS)
def test_every_method_refuses_impossible_settings_at_once(cls, setting, allowed):
    ((name, given),) = setting.items()
    with pytest.raises(InputError, match=f"^{name} must be {allowed}, not {given}$"):
        make(cls, **setting)


def test_milestones_count_from_the_first_epoch():
    with pytest.raises(InputError, match="the smallest of milestones must be at least 0, not -3"):
        make(O2CAP, milestones=(20, -3))
    assert make(O2CAP, milestones=()).learning_rate_factor(99) == 1


@pytest.mark.parametrize(
    ("cls", "setting", "allowed"),
    [
        *((cls, {"temperature": 0.0}, "above 0") for cls in (CAP, O2CAP, CALR)),
        *((cls, {"momentum": 1.2}, "from 0 to 1") for cls in (CAP, O2CAP, CALR)),
        *((cls, {"num_negatives": 0}, "at least 1") for cls in (CAP, O2CAP)),
        (CAP, {"inter_camera_epoch": -1}, "at least 0"),
        (CAP, {"inter_camera_weight": -0.5}, "at least 0"),
        (O2CAP, {"num_positives": 0}, "at least 1"),
        (O2CAP, {"balance": 1.15}, "from 0 to 1"),
        (O2CAP, {"offline_weight": -0.5}, "at least 0"),
        (O2CAP, {"online_weight": -0.5}, "at least 0"),
        (CALR, {"local_images_per_group": 0}, "at least 1"),
        (CALR, {"score_neighbors": 1}, "at least 2"),
        (CALR, {"weight_epoch": -1}, "at least 0"),
        (CALR, {"align_epochs": -1}, "at least 0"),
        (CALR, {"align_weight": -0.5}, "at least 0"),
        (CALR, {"seed": -1}, "at least 0"),
        (PCSL, {"bandwidth": 0.0}, "above 0"),
        (PCSL, {"soft_epoch": -1}, "at least 0"),
        (PCSL, {"margin": -0.5}, "at least 0"),
        (PCSL, {"soft_weight": -0.5}, "at least 0"),
        (PCSL, {"soft_triplet_weight": -0.5}, "at least 0"),
        (ReliableSoftLabels, {"clusters_per_camera": 0}, "at least 1"),
        (ReliableSoftLabels, {"label_temperature": 0.0}, "above 0"),
        (Supervised, {"label_smoothing": 1.5}, "from 0 to 1"),
        (Supervised, {"margin": -0.5}, "at least 0"),
        (Supervised, {"triplet_weight": -0.5}, "at least 0"),
    ],
)
def test_a_method_refuses_its_own_impossible_settings_at_once(cls, setting, allowed):
    ((name, given),) = setting.items()
    with pytest.raises(InputError, match=f"^{name} must be {allowed}, not {given}$"):
        make(cls, **setting)


def test_a_setting_out_of_its_range_is_told_in_one_line(persons, tmp_path, monkeypatch):
    message = one_line_error(monkeypatch, persons, tmp_path / "run", "--model.temperature=0")
    assert message == "lightning-reid: temperature must be above 0, not 0.0"


def test_o2cap_associates_by_what_it_clusters_by():
    embeddings = torch.nn.functional.normalize(torch.randn(6, 24), dim=1)
    memory = torch.nn.functional.normalize(torch.randn(9, 24) + 2 * torch.eye(24)[:9], dim=1)
    cameras, own = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 1, 2, 3, 4, 5])
    scores = {}
    for normalized in (False, True):
        model = make(O2CAP, normalize_cameras=normalized, balance=0.4)
        model.memory, model.proxy_cameras = memory, torch.arange(9) % 3
        scores[normalized] = model._scores(embeddings, own, cameras, embeddings @ memory.T)
    torch.testing.assert_close(
        scores[False], 0.4 * embeddings @ memory.T + 0.6 * memory[own] @ memory.T
    )
    rows = torch.cat([embeddings, memory])
    rows = camera_normalize(rows, torch.cat([cameras, torch.arange(9) % 3]))
    expected = 0.4 * rows[:6] @ rows[6:].T + 0.6 * rows[6:][own] @ rows[6:].T
    torch.testing.assert_close(scores[True], expected)


@pytest.mark.parametrize("cls", [cls for cls in METHODS if issubclass(cls, HeadModule)])
def test_a_head_is_drawn_on_the_cpu_whatever_the_default_device(cls):
    # a Trainer makes its device, such as a GPU, the default one while it asks for layers
    heads = []
    for device in ("cpu", "meta"):
        model = method(cls)
        model.head_size = 5
        before = torch.get_rng_state()
        with torch.device(device):
            heads.append(model.new_head(seed=3).state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    assert heads[0].keys() == heads[1].keys()
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


def test_the_loss_within_cameras_can_be_added_to_o2cap(persons, tmp_path):
    log = Log()
    train(make(O2CAP, intra_weight=0.5), market(persons), tmp_path, 1, log)
    (logged,) = log.epochs
    parts = logged["train/loss_offline"] + logged["train/loss_online"]
    expected = parts + 0.5 * logged["train/loss_intra"]
    assert logged["train/loss"] == pytest.approx(expected, rel=1e-5)
