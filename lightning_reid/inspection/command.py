"""The command ``lightning-reid check --data ...``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from jsonargparse import Namespace, get_loader

from lightning_reid.datamodules import ReIDDataModule
from lightning_reid.inspection.inspection import inspect
from lightning_reid.inspection.report import WRITTEN, print_inspection, write_inspection
from lightning_reid.lightning.cli import LightningArgumentParser
from lightning_reid.named_configs import CONFIGS_ARE_CODE, with_named_configs
from lightning_reid.option_errors import BriefErrors

_DESCRIPTION = """\
Look at a data set before training on it. Decodes every image once and tells how many there are by
split and camera, what is unreadable, damaged, dark, blurred, copied, mislabelled or misshapen, what
that means, and which methods the data can be used with. Takes what fit takes, so a fit command
becomes a check by changing one word: settings of model and trainer are ignored. The exit status is
1 if training or testing could not work.
"""

# what fit takes beside the data
_IGNORED = re.compile(
    r"--(model|trainer|optimizer|lr_scheduler|seed_everything|evaluate|embeddings|ckpt_path"
    r"|weights_only)([.+=].*)?"
)


class _DataParser(BriefErrors, LightningArgumentParser):
    """Reads configs that were written for ``fit``: sections it does not know are left out."""

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        """As for any parser; every config file comes through here."""
        own = self._own_sections(content)
        config: Namespace = super().parse_string(own, *args, **kwargs)
        return config

    def _own_sections(self, content: str) -> str:
        sections = get_loader("yaml")(content)
        if not isinstance(sections, dict):
            return content
        own = {action.dest for action in self._actions}
        return json.dumps({key: value for key, value in sections.items() if key in own})


def run(arguments: Sequence[str]) -> int:
    """Check a data set; see ``lightning-reid check --help``.

    Returns:
        1 if training or testing could not work, else 0.
    """
    parser = _parser()
    config = parser.parse_args(with_named_configs(list(_without_ignored(arguments))))
    datamodule = parser.instantiate_classes(config).data
    inspection = inspect(datamodule, config.near, config.num_workers)
    wanted = folder = None
    if len(inspection.data.listing.samples):
        wanted = _free_folder(_wanted_folder(config, datamodule))
    try:
        if wanted is not None:
            write_inspection(inspection, wanted)
            folder = wanted
    finally:  # it took a while to find out
        print_inspection(inspection, folder)
    return 0 if inspection.works else 1


def _parser() -> LightningArgumentParser:
    parser = _DataParser(
        prog="lightning-reid check",
        description=_DESCRIPTION,
        parser_mode="omegaconf+",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-c",
        "--config",
        action="config",
        help="Config file of a data set, a method, or a whole run; may be given several times. "
        + CONFIGS_ARE_CODE,
    )
    parser.add_lightning_class_args(ReIDDataModule, "data", subclass_mode=True)
    parser.add_argument(
        "--output",
        type=str | None,
        default=None,
        help="Folder for check.json, check.csv (a line for every image) and pictures; a "
        "number is added if it is taken; nothing is written where there are no images. Default: "
        "check in run_dir, or runs/check_<data>",
    )
    parser.add_argument(
        "--run_dir",
        type=str | None,
        default=None,
        help="Folder of the run that fit would write; see output",
    )
    parser.add_argument(
        "--near",
        type=int,
        default=3,
        help="Most bits in which the 64-bit difference hashes of near duplicates differ, 0 to 8; "
        "0 looks for exact copies only",
    )
    parser.add_argument(
        "--num_workers",
        type=int | None,
        default=None,
        help="Processes that decode images. Default: as many as there are cores, at most 16",
    )
    return parser


def _without_ignored(arguments: Sequence[str]) -> Iterator[str]:
    """Arguments but for those about model, trainer and run, and their values."""
    value_follows = False
    for argument in arguments:
        ignored = _IGNORED.fullmatch(argument)
        if not ignored and not (value_follows and not argument.startswith("--")):
            yield argument
        value_follows = ignored is not None and "=" not in argument


def _wanted_folder(config: Namespace, datamodule: ReIDDataModule) -> str:
    if config.output:
        return str(config.output)
    if config.run_dir:
        return f"{config.run_dir}/check"
    return f"runs/check_{type(datamodule).__name__}"


def _free_folder(wanted: str) -> Path:
    """``wanted`` or, if a check is there, ``wanted-2``, ``wanted-3``, ..."""
    first = Path(wanted).resolve()
    numbered = (first.with_name(f"{first.name}-{number}") for number in count(2))
    taken = (first / WRITTEN).exists()
    return next(f for f in numbered if not (f / WRITTEN).exists()) if taken else first
