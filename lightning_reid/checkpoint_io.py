"""Checkpoints that are whole, whenever the process or the machine dies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lightning_reid.errors import InputError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, waits for the disk, and then puts it there at once.

    Until then the checkpoint before is untouched. Lightning writes into the folder for temporary
    files and moves from there, which across file systems is a copy that a kill can cut short.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: tensors and plain types.
            path: where to; a place such as ``s3://...`` is left to Lightning.
            storage_options: not supported, as in Lightning.

        Raises:
            InputError: if it cannot be written; what was there before still is.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        file = Path(path)
        # always the same name: what a kill leaves behind is overwritten
        beside = file.with_name(f".{file.name}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(file)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            beside.unlink(missing_ok=True)
            kept = " the checkpoint before is untouched;" if file.is_file() else ""
            raise InputError(
                f"cannot write {file}: {error};{kept} see to space and permissions, then go on "
                "with --ckpt_path last"
            ) from error
        _wait_for_disk(file.parent)


def _wait_for_disk(folder: Path) -> None:
    """Until the new name of a file in it is on the disk; not every system lets one ask."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
