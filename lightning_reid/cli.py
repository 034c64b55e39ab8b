"""The command line: ``lightning-reid fit|validate|test|predict|check|search|export ...``."""

from __future__ import annotations

import errno
import shlex
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# configs name the classes of these packages without their path
import lightning_reid.datamodules
import lightning_reid.methods  # noqa: F401
from lightning_reid.callbacks import EmbeddingWriter, Page, Pictures, label_history
from lightning_reid.callbacks.progress_lines import progress_display
from lightning_reid.checkpoint_io import AtomicCheckpointIO
from lightning_reid.commands import COMMANDS
from lightning_reid.datamodules import ReIDDataModule
from lightning_reid.errors import DownloadError, InputError, MissingPackageError
from lightning_reid.finished_fit import EndingFitLoop
from lightning_reid.lightning import (
    CheckpointIO,
    MisconfigurationException,
    ModelCheckpoint,
    ProgressBar,
    StochasticWeightAveraging,
    TensorBoardLogger,
    isolate_rng,
    pl,
    rank_zero_info,
    rank_zero_warn,
)
from lightning_reid.lightning.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from lightning_reid.loggers import ContinuedCSVLogger, RepeatedEpochs
from lightning_reid.methods import ReIDModule
from lightning_reid.models.checkpoint_files import read_checkpoint
from lightning_reid.option_errors import BriefParser
from lightning_reid.report import print_summary
from lightning_reid.report.tables import read_retrieval
from lightning_reid.run_folder import CONFIG, LAST, RunFolder, folder_of
from lightning_reid.whole_files import whole_file

_DISK_TROUBLES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)

_INTERRUPTED = 130  # exit status of what the keyboard ended, by custom


class ReIDCLI(LightningCLI):
    """LightningCLI with one folder per run, and retrieval measured before and after ``fit``."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--run_dir``, ``--evaluate`` and ``--embeddings``."""
        parser.add_lightning_class_args(EmbeddingWriter, "embeddings")
        parser.add_argument(
            "--run_dir",
            type=str,
            default=None,
            help="Folder for everything that the run writes; a number is added if it is taken. "
            "Default: runs/<model>_<data>",
        )
        parser.add_argument(
            "--evaluate",
            type=bool,
            default=True,
            help="Test before and after fit, where the data has a test set",
        )

    def _parse_ckpt_path(self) -> None:
        """Let the given settings hold; Lightning would replace them by the checkpoint's."""

    def before_instantiate_classes(self) -> None:
        """Find the run's folder; look for no pretrained weights that a checkpoint replaces."""
        config = self.config[self.subcommand]
        model, data = (config[key].class_path.rpartition(".")[2] for key in ("model", "data"))
        self.folder = RunFolder.choose(
            self.subcommand or "fit",
            config.run_dir or f"runs/{model}_{data}",
            config.get("ckpt_path"),
            [str(file) for file in config.get("config") or []],
        )
        settings = config.model.init_args
        self.weights = settings.get("weights")
        if self.folder.checkpoint and self.weights:
            settings.weights = None

    def after_instantiate_classes(self) -> None:
        """Let ``config.yaml`` tell the weights that were given."""
        settings = self.config[self.subcommand].model.init_args
        if self.weights:
            settings.weights = self.weights

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A Trainer that logs, saves and draws into the run folder."""
        if self.folder.checkpoint:
            # before anything is written into its folder
            checkpoint = read_checkpoint(self.folder.checkpoint)
            self.model.require_own(checkpoint, str(self.folder.checkpoint))
            self._require_epochs(checkpoint)
            self.steps_before = checkpoint["global_step"]
        elif self.subcommand != "fit":
            rank_zero_warn(
                f"no --ckpt_path: {self.subcommand} takes the network as it begins, untrained"
            )
        self.folder.require_writable()
        start = self.folder.checkpoint
        self.config_init[self.subcommand]["ckpt_path"] = None if start is None else str(start)
        path = str(self.folder.path)
        settings = {"default_root_dir": path, **kwargs}
        given = self._get(self.config_init, "trainer")["plugins"] or []
        plugins = given if isinstance(given, list) else [given]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            settings["plugins"] = [*plugins, AtomicCheckpointIO()]
        settings["logger"] = self._loggers(path)
        callbacks = self._get(self.config_init, "trainer")["callbacks"] or []
        settings["callbacks"] = [*(callbacks if isinstance(callbacks, list) else [callbacks])]
        if self._get(self.config_init, "trainer")["enable_checkpointing"] is False:
            usual = self.trainer_defaults["callbacks"]
            self.trainer_defaults["callbacks"] = [
                callback for callback in usual if not isinstance(callback, ModelCheckpoint)
            ]
        if self._shows_progress(settings["callbacks"]):
            bars = self._get(self.config_init, "trainer")["enable_progress_bar"] is not False
            display = progress_display(bars)
            settings["callbacks"].append(display)
            settings["enable_progress_bar"] = isinstance(display, ProgressBar)
        if self.subcommand == "fit":
            settings["callbacks"] += [HowToGoOn(self.folder.path), RepeatedEpochs()]
        trainer = super().instantiate_trainer(**settings)
        EndingFitLoop.replace(trainer)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, SaveConfig):
                callback.begins_again = self.subcommand == "fit"
        self.page = Page(self.subcommand)
        trainer.callbacks.append(self.page)  # type: ignore[attr-defined]  # after what it shows
        return trainer

    def _loggers(self, path: str) -> list[Any] | bool:
        """The CSV log first: Lightning takes its folder for that of the run."""
        given = self._get(self.config_init, "trainer")["logger"]
        if given is False or given == []:
            return False
        begins = self.subcommand == "fit" and not self.folder.checkpoint
        own = [ContinuedCSVLogger(path, begins, name="", version="")]
        if given not in (None, True):
            return [*own, *(given if isinstance(given, list) else [given])]
        if self.subcommand == "fit":
            # of what is repeated, the first points are forgotten; a run that was tested has ended
            ended = "trained" in read_retrieval(self.folder.path)
            goes_on = self.folder.checkpoint is not None and not ended
            repeated = {"purge_step": self.steps_before} if goes_on else {}
            return [*own, TensorBoardLogger(path, name="", version="", **repeated)]
        return own

    def _require_epochs(self, checkpoint: Mapping[str, Any]) -> None:
        """Before anything of the run is touched."""
        given = self._get(self.config_init, "trainer")
        wanted, done = given["max_epochs"], checkpoint["epoch"] + 1
        callbacks = given["callbacks"] or []
        callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
        if any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks):
            done -= 1  # it takes an epoch more than it is given
        if self.subcommand == "fit" and wanted is not None and 0 <= wanted < done:
            raise InputError(
                f"{self.folder.checkpoint} has {done} epochs done, and max_epochs is {wanted}: ask "
                f"for more, such as --trainer.max_epochs {2 * done}"
            )

    def _shows_progress(self, callbacks: list[pl.Callback]) -> bool:
        """Whether it is left to this command line how."""
        given = self._get(self.config_init, "trainer")
        return not given["barebones"] and not any(isinstance(c, ProgressBar) for c in callbacks)

    def before_fit(self) -> None:
        """Measure the untrained network, for comparison."""
        rank_zero_info(
            f"Writing to {self.folder.path}; if interrupted, add --ckpt_path last to go on"
        )
        self.model.check_requirements()
        self.before: dict[str, float] = {}
        if self._evaluates() and not self.folder.checkpoint:
            with isolate_rng():
                self.before = self._test("untrained")
        elif self.folder.checkpoint:
            known = read_retrieval(self.folder.path).get("untrained", {})
            self.before = {f"test/{name}": value for name, value in known.items()}

    def after_fit(self) -> None:
        """Measure the trained network and print what was achieved."""
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._tell_if_nothing_was_trained()
        after = self._test("trained") if self._evaluates() else {}
        print_summary(self.before, after, label_history(self.trainer), self.folder.path)

    def before_validate(self) -> None:
        """Leave the table to this class; Lightning's has sixteen digits."""
        self.config_init["validate"]["verbose"] = False

    def before_test(self) -> None:
        """As for ``validate``."""
        self.config_init["test"]["verbose"] = False

    def after_validate(self) -> None:
        """Print the results."""
        self._print_results(getattr(self.datamodule, "validation_name", "val"))

    def after_test(self) -> None:
        """Print the results."""
        self._print_results("test")

    def _print_results(self, name: str) -> None:
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        logged = {key: float(value) for key, value in self.trainer.callback_metrics.items()}
        results = {
            f"test/{key.removeprefix(f'{name}/')}": value
            for key, value in logged.items()
            if key.startswith(f"{name}/")
        }
        print_summary({}, results, [], self.folder.path)

    def _tell_if_nothing_was_trained(self) -> None:
        """Of a run that had finished."""
        trainer = self.trainer
        if not self.folder.checkpoint or trainer.global_step > self.steps_before:
            return
        nothing = f"nothing was trained: {self.folder.checkpoint}"
        for limit, unit, done in (
            ("max_steps", "steps", trainer.global_step),
            ("max_epochs", "epochs", trainer.current_epoch),
        ):
            if 0 <= (getattr(trainer, limit) or -1) <= done:
                rank_zero_warn(
                    f"{nothing} has all {done} {unit} that were asked for. To train on, ask for "
                    f"more, such as --trainer.{limit} {2 * done}"
                )
                return
        rank_zero_warn(f"{nothing} is of a run that was ended early")

    def _evaluates(self) -> bool:
        wanted = self._get(self.config_init, "evaluate") and not self.trainer.fast_dev_run  # type: ignore[attr-defined]
        return bool(wanted) and getattr(self.datamodule, "has_test", False)

    def _test(self, column: str) -> dict[str, float]:
        results = dict(self.trainer.test(self.model, self.datamodule, verbose=False)[0])
        self.page.keep(self.trainer, results, column)
        return results


class HowToGoOn(pl.Callback):
    """Says, when training is interrupted from the keyboard, how to go on with it.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """In one line."""
        if not isinstance(exception, KeyboardInterrupt):
            return
        settings, last = self.folder / CONFIG, self.folder / LAST
        command = ["lightning-reid", "fit", "--config", str(settings)]
        if last.is_file():
            command += ["--ckpt_path", str(last)]
            rank_zero_info(
                f"Interrupted. To go on after its last whole epoch: {shlex.join(command)}"
            )
        else:
            rank_zero_info(f"Interrupted in its first epoch. To begin again: {shlex.join(command)}")


class SaveConfig(SaveConfigCallback):
    """Writes the settings when a run has begun: one that is refused leaves the file as it was.

    Attributes:
        begins_again: leave the checkpoint out, so that to repeat the run is to begin it again.
    """

    begins_again = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Not yet."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checkpoint, data and method fit together."""
        self._write(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """For the command ``validate``."""
        self._write(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """For the command ``test``, and before ``fit``."""
        self._write(trainer)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """For the command ``predict``."""
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
                stream.write(self.parser.dump(config, skip_none=False).encode())
        self.already_saved = True


_MENDABLE = (
    InputError,
    DownloadError,
    MissingPackageError,
    FileNotFoundError,
    MisconfigurationException,  # Lightning's, such as for a GPU that is not there
)


def main() -> None:
    """Run the command line of this process; what the user can mend is told in one line.

    Classes may come from modules in the current folder, as with ``python -m``.
    """
    sys.path.append(str(Path.cwd()))
    try:
        done = run_command_line()
    except KeyboardInterrupt:  # outside the Trainer, which has its own way to end
        sys.stderr.write("lightning-reid: interrupted\n")
        sys.exit(_INTERRUPTED)
    except Exception as error:
        mendable = _mendable(error)
        if mendable is None:
            raise
        sys.exit(f"lightning-reid: {_in_one_line(mendable)}")
    if isinstance(done, int):
        sys.exit(done)


def _mendable(error: BaseException | None) -> BaseException | None:
    """The error that the user can mend, which the parser may have wrapped in others."""
    while error is not None:
        if isinstance(error, _MENDABLE):
            return error
        if isinstance(error, OSError) and error.errno in _DISK_TROUBLES:
            return error
        context = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or context
    return None


def _in_one_line(error: BaseException) -> str:
    """Its message; that of one from a worker process is the end of a traceback."""
    message = str(error)
    if message.startswith("Caught "):
        message = message.strip().splitlines()[-1].partition(": ")[2]
    return message


def run_command_line(args: ArgsType = None) -> ReIDCLI | int:
    """Run a command.

    Args:
        args: instead of the process's own arguments.

    Returns:
        What a command of the Trainer was run with (trainer, model, data module), or the exit
        status of one of :data:`~lightning_reid.commands.COMMANDS`.
    """
    # Lightning's own business with the newest torch
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    # it is a run's own folder, and its own checkpoint that is gone on from
    warnings.filterwarnings("ignore", "The dirpath has changed")
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    # small runs are fine
    warnings.filterwarnings("ignore", "The number of training batches .* is smaller than")
    # statistics of the labels are the same in every process
    warnings.filterwarnings("ignore", r".*self\.log\('(labels|diagnostics)/.*sync_dist")
    given = sys.argv[1:] if args is None else args
    if isinstance(given, list) and given and given[0] in COMMANDS:
        return COMMANDS[given[0]].run(given[1:])
    return ReIDCLI(
        ReIDModule,
        ReIDDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        save_config_callback=SaveConfig,
        save_config_kwargs={"config_filename": CONFIG, "overwrite": True},
        auto_configure_optimizers=False,
        parser_class=BriefParser,
        parser_kwargs={"parser_mode": "omegaconf+", "allow_abbrev": False},
        trainer_defaults={
            "log_every_n_steps": 10,
            "callbacks": [
                # after every epoch, whatever the validation does, in one file; with save_last
                # alone Lightning writes it only when training ends
                ModelCheckpoint(
                    filename=LAST.stem,
                    enable_version_counter=False,
                    save_on_train_epoch_end=True,
                ),
                Pictures(),
            ],
        },
        args=args,
    )
