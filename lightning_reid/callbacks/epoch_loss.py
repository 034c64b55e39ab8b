"""How an epoch went."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch

from lightning_reid.lightning import pl


class EpochLoss:
    """Mean loss of the batches of an epoch, and its duration.

    Example:
        >>> epoch = EpochLoss()
        >>> epoch.add({"loss": torch.tensor(0.5)})
        >>> epoch.add({"loss": torch.tensor(1.0)})
        >>> epoch.loss()
        0.75
    """

    def __init__(self) -> None:
        self._start = perf_counter()
        self._losses: list[torch.Tensor] = []

    def add(self, outputs: Any) -> None:
        """Keep the loss of a batch where it is: looking at it would wait for the device.

        Args:
            outputs: of the training step, as Lightning hands them on.
        """
        if isinstance(outputs, dict) and "loss" in outputs:
            self._losses.append(outputs["loss"].detach())

    def loss(self) -> float | None:
        """The mean so far; None if no batch had one."""
        return float(torch.stack(self._losses).mean()) if self._losses else None

    def seconds(self) -> float:
        """Since it began."""
        return perf_counter() - self._start


class EpochWatcher(pl.Callback):
    """Base of callbacks that tell how an epoch went; ``epoch`` is that of the epoch at hand."""

    def __init__(self) -> None:
        self.epoch = EpochLoss()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew."""
        self.epoch = EpochLoss()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keep the loss."""
        self.epoch.add(outputs)
