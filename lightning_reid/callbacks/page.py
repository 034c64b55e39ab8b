"""When the page of a run is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from lightning_reid.callbacks.epoch_loss import EpochWatcher
from lightning_reid.callbacks.pseudo_labels import advice_of, label_history
from lightning_reid.lightning import pl
from lightning_reid.report.contents import delete_contents
from lightning_reid.report.page import write_page
from lightning_reid.report.record import RunRecord
from lightning_reid.report.tables import (
    forget_trained,
    read_losses,
    write_epoch,
    write_labels,
    write_retrieval,
)
from lightning_reid.run_folder import folder_of, slurm_job


class Page(EpochWatcher):
    """Keep ``report.html``, ``run.json`` and the tables of labels, epochs and results up to date.

    The page is written when an epoch begins, so that loading it again shows a run as it goes, and
    at the end of ``fit``, ``validate`` and ``test``.

    Args:
        command: what the Trainer's calls are steps of: ``"fit"`` where it is tested before and
            after training, whose results come through :meth:`keep`. None: each call is a command
            of its own.

    Example:
        >>> from lightning_reid.lightning import pl
        >>> trainer = pl.Trainer(callbacks=[Page()], accelerator="cpu", logger=False)
        >>> any(isinstance(callback, Page) for callback in trainer.callbacks)
        True
    """

    def __init__(self, command: str | None = None) -> None:
        super().__init__()
        self.command = command
        self.record: RunRecord | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note what begins."""
        self._begin(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note what begins, unless it is part of training."""
        if trainer.state.fn == "validate":
            self._begin(trainer, pl_module)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note what begins."""
        self._begin(trainer, pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the epochs of the checkpoint, which may be an older one."""
        if self.record is not None and trainer.ckpt_path:
            self.record = replace(self.record, epochs_done=trainer.current_epoch)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the epochs before, with all that was drawn at their end, and the new labels."""
        super().on_train_epoch_start(trainer, pl_module)
        folder = _folder(trainer)
        if trainer.is_global_zero and folder is not None:
            forget_trained(folder)
        self._write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write how the epoch was, before its checkpoint: a resumed run does not repeat it."""
        folder = _folder(trainer)
        if trainer.is_global_zero and folder is not None:
            write_epoch(folder, trainer.current_epoch, self.epoch.loss(), self.epoch.seconds())

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the whole training."""
        self._write(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show what was found, unless it is part of training."""
        if trainer.state.fn == "validate":
            self._show_results(trainer)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show what was found."""
        self._show_results(trainer)

    def keep(
        self, trainer: pl.Trainer, results: Mapping[str, float], column: str = "value"
    ) -> None:
        """Write test results into ``tables/retrieval.csv``, and show them.

        Args:
            trainer: that found them.
            results: by name.
            column: ``"untrained"`` or ``"trained"`` for the two tests of a ``fit``.
        """
        folder = _folder(trainer)
        if trainer.is_global_zero and folder is not None:
            write_retrieval(folder, results, column)
        self._write(trainer)

    def _show_results(self, trainer: pl.Trainer) -> None:
        if self.command == "fit":
            self._write(trainer)  # what was drawn; the numbers are told by keep()
            return
        results = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.keep(trainer, results)

    def _begin(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        folder = _folder(trainer)
        command = self.command or str(trainer.state.fn.value if trainer.state.fn else "fit")
        if self.record is not None and (command != "fit" or self.record.command == "fit"):
            return
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        begun = RunRecord(
            command=command,
            method=type(pl_module).__name__,
            data="loaders of its own" if datamodule is None else type(datamodule).__name__,
            checkpoint=None if trainer.ckpt_path is None else str(trainer.ckpt_path),
            epochs=trainer.max_epochs if (trainer.max_epochs or -1) > 0 else None,
            job=slurm_job(),
            device=f"{trainer.world_size} x {_device(pl_module.device)}",
            coarser=advice_of(pl_module, mostly_outliers=True),
            finer=advice_of(pl_module, mostly_outliers=False),
        )
        self.record = begun.begin(None if folder is None else RunRecord.read(folder))
        if folder is not None:
            read_losses(folder)  # a damaged table is refused now rather than after an epoch
        if self.command == "fit" and not trainer.ckpt_path and trainer.is_global_zero and folder:
            delete_contents(folder)  # an earlier run left them, which ended in its first epoch
        if self.record.command == "fit" and trainer.is_global_zero and folder is not None:
            self.record.write(folder)  # a job that is requeued now finds its run by it

    def _write(self, trainer: pl.Trainer) -> None:
        folder = _folder(trainer)
        if not trainer.is_global_zero or folder is None or self.record is None:
            return
        if self.record.command == "fit":
            done = max(self.record.epochs_done, trainer.current_epoch)
            self.record = replace(self.record, epochs_done=done)
        self.record.write(folder)
        if history := label_history(trainer):
            write_labels(folder, history)
        write_page(folder)


def _folder(trainer: pl.Trainer) -> Path | None:
    """Where the run writes; None if it is a dry run. To be asked by all ranks."""
    return None if trainer.fast_dev_run else folder_of(trainer)  # type: ignore[attr-defined]


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
