"""The command ``lightning-reid export --ckpt_path ...``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from lightning_reid.commands import add_model_arguments
from lightning_reid.errors import InputError
from lightning_reid.export.onnx_file import Exported, export_onnx, require_onnx
from lightning_reid.models.trained import TrainedModel
from lightning_reid.option_errors import BriefErrors
from lightning_reid.run_folder import run_of
from lightning_reid.terminal import SafeConsole

_DESCRIPTION = """\
Write a trained network as an ONNX file: uint8 RGB images (B, H, W, 3) of the model's size in, unit
embeddings out, for any number of images. The file is left only if onnxruntime computes with it what
torch does. Needs a checkpoint and its run's config.yaml, not the data that it was trained on.
"""
_SUFFIX = ".onnx"


def run(arguments: Sequence[str]) -> int:
    """Export a network; see ``lightning-reid export --help``.

    Returns:
        0; what cannot be exported raises an error.
    """
    config = _parser().parse_args(list(arguments))
    require_onnx()
    model = TrainedModel.load(config.ckpt_path, config.size)
    file = Path(config.output or run_of(model.source) / "export" / f"model{_SUFFIX}").resolve()
    if file.suffix.lower() != _SUFFIX:
        raise InputError(f"output {file} must end in {_SUFFIX}")
    _print(export_onnx(model, file), model.size)
    return 0


def _parser() -> BriefErrors:
    parser = BriefErrors(prog="lightning-reid export", description=_DESCRIPTION, allow_abbrev=False)
    add_model_arguments(parser)
    parser.add_argument(
        "--output",
        type=str | None,
        default=None,
        help="File to write. Default: export/model.onnx in the run folder",
    )
    return parser


def _print(exported: Exported, size: tuple[int, int]) -> None:
    console = SafeConsole()
    table = Table("batch", "largest difference", title="onnxruntime and torch")
    for count, difference in exported.differences.items():
        table.add_row(str(count), f"{difference:.1e}")
    console.print(table)
    height, width = size
    console.print(
        f"{exported.file}: images (B, {height}, {width}, 3) uint8 RGB to unit embeddings",
        soft_wrap=True,
    )
