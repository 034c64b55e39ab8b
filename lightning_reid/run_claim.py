"""A folder that one process at a time writes into."""

from __future__ import annotations

import os
import platform
import re
import stat
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from lightning_reid.lightning import rank_zero_info, rank_zero_warn

_LEFT_BEHIND = 86_400  # seconds after which the lock of a process that was killed is removed
_PAUSE = 0.1  # seconds between two looks at a lock that another process holds
_NAME = re.compile(r"[0-9a-f]{32}")


class Claim:
    """Holds a folder, at most as long as the process lives, however that ends.

    Processes that are started by this one do not hold it.

    Args:
        file: The lock, which is removed at the end; None: nothing holds the folder.
        descriptor: Of the open, locked file.
    """

    def __init__(self, file: Path | None = None, descriptor: int = -1) -> None:
        self._descriptor = descriptor
        self._release = weakref.finalize(self, _release, file, descriptor, os.getpid())
        _claims.add(self)

    def release(self) -> None:
        """Let others have the folder."""
        self._release()

    def forget(self) -> None:
        """Leave the folder to the process that this one was forked from."""
        if self._release.detach() and self._descriptor >= 0:
            os.close(self._descriptor)


_claims: weakref.WeakSet[Claim] = weakref.WeakSet()
_of_runs: weakref.WeakValueDictionary[Path, Claim] = weakref.WeakValueDictionary()


def _forget_all() -> None:
    for claim in [*_claims]:
        claim.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def claim(folder: Path) -> Claim | None:
    """Take a folder for this process, unless another one has it.

    Only processes of one user on one machine see it: the lock is a file in the user's own
    ``~/.cache`` (``XDG_CACHE_HOME``). Where that cannot be written or its file system has no locks,
    a warning says so, and nothing holds the folder.

    Args:
        folder: It need not be there; nothing is written into it.

    Returns:
        What holds the folder until it is released or forgotten about; the same as before if this
        process has the folder already. None if another process has it.

    Example:
        >>> held = claim(Path("runs/mine"))
        >>> held is not None
        True
    """
    folder = folder.resolve()
    held = _of_runs.get(folder) or _acquire(folder)
    if held is not None:
        _of_runs[folder] = held
    return held


@contextmanager
def hold(folder: Path, waiting: str) -> Iterator[None]:
    """Take a folder for a while, once no other process, or thread of this one, has it.

    Args:
        folder: See :func:`claim`.
        waiting: What to say if another has it.
    """
    held = _acquire(folder.resolve())
    if held is None:
        rank_zero_info(waiting)
    while held is None:
        time.sleep(_PAUSE)
        held = _acquire(folder.resolve())
    try:
        yield
    finally:
        held.release()


def _acquire(folder: Path) -> Claim | None:
    try:
        locks = _own_folder()
        _remove_old(locks)
        # a home folder may be that of several machines
        name = os.fsencode(platform.node()) + b"\0" + os.fsencode(folder)
        return _lock(locks / blake2b(name, digest_size=16).hexdigest())
    except (OSError, RuntimeError, ImportError) as error:
        rank_zero_warn(
            f"{folder} cannot be locked ({error}): let no two processes write into it at a time"
        )
        return Claim()


def _own_folder() -> Path:
    """Return the folder of this user's locks.

    Raises:
        OSError: If it cannot be made, or others can write into it.
        RuntimeError: If there is no home folder.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    cache = given if given.is_absolute() else Path.home() / ".cache"
    folder = cache / "lightning_reid" / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
        raise OSError(f"others may write into {folder}")
    return folder


def _lock(file: Path, flags: int = os.O_CREAT) -> Claim | None:
    """Lock a file, which is made if need be; None if another process has locked it."""
    import fcntl  # not there on Windows

    flags |= os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        with ExitStack() as failing:
            descriptor = os.open(file, flags, 0o600)
            failing.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise OSError(f"{file} is no file of this user")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            # another process may have removed the file before it was locked
            with suppress(FileNotFoundError):
                if os.path.samestat(file.lstat(), status):
                    os.utime(descriptor)
                    failing.pop_all()
                    return Claim(file, descriptor)


def _remove_old(locks: Path) -> None:
    """Remove what processes that were killed have left behind."""
    for file in locks.iterdir():
        with suppress(OSError):
            old = time.time() - file.lstat().st_mtime > _LEFT_BEHIND
            if old and _NAME.fullmatch(file.name) and (held := _lock(file, flags=0)):
                held.release()


def _release(file: Path | None, descriptor: int, process: int) -> None:
    if file is None or os.getpid() != process:
        return
    with suppress(OSError):
        file.unlink()
    os.close(descriptor)
