"""Tensors across processes."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor


def gather_rows(trainer: pl.Trainer, rows: Tensor) -> Tensor:
    """Rows of all ranks, in rank order; ranks may have different numbers of them.

    Args:
        trainer: tells the ranks.
        rows: ``(n, ...)``, with ``n`` of this rank.

    Returns:
        ``(N, ...)``, the same on every rank.
    """
    if trainer.world_size == 1:
        return rows
    counts = trainer.strategy.all_gather(torch.tensor(len(rows), device=rows.device))
    longest = int(counts.max())
    padded = torch.cat([rows, rows.new_zeros(longest - len(rows), *rows.shape[1:])])
    gathered = trainer.strategy.all_gather(padded)
    return torch.cat([part[:count] for part, count in zip(gathered, counts.tolist(), strict=True)])
