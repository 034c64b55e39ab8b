"""Embeddings in a file, read and verified in blocks."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from lightning_reid.errors import InputError
from lightning_reid.regular_files import open_regular
from lightning_reid.search.embedder import Vectors

ROWS = 4096  # of a block, each of which has a checksum of its own
BUILD_AGAIN = "build the index again with --rebuild true (in Python rebuild=True)"

Checksums = npt.NDArray[np.uint32]


class StoredEmbeddings:
    """Embeddings in an ``.npy`` file.

    The whole file is never in memory, nor mapped: a file that is cut while it is searched raises an
    error, where a mapped one would end the process. A block is compared with its checksum when it
    is read for the first time.

    Args:
        file: What :func:`write_embeddings` wrote.
        count: Number of embeddings, N.
        dimensions: Length of each, D.
        checksums: ``(ceil(N / ROWS),)`` uint32, of the blocks.

    Raises:
        InputError: If the file cannot be read, or has another header or size; while reading, if a
            block has another checksum.
    """

    def __init__(self, file: Path, count: int, dimensions: int, checksums: Checksums) -> None:
        self.file = file
        self.count = count
        self.dimensions = dimensions
        self._checksums = checksums
        self._verified = np.zeros(len(checksums), dtype=bool)
        header = _header(count, dimensions)
        self._start = len(header)
        try:
            self._stream = open_regular(file)
            size = os.fstat(self._stream.fileno()).st_size
            begins = self._stream.read(len(header))
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror or error})") from error
        wanted = len(header) + 4 * count * dimensions
        if size != wanted:
            raise self._error(f"has {size:,} bytes, and should have {wanted:,}")
        if begins != header:
            raise self._error(f"is no file of {count:,} embeddings of {dimensions:,} values")

    def blocks(self) -> Iterator[Vectors]:
        """All embeddings in their order, ``(ROWS, D)`` at a time.

        Every block is in the memory of the one before.
        """
        space = np.empty((min(ROWS, self.count), self.dimensions), dtype=np.float32)
        for number, first in enumerate(range(0, self.count, ROWS)):
            block = space[: min(ROWS, self.count - first)]
            self._read(block, self._start + 4 * first * self.dimensions)
            if not self._verified[number]:
                if zlib.crc32(block.data) != self._checksums[number]:
                    raise self._error("holds other embeddings than were written with index.npz")
                self._verified[number] = True
            yield block

    def _read(self, block: Vectors, offset: int) -> None:
        left = block.data.cast("B")
        while len(left):
            try:
                done = _read_at(self._stream, left, offset)
            except OSError as error:
                raise self._error(f"cannot be read ({error.strerror or error})") from error
            if not done:
                raise self._error("was cut while it was read")
            left, offset = left[done:], offset + done

    def _error(self, what: str) -> InputError:
        return InputError(f"{self.file} {what}: {BUILD_AGAIN}")


def write_embeddings(
    stream: BinaryIO, parts: Iterable[Vectors], count: int, dimensions: int
) -> Checksums:
    """Write embeddings as an ``.npy`` file.

    Args:
        stream: Where to.
        parts: Arrays ``(n, D)``, float32, of N rows in all.
        count: N.
        dimensions: D.

    Returns:
        ``(ceil(N / ROWS),)`` uint32, the checksum of every block of ``ROWS`` rows.
    """
    stream.write(_header(count, dimensions))
    checksums = np.zeros(-(-count // ROWS), dtype=np.uint32)
    row = 0
    for part in parts:
        while len(part):
            number, inside = divmod(row, ROWS)
            rows = np.ascontiguousarray(part[: ROWS - inside], dtype="<f4")
            stream.write(rows.data)
            checksums[number] = zlib.crc32(rows.data, int(checksums[number]))
            row, part = row + len(rows), part[len(rows) :]
    if row != count:
        raise ValueError(f"{row} embeddings for {count} images")
    return checksums


def _read_at(stream: BufferedReader, space: memoryview, offset: int) -> int:
    """Read from a place of a file, whoever else reads from it: other threads, forked processes."""
    if hasattr(os, "preadv"):
        return os.preadv(stream.fileno(), [space], offset)
    stream.seek(offset)
    return stream.readinto(space)


def _header(count: int, dimensions: int) -> bytes:
    """How an ``.npy`` file of embeddings begins."""
    header = BytesIO()
    told = {"descr": "<f4", "fortran_order": False, "shape": (count, dimensions)}
    npy.write_array_header_1_0(header, told)
    return header.getvalue()
