"""Training that was interrupted after its last epoch is ended as if it had not been."""

from __future__ import annotations

from lightning_reid.lightning import (
    EarlyStopping,
    FitLoop,
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
        """Train; if there is nothing left to train, only end."""
        self.setup_data()
        if self.epoch_loop.global_step:
            self._stop_again()
            if self.skip:
                # the checkpoint was written just before the epoch was counted
                progress = self.epoch_progress.current
                progress.completed = progress.processed  # type: ignore[attr-defined]
                if not self._averages_already():
                    self.on_run_end()
                return
        super().run()

    def _averages_already(self) -> bool:
        """SWA has put the mean into the network an epoch ago, and needs that epoch to end."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        return any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks)

    def _stop_again(self) -> None:
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.stopped_epoch:
                self.trainer.should_stop = True
                rank_zero_info(
                    f"EarlyStopping ended this run after epoch {callback.stopped_epoch}: leave it "
                    "out to train on"
                )
