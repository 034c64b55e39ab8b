import csv
import io
import os
import random
import shutil
import types
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from command_line import EASY_CLUSTERS, run
from forked_commands import run_python
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from small_methods import Cells, StopAfter, make, market, same_state, state_of, train

from lightning_reid import CAP, Market1501, PseudoLabelCallback, PseudoLabels
from lightning_reid.callbacks import Pictures, pictures
from lightning_reid.clustering import KMeansClusterer
from lightning_reid.errors import InputError
from lightning_reid.metrics import Collected, RetrievalMetrics, camera_pair_table
from lightning_reid.report.labelled import Labelled

OF_TEST = {"cmc", "camera_pairs", "worst_rankings", "typical_rankings"}
OF_LABELS = {"clusters", "map_by_camera", "map_by_cluster"}


class Convolutions(torch.nn.Sequential):
    """A network that gives maps."""

    num_features = 8

    def __init__(self):
        super().__init__(
            torch.nn.Conv2d(3, 8, 5, stride=4), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        )


def method(backbone=None):
    pl.seed_everything(0, verbose=False)
    return CAP(
        backbone=backbone or Convolutions(),
        weights=None,
        clusterer=KMeansClusterer(num_clusters=4),
        warmup_epochs=0,
    )


def drawn(folder):
    return {file.stem for file in (folder / "pictures").glob("*.png")}


@pytest.fixture(scope="module")
def finished(persons, tmp_path_factory):
    """A run of two epochs that watches its test set, and its test."""
    folder = tmp_path_factory.mktemp("finished")
    callback, logger = Pictures(num_queries=3), TensorBoardLogger(folder, name="", version="")
    model, data = method(), market(persons, val="test")
    runner = train(model, data, folder, 2, callback, logger=logger)
    runner.test(model, data, verbose=False)
    return types.SimpleNamespace(
        folder=folder, callback=callback, model=model, data=data, trainer=runner
    )


def test_every_picture_is_drawn_and_whole(finished):
    everything = {"clusters_over_epochs", "map_over_epochs", "attention"} | OF_TEST | OF_LABELS
    assert drawn(finished.folder) == everything
    for file in (finished.folder / "pictures").iterdir():
        assert file.suffix == ".png"  # nothing half written beside them
        with Image.open(file) as image:
            image.load()
            assert min(image.size) > 100


def test_the_table_of_camera_pairs_is_that_of_the_embeddings(finished):
    data, model = finished.data, finished.model.eval()
    batches = [data.test_dataloader().dataset[i] for i in range(len(data.paths("test")))]
    with torch.no_grad():
        rows = model.embed(torch.stack([batch["image"] for batch in batches]))
    query = torch.stack([batch["is_query"] for batch in batches])
    identities = torch.stack([batch["identity"] for batch in batches])
    cameras = torch.stack([batch["camera"] for batch in batches])
    sides = Collected(rows, identities, cameras, query, torch.arange(len(rows))).sides()
    table = camera_pair_table(*sides).metrics["mAP"]
    written = list(csv.reader((finished.folder / "tables" / "camera_pairs.csv").open()))
    assert written[0] == ["query camera", "c1", "c2", "c3"]
    assert [row[0] for row in written[1:]] == ["c1", "c2", "c3"]
    numbers = np.array([[float(cell or "nan") for cell in row[1:]] for row in written[1:]])
    np.testing.assert_allclose(numbers, table.numpy(), atol=1e-4)
    assert np.isnan(numbers.diagonal()).all()


def test_map_is_known_of_every_epoch(finished):
    epochs = [(e["epoch"], sorted(e)) for e in finished.callback.evaluations]
    monitor = ["epoch", "test_monitor/camera_normalized/mAP", "test_monitor/mAP"]
    tested = ["epoch", "test/camera_normalized/mAP", "test/mAP", *monitor[1:]]
    assert epochs == [(1, monitor), (2, tested)]
    last = finished.callback.evaluations[-1]
    assert last["test/mAP"] == last["test_monitor/mAP"]
    assert last["test/mAP"] == float(finished.trainer.callback_metrics["test/mAP"])


def test_tensorboard_has_the_same_pictures(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished.folder), size_guidance={"images": 0}).Reload()
    assert set(events.Tags()["images"]) == {f"pictures/{n}" for n in drawn(finished.folder)}
    labellings = events.Images("pictures/clusters_over_epochs")
    assert [image.step for image in labellings] == [0, 2, 4]
    for name in ("worst_rankings", "clusters", "attention"):
        sent = np.asarray(
            Image.open(io.BytesIO(events.Images(f"pictures/{name}")[-1].encoded_image_string))
        )
        saved = np.asarray(Image.open(finished.folder / "pictures" / f"{name}.png"))
        assert np.array_equal(sent, saved)


def test_a_repeated_test_draws_the_same_again(finished):
    before = {n: (finished.folder / "pictures" / f"{n}.png").read_bytes() for n in OF_TEST}
    finished.trainer.test(finished.model, finished.data, verbose=False)
    for name, content in before.items():
        assert (finished.folder / "pictures" / f"{name}.png").read_bytes() == content


@pytest.mark.parametrize("every_n_epochs", [0, 1])
def test_training_does_not_notice(persons, tmp_path, every_n_epochs):
    states, numbers = [], []
    for name, callbacks in (("with", [Pictures(every_n_epochs=every_n_epochs)]), ("without", [])):
        model, data = method(), market(persons, val="test")
        runner = train(model, data, tmp_path / name, 2, *callbacks)
        states.append(state_of(model))
        numbers.append((torch.rand(1), random.random(), dict(runner.callback_metrics)))
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert drawn(tmp_path / "with") >= OF_LABELS
    assert same_state(*states)
    (drew, plain) = numbers
    assert drew[0] == plain[0]
    assert drew[1] == plain[1]
    assert {k: float(v) for k, v in drew[2].items() if "seconds" not in k} == pytest.approx(
        {k: float(v) for k, v in plain[2].items() if "seconds" not in k}, nan_ok=True, rel=0, abs=0
    )


def test_modes_of_single_layers_stay(persons, tmp_path):
    seen = []

    class Watch(Pictures):
        def on_train_end(self, trainer, pl_module):
            pl_module.train()
            pl_module.network.neck.eval()
            before = [layer.training for layer in pl_module.modules()]
            super().on_train_end(trainer, pl_module)
            seen.append(before == [layer.training for layer in pl_module.modules()])

    train(method(), market(persons), tmp_path, 1, Watch())
    assert seen == [True]
    assert drawn(tmp_path) >= OF_LABELS


def test_a_resumed_run_shows_all_epochs(persons, tmp_path, monkeypatch):
    labellings, maps = [], []

    def keep(kept, original):
        def draw(rows, *others):
            kept.append(rows)
            return original(rows, *others)

        return draw

    monkeypatch.setattr(pictures, "draw_labellings", keep(labellings, pictures.draw_labellings))
    monkeypatch.setattr(pictures, "draw_over_epochs", keep(maps, pictures.draw_over_epochs))
    checkpoints = pl.callbacks.ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True)
    settings = {"enable_checkpointing": True}
    data = market(persons, val="test")
    train(method(), data, tmp_path, 4, Pictures(), checkpoints, StopAfter(2), **settings)
    assert [row["epoch"] for row in labellings[-1]] == [0, 1, 2]
    train(
        method(),
        market(persons, val="test"),
        tmp_path,
        4,
        Pictures(),
        checkpoint=str(tmp_path / "last.ckpt"),
    )
    assert [row["epoch"] for row in labellings[-1]] == [0, 1, 2, 3, 4]
    assert [epoch for epoch, _ in maps[-1]["test monitor"]] == [1, 2, 3, 4]


def test_a_second_run_forgets_the_first(persons, tmp_path):
    callback = Pictures(only=["map_over_epochs"])
    model, data = method(), market(persons, val="test")
    train(model, data, tmp_path, 1, callback).test(model, data, verbose=False)
    train(method(), market(persons), tmp_path, 1, callback)
    assert callback.evaluations == []


def test_only_what_is_asked_for_is_drawn(persons, tmp_path):
    model, data = method(), market(persons)
    runner = train(model, data, tmp_path, 1, Pictures(only=["cmc", "clusters_over_epochs"]))
    runner.test(model, data, verbose=False)
    assert drawn(tmp_path) == {"cmc", "clusters_over_epochs"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"only": ["rankings"]}, "worst_rankings"),
        ({"num_queries": 0}, "num_queries must be at least 1"),
        ({"every_n_epochs": -1}, "every_n_epochs"),
        ({"max_points": 0}, "max_points"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        Pictures(**settings)


def test_a_rehearsal_draws_nothing(persons, tmp_path):
    model, data = method(), market(persons, val="test")
    train(model, data, tmp_path, 1, Pictures(), fast_dev_run=True).test(model, data, verbose=False)
    assert not (tmp_path / "pictures").exists()


def test_a_network_without_maps_has_no_attention_and_the_log_says_so(persons, tmp_path, caplog):
    model, data = make(CAP, clusterer=KMeansClusterer(num_clusters=4)), market(persons)
    assert isinstance(model.network.backbone.trunk, Cells)
    with caplog.at_level("INFO"):
        train(model, data, tmp_path, 1, Pictures()).test(model, data, verbose=False)
    assert drawn(tmp_path) >= OF_TEST
    assert "attention" not in drawn(tmp_path)
    assert sum("no feature map" in message for message in caplog.messages) == 1


class Protocol(pl.LightningModule):
    """Somebody else's module, with what labelling needs and nothing more."""

    def __init__(self, hard):
        super().__init__()
        self.layer = torch.nn.Linear(3 * 32 * 16, 4)
        self.hard = hard

    def embed(self, images):
        return torch.nn.functional.normalize(self.layer(images.flatten(1)), dim=1)

    def label(self, features, cameras, epoch):
        return PseudoLabels(self.hard(len(features)))

    def adopt(self, labels, features):
        pass

    def training_step(self, batch, batch_idx):
        return self.embed(batch["image"]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def test_step(self, batch, batch_idx):
        self.log("test/mAP", 0.5)


def two_clusters(count):
    return torch.arange(count) % 2


def mostly_outliers(count):
    return torch.where(torch.arange(count) < 4, torch.arange(count) % 2, -1)


@pytest.mark.parametrize("hard", [two_clusters, mostly_outliers])
def test_other_modules_get_what_they_give(persons, tmp_path, hard):
    model, data = Protocol(hard), market(persons)
    runner = train(model, data, tmp_path, 1, PseudoLabelCallback(), Pictures(num_queries=2))
    runner.test(model, data, verbose=False)
    assert drawn(tmp_path) == {"clusters_over_epochs", "map_over_epochs"} | OF_LABELS
    assert not (tmp_path / "tables").exists()


def test_a_module_and_loaders_of_which_nothing_is_known(tmp_path):
    class Plain(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, batch_idx):
            return self.layer(batch[0]).sum()

        test_step = validation_step = training_step

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(8, 2)), 4)
    runner = pl.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[Pictures(every_n_epochs=1)],
    )
    runner.fit(Plain(), loader, loader)
    runner.test(Plain(), loader, verbose=False)
    assert not (tmp_path / "pictures").exists()


def test_embeddings_without_files_still_have_curves(tmp_path):
    """A metric of somebody's own module, whose loader knows neither files nor names."""

    class Given(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.retrieval = RetrievalMetrics(ranks=(1,))

        def test_step(self, batch, batch_idx):
            rows, identities, cameras, is_query, index = batch
            self.retrieval.update(rows, identities, cameras, is_query, index)

    count = 12
    columns = (
        torch.randn(count, 4, generator=torch.Generator().manual_seed(0)),
        torch.arange(count) % 3,
        torch.arange(count) // 3 % 2,
        torch.arange(count) < 3,
        torch.arange(count),
    )
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*columns), 4)
    runner = pl.Trainer(
        accelerator="cpu", default_root_dir=tmp_path, logger=False, callbacks=[Pictures()]
    )
    runner.test(Given(), loader, verbose=False)
    assert drawn(tmp_path) == {"cmc", "camera_pairs"}
    table = (tmp_path / "tables" / "camera_pairs.csv").read_text().splitlines()
    assert table[0] == "query camera,camera 1,camera 2"
    assert table[1].startswith("camera 1,,0.")


def test_images_that_are_gone_leave_empty_tiles(persons, tmp_path):
    root = shutil.copytree(persons, tmp_path / "data")
    model, data = method(), market(root, cache="ram")
    runner = train(model, data, tmp_path, 1, Pictures())
    runner.test(model, data, verbose=False)  # which fills the cache
    for file in root.glob("*/*.jpg"):
        file.write_bytes(b"no image")
    runner.test(model, data, verbose=False)
    pixels = np.asarray(Image.open(tmp_path / "pictures" / "worst_rankings.png"))
    assert (pixels == (225, 225, 225)).all(2).mean() > 0.2


def test_training_images_that_cannot_be_read_are_left_out(persons, tmp_path, monkeypatch):
    root = shutil.copytree(persons, tmp_path / "data")
    broken = sorted((root / "bounding_box_train").iterdir())[3]
    broken.write_bytes(b"no image")
    seen = []

    def keep(*given):
        seen.append(Labelled(*given))
        return seen[-1]

    monkeypatch.setattr(pictures, "Labelled", keep)
    data = market(root, on_error="skip")
    with pytest.warns(UserWarning, match="could not be read"):
        train(method(), data, tmp_path, 1, Pictures(max_points=10_000))
    (labelled,) = seen
    count = len(labelled.sample)
    assert count == len(labelled.features) == len(labelled.sample_cameras)
    assert labelled.sample.tolist() == [i for i in range(len(data.train_samples)) if i != 3]
    assert drawn(tmp_path) >= OF_LABELS


def test_pictures_of_labels_know_no_identities(persons, tmp_path):
    class Nameless(Market1501):
        def samples(self, split):
            found = super().samples(split)
            return [s._replace(identity=None) for s in found] if split == "train" else found

    contents = []
    for kind in (Market1501, Nameless):
        pl.seed_everything(0, verbose=False)
        data = kind(persons, size=(32, 16), batch_size=8, batches_per_epoch=2, num_workers=0)
        train(method(), data, tmp_path / kind.__name__, 1, Pictures())
        folder = tmp_path / kind.__name__ / "pictures"
        contents.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert set(contents[0]) == {f"{n}.png" for n in OF_LABELS | {"clusters_over_epochs"}}
    assert contents[0] == contents[1]


def test_weights_and_biases_is_given_images(persons, tmp_path, monkeypatch):
    class Wandb(WandbLogger):
        """As little of it as Lightning needs, without the package."""

        def __init__(self):
            self.images = {}

        name = version = save_dir = experiment = None

        def log_image(self, key, images, step=None, **kwargs):
            self.images.setdefault(key, []).append((images, step))

        def log_metrics(self, metrics, step=None):
            pass

        def log_hyperparams(self, *args, **kwargs):
            pass

        def save(self):
            pass

        def finalize(self, status):
            pass

    logger, model, data = Wandb(), method(), market(persons)
    loggers = [CSVLogger(tmp_path, name="", version=""), logger]
    train(model, data, tmp_path, 1, Pictures(), logger=loggers).test(model, data, verbose=False)
    assert set(logger.images) == {f"pictures/{name}" for name in drawn(tmp_path)}
    assert [step for _, step in logger.images["pictures/clusters_over_epochs"]] == [0, 2]
    ((images, _),) = logger.images["pictures/cmc"]
    saved = np.asarray(Image.open(tmp_path / "pictures" / "cmc.png"))
    assert np.array_equal(np.asarray(images[0]), saved)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_several_processes_draw_what_one_does(persons, tmp_path):
    script = Path(__file__).with_name("drawing_processes.py")
    done = run_python(script, persons, tmp_path)
    assert done.status == 0, done.errors[-3000:]
    one, two = (drawn(tmp_path / str(count)) for count in (1, 2))
    assert one == two
    assert two >= OF_TEST | OF_LABELS | {"attention", "map_over_epochs", "clusters_over_epochs"}
    for name in ("camera_pairs", "worst_rankings", "typical_rankings"):
        one, two = (tmp_path / f"{n}-untrained" / "pictures" / f"{name}.png" for n in (1, 2))
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.all_pictures
def test_the_command_line_draws_and_tests_into_its_own_folder(persons, tmp_path):
    folder = tmp_path / "run"
    options = [*EASY_CLUSTERS, "--trainer.max_epochs=1"]
    fitted = run("fit", persons, folder, *options)
    (callback,) = [c for c in fitted.trainer.callbacks if isinstance(c, Pictures)]
    assert [e["epoch"] for e in callback.evaluations] == [0, 1]
    over_epochs = {f"{name}_over_epochs" for name in ("clusters", "map", "loss")}
    everything = over_epochs | {"attention"} | OF_TEST | OF_LABELS
    assert drawn(folder) == everything
    run("test", persons, folder, "--ckpt_path=last")
    assert drawn(folder / "test") == OF_TEST | {"attention"}
    run("validate", persons, folder, "--ckpt_path=last")
    assert drawn(folder / "validate") == OF_TEST | {"attention"}
    for name in ("cmc", "worst_rankings"):
        again = (folder / "test" / "pictures" / f"{name}.png").read_bytes()
        assert again == (folder / "pictures" / f"{name}.png").read_bytes()
