"""What a run shows while it goes: bars in a terminal, else short lines."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

from rich import get_console
from rich.progress import BarColumn

from lightning_reid.callbacks.epoch_loss import EpochWatcher
from lightning_reid.callbacks.pseudo_labels import label_history
from lightning_reid.lightning import RichProgressBar, pl, rank_zero_info

_PER_SECOND = 5  # as often as one can read; Lightning's 100 keep a core busy
_BAR_WIDTH = 16
_LOGGERS = (
    "pytorch_lightning",
    "lightning_fabric",
    "lightning.pytorch",
    "lightning.fabric",
)  # those that print


def progress_display(bars: bool = True) -> ProgressBars | ProgressLines:
    """Bars where they are wanted and the output is a terminal, else lines."""
    if not (bars and get_console().is_terminal):
        return ProgressLines()
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                handler.setStream(_AboveTheBars())
    return ProgressBars()


class _AboveTheBars(io.TextIOBase):
    """Standard error as it is at the time: while bars are shown, what is written stands above."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class ProgressBars(RichProgressBar):
    """Lightning's bars; that of training tells loss, clusters, outliers, and mAP if there is one.

    Args:
        refresh_rate: updates per second.
        kwargs: as for Lightning's.
    """

    def __init__(self, refresh_rate: int = _PER_SECOND, **kwargs: Any) -> None:
        super().__init__(refresh_rate, **kwargs)

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """Lightning's, with a shorter bar: the numbers need the room."""
        columns: list[Any] = super().configure_columns(trainer)
        for column in columns:
            if isinstance(column, BarColumn):
                column.bar_width = _BAR_WIDTH
        return columns

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What was logged for the bar, by its last name, and what the labels are like."""
        logged = super().get_metrics(trainer, pl_module)
        told = {name.rpartition("/")[2]: value for name, value in logged.items()}
        told.pop("v_num", None)  # the folder has the run's name
        found = _retrieval(trainer)
        found.pop("rank1", None)
        return {**told, **_labels(trainer), **found}


class ProgressLines(EpochWatcher):
    """One line for every labelling, every epoch and every test.

    Epochs count from 0, as in the bars and all tables.
    """

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell about the labels, if they are new."""
        super().on_train_epoch_start(trainer, pl_module)
        self._tell_labels(trainer, f"labels for epoch {trainer.current_epoch}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell how the epoch was."""
        limit = trainer.max_epochs or -1
        of = f" of 0 to {limit - 1}" if limit > 0 else ""
        mean = self.epoch.loss()
        loss = {} if mean is None else {"loss": f"{mean:.3f}"}
        took = {"seconds": f"{self.epoch.seconds():.1f}"}
        self._tell(f"epoch {trainer.current_epoch}{of}", {**loss, **_retrieval(trainer), **took})

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell about the last labels, which a longer run would begin with."""
        self._tell_labels(trainer, "labels after the last epoch")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the results, unless the line of an epoch will."""
        if trainer.state.fn == "validate":
            self._tell("validation", _retrieval(trainer))

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the results."""
        self._tell("test", _retrieval(trainer))

    def _tell_labels(self, trainer: pl.Trainer, what: str) -> None:
        history = label_history(trainer)
        if history and history[-1]["epoch"] == trainer.current_epoch:
            self._tell(what, _labels(trainer))

    def _tell(self, what: str, values: dict[str, str]) -> None:
        if values:
            told = ", ".join(f"{name} {value}" for name, value in values.items())
            rank_zero_info(f"{what}: {told}")


def _labels(trainer: pl.Trainer) -> dict[str, str]:
    history = label_history(trainer)
    if not history:
        return {}
    last = history[-1]
    share = last.get("labels/outlier_share", 0.0)
    return {"clusters": f"{last['labels/clusters']:,.0f}", "outliers": f"{100 * share:.1f} %"}


def _retrieval(trainer: pl.Trainer) -> dict[str, str]:
    """The mAP and first rank of whichever set was evaluated last."""
    found = {}
    for name, value in trainer.callback_metrics.items():
        place, _, measure = name.rpartition("/")
        if measure in ("mAP", "rank1") and "/" not in place:
            found[measure] = f"{100 * float(value):.1f} %"
    return found
