"""Checkpoints that are whole, whenever the process or the machine dies, and read safely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lightning_reid.lightning import TorchCheckpointIO
from lightning_reid.models.checkpoint_files import read_checkpoint
from lightning_reid.whole_files import whole_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Puts a checkpoint in its place at once, when all of it is on the disk.

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
        with whole_file(Path(path)) as stream:
            torch.save(checkpoint, stream)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint; code inside it is executed only with ``weights_only=False``.

        Args:
            path: Where from; a place such as ``s3://...`` is left to Lightning.
            map_location: Where tensors are put; the CPU by default.
            weights_only: False allows any object and is for trusted files alone.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: It is not a checkpoint, or holds objects other than tensors and plain
                values.
        """
        if weights_only is False or "://" in str(path):
            loaded: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only)
            return loaded
        return read_checkpoint(Path(path), map_location)  # type: ignore[no-any-return]
