"""The command line: ``lightning-reid fit|validate|test|predict|check|search|export ...``."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from jsonargparse import Namespace

# configs name the classes of these packages without their path
import lightning_reid.datamodules
import lightning_reid.methods  # noqa: F401
from lightning_reid.callbacks import EmbeddingWriter, Page, Pictures, label_history
from lightning_reid.callbacks.progress_lines import progress_display
from lightning_reid.checkpoint_io import AtomicCheckpointIO
from lightning_reid.commands import COMMANDS
from lightning_reid.datamodules import ReIDDataModule
from lightning_reid.errors import InputError
from lightning_reid.finished_fit import EndingFitLoop
from lightning_reid.lightning import (
    CheckpointIO,
    ModelCheckpoint,
    ProgressBar,
    StochasticWeightAveraging,
    TensorBoardLogger,
    isolate_rng,
    pl,
    rank_zero_info,
    rank_zero_only,
    rank_zero_warn,
)
from lightning_reid.lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning_reid.lightning.internals import handle_sigterm, is_launched_by_function
from lightning_reid.lightning.restoring import DAMAGED, blamed_part
from lightning_reid.loggers import ContinuedCSVLogger, RepeatedEpochs
from lightning_reid.messages import printable
from lightning_reid.methods import ReIDModule
from lightning_reid.models.checkpoint_content import method_of
from lightning_reid.models.checkpoint_files import is_checkpoint_path, read_checkpoint
from lightning_reid.named_configs import CONFIGS_ARE_CODE, with_named_configs
from lightning_reid.option_errors import BriefParser
from lightning_reid.own_modules import allow_named_modules
from lightning_reid.report import print_summary
from lightning_reid.report.tables import read_retrieval
from lightning_reid.run_callbacks import (
    EndLaunched,
    HowToGoOn,
    LastCheckpoint,
    RequeuedCheckpoints,
    RequireFolder,
    SaveConfig,
)
from lightning_reid.run_folder import CONFIG, NONE, RunFolder
from lightning_reid.settings_files import from_environment
from lightning_reid.stopping import raise_on_sigterm, raise_terminated, stop_status
from lightning_reid.terminal import escape_reports
from lightning_reid.user_errors import user_error
from lightning_reid.whole_files import unwritable


class ReIDCLI(LightningCLI):
    """LightningCLI with one folder per run, and retrieval measured before and after ``fit``.

    Data, method and options are checked before anything is written or computed.

    Args:
        model_class: See Lightning's. Default: any method.
        datamodule_class: See Lightning's. Default: any data set.
        args: What to parse instead of the process's own arguments.
        run: Whether to run a command. False: there are none, and ``trainer``, ``model`` and
            ``datamodule`` are made for a script of your own. The Trainer writes into the folder
            that a ``fit`` would get.
        options: See Lightning's.

    Example:
        >>> cli = ReIDCLI(run=False, args=["--config", "o2cap", "--config", "market1501"])
        ... # doctest: +SKIP
        >>> cli.trainer.fit(cli.model, cli.datamodule)  # doctest: +SKIP
    """

    def __init__(
        self,
        model_class: Any = ReIDModule,
        datamodule_class: Any = ReIDDataModule,
        *,
        args: ArgsType = None,
        run: bool = True,
        **options: Any,
    ) -> None:
        self._checkpoint: Mapping[str, Any] | None = None  # until the model has been made
        words = sys.argv[1:] if args is None else args if isinstance(args, list) else []
        self.places = from_environment(with_named_configs(words))
        own = {"log_every_n_steps": 10, "callbacks": [LastCheckpoint(), Pictures()]}
        usual = {
            "subclass_mode_model": model_class is ReIDModule,
            "subclass_mode_data": datamodule_class is ReIDDataModule,
            "seed_everything_default": 0,
            "save_config_callback": SaveConfig,
            "save_config_kwargs": {"config_filename": CONFIG, "overwrite": True},
            "auto_configure_optimizers": False,
            "parser_class": BriefParser,
            "parser_kwargs": {"parser_mode": "omegaconf+", "allow_abbrev": False},
            "trainer_defaults": own,
        }
        super().__init__(model_class, datamodule_class, args=args, run=run, **{**usual, **options})

    @property
    def _config(self) -> Namespace:
        """Parsed settings of the command."""
        config: Namespace = self.config[self.subcommand] if self.subcommand else self.config
        return config

    def _given(self, option: str) -> Any:
        """Return a setting that the user gave the Trainer."""
        return self._get(self.config_init, "trainer")[option]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--run_dir``, ``--evaluate`` and ``--embeddings``; say what a config can do."""
        for action in parser._actions:
            if action.dest == "config":
                action.help = f"Config file, or the name of one of this package. {CONFIGS_ARE_CODE}"
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
        config = self._config
        checkpoint = config.get("ckpt_path")
        settings = self._model_settings
        self.weights = settings.get("weights")
        self._require_trained(checkpoint)
        model = _class_name(config.model, self.model_class)
        data = _class_name(config.get("data"), self.datamodule_class)
        self.folder = RunFolder.choose(
            self.subcommand or "fit",
            config.run_dir or f"runs/{model}_{data}",
            None if checkpoint is None else str(checkpoint),
            [str(file) for file in config.get("config") or []],
        )
        self.asked_for_untrained = checkpoint == NONE or is_checkpoint_path(self.weights or "")
        if self.folder.checkpoint and self.weights:
            settings.weights = None

    @property
    def _model_settings(self) -> Namespace:
        model = self._config.model
        settings: Namespace = model.init_args if "init_args" in model else model
        return settings

    def _require_trained(self, checkpoint: str | Path | None) -> None:
        """Raise an InputError if embeddings would be those of an untrained network by mistake."""
        own = self.weights is not None and is_checkpoint_path(self.weights)
        if self.subcommand == "predict" and checkpoint is None and not own:
            raise InputError(
                "predict needs a trained network: give --ckpt_path last, a checkpoint or the "
                f"folder of a run; or --ckpt_path {NONE} for the network as it begins"
            )

    def instantiate_classes(self) -> None:
        """Make data, Trainer and model, and check all before anything is written.

        The data is looked at before the model is made, which may fetch its weights.
        """
        if not self.subcommand:
            super().instantiate_classes()
            return
        config = self.config.clone()
        # a parser of one class makes it whether or not it is asked for
        of_any_class = self.subclass_mode_model and self.subclass_mode_data
        later = {"model": config[self.subcommand].pop("model")} if of_any_class else {}
        self.config_init = self.parser.instantiate_classes(config)
        self.datamodule = self._get(self.config_init, "data")
        self.trainer = self.instantiate_trainer()
        must_be_prepared = _prepares_data(self.datamodule)
        if not must_be_prepared:
            self._check_data()
        if later:
            made = Namespace({self.subcommand: Namespace(later)})  # type: ignore[no-untyped-call]
            made = self.parser.instantiate_classes(made)
            self.config_init[self.subcommand]["model"] = self._get(made, "model")
        self.model = self._get(self.config_init, "model")
        if self._checkpoint is not None:
            self.model.require_own(self._checkpoint, str(self.folder.checkpoint))
            self._checkpoint = None
        if must_be_prepared:
            self._check_data()
        if self.subcommand == "fit" and isinstance(self.model, ReIDModule):
            self.model.check_fit(self.datamodule, self.trainer)

    def _check_data(self) -> None:
        """Read the lists of files that the command needs; the data module keeps them."""
        if self.datamodule is None:
            return
        self.datamodule.trainer = self.trainer
        try:
            if _prepares_data(self.datamodule):
                if getattr(rank_zero_only, "rank", 0):
                    return  # the first process prepares it
                self.datamodule.prepare_data()
            self.datamodule.setup(self.subcommand)
            if self.subcommand == "fit" and self._evaluates():
                self.datamodule.setup("test")
        except (InputError, FileNotFoundError) as error:
            root = getattr(self.datamodule, "root", None)
            if root is None or Path(root).exists():
                raise
            raise InputError(f"{error}; --data.root says where the data is") from error

    def after_instantiate_classes(self) -> None:
        """Let ``config.yaml`` tell the weights that were given."""
        if self.weights:
            self._model_settings.weights = self.weights

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A Trainer that logs, saves and draws into the run folder."""
        if self.folder.checkpoint:
            # before anything is written into its folder
            checkpoint = read_checkpoint(self.folder.checkpoint)
            method_of(checkpoint, str(self.folder.checkpoint))  # refuses one of another kind
            self._require_epochs(checkpoint)
            self._checkpoint = checkpoint
            self.steps_before = checkpoint.get("global_step", 0)
        elif self.subcommand not in ("fit", None) and not self.asked_for_untrained:
            rank_zero_warn(
                f"no --ckpt_path: {self.subcommand} takes the network as it begins, untrained"
            )
        self.folder.require_writable()
        if self.subcommand:
            start = self.folder.checkpoint
            self.config_init[self.subcommand]["ckpt_path"] = None if start is None else str(start)
        trainer = super().instantiate_trainer(**{**self._trainer_settings(), **kwargs})
        if is_launched_by_function(trainer):
            raise InputError(
                f"--trainer.strategy {self._given('strategy')} is for notebooks, where what its "
                "processes keep is lost after training: take ddp"
            )
        handle_sigterm(trainer, raise_terminated)
        EndingFitLoop.replace(trainer)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, SaveConfig):
                callback.places = self.places
                callback.begins_again = self.subcommand == "fit"
        self.page = Page(self.subcommand)
        trainer.callbacks.append(self.page)  # type: ignore[attr-defined]  # after what it shows
        return trainer

    def _trainer_settings(self) -> dict[str, Any]:
        """Return the Trainer's arguments that replace or extend those of the user."""
        path = str(self.folder.path)
        settings: dict[str, Any] = {"default_root_dir": path, "logger": self._loggers(path)}
        plugins = _as_list(self._given("plugins"))
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            settings["plugins"] = [*plugins, AtomicCheckpointIO()]
        callbacks = _as_list(self._given("callbacks"))
        barebones = self._given("barebones")
        if barebones:  # no checkpoints, logs or bars
            settings |= {"logger": False, "log_every_n_steps": 0}
        if self._given("enable_checkpointing") is False or barebones:
            usual = self.trainer_defaults["callbacks"]
            self.trainer_defaults["callbacks"] = [
                callback for callback in usual if not isinstance(callback, ModelCheckpoint)
            ]
        if not barebones and not any(isinstance(c, ProgressBar) for c in callbacks):
            bars = self._given("enable_progress_bar") is not False
            display = progress_display(bars)
            callbacks.append(display)
            settings["enable_progress_bar"] = isinstance(display, ProgressBar)
        callbacks.append(EndLaunched())
        if self.subcommand == "fit":
            folder = self.folder.path
            callbacks.insert(0, RequireFolder(folder))
            callbacks += [HowToGoOn(folder), RepeatedEpochs(), RequeuedCheckpoints(folder)]
        return {**settings, "callbacks": callbacks}

    def _loggers(self, path: str) -> list[Any] | bool:
        """The CSV log first: Lightning takes its folder for that of the run."""
        given = self._given("logger")
        if given is False or given == []:
            return False
        begins = self.subcommand == "fit" and not self.folder.checkpoint
        own = [ContinuedCSVLogger(path, begins, name="", version="")]
        if given not in (None, True):
            return [*own, *_as_list(given)]
        if self.subcommand == "fit":
            # of what is repeated, the first points are forgotten; a run that was tested has ended
            ended = "trained" in read_retrieval(self.folder.path)
            goes_on = self.folder.checkpoint is not None and not ended
            repeated = {"purge_step": self.steps_before} if goes_on else {}
            return [*own, TensorBoardLogger(path, name="", version="", **repeated)]
        return own

    def _require_epochs(self, checkpoint: Mapping[str, Any]) -> None:
        """Before anything of the run is touched."""
        wanted, done = self._given("max_epochs"), checkpoint.get("epoch", -1) + 1
        callbacks = _as_list(self._given("callbacks"))
        if any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks):
            done -= 1  # it takes an epoch more than it is given
        if self.subcommand == "fit" and wanted is not None and 0 <= wanted < done:
            raise InputError(
                f"{self.folder.checkpoint} has {done} epochs done, and max_epochs is {wanted}: ask "
                f"for more, such as --trainer.max_epochs {2 * done}"
            )

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except Exception as error:
            if isinstance(error, OSError) and error.errno and error.filename is None:
                raise unwritable(self.folder.path, error) from error  # such as TensorBoard's log
            file = self.folder.checkpoint
            if file is None:
                raise
            if isinstance(error, InputError) and str(error).startswith(DAMAGED):
                raise InputError(str(error).replace("the checkpoint", str(file), 1)) from error
            part = None if user_error(error) else blamed_part(error)
            if part is None:
                raise
            raise InputError(
                f"{file} is damaged: its {part} cannot be used: {shorten(repr(error), 300)}"
            ) from error

    def before_fit(self) -> None:
        """Measure the untrained network, for comparison."""
        rank_zero_info(
            f"Writing to {self.folder.path}; if interrupted, add --ckpt_path last to go on"
        )
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
        trainer: Any = self.trainer
        wanted = self._get(self.config_init, "evaluate") and not trainer.fast_dev_run
        if not wanted or trainer.barebones:  # which logs nothing
            return False
        return bool(getattr(self.datamodule, "has_test", False))

    def _test(self, column: str) -> dict[str, float]:
        results = dict(self.trainer.test(self.model, self.datamodule, verbose=False)[0])
        self.page.keep(self.trainer, results, column)
        return results


def _class_name(settings: Any, usual: Any) -> str:
    """Name of the class that is made, for the name of the run."""
    path = settings.get("class_path") if isinstance(settings, Namespace) else None
    return str(path).rpartition(".")[2] if path else getattr(usual, "__name__", "loaders")


def _as_list(given: Any) -> list[Any]:
    return [*given] if isinstance(given, list) else [given] if given is not None else []


def _prepares_data(datamodule: Any) -> bool:
    """Return whether a data module downloads or draws its data before it can be read."""
    own = getattr(type(datamodule), "prepare_data", None)
    return own is not None and own is not pl.LightningDataModule.prepare_data


def main() -> None:
    """Run the command line of this process; what the user can mend is told in one line.

    Classes that the settings name may come from modules in the current folder.
    """
    raise_on_sigterm()
    escape_reports()
    threading.excepthook = _report_of_thread
    try:
        allow_named_modules(with_named_configs(sys.argv[1:]))
        done = run_command_line()
    except BaseException as error:
        if (status := stop_status(error)) is not None:
            if not getattr(rank_zero_only, "rank", 0):
                sys.stderr.write("lightning-reid: interrupted\n")
            sys.exit(status)
        message = user_error(error) if isinstance(error, Exception) else None
        if message is None:
            raise
        sys.exit("lightning-reid: " + printable(message, keep="\n"))
    if isinstance(done, int):
        sys.exit(done)


def _report_of_thread(failed: threading.ExceptHookArgs) -> None:
    """Leave what ended a thread to the main thread, where it is one that the user can solve.

    It waits for its threads, as for the one that writes TensorBoard's log, and ends with their
    errors.
    """
    if failed.exc_value is None or user_error(failed.exc_value) is None:
        threading.__excepthook__(failed)


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
    return ReIDCLI(args=args)
