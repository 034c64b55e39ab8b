"""Run the command line inside the test process."""

import os
import sys

import pytest

from lightning_reid.cli import main, run_command_line

# a network of nine layers would do, but it has to be one that people use
SMALL = [
    "--model=O2CAP",
    "--model.backbone=shufflenet_v2_x0_5",
    "--model.weights=null",
    "--data.size=[32,16]",
    "--data.batch_size=8",
    "--data.images_per_group=4",
    "--data.batches_per_epoch=3",
    "--data.num_workers=0",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=2",
    "--trainer.enable_progress_bar=false",
]

# clusters even where an untrained network sees few images
EASY_CLUSTERS = [
    "--model.clusterer=DensityClusterer",
    "--model.clusterer.eps=0.7",
    "--model.clusterer.min_samples=2",
    "--model.clusterer.k1=8",
]


def arguments(command, root, folder, *options):
    """What to type for a command on a Market-1501 layout, with a small network."""
    data = ["--data=Market1501", f"--data.root={root}"]
    # class names first: options of a class follow it
    return [command, SMALL[0], *data, *SMALL[1:], f"--run_dir={folder}", *options]


def run(command, root, folder, *options):
    """``lightning-reid <command>``; see :func:`arguments`."""
    os.environ.pop("PL_GLOBAL_SEED", None)
    return run_command_line(arguments(command, root, folder, *options))


def one_line(monkeypatch, *given):
    """Run the program; return the error that it must end with, which must be a single line."""
    monkeypatch.setattr(sys, "argv", ["lightning-reid", *map(str, given)])
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    with pytest.raises(SystemExit) as stop:
        main()
    message = stop.value.code
    assert isinstance(message, str)
    assert message.startswith("lightning-reid: ")
    assert "\n" not in message
    return message
