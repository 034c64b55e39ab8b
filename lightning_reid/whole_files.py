"""Files that are whole, whenever the process or the machine dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lightning_reid.errors import InputError


@contextmanager
def whole_file(file: Path) -> Iterator[BinaryIO]:
    """Write a file beside its place, wait for the disk, and then put it there at once.

    Until then, and if anything fails, what was there before is untouched.

    Args:
        file: where to; its folder is made.

    Yields:
        A stream to write to.

    Raises:
        OSError: if it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # always the same name: what a kill leaves behind is overwritten
    beside = file.with_name(f".{file.name}.part")
    try:
        with beside.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _wait_for_disk(file.parent)


def write_output(file: Path, content: bytes) -> None:
    """Write a file whole, at the place that an option ``--output`` gave.

    Raises:
        InputError: if it cannot be written.
    """
    try:
        with whole_file(file) as stream:
            stream.write(content)
    except OSError as error:
        raise InputError(
            f"cannot write {file}: {error.strerror}; give another place with --output"
        ) from error


def _wait_for_disk(folder: Path) -> None:
    """Until the new name of a file in it is on the disk; not every system lets one ask."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
