"""Files that are neither folders, pipes nor devices."""

from __future__ import annotations

import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path


def open_regular(file: Path) -> BufferedReader:
    """Open a regular file for reading; never waits, as opening a pipe would.

    Raises:
        OSError: If it cannot be opened, or is no regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    stream: BufferedReader = BufferedReader(FileIO(os.open(file, flags)))
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(None, "not a regular file", str(file))
    return stream
