"""Lightning's own callbacks and Trainer flags beside every method."""

from datetime import timedelta

import pytest
import pytorch_lightning as pl
import torch
from every_method import METHODS, options_of
from pytorch_lightning import callbacks as lightning_callbacks
from pytorch_lightning.tuner import Tuner
from small_methods import make, market, train

from lightning_reid import CALR, O2CAP, PseudoLabelCallback, ReliableSoftLabels
from lightning_reid.clustering import KMeansClusterer
from lightning_reid.errors import InputError

SETTINGS = {
    "clusterer": KMeansClusterer(num_clusters=5),
    "local_epochs": 1,
    "epochs_per_round": 1,
    "soft_epoch": 1,
    "threshold": 0.5,
}
# two epochs of two batches each, but for CALR: one for each of three cameras before
EPOCHS = {"CALR": 5}


def model_of(cls):
    return make(cls, **{name: v for name, v in SETTINGS.items() if name in options_of(cls)})


def fit(cls, root, folder, *callbacks, data=None, **options):
    model, datamodule = model_of(cls), market(root, **{"batch_size": 8, **(data or {})})
    epochs = options.pop("max_epochs", EPOCHS.get(cls.__name__, 2))
    options = {"enable_checkpointing": True, **options}
    trainer = train(model, datamodule, folder, epochs, *callbacks, **options)
    assert trainer.global_step > 0
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    return trainer


class LabelWatch(lightning_callbacks.EarlyStopping):
    """Stops where the number that it watches is missing or not finite."""

    def __init__(self, monitor):
        super().__init__(monitor, patience=99, check_finite=True)


CALLBACKS = {
    "EarlyStopping": lambda folder: [LabelWatch("labels/clusters"), LabelWatch("train/loss")],
    "ModelCheckpoint": lambda folder: [
        lightning_callbacks.ModelCheckpoint(folder / "a", "{epoch}", monitor="labels/clusters"),
        lightning_callbacks.ModelCheckpoint(folder / "b", "{step}", every_n_train_steps=1),
        lightning_callbacks.ModelCheckpoint(
            folder / "c", "{epoch}", monitor="labels/outlier_share", save_top_k=-1
        ),
    ],
    "time": lambda folder: [
        lightning_callbacks.ModelCheckpoint(folder / "d", train_time_interval=timedelta(0))
    ],
    "WeightAveraging": lambda folder: [lightning_callbacks.WeightAveraging()],
    "EMAWeightAveraging": lambda folder: [lightning_callbacks.EMAWeightAveraging()],
    "StochasticWeightAveraging": lambda folder: [
        lightning_callbacks.StochasticWeightAveraging(1e-3, swa_epoch_start=1)
    ],
    "LearningRateFinder": lambda folder: [
        lightning_callbacks.LearningRateFinder(num_training_steps=8, early_stop_threshold=None)
    ],
    "BatchSizeFinder": lambda folder: [
        lightning_callbacks.BatchSizeFinder(steps_per_trial=1, max_trials=3)
    ],
    "GradientAccumulationScheduler": lambda folder: [
        lightning_callbacks.GradientAccumulationScheduler({0: 1, 1: 2})
    ],
    "Timer": lambda folder: [lightning_callbacks.Timer(timedelta(hours=1))],
    "OnExceptionCheckpoint": lambda folder: [lightning_callbacks.OnExceptionCheckpoint(folder)],
    "LambdaCallback": lambda folder: [lightning_callbacks.LambdaCallback()],
    "ModelSummary": lambda folder: [lightning_callbacks.ModelSummary(max_depth=-1)],
    "progress bars": lambda folder: [lightning_callbacks.TQDMProgressBar()],
    "rich progress bar": lambda folder: [lightning_callbacks.RichProgressBar()],
}


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.parametrize("cls", METHODS)
def test_callbacks(cls, name, persons, tmp_path):
    if name.endswith("Averaging") and not hasattr(lightning_callbacks, name):
        pytest.skip(f"this Lightning has no {name}")
    options = {"enable_progress_bar": True} if name.endswith(("bar", "bars")) else {}
    trainer = fit(cls, persons, tmp_path, *CALLBACKS[name](tmp_path), **options)
    # Lightning's SWA takes an epoch more than it is given
    more = name == "StochasticWeightAveraging"
    assert trainer.current_epoch == EPOCHS.get(cls.__name__, 2) + more
    if name == "ModelCheckpoint":
        assert {folder.name for folder in tmp_path.iterdir()} >= {"a", "b", "c"}


FLAGS = {
    "accumulate_grad_batches": {"accumulate_grad_batches": 2},
    "barebones": {"barebones": True, "enable_checkpointing": False},
    "benchmark": {"benchmark": True},
    "check_val_every_n_epoch": {"check_val_every_n_epoch": 2, "data": {"val": "test"}},
    "deterministic": {"deterministic": True},
    "deterministic-warn": {"deterministic": "warn"},
    "detect_anomaly": {"detect_anomaly": True},
    "enable_model_summary": {"enable_model_summary": True},
    "fast_dev_run": {"fast_dev_run": 2},
    "gradient_clip_norm": {"gradient_clip_val": 0.1},
    "gradient_clip_value": {"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"},
    "inference_mode": {"inference_mode": False, "data": {"val": "test"}},
    "limit_train_batches": {"limit_train_batches": 1},
    "limit_train_share": {"limit_train_batches": 0.5},
    "limit_val_batches": {"limit_val_batches": 1, "data": {"val": "test"}},
    "logger": {"logger": True},
    "max_steps": {"max_steps": 3, "max_epochs": -1},
    "max_time": {"max_time": {"hours": 1}},
    "min_epochs": {"min_epochs": 1},
    "num_sanity_val_steps": {"num_sanity_val_steps": -1, "data": {"val": "test"}},
    "overfit_batches": {"overfit_batches": 1},
    "precision-bf16-mixed": {"precision": "bf16-mixed"},
    "precision-64": {"precision": "64-true"},
    "profiler": {"profiler": "simple"},
    "reload_dataloaders_every_n_epochs": {"reload_dataloaders_every_n_epochs": 1},
    "use_distributed_sampler": {"use_distributed_sampler": False},
    "val_check_interval": {"val_check_interval": 1, "data": {"val": "test"}},
    "val_check_steps": {
        "val_check_interval": 3,
        "check_val_every_n_epoch": None,
        "data": {"val": "test"},
    },
    "workers": {"data": {"num_workers": 1}},
}


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("cls", METHODS)
def test_flags(cls, name, persons, tmp_path):
    options = dict(FLAGS[name])
    if name == "barebones":
        options["enable_model_summary"] = options["enable_progress_bar"] = None
    trainer = fit(cls, persons, tmp_path, **options)
    if not {"max_steps", "fast_dev_run"} & {name}:
        assert trainer.current_epoch == EPOCHS.get(cls.__name__, 2)


@pytest.mark.parametrize("interval", [1, 2])
@pytest.mark.parametrize("cls", METHODS)
def test_statistics_of_labels_can_be_watched_in_every_epoch(cls, interval, persons, tmp_path):
    class Seen(pl.Callback):
        def on_train_end(self, trainer, pl_module):
            self.metrics = dict(trainer.callback_metrics)

    stop, seen = LabelWatch("labels/clusters"), Seen()
    trainer = fit(
        cls,
        persons,
        tmp_path,
        PseudoLabelCallback(interval=interval, diagnostics=True),
        stop,
        seen,
        max_epochs=EPOCHS.get(cls.__name__, 2) + 1,
    )
    assert trainer.current_epoch == EPOCHS.get(cls.__name__, 2) + 1
    assert not any(name.startswith("diagnostics/") for name in seen.metrics)


def test_a_found_learning_rate_holds(persons, tmp_path):
    finder = lightning_callbacks.LearningRateFinder(num_training_steps=20)

    rates = []

    class Rates(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    data = {"batches_per_epoch": 30}
    trainer = fit(O2CAP, persons, tmp_path, finder, Rates(), data=data)
    found = trainer.lightning_module.learning_rate
    assert found == finder.optimal_lr.suggestion() != 1e-2
    assert rates == pytest.approx([found] * 60)


@pytest.mark.parametrize(("given", "instances"), [(2, 4), (3, 4), (6, 4), (2, 16)])
def test_batches_follow_a_size_that_was_found(given, instances, persons, tmp_path):
    class Sizes(pl.Callback):
        def __init__(self):
            self.sizes = []

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.sizes.append(len(batch["index"]))

    sizes = Sizes()
    finder = lightning_callbacks.BatchSizeFinder(
        init_val=given, steps_per_trial=1, max_trials=4, max_val=1000
    )
    data = {"images_per_group": instances, "batch_size": 16, "batches_per_epoch": 99}
    trainer = fit(O2CAP, persons, tmp_path, finder, sizes, data=data, limit_train_batches=2)
    size = trainer.datamodule.batch_size
    assert size > 8
    assert size % instances == 0
    assert sizes.sizes == [size] * 4


def test_an_epoch_holds_all_images_after_a_size_was_found(persons, tmp_path):
    finder = lightning_callbacks.BatchSizeFinder(steps_per_trial=1, max_trials=4)
    data = {"batch_size": 8, "batches_per_epoch": None}
    trainer = fit(O2CAP, persons, tmp_path, finder, data=data)
    size = trainer.datamodule.batch_size
    assert trainer.num_training_batches == len(trainer.datamodule.train_samples) // size


def test_the_tuner(persons, tmp_path):
    model, datamodule = model_of(O2CAP), market(persons, batches_per_epoch=30)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        default_root_dir=tmp_path,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    tuner = Tuner(trainer)
    rate = tuner.lr_find(model, datamodule=datamodule, num_training=20).suggestion()
    assert model.learning_rate == rate
    size = tuner.scale_batch_size(model, datamodule=datamodule, steps_per_trial=1, max_trials=2)
    assert datamodule.batch_size == size
    trainer.fit(model, datamodule)
    assert trainer.global_step == 60


def test_a_tuner_is_refused_where_a_run_is_resumed(persons, tmp_path):
    trainer = fit(O2CAP, persons, tmp_path)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    with pytest.raises(InputError, match="LearningRateFinder cannot be used where a run is res"):
        train(
            model_of(O2CAP),
            market(persons),
            tmp_path,
            3,
            lightning_callbacks.LearningRateFinder(),
            checkpoint=tmp_path / "run.ckpt",
        )


@pytest.mark.parametrize("cls", [CALR, ReliableSoftLabels])
def test_averages_of_weights_begin_anew_with_the_weights(cls, persons, tmp_path):
    averaging = lightning_callbacks.WeightAveraging()

    counts = []

    class Counts(pl.Callback):
        def on_train_batch_end(self, *_):
            counts.append(int(averaging._average_model.n_averaged))

    fit(cls, persons, tmp_path, averaging, Counts())
    last = [3, 4] if cls is CALR else [1, 2]  # stage 2 goes on for two epochs
    assert counts == [*[1, 2] * (EPOCHS.get(cls.__name__, 2) - 1), *last]


class AnyBatches(pl.LightningModule):
    """Somebody's module, whose batches have a structure of their own."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3 * 32 * 16, 4)

    def embed(self, images):
        return torch.nn.functional.normalize(self.layer(images.flatten(1)), dim=1)

    def label(self, features, cameras, epoch):
        from lightning_reid import PseudoLabels

        return PseudoLabels(torch.arange(len(features)) % 4)

    def adopt(self, labels, features):
        pass

    def training_step(self, batch, batch_idx):
        images = batch["a"]["image"] if isinstance(batch, dict) else batch[0]
        return self.embed(images).square().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("structure", ["combined", "tuples", "list"])
def test_batches_of_any_structure(structure, persons, tmp_path):
    from pytorch_lightning.utilities import CombinedLoader

    class Data(pl.LightningDataModule):
        def setup(self, stage):
            self.images = market(persons)
            self.images.setup("fit")
            self.assign, self.label_dataloader = self.images.assign, self.images.label_dataloader

        def train_dataloader(self):
            loader = self.images.train_dataloader()
            if structure == "combined":
                return CombinedLoader({"a": loader, "b": self.images.train_dataloader()})
            pairs = torch.utils.data.TensorDataset(torch.rand(16, 3, 32, 16), torch.arange(16))
            return (
                [torch.utils.data.DataLoader(pairs, 8)]
                if structure == "list"
                else (torch.utils.data.DataLoader(pairs, 8))
            )

    module = AnyBatches()
    if structure == "list":
        module.training_step = lambda batch, batch_idx: module.embed(batch[0][0]).square().sum()
    trainer = train(module, Data(), tmp_path, 2, PseudoLabelCallback())
    assert trainer.global_step == 4
