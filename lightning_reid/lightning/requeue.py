"""SLURM's requeue signal, answered between two batches."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

from lightning_reid.lightning import SLURMEnvironment, pl


class RequeueSignal:
    """Delay of Lightning's answer to the signal that SLURM sends before it ends a job.

    Lightning saves a checkpoint and requeues the job in the signal handler itself, which may run
    in the middle of an optimizer step: its weights would be those of no whole step. Here the
    handler takes a note, and the checkpoint is saved when :meth:`answer` is called.
    """

    def __init__(self) -> None:
        self._pending = False
        self._answer: signal._HANDLER = None
        self._signal = 0

    def install(self, trainer: pl.Trainer) -> None:
        """Take over the handler that Lightning has installed, if any.

        Args:
            trainer: Runs in this process; ``on_train_start`` or later.
        """
        environment = trainer._accelerator_connector.cluster_environment
        if not (isinstance(environment, SLURMEnvironment) and environment.auto_requeue):
            return
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            return
        self._signal = environment.requeue_signal or signal.SIGUSR1
        self._answer = signal.getsignal(self._signal)
        signal.signal(self._signal, self._note)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._pending = True

    def answer(self, trainer: pl.Trainer) -> None:
        """Save and requeue if the signal has come to any process; every process must call this."""
        if not callable(self._answer):
            return
        # the processes hear it at different moments, and save together
        if trainer.strategy.reduce_boolean_decision(self._pending, all=False):
            self._pending = False
            self._answer(self._signal, None)
