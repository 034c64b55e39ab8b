"""An untrained network tested, then trained and tested, with pictures, by two processes and by one.

Usage: drawing_processes.py DATA_FOLDER OUTPUT_FOLDER
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pytorch_lightning as pl
import torch
from small_methods import market
from test_pictures import method

from lightning_reid.callbacks import Pictures


def draw(root, folder, count):
    """Test, then train and test, by so many processes."""
    torch.set_num_threads(1)
    model, data = method(), market(root, val="test")
    trainer_in(folder / f"{count}-untrained", count).test(model, data, verbose=False)
    runner = trainer_in(folder / str(count), count)
    runner.fit(model, data)
    runner.test(model, data, verbose=False)


def trainer_in(folder, count):
    """A Trainer of so many processes."""
    return pl.Trainer(
        accelerator="cpu",
        devices=count,
        strategy="ddp_fork" if count > 1 else "auto",
        max_epochs=1,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Pictures(every_n_epochs=1)],
    )


if __name__ == "__main__":
    for processes in (2, 1):  # forking comes first: what has threads does not fork well
        draw(sys.argv[1], Path(sys.argv[2]), processes)
