"""Callbacks of the command line: settings, checkpoints, and what is said of interruptions."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from lightning_reid.callbacks import label_history
from lightning_reid.errors import InputError
from lightning_reid.lightning import ModelCheckpoint, pl, rank_zero_info
from lightning_reid.lightning.cli import SaveConfigCallback
from lightning_reid.lightning.internals import end_launched_at_exit
from lightning_reid.messages import printable
from lightning_reid.run_folder import CONFIG, LAST, folder_of, requeued_checkpoints
from lightning_reid.settings_files import Places, with_places
from lightning_reid.whole_files import whole_file

# what a user solves while the settings stay, such as a full disk
_SOLVABLE = (InputError, MemoryError, OSError)


class LastCheckpoint(ModelCheckpoint):
    """Writes ``checkpoints/last.ckpt`` after every epoch, whatever the validation does.

    With ``save_last`` alone Lightning writes it only when training ends. Its state has a key of its
    own, so that any other ``ModelCheckpoint`` may stand beside it.
    """

    def __init__(self) -> None:
        super().__init__(
            filename=LAST.stem, enable_version_counter=False, save_on_train_epoch_end=True
        )

    @property
    def state_key(self) -> str:
        """Key of its state in a checkpoint, unlike that of any other ``ModelCheckpoint``."""
        return "LastCheckpoint"

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the checkpoint, unless another one watches a measure that is missing.

        Lightning would only warn, and write none, where their measure is never logged.
        """
        _require_monitors(trainer)
        super().on_train_epoch_end(trainer, pl_module)


def _require_monitors(trainer: pl.Trainer) -> None:
    if trainer.enable_validation and trainer.check_val_every_n_epoch != 1:
        return  # the validation has measures of its own, and is still to come
    logged = {*trainer.callback_metrics}
    labelled = {name for row in label_history(trainer) for name in row}
    for callback in trainer.checkpoint_callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in logged | labelled:
            raise InputError(
                f"ModelCheckpoint watches {monitor!r}, which was not logged; there are "
                f"{', '.join(sorted(logged))}"
            )


class RequeuedCheckpoints(pl.Callback):
    """Deletes checkpoints that were written for SLURM once the run has come past them.

    Lightning would load them into later tests of the same folder.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the one that training was resumed from until the next is written."""
        self._delete(trainer, keep=trainer.ckpt_path)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Delete all of them, as the whole run is done."""
        self._delete(trainer)

    def _delete(self, trainer: pl.Trainer, keep: str | Path | None = None) -> None:
        if trainer.is_global_zero:
            for file in requeued_checkpoints(self.folder):
                if str(file) != str(keep):
                    file.unlink(missing_ok=True)


class HowToGoOn(pl.Callback):
    """Print how to resume training that is interrupted from outside.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._has_trained = False

    def on_train_batch_end(self, *_: Any) -> None:
        """Note that there is something to resume."""
        self._has_trained = True

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Print the command that resumes the run, or begins it again if it has no checkpoint."""
        stopped = isinstance(exception, (KeyboardInterrupt, SystemExit))
        settings, last = self.folder / CONFIG, self.folder / LAST
        solvable = self._has_trained and isinstance(exception, _SOLVABLE) and settings.is_file()
        if not (stopped or solvable):
            return
        command = ["lightning-reid", "fit", "--config", str(settings)]
        if last.is_file():
            command += ["--ckpt_path", str(last)]
            rank_zero_info(
                f"Interrupted. To go on after its last whole epoch: {shlex.join(command)}"
            )
        else:
            rank_zero_info(f"Interrupted in its first epoch. To begin again: {shlex.join(command)}")


class RequireFolder(pl.Callback):
    """Stops training once the folder of the run is another one than it began with.

    A run whose folder is moved or removed would make it anew, and be found in two halves.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._began_in: os.stat_result | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember which folder it is."""
        if trainer.is_global_zero and self.folder.is_dir():
            self._began_in = self.folder.stat()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Raise an InputError if it is gone."""
        self._require()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raise an InputError if it is gone."""
        self._require()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raise an InputError if it is gone."""
        self._require()

    def _require(self) -> None:
        if self._began_in is None:
            return
        try:
            if os.path.samestat(self.folder.stat(), self._began_in):
                return
        except OSError:  # it is gone, or cannot be seen
            pass
        raise InputError(
            f"the folder {self.folder} was moved or removed while the run wrote into it: put it "
            "back, then resume with --ckpt_path last"
        )


class EndLaunched(pl.Callback):
    """Ends the processes that the Trainer has launched when this one is stopped from outside."""

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Kill the processes when this one exits; at once would end it with them."""
        if isinstance(exception, (KeyboardInterrupt, SystemExit)):
            end_launched_at_exit(trainer)


class SaveConfig(SaveConfigCallback):
    """Writes the settings when a run has begun: one that is refused leaves the file as it was.

    Attributes:
        places: settings that come from environment variables, which may be secret: written as they
            were given.
        begins_again: leave the checkpoint out, so that to repeat the run is to begin it again.
    """

    begins_again = False
    places: Places = {}  # noqa: RUF012  # read only

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write nothing before the run has begun, unlike Lightning."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the settings of ``fit``, once checkpoint, data and method fit together."""
        self._write(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the settings of ``validate``."""
        self._write(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the settings of ``test``, or of ``fit``, which tests first."""
        self._write(trainer)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the settings of ``predict``."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        if self.already_saved:
            return
        folder = folder_of(trainer)  # asks all ranks
        if trainer.is_global_zero:
            config = self.config.clone()
            if self.begins_again:
                config.ckpt_path = None
            with whole_file(folder / self.config_filename) as stream:
                text = self.parser.dump(config, skip_none=False)
                stream.write(_safe(text, self.places).encode())
        self.already_saved = True


def _safe(settings: str, places: Places) -> str:
    """Write YAML in ASCII if it has letters that do not print as themselves, as names may have.

    Values of environment variables are left out of it.
    """
    is_tame = printable(settings, keep="\n") == settings
    if is_tame and not places:
        return settings
    content = with_places(yaml.safe_load(settings), places)
    safe: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=is_tame)
    return safe
