"""Runs in two processes that are resumed from every training step.

Usage: ddp_resume.py DATA_FOLDER OUTPUT_FOLDER
"""

import os
import sys
from pathlib import Path

from ddp_training import start
from pytorch_lightning.strategies import DDPStrategy
from test_resume_anywhere import SaveAt, assert_resumed, run

from lightning_reid import CALR, O2CAP

CASES = {
    "CALR": (CALR, {}),
    "accumulated": (
        O2CAP,
        {"accumulate_grad_batches": 2, "data": {"batches_per_epoch": 3}, "epochs": 2},
    ),
}


def resume_all(rank, processes, port, root, folder):
    os.environ.update(
        LOCAL_RANK=f"{rank}", WORLD_SIZE=f"{processes}", MASTER_ADDR="127.0.0.1", MASTER_PORT=port
    )
    for name, (cls, options) in CASES.items():
        options = {**options, "devices": processes, "num_sanity_val_steps": 0}
        saver = SaveAt(folder, "on_train_batch_end", "on_train_epoch_end")
        whole = run(cls, root, folder, saver, strategy=gloo(), **options)
        for file in saver.saved:
            resumed = run(cls, root, folder, checkpoint=file, strategy=gloo(), **options)
            assert_resumed(resumed, whole, file)
        (folder / f"{name}-{rank}.done").touch()


def gloo():
    return DDPStrategy(process_group_backend="gloo")


if __name__ == "__main__":
    start(resume_all, 2, Path(sys.argv[1]), Path(sys.argv[2]))
