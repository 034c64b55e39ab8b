"""Position of a checkpoint in a run, and how Lightning's loops are brought back there.

Lightning's own restart begins the interrupted epoch's batches over, or leaves out the end of an
epoch, depending on the hook that saved the checkpoint. What is private to its loops is used here
alone; tried with Lightning 2.6.0 to 2.6.6.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_reid.lightning import pl


@dataclass(frozen=True)
class ResumePoint:
    """The boundary between two batches at which a checkpoint was taken.

    Args:
        epoch: Epoch to train next, from 0.
        batches: Batches of that epoch that are done on each process; 0 before the first one.
        is_last: Whether no batch of the epoch is left, so that only its end remains.
        in_step: Whether the checkpoint was taken while a batch was trained on, by a callback that
            saves on exceptions: its tensors belong to no boundary.
    """

    epoch: int
    batches: int = 0
    is_last: bool = False
    in_step: bool = False

    @property
    def in_epoch(self) -> bool:
        """Whether the epoch was begun."""
        return self.batches > 0


def resume_point(checkpoint: Mapping[str, Any], labeled_epoch: int) -> ResumePoint | None:
    """Find out from the counters in a checkpoint which batch comes next.

    Args:
        checkpoint: As ``Trainer.save_checkpoint`` writes it.
        labeled_epoch: Epoch that labels were ready for. An epoch whose batches are done is ended
            once more where the labels for the next one are missing.

    Returns:
        The point; None for a checkpoint without counters.
    """
    loop = checkpoint.get("loops", {}).get("fit_loop")
    if loop is None:
        return None
    epochs = loop["epoch_progress"]["current"]
    progress = loop["epoch_loop.batch_progress"]
    batches, is_last = progress["current"], bool(progress["is_last_batch"])
    if epochs["started"] > epochs["processed"]:
        in_step = batches["started"] > batches["processed"]
        done = batches["processed"]
        is_last &= batches["ready"] == done  # it is known once the last batch is loaded
        return ResumePoint(epochs["processed"], done, is_last, in_step)
    ended = epochs["processed"] - 1
    if ended >= 0 and batches["processed"] and (not is_last or labeled_epoch <= ended):
        # cut short, as by max_steps, or saved before the labels of the next epoch were made
        return ResumePoint(ended, batches["processed"], is_last)
    return ResumePoint(ended + 1)


def rewind(checkpoint: Mapping[str, Any], point: ResumePoint) -> None:
    """Rewrite the counters in a checkpoint so that Lightning's loops begin at a point.

    Args:
        checkpoint: What the Trainer is about to restore; changed in place.
        point: Where training resumes.
    """
    loop = checkpoint["loops"]["fit_loop"]
    epochs = loop["epoch_progress"]
    before = epochs["total"]["processed"] - epochs["current"]["processed"]
    begun = point.epoch + point.in_epoch
    for counts, offset in ((epochs["current"], 0), (epochs["total"], before)):
        counts.update(
            ready=begun + offset,
            started=begun + offset,
            processed=point.epoch + offset,
            completed=point.epoch + offset,
        )
    batches = loop["epoch_loop.batch_progress"]
    total = batches["total"]["processed"]
    for counts, done in ((batches["current"], point.batches), (batches["total"], total)):
        counts.update(dict.fromkeys(("ready", "started", "processed", "completed"), done))
    batches["is_last_batch"] = point.is_last
    # saved before Lightning counts the batch for its loggers
    steps = loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"]
    state = loop["epoch_loop.state_dict"]
    state["_batches_that_stepped"] = max(state["_batches_that_stepped"], steps["completed"])


def begin(trainer: pl.Trainer, point: ResumePoint) -> None:
    """Let a resumed run end its epochs as any other; called in ``on_train_start``.

    With ``max_steps`` Lightning takes an epoch that has ended for unfinished and ends it once more.
    """
    # it is right about loaders that do not know which batches are done
    warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before")
    trainer.fit_loop._restarting = False
    trainer.fit_loop.epoch_loop.restarting = point.in_epoch
    # without another round of the loop, which would count a batch for the loggers
    trainer.fit_loop.epoch_loop.val_loop._has_run = point.is_last


def end_epoch(trainer: pl.Trainer) -> None:
    """Let the next epoch be a whole one; called in ``on_train_epoch_end``."""
    trainer.fit_loop.epoch_loop.restarting = False


def loader_lengths(trainer: pl.Trainer) -> list[int | None]:
    """Batches that each training loader would give now on one process; none before there are any.

    A loader without a length counts as None.
    """
    loader = trainer.fit_loop._combined_loader
    return [] if loader is None else [_length(part) for part in loader.flattened]


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:  # of an iterable data set
        return None


def make_loaders_anew(trainer: pl.Trainer) -> None:
    """Let Lightning make its training loaders, and count their batches, before the next epoch."""
    trainer.fit_loop._combined_loader = None


def skip_batches(trainer: pl.Trainer, count: int) -> None:
    """Load batches that are trained on already, and drop them; called in ``on_train_start``."""
    fetcher = trainer.fit_loop._data_fetcher
    if fetcher is None:
        return
    for _ in range(count):
        next(fetcher)
    fetcher.fetched -= count  # Lightning adds them when the epoch is gone on with


def has_accumulated_gradients(trainer: pl.Trainer) -> bool:
    """Return whether gradients of the last batches wait for further ones."""
    loop = trainer.fit_loop.epoch_loop
    done = loop.batch_progress.current.processed  # type: ignore[attr-defined]
    return bool(done) and not loop.batch_progress.is_last_batch and loop._should_accumulate()
