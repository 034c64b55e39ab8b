"""Small networks, runs and data for the tests of single methods."""

import re
import shutil

import numpy as np
import pytorch_lightning as pl
import torch
from command_line import arguments, one_line

from lightning_reid import Market1501


class Cells(torch.nn.Module):
    """The picture in 4 x 2 cells, mixed by layers with weights and buffers."""

    num_features = 24

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Linear(24, 24)
        self.norm = torch.nn.BatchNorm1d(24)

    def forward(self, images):
        cells = torch.nn.functional.adaptive_avg_pool2d(images, (4, 2)).flatten(1)
        return self.norm(self.mix(cells))


def make(cls, **kwargs):
    """A method with a small network that moves visibly in a few steps."""
    pl.seed_everything(0, verbose=False)
    settings = {"learning_rate": 1e-2, "warmup_epochs": 0, **kwargs}
    return cls(backbone=Cells(), weights=None, **settings)


class StopAfter(pl.Callback):
    """Ends a run after so many epochs, whatever it was planned for."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


class Log(pl.Callback):
    """What the last batch of every epoch logged."""

    def __init__(self):
        self.epochs = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.epochs.append({})
        trainer.callback_metrics.clear()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.epochs[-1].update({k: float(v) for k, v in trainer.callback_metrics.items()})
        trainer.callback_metrics.clear()


QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def train(model, datamodule, folder, epochs, *callbacks, checkpoint=None, **kwargs):
    """Fit a model, perhaps from a checkpoint; returns the Trainer."""
    runner = pl.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        max_epochs=epochs,
        **{**QUIET, **kwargs},
        callbacks=[*callbacks],
    )
    runner.fit(model, datamodule, ckpt_path=checkpoint, weights_only=True)
    return runner


def market(root, **kwargs):
    """Few small batches of a Market-1501 layout."""
    settings = {"batch_size": 8, "batches_per_epoch": 2, "num_workers": 0, **kwargs}
    return Market1501(root, size=(32, 16), **settings)


def camera_folders(root, folder):
    """Training images of a Market-1501 layout as ``<folder>/<camera>/*.jpg``."""
    for file in (root / "bounding_box_train").glob("*.jpg"):
        target = folder / re.search(r"c\d+", file.name)[0] / f"{file.stem}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)


class Unlabelled(Market1501):
    """A data set whose training images do not tell who is on them."""

    def samples(self, split):
        found = super().samples(split)
        return [s._replace(identity=None) for s in found] if split == "train" else found


def one_line_error(monkeypatch, root, folder, *options, command="fit"):
    """What the command line ends with; it must be one line rather than a traceback."""
    return one_line(monkeypatch, *arguments(command, root, folder, *options))


def state_of(module):
    """A copy of the tensors of a module."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same_state(first, second):
    """Whether two states are equal bit for bit."""
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name].numpy(), second[name].numpy()) for name in first)
