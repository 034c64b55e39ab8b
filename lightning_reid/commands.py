"""Commands beside the Trainer's; nothing of theirs is imported before it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from lightning_reid.lightning.cli import LightningArgumentParser
from lightning_reid.named_configs import with_named_configs


@dataclass(frozen=True)
class Command:
    """A word after ``lightning-reid``.

    Args:
        module: where ``run(arguments)`` is, which takes what follows the word and returns the
            exit status.
        summary: what the command does, in the list of commands.
    """

    module: str
    summary: str

    def run(self, arguments: Sequence[str]) -> int:
        """Import the command, run it, return its exit status."""
        status: int = import_module(self.module).run(arguments)
        return status


COMMANDS = {
    "check": Command(
        "lightning_reid.inspection.command",
        "Look at a data set before training on it: what is in it, what is wrong with it, which "
        "methods it can be used with.",
    ),
    "search": Command(
        "lightning_reid.search.command",
        "Find the images of a gallery that are nearest to a query.",
    ),
    "export": Command(
        "lightning_reid.export.command",
        "Write a trained network, preprocessing included, as an ONNX file, and check it.",
    ),
}


def add_model_arguments(parser: ArgumentParser) -> None:
    """Add the options that tell a trained model, see :meth:`TrainedModel.load`."""
    parser.add_argument(
        "--ckpt_path", type=str, required=True, help="Checkpoint, or the folder of a run"
    )
    parser.add_argument(
        "--size",
        type=tuple[int, int] | None,
        default=None,
        help="Height and width that the model was trained with, for a checkpoint without its "
        "run's config.yaml",
    )


class CommandParser(LightningArgumentParser):
    """The parser of the command line; it lists these commands beside the Trainer's.

    Configs that come with the package may be given by name.
    """

    def parse_args(  # type: ignore[override]  # its own signature has private types
        self, args: Sequence[str] | None = None, *more: Any, **kwargs: Any
    ) -> Namespace:
        """As for any parser."""
        given = with_named_configs(sys.argv[1:] if args is None else args)
        config: Namespace = super().parse_args(given, *more, **kwargs)
        return config

    def add_subcommands(self, *args: Any, **kwargs: Any) -> Any:
        """As for any parser; the commands' own parsers are made when they run."""
        action = super().add_subcommands(*args, **kwargs)
        for name, command in COMMANDS.items():
            action.add_subcommand(name, _Stub(name), help=command.summary)
        return action


class _Stub(LightningArgumentParser):
    """Stands for a command in the list; reached only if something comes before the command."""

    def __init__(self, command: str) -> None:
        super().__init__()
        self.command = command

    def parse_args(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.error(f"the command comes first: lightning-reid {self.command} ...")
