"""Training that was interrupted after its last epoch is ended as if it had not been."""

from __future__ import annotations

from lightning_reid.lightning import (
    EarlyStopping,
    FitLoop,
    ModelCheckpoint,
    StochasticWeightAveraging,
    pl,
    rank_zero_info,
)


class EndingFitLoop(FitLoop):
    """Lightning's loop, which also ends what a checkpoint holds all epochs of.

    Lightning skips it: callbacks never learn that training has ended, so that weights are not
    averaged and the last pictures not drawn, and after ``max_steps`` its last epoch is not counted.
    A run that :class:`~pytorch_lightning.callbacks.EarlyStopping` had ended would train on.
    """

    @classmethod
    def replace(cls, trainer: pl.Trainer) -> None:
        """Let a Trainer that has not begun use this loop."""
        before = trainer.fit_loop
        trainer.fit_loop = cls(trainer, before.min_epochs, before.max_epochs)
        trainer.fit_loop.epoch_loop = before.epoch_loop

    def run(self) -> None:
        """Train; if there is nothing left to train, only begin and end."""
        self.setup_data()
        if self.epoch_loop.global_step:
            stopped = self._stopped_early()
            self.trainer.should_stop |= stopped
            if self.skip:
                if stopped:
                    rank_zero_info("EarlyStopping ended this run: leave it out to train on")
                self._only_end()
                return
        super().run()

    def _stopped_early(self) -> bool:
        return any(
            isinstance(callback, EarlyStopping)
            and (callback.stopped_epoch > 0 or callback.stopping_reason.value > 0)
            for callback in self.trainer.callbacks  # type: ignore[attr-defined]
        )

    def _only_end(self) -> None:
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, StochasticWeightAveraging):
                # what its last epoch would have noted
                callback._accumulate_grad_batches = self.trainer.accumulate_grad_batches
            if isinstance(callback, ModelCheckpoint):
                # there is nothing new to save
                callback._last_checkpoint_saved = str(self.trainer.ckpt_path)
        # callbacks may need in the end what they prepare in the beginning
        self.on_run_start()
        # the checkpoint was written just before the epoch was counted
        progress = self.epoch_progress.current
        progress.completed = progress.processed  # type: ignore[attr-defined]
        self.on_run_end()
