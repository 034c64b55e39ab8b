"""A run folder that one process at a time writes into."""

from __future__ import annotations

import os
import sys
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any


def claim(folder: Path) -> IO[Any] | None:
    """Take a folder for this process.

    It is held while what is returned is open, at most as long as the process lives, however that
    ends; processes that are started by this one do not hold it. Only processes of one user on one
    machine see it, and none where the system has no such locks (Windows) or no room for them.

    Args:
        folder: which need not be there; nothing is written into it.

    Returns:
        What holds the folder; None if another process has it.

    Example:
        >>> held = claim(Path("runs/mine"))
        >>> held is not None
        True
    """
    if sys.platform == "win32":
        return Path(os.devnull).open()
    import fcntl

    # not in the folder: a command that is refused leaves nothing there
    locks = Path(tempfile.gettempdir(), f"lightning_reid-{os.getuid()}")
    name = blake2b(os.fsencode(folder.resolve()), digest_size=16).hexdigest()
    try:
        locks.mkdir(mode=0o700, exist_ok=True)
        stream = (locks / name).open("a")
    except OSError:  # whether the run itself can be written is for others to say
        return Path(os.devnull).open()
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        return None
    return stream
