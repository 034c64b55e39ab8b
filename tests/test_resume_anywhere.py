"""A run that is resumed from a checkpoint taken at any moment ends as one that was not."""

import os
import shutil
import signal
import warnings
from datetime import timedelta

import pytest
import pytorch_lightning as pl
import torch
from every_method import METHODS, options_of
from lightning_fabric.plugins.environments import SLURMEnvironment
from pytorch_lightning.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from pytorch_lightning.loggers import CSVLogger
from small_methods import QUIET, make, market, same_state, state_of, train
from torch.utils.data import DataLoader

from lightning_reid import (
    CALR,
    CAP,
    O2CAP,
    PCSL,
    Market1501,
    PseudoLabelCallback,
    PseudoLabels,
    ReliableSoftLabels,
)
from lightning_reid.clustering import KMeansClusterer
from lightning_reid.errors import InputError

BATCHES = 2
# phases so short that few epochs hold all of them
SETTINGS = {
    "clusterer": KMeansClusterer(num_clusters=5),
    "local_epochs": 1,
    "align_epochs": 1,
    "epochs_per_round": 1,
    "soft_epoch": 1,
    "inter_camera_epoch": 1,
    "weight_epoch": 1,
    "threshold": 0.5,
    "dropout": 0.5,
}
EPOCHS = {"CALR": 5}  # one for each of three cameras, then stage 2; three for the others
PHASES = (CALR, O2CAP, ReliableSoftLabels)


def model_of(cls):
    taken = {name: value for name, value in SETTINGS.items() if name in options_of(cls)}
    return make(cls, **taken)


class Record(pl.Callback):
    """Loss and images of every batch, by (epoch, batch)."""

    def __init__(self):
        self.steps = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        loss = outputs["loss"].detach().clone()
        self.steps[trainer.current_epoch, batch_idx] = (loss, batch["index"].clone())


class SaveAt(pl.Callback):
    """Somebody's callback, which saves a checkpoint in every hook of these names."""

    def __init__(self, folder, *hooks):
        self.folder, self.saved = folder, []
        for hook in hooks:
            setattr(self, hook, lambda trainer, *_, hook=hook, **__: self.save(trainer, hook))

    def save(self, trainer, hook):
        file = self.folder / f"{len(self.saved)}-{hook}.ckpt"
        trainer.save_checkpoint(file)
        self.saved.append(file)


def run(cls, root, folder, *callbacks, checkpoint=None, data=None, epochs=None, **options):
    """Fit; returns everything that a resumed run must have in common with the whole one."""
    record, model = Record(), model_of(cls)
    datamodule = market(root, **{"batches_per_epoch": BATCHES, **(data or {})})
    trainer = pl.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=epochs or EPOCHS.get(cls.__name__, 3),
        callbacks=[record, *callbacks],
        **{"enable_checkpointing": False, "logger": False, **options},
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "You're resuming from a checkpoint that ended before")
        trainer.fit(model, datamodule, ckpt_path=checkpoint, weights_only=True)
    memory = getattr(model, "memory", torch.empty(0)).clone()
    return record.steps, state_of(model), memory, model.labels, trainer


def assert_resumed(resumed, whole, file):
    steps, state, memory, labels, trainer = resumed
    expected, whole_state, whole_memory, whole_labels, whole_trainer = whole
    assert steps.keys() <= expected.keys(), file
    for place, (loss, index) in steps.items():
        assert torch.equal(index, expected[place][1]), (file, place)
        assert torch.equal(loss, expected[place][0]), (file, place)
    assert same_state(state, whole_state), file
    assert torch.equal(memory, whole_memory), file
    assert torch.equal(labels.hard, whole_labels.hard), file
    assert trainer.current_epoch == whole_trainer.current_epoch, file
    assert trainer.global_step == whole_trainer.global_step, file


@pytest.mark.parametrize("cls", METHODS)
def test_from_every_training_step(cls, persons, tmp_path):
    saver = SaveAt(tmp_path, "on_train_batch_end")
    whole = run(cls, persons, tmp_path, saver)
    count = EPOCHS.get(cls.__name__, 3) * BATCHES
    assert len(saver.saved) == count
    for done, file in enumerate(saver.saved, start=1):
        resumed = run(cls, persons, tmp_path, checkpoint=file)
        assert len(resumed[0]) == count - done  # what was done is not repeated
        assert_resumed(resumed, whole, file)


HOOKS = (
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_train_epoch_end",
    "on_train_end",
)


@pytest.mark.parametrize("cls", PHASES)
def test_from_other_hooks_of_a_callback(cls, persons, tmp_path):
    hooks = [hook for hook in HOOKS if hook != "on_before_zero_grad"]
    saver = SaveAt(tmp_path, *hooks)
    whole = run(cls, persons, tmp_path, saver)
    for file in saver.saved:
        assert_resumed(run(cls, persons, tmp_path, checkpoint=file), whole, file)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("cls", METHODS)
def test_from_every_hook_with_workers(cls, workers, persons, tmp_path):
    data = {"num_workers": workers}
    saver = SaveAt(tmp_path, "on_train_batch_end", *HOOKS)
    whole = run(cls, persons, tmp_path, saver, data=data)
    for file in saver.saved:
        if "zero_grad" in file.name:
            with pytest.raises(InputError, match="was taken within batch"):
                run(cls, persons, tmp_path, checkpoint=file, data=data)
        else:
            resumed = run(cls, persons, tmp_path, checkpoint=file, data=data)
            assert_resumed(resumed, whole, file)


@pytest.mark.parametrize(
    "options", [{"every_n_train_steps": 1}, {"train_time_interval": timedelta(0)}]
)
def test_from_checkpoints_of_lightning(options, persons, tmp_path):
    saver = ModelCheckpoint(tmp_path / "steps", "{step}", save_top_k=-1, **options)
    whole = run(CALR, persons, tmp_path, saver, enable_checkpointing=True)
    saved = sorted((tmp_path / "steps").iterdir())
    assert len(saved) == EPOCHS["CALR"] * BATCHES
    for file in saved:
        assert_resumed(run(CALR, persons, tmp_path, checkpoint=file), whole, file)


def test_from_checkpoints_of_validation(persons, tmp_path):
    data, options = {"val": "test"}, {"val_check_interval": 1, "num_sanity_val_steps": 0}
    saver = SaveAt(tmp_path, "on_validation_end")
    whole = run(O2CAP, persons, tmp_path, saver, data=data, **options)
    assert len(saver.saved) == 3 * BATCHES
    for file in saver.saved:
        resumed = run(O2CAP, persons, tmp_path, checkpoint=file, data=data, **options)
        assert_resumed(resumed, whole, file)


def test_with_accumulated_gradients(persons, tmp_path):
    options = {"accumulate_grad_batches": 2}
    data = {"batches_per_epoch": 5}
    saver = SaveAt(tmp_path, "on_train_batch_end")
    whole = run(O2CAP, persons, tmp_path, saver, data=data, epochs=2, **options)
    assert whole[4].global_step == 6
    for file in saver.saved:
        resumed = run(O2CAP, persons, tmp_path, checkpoint=file, data=data, epochs=2, **options)
        assert_resumed(resumed, whole, file)


class RaiseAt(pl.Callback):
    def __init__(self, hook, count):
        self.left = count
        setattr(self, hook, self.count)

    def count(self, *_, **__):
        self.left -= 1
        if not self.left:
            raise ValueError("broken")


@pytest.mark.parametrize(
    "hook",
    [
        "on_train_epoch_start",
        "on_train_batch_start",
        "on_after_backward",
        "on_train_batch_end",
        "on_train_epoch_end",
    ],
)
def test_from_checkpoints_of_exceptions(hook, persons, tmp_path):
    whole = run(PCSL, persons, tmp_path)
    file = tmp_path / "on_exception.ckpt"
    with pytest.raises(ValueError, match="broken"):
        run(PCSL, persons, tmp_path, RaiseAt(hook, 2), Keep(tmp_path), enable_checkpointing=True)
    if hook == "on_after_backward":
        with pytest.raises(InputError, match="within batch 1 of epoch 0.*last.ckpt"):
            run(PCSL, persons, tmp_path, checkpoint=file)
    else:
        assert_resumed(run(PCSL, persons, tmp_path, checkpoint=file), whole, file)


class Keep(OnExceptionCheckpoint):
    """Lightning's, whose file stays when the Trainer is torn down."""

    def teardown(self, *_, **__):
        pass


@pytest.mark.parametrize("limit", [{"max_steps": 3}, {"max_steps": 4}])
def test_an_epoch_that_was_cut_short_is_trained_to_its_end(limit, persons, tmp_path):
    whole = run(ReliableSoftLabels, persons, tmp_path)
    saver = ModelCheckpoint(tmp_path / "cut", "last", save_on_train_epoch_end=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(ReliableSoftLabels, persons, tmp_path, saver, enable_checkpointing=True, **limit)
    file = tmp_path / "cut" / "last.ckpt"
    resumed = run(ReliableSoftLabels, persons, tmp_path, checkpoint=file)
    assert len(resumed[0]) == 6 - limit["max_steps"]
    assert_resumed(resumed, whole, file)


def test_with_a_limit_of_steps(persons, tmp_path):
    saver = SaveAt(tmp_path, "on_train_batch_end", "on_train_epoch_end", "on_train_end")
    whole = run(O2CAP, persons, tmp_path, saver, max_steps=6, epochs=-1)
    for file in saver.saved[:-3]:
        resumed = run(O2CAP, persons, tmp_path, checkpoint=file, max_steps=6, epochs=-1)
        assert_resumed(resumed, whole, file)


class Kill(pl.Callback):
    """What SLURM does before it ends a job, in the middle of a step."""

    def __init__(self, hook, count):
        self.left = count
        setattr(self, hook, self.count)

    def count(self, *_, **__):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.parametrize("hook", ["on_after_backward", "on_train_epoch_end"])
@pytest.mark.parametrize("cls", PHASES)
def test_a_job_that_slurm_requeues(cls, hook, persons, tmp_path, monkeypatch):
    whole = run(cls, persons, tmp_path / "whole")
    script = tmp_path / "bin" / "scontrol"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/requeued\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    numbers = {"JOB_ID": 7, "NTASKS": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0}
    for name, value in {**numbers, "JOB_NAME": "reid", "NODELIST": "here"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    environment = {"plugins": [SLURMEnvironment()]}
    folder = tmp_path / "job"
    ended = run(cls, persons, folder, Kill(hook, 2), **environment)
    assert_resumed(ended, whole, "the job itself")
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    assert (folder / "hpc_ckpt_1.ckpt").is_file()
    resumed = run(cls, persons, folder, **environment)
    assert len(resumed[0]) == len(whole[0]) - (2 if hook == "on_after_backward" else 4)
    assert_resumed(resumed, whole, hook)


class Steps(CSVLogger):
    """Which steps' losses are logged."""

    def __init__(self, folder):
        super().__init__(folder)
        self.steps = []

    def log_metrics(self, metrics, step=None):
        if "train/loss" in metrics:
            self.steps.append(step)


@pytest.mark.parametrize("limit", [{}, {"max_steps": 6, "epochs": -1}])
def test_loggers_are_told_the_right_steps(limit, persons, tmp_path):
    options = {"log_every_n_steps": 1, **limit}
    saver = SaveAt(tmp_path, "on_train_batch_end", "on_train_epoch_end")
    whole = Steps(tmp_path)
    run(O2CAP, persons, tmp_path, saver, logger=whole, **options)
    assert whole.steps == [*range(6)]
    for file in saver.saved[:-1]:
        done = torch.load(file, weights_only=True)["global_step"]
        log = Steps(tmp_path)
        run(O2CAP, persons, tmp_path, checkpoint=file, logger=log, **options)
        assert log.steps == [*range(done, 6)], file


def test_a_checkpoint_holds_the_labels_once(persons, tmp_path):
    saver = SaveAt(tmp_path, "on_train_batch_end")
    labels = run(O2CAP, persons, tmp_path, saver, epochs=1)[3]
    saved = torch.load(saver.saved[0], weights_only=True)
    assert len(list(_tensors(saved, labels.hard.shape))) == 2  # clusters and proxies


def _tensors(value, shape):
    if isinstance(value, torch.Tensor):
        if value.shape == shape:
            yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part, shape)


def test_other_images_are_refused(persons, tmp_path):
    saver = SaveAt(tmp_path, "on_train_epoch_end")
    run(O2CAP, persons, tmp_path, saver, epochs=1)

    class Reordered(Market1501):
        def samples(self, split):
            return [*super().samples(split)][::-1]

    class Exchanged(Market1501):
        def samples(self, split):
            first, second, *others = super().samples(split)
            return [first._replace(path=second.path), second, *others]

    class OtherCamera(Market1501):
        def samples(self, split):
            first, *others = super().samples(split)
            return [first._replace(camera=others[-1].camera), *others]

    class Fewer(Market1501):
        def samples(self, split):
            return [*super().samples(split)][1:]

    for cls in (Reordered, Exchanged, OtherCamera, Fewer):
        data = cls(persons, size=(32, 16), batch_size=8, batches_per_epoch=2, num_workers=0)
        with pytest.raises(InputError, match="labels for 72 training images, this data has 7"):
            train(model_of(O2CAP), data, tmp_path, 2, checkpoint=saver.saved[0])


def test_data_that_has_moved_is_the_same(persons, tmp_path):
    saver = SaveAt(tmp_path, "on_train_batch_end")
    whole = run(O2CAP, persons, tmp_path, saver, epochs=2)
    moved = shutil.copytree(persons, tmp_path / "moved")
    resumed = run(O2CAP, moved, tmp_path, checkpoint=saver.saved[0], epochs=2)
    assert_resumed(resumed, whole, "moved")


class SetupAgain(pl.Callback):
    """Uses the data module and the module for something else while a run trains."""

    def __init__(self, how):
        self.how = how

    def on_train_epoch_start(self, trainer, pl_module):
        data = trainer.datamodule
        if self.how in ("fit", "test", None):
            data.setup(self.how)
        else:
            other = pl.Trainer(accelerator="cpu", **QUIET)
            other.validate(pl_module if self.how == "module" else model_of(CAP), data)
            pl_module.train()


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["fit", "test", None, "validate", "module"])
def test_the_data_may_be_set_up_again_while_a_run_trains(how, workers, persons, tmp_path):
    data = {"num_workers": workers}
    options = {"reload_dataloaders_every_n_epochs": 1} if how == "validate" else {}
    whole = run(CALR, persons, tmp_path, data=data, **options)
    again = run(CALR, persons, tmp_path, SetupAgain(how), data=data, **options)
    assert again[0].keys() == whole[0].keys()
    assert_resumed(again, whole, how)


class OwnSampler(pl.LightningDataModule):
    """Somebody's data module, which cannot begin within an epoch by itself."""

    def __init__(self, root):
        super().__init__()
        self.images = market(root, batches_per_epoch=3)
        self.images.setup("fit")
        self.assign, self.label_dataloader = self.images.assign, self.images.label_dataloader

    def train_dataloader(self):
        dataset = self.images.train_dataloader().dataset
        return DataLoader(dataset, 24, shuffle=True)


class Own(pl.LightningModule):
    """Somebody's module, which keeps nothing in checkpoints."""

    def __init__(self):
        super().__init__()
        self.network = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(3 * 32 * 16, 4)
        )

    def embed(self, images):
        return torch.nn.functional.normalize(self.network(images), dim=1)

    def label(self, features, cameras, epoch):
        return PseudoLabels(features.argmax(1))

    def adopt(self, labels, features):
        self.labels = labels

    def training_step(self, batch, batch_idx):
        labels = self.labels.hard[batch["index"]]
        return torch.nn.functional.cross_entropy(self.embed(batch["image"]), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_modules_and_data_of_others(persons, tmp_path):
    def fit(*callbacks, checkpoint=None):
        pl.seed_everything(0, verbose=False)
        module, record = Own(), Record()
        callbacks = [record, *callbacks, PseudoLabelCallback()]
        trainer = train(module, OwnSampler(persons), tmp_path, 3, *callbacks, checkpoint=checkpoint)
        return record.steps, state_of(module), torch.empty(0), module.labels, trainer

    saver = SaveAt(tmp_path, "on_train_batch_end", "on_train_epoch_end")
    whole = fit(saver)
    assert len(whole[0]) == 9
    for file in saver.saved:
        assert_resumed(fit(checkpoint=file), whole, file)


class SomeLeftOut(KMeansClusterer):
    """k-means that makes outliers of as many images as the features tell, which epochs change."""

    def cluster(self, features, cameras, neighbors):
        labels, statistics = super().cluster(features, cameras, neighbors)
        left_out = int(features.double().abs().sum() * 1000) % 5 * 12
        labels[:left_out] = -1
        return labels, statistics


@pytest.mark.parametrize(
    ("cls", "settings", "data"),
    [
        (CALR, {"local_batches_per_epoch": 3}, {}),
        (CAP, {"clusterer": SomeLeftOut(num_clusters=5)}, {"batches_per_epoch": "clustered"}),
    ],
)
def test_epochs_that_differ_in_length(cls, settings, data, persons, tmp_path, monkeypatch):
    for name, value in settings.items():
        monkeypatch.setitem(SETTINGS, name, value)
    saver = SaveAt(tmp_path, "on_train_batch_end", "on_train_epoch_end")
    epochs = 5
    whole = run(cls, persons, tmp_path, saver, data=data, epochs=epochs)
    lengths = [sum(epoch == e for epoch, _ in whole[0]) for e in range(epochs)]
    if cls is CALR:
        assert lengths == [3, 3, 3, BATCHES, BATCHES]
    else:
        assert len(set(lengths)) > 1
    for file in saver.saved[::3]:
        resumed = run(cls, persons, tmp_path, checkpoint=file, data=data, epochs=epochs)
        assert_resumed(resumed, whole, file)
