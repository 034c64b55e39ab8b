"""Files that are whole, whenever the process or the machine dies."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lightning_reid.errors import InputError, causes

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def whole_file(file: Path) -> Iterator[BinaryIO]:
    """Write a file beside its place, wait for the disk, and then put it there at once.

    Until then, and if anything fails, what was there before is untouched. Of two processes on one
    machine the second waits for the first.

    Args:
        file: where to; its folder is made.

    Yields:
        A stream to write to.

    Raises:
        InputError: if the system refuses to write it; other errors of the block pass.
    """
    # always the same name: what a kill leaves behind is overwritten
    beside = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _opened(beside) as stream, _removed_if_it_fails(beside, stream):
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            _let_go(stream)
            beside.replace(file)  # while it is locked: then the next process may write
    except BaseException as error:
        refused = _refusal(error, beside)
        if refused is None:
            raise
        raise unwritable(file, refused) from error
    _wait_for_disk(file.parent)


def unwritable(file: Path, refused: OSError) -> InputError:
    """Return the error for a file or folder that cannot be written.

    Args:
        file: which; nothing is left of what has been written of it.
        refused: what the system said.
    """
    told = f"cannot write {file}: {refused.strerror}"
    if refused.errno in _FULL:
        folder = next(path for path in (file, *file.parents) if path.is_dir())
        free = shutil.disk_usage(folder).free
        told += f": it needs more than the {free / 1e6:.1f} MB that are free; make room"
    else:
        told += ": see to its permissions, or choose another folder"
    return InputError(told + ("; what was there before is untouched" if file.is_file() else ""))


def _opened(beside: Path) -> BinaryIO:
    """Open a file for this process alone; wait for another one that writes it.

    A link, or what else is no file, is removed rather than followed: it may have come with a run
    folder from somebody else.
    """
    if sys.platform == "win32":
        return beside.open("wb")
    import fcntl

    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        if beside.is_symlink() or (beside.exists() and not beside.is_file()):
            beside.unlink()
        stream = os.fdopen(os.open(beside, flags, 0o666), "wb")
        with suppress(OSError):  # a file system without locks
            fcntl.flock(stream, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), beside.stat()):
                stream.truncate()
                return stream
        stream.close()  # the other process has put it in its place


@contextmanager
def _removed_if_it_fails(beside: Path, stream: BinaryIO) -> Iterator[None]:
    """Remove a file that could not be written; it is still locked."""
    try:
        yield
    except BaseException:
        _let_go(stream)
        with suppress(OSError):
            beside.unlink()
        raise


def _let_go(stream: BinaryIO) -> None:
    """Close a stream where its file could neither be moved nor removed otherwise."""
    if sys.platform == "win32":
        stream.close()


def _refusal(error: BaseException, beside: Path) -> OSError | None:
    """Return what the system said about writing a file, if that is why a block failed.

    torch has an error of its own follow it. Errors about other files have their names.
    """
    for cause in causes(error):
        names = (None, str(beside), str(beside.parent))
        if isinstance(cause, OSError) and cause.errno is not None and cause.filename in names:
            return cause
    return None


def write_output(file: Path, content: bytes) -> None:
    """Write a file whole, at the place that an option ``--output`` gave.

    Raises:
        InputError: if it cannot be written.
    """
    try:
        with whole_file(file) as stream:
            stream.write(content)
    except InputError as error:
        raise InputError(f"{error}; give another place with --output") from error


def _wait_for_disk(folder: Path) -> None:
    """Until the new name of a file in it is on the disk; not every system lets one ask."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
