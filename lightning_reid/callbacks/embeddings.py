"""What ``predict`` leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BasePredictionWriter
from pytorch_lightning.utilities import rank_zero_info

from lightning_reid.distributed import gather_rows


class EmbeddingWriter(BasePredictionWriter):
    """Write the embeddings of ``predict`` to ``embeddings.npz`` in the run folder.

    The file holds ``embeddings (N, D)`` float32 unit rows, ``paths (N,)`` and ``cameras (N,)``,
    names, in the order of the data module's ``paths("predict")``: query, then gallery, or, where
    there is no test set, the training images.
    """

    def __init__(self) -> None:
        super().__init__("epoch")

    def write_on_epoch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Collect the batches of all ranks and write them."""
        columns = [torch.cat([p[name] for p in predictions]) for name in predictions[0]]
        # ranks exchange on their device; predictions have been moved off it
        gathered = [gather_rows(trainer, c.to(pl_module.device)).cpu() for c in columns]
        values = dict(zip(predictions[0], gathered, strict=True))
        order = values["index"].argsort()
        if trainer.is_global_zero:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            index = values["index"][order].tolist()
            paths = data.paths("predict")
            file = Path(trainer.default_root_dir) / "embeddings.npz"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(
                file,
                embeddings=values["embedding"][order].float().numpy(),
                paths=np.array([paths[i] for i in index]),
                cameras=np.array(data.camera_names)[values["camera"][order].numpy()],
            )
            rank_zero_info(f"{len(index)} embeddings written to {file}")
