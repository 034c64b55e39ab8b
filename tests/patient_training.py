"""Two processes whose collectives time out long before the first one has made the labels.

Usage: patient_training.py DATA_FOLDER OUTPUT_FOLDER SECONDS [fail]
"""

import sys
import time
from datetime import timedelta
from pathlib import Path

import pytorch_lightning as pl
import torch
from ddp_training import join, start
from pytorch_lightning.strategies import DDPStrategy

from lightning_reid import O2CAP, Market1501
from lightning_reid.clustering import DensityClusterer
from lightning_reid.errors import InputError

COLLECTIVE = 10  # seconds; on a busy machine processes need some to meet


class SlowClusterer(DensityClusterer):
    """At first takes longer than a collective may; counts its calls and the rows it searched."""

    calls = 0
    searched = 0

    def neighbors(self, features, cameras, rows):
        SlowClusterer.searched += len(rows)
        return super().neighbors(features, cameras, rows)

    def cluster(self, features, cameras, neighbors):
        SlowClusterer.calls += 1
        if SlowClusterer.calls == 1:
            time.sleep(float(sys.argv[3]))
        if sys.argv[4:] == ["fail"]:
            raise InputError("nothing to be found here")
        return super().cluster(features, cameras, neighbors)


def train(rank, processes, port):
    join(rank, processes, port)
    pl.seed_everything(0, verbose=False)
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=COLLECTIVE))
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=strategy,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    model = O2CAP(
        backbone="shufflenet_v2_x0_5",
        weights=None,
        clusterer=SlowClusterer(k1=8, eps=0.7, min_samples=2),
    )
    data = Market1501(sys.argv[1], size=(32, 16), batch_size=8, batches_per_epoch=2, num_workers=0)
    trainer.fit(model, data)
    labels = model.current_labels().hard
    state = {"labels": labels, "calls": SlowClusterer.calls, "searched": SlowClusterer.searched}
    torch.save(state, Path(sys.argv[2]) / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    start(train, 2)
