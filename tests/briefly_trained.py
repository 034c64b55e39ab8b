"""A small run for tests of what is done with its model."""

from command_line import EASY_CLUSTERS, run

SIZE = (32, 16)


def train(root, folder, *options):
    """A run long enough for batch norm to know its images; returns its checkpoint."""
    short = ["--trainer.max_epochs=4", "--data.batches_per_epoch=10", "--evaluate=false"]
    run("fit", root, folder, *EASY_CLUSTERS, *short, *options)
    return folder / "checkpoints" / "last.ckpt"
