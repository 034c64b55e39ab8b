"""Ending of a command that is stopped from outside."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from lightning_reid.errors import causes
from lightning_reid.lightning import rank_zero_only

INTERRUPTED = 128 + signal.SIGINT  # exit statuses, by custom
TERMINATED = 128 + signal.SIGTERM

_PATIENCE = 10.0  # seconds; the first process takes about one to end the others


class Terminated(SystemExit):
    """SIGTERM was received; unless caught, the process ends with exit status 143."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


def raise_on_sigterm() -> None:
    """Let SIGTERM raise :class:`Terminated` wherever the main thread is, as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, raise_terminated)


def raise_terminated(_signal: int, _frame: Any) -> None:
    """Raise :class:`Terminated`; the handler of SIGTERM.

    A process that Lightning started for the first one leaves ending to it: Lightning would kill the
    first, whatever that still has to do, as soon as one of the others is gone.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if hasattr(signal, "SIGCHLD"):
        # loading workers that got the signal, too, would make torch raise an error of its own
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if _is_started_by_lightning():
        _wait_for_parent()
    raise Terminated


def stop_status(error: BaseException) -> int | None:
    """Return the exit status of a process that ends with an error because it was stopped.

    Args:
        error: What it ends with, which may have come from the ending itself.

    Returns:
        130 after Ctrl-C, 143 after SIGTERM, None if the process was not stopped.
    """
    for cause in causes(error, suppressed=True):
        if isinstance(cause, KeyboardInterrupt):
            return INTERRUPTED
        if isinstance(cause, Terminated):
            return TERMINATED
    return None


def _is_started_by_lightning() -> bool:
    elsewhere = {"TORCHELASTIC_RUN_ID", "SLURM_PROCID"} & os.environ.keys()
    return bool(getattr(rank_zero_only, "rank", 0)) and not elsewhere


def _wait_for_parent() -> None:
    parent, end = os.getppid(), time.monotonic() + _PATIENCE
    while os.getppid() == parent and time.monotonic() < end:
        time.sleep(0.1)
