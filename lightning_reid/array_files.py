"""NumPy's files of arrays, read without trusting what they say about themselves."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from lightning_reid.errors import InputError, reading
from lightning_reid.regular_files import open_regular

_PACKED = 300  # times that a member may be larger than it is in the archive
_LITTLE = 2**24  # bytes that may be packed as tightly as can be


def read_array(file: Path) -> NDArray[Any]:
    """Read an npy file.

    Args:
        file: Which; it holds numbers or text.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no such file, or is not as long as it says.
    """
    with reading(f"{file} cannot be read", user_errors=True), open_regular(file) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        _require_header(stream, size)
        stream.seek(0)
        array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        return array


def read_arrays(
    file: Path, names: Collection[str], compressed: bool = True
) -> dict[str, NDArray[Any]]:
    """Read arrays of an npz file.

    Args:
        file: Which; the arrays hold numbers or text.
        names: Of the arrays.
        compressed: Whether they may be compressed.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no such file, an array is missing, or is not as long as it says.
    """
    found = {}
    with (
        reading(f"{file} cannot be read", user_errors=True),
        open_regular(file) as stream,
        zipfile.ZipFile(stream) as archive,
    ):
        members = {member.filename: member for member in archive.infolist()}
        if missing := [name for name in names if f"{name}.npy" not in members]:
            raise InputError(f"it has no array {' and no array '.join(missing)}")
        for name in names:
            member = members[f"{name}.npy"]
            if not compressed and member.compress_type != zipfile.ZIP_STORED:
                raise InputError(f"the array {name} is compressed")
            if member.file_size > max(_LITTLE, _PACKED * member.compress_size):
                raise InputError(
                    f"unpacked, the array {name} is {member.file_size / 1e9:.1f} GB, "
                    f"which is more than {_PACKED} times what it is in the file"
                )
            with archive.open(member) as content:
                _require_header(content, member.file_size)
            with archive.open(member) as content:
                found[name] = npy.read_array(content, allow_pickle=False)
    return found


def _require_header(stream: IO[bytes], size: int) -> None:
    """Raise an InputError unless an array is as large as its header says, before it is read."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise InputError(f"an array in it is of version {version}")
    read_header: Any = npy.read_array_header_1_0 if version[0] == 1 else npy.read_array_header_2_0
    try:
        shape, _, dtype = read_header(stream)
    except MemoryError as error:  # of Python's parser
        raise InputError("the header of an array in it is nested too deeply") from error
    if dtype.hasobject or dtype.names:
        raise InputError(f"an array in it holds {dtype} rather than numbers or text")
    told, there = math.prod(shape) * dtype.itemsize, size - stream.tell()
    # of elements without size there may be any number, each of which would be read
    if told != there or not dtype.itemsize or any(side < 0 for side in shape):
        raise InputError(
            f"an array in it is damaged: {shape} {dtype} takes {told:,} bytes, not {there:,}"
        )
