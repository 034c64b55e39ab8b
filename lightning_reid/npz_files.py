"""Arrays in an ``.npz`` file that nobody has to trust."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from lightning_reid.regular_files import open_regular


def read_arrays(file: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Read arrays of an ``.npz`` file as ``np.savez`` writes it, without compression.

    Never takes more memory than the file has bytes, whatever it claims, and compares the checksums
    in it with its content.

    Args:
        file: What to read.
        names: Arrays to read.

    Returns:
        Those arrays that are there under their names, read only.

    Raises:
        ValueError: If the file is damaged, or an array is compressed or holds Python objects; the
            message says why.
        OSError: If it cannot be read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/a.npz", cameras=np.arange(3), paths=np.zeros(9))
        ...     read_arrays(Path(folder, "a.npz"), ["cameras"])
        {'cameras': array([0, 1, 2])}
    """
    with open_regular(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            with zipfile.ZipFile(stream) as archive:
                there = {*archive.namelist()}
                contents = {n: _content(archive, n, size) for n in names if f"{n}.npy" in there}
        except (OSError, MemoryError):
            raise
        except Exception as error:  # zipfile has errors of many kinds for damaged files
            raise ValueError(_reason(error)) from error
    return {name: _array(name, content) for name, content in contents.items()}


def _content(archive: zipfile.ZipFile, name: str, size: int) -> bytes:
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > size:
        raise ValueError(f"{name} is compressed or larger than the file")
    return archive.read(member)


def _array(name: str, content: bytes) -> npt.NDArray[Any]:
    stream = BytesIO(content)
    try:
        npy.read_magic(stream)
        shape, by_columns, dtype = npy.read_array_header_1_0(stream)
    except Exception as error:  # NumPy has Python parse the header, whose errors are of many kinds
        raise ValueError(f"{name} has no readable header ({_reason(error)})") from error
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    claimed, there = prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if claimed != there or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"{name} claims {claimed:,} bytes and has {there:,}")
    values = np.frombuffer(content, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if by_columns else "C")


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
