"""Private parts of Lightning's Trainer, apart from its loop of epochs."""

from __future__ import annotations

import atexit
import signal
import threading
from collections.abc import Callable
from typing import Any

from lightning_reid.lightning import pl


def handle_sigterm(trainer: pl.Trainer, handler: Callable[[int, Any], None]) -> None:
    """Let a Trainer call a handler of SIGTERM instead of its own.

    Its own waits for the end of a batch, forwards the signal, and calls a collective in between
    those of the training, which hangs.
    """
    trainer._signal_connector._sigterm_notifier_fn = handler  # type: ignore[method-assign, assignment]


def end_launched_at_exit(trainer: pl.Trainer) -> None:
    """Kill the processes that a Trainer has launched when this one ends.

    Lightning watches them in a thread, and would kill this process as soon as one has ended.
    """
    launcher = trainer.strategy.launcher
    if launcher is None:
        return
    for thread in threading.enumerate():
        if hasattr(thread, "_child_processes"):
            thread._child_processes = []
    atexit.register(launcher.kill, signal.SIGKILL)


def is_launched_by_function(trainer: pl.Trainer) -> bool:
    """Return whether a Trainer's processes begin with its call, as in notebooks.

    What they keep is lost when the call returns, apart from the weights.
    """
    return hasattr(trainer.strategy.launcher, "_start_method")


def loaded_checkpoint(trainer: pl.Trainer) -> dict[str, Any]:
    """Return the checkpoint that a Trainer is restoring; empty once that is done, or if none is."""
    return trainer._checkpoint_connector._loaded_checkpoint
