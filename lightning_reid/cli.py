"""The command line: ``lightning-reid fit|validate|test|predict --config ...``."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.seed import isolate_rng

# configs name the classes of these packages without their path
import lightning_reid.datamodules
import lightning_reid.methods  # noqa: F401
from lightning_reid.callbacks import EmbeddingWriter, PseudoLabelCallback, RankingPicture
from lightning_reid.datamodules import ReIDDataModule
from lightning_reid.errors import DownloadError, InputError, MissingPackageError
from lightning_reid.loggers import ContinuedCSVLogger
from lightning_reid.methods import ReIDModule
from lightning_reid.models.checkpoint_files import read_checkpoint
from lightning_reid.report import print_summary
from lightning_reid.run_folder import LAST, RunFolder


class ReIDCLI(LightningCLI):
    """LightningCLI with one folder per run, and retrieval measured before and after ``fit``."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--run_dir`` and ``--evaluate``."""
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
        """Look for no pretrained weights where a checkpoint replaces them anyway."""
        config = self.config[self.subcommand]
        replaced = self.subcommand != "fit" and config.get("ckpt_path")
        if replaced and "weights" in config.model.init_args:
            config.model.init_args.weights = None

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A Trainer that logs, saves and draws into the run folder."""
        self.folder = RunFolder.choose(
            self.subcommand or "fit",
            self._get(self.config_init, "run_dir")
            or f"runs/{type(self.model).__name__}_{type(self.datamodule).__name__}",
            self._get(self.config_init, "ckpt_path"),
        )
        if self.folder.checkpoint:
            # before anything is written into its folder
            self.model.require_own(read_checkpoint(self.folder.checkpoint))
            self.config_init[self.subcommand]["ckpt_path"] = str(self.folder.checkpoint)
        path = str(self.folder.path)
        settings = {"default_root_dir": path, **kwargs}
        if self._get(self.config_init, "trainer")["logger"] in (None, True):
            settings["logger"] = [ContinuedCSVLogger(path, name="", version="")]
            if self.subcommand == "fit":
                settings["logger"].append(TensorBoardLogger(path, name="", version=""))
        return super().instantiate_trainer(**settings)

    def before_fit(self) -> None:
        """Measure the untrained network, for comparison."""
        rank_zero_info(
            f"Writing to {self.folder.path}; if interrupted, add --ckpt_path last to go on"
        )
        self.model.check_requirements()
        self.before: dict[str, float] = {}
        if self._evaluates() and not self.folder.checkpoint:
            with isolate_rng():
                self.before = self._test()

    def after_fit(self) -> None:
        """Measure the trained network and print what was achieved."""
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        after = self._test() if self._evaluates() else {}
        print_summary(self.before, after, self._label_history(), self.folder.path)

    def _label_history(self) -> list[dict[str, float]]:
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        relabelling = [c for c in callbacks if isinstance(c, PseudoLabelCallback)]
        return relabelling[0].history if relabelling else []

    def _evaluates(self) -> bool:
        wanted = self._get(self.config_init, "evaluate") and not self.trainer.fast_dev_run  # type: ignore[attr-defined]
        return bool(wanted) and getattr(self.datamodule, "has_test", False)

    def _test(self) -> dict[str, float]:
        return dict(self.trainer.test(self.model, self.datamodule, verbose=False)[0])


class SaveConfig(SaveConfigCallback):
    """Writes the settings when a run has begun: one that is refused leaves the file as it was."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Not yet."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checkpoint, data and method fit together."""
        super().setup(trainer, pl_module, "fit")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """For the command ``validate``."""
        super().setup(trainer, pl_module, "validate")

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """For the command ``test``, and before ``fit``."""
        super().setup(trainer, pl_module, "test")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """For the command ``predict``."""
        super().setup(trainer, pl_module, "predict")


def main() -> None:
    """Run the command line of this process; what the user can mend is told in one line."""
    try:
        run_command_line()
    except Exception as error:
        mendable = _mendable(error)
        if mendable is None:
            raise
        sys.exit(f"lightning-reid: {mendable}")


def _mendable(error: BaseException | None) -> BaseException | None:
    """The error that the user can mend, which the parser may have wrapped in others."""
    while error is not None:
        if isinstance(error, (InputError, DownloadError, MissingPackageError, FileNotFoundError)):
            return error
        context = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or context
    return None


def run_command_line(args: ArgsType = None) -> ReIDCLI:
    """Run a command and return what it was run with: trainer, model, data module.

    Args:
        args: instead of the process's own arguments.
    """
    # Lightning's own business with the newest torch
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    return ReIDCLI(
        ReIDModule,
        ReIDDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        save_config_callback=SaveConfig,
        save_config_kwargs={"overwrite": True},
        auto_configure_optimizers=False,
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
                RankingPicture(),
                EmbeddingWriter(),
            ],
        },
        args=args,
    )
