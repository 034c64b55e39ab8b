"""Embeddings and what they are of, on disk."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_reid.data import Samples, Strings
from lightning_reid.errors import InputError
from lightning_reid.search.embedder import Vectors
from lightning_reid.search.listing import Listing
from lightning_reid.whole_files import whole_file

TABLE = "index.npz"

_FORMAT = 1
_DAMAGES = (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile)
_SPARE = 16  # candidates beyond those wanted, which rounding may have put behind
_VECTORS = "embeddings-{}.faiss"
_TRIES = 10  # to read what another process is changing
_AGAIN = "build it again with --rebuild true (in Python rebuild=True)"


@dataclass(frozen=True)
class Index:
    """A faiss index of unit vectors, exact by inner product; row i is image i.

    On disk it is two files: the embeddings, and a table of images that names them. A new state is
    written beside the old one, and replaces it at once when the table does: whenever the process
    dies, one of the two is there and whole.

    Args:
        fingerprint: of the model that embedded the images.
        listing: the images.
        vectors: ``faiss.IndexFlatIP``.
        generation: how often it has been written.
    """

    fingerprint: str
    listing: Listing
    vectors: Any
    generation: int = 0

    @classmethod
    def empty(cls, fingerprint: str, dimensions: int, generation: int = 0) -> Index:
        """An index without images."""
        return cls(fingerprint, Listing.empty(), _faiss().IndexFlatIP(dimensions), generation)

    @classmethod
    def read(cls, folder: Path, fingerprint: str, mapped: bool) -> Index:
        """Read what :meth:`write` wrote.

        Args:
            folder: where it is.
            fingerprint: of the model that is to be compared with it.
            mapped: leave embeddings on the disk and read them while searching, where this faiss
                can; the index cannot be changed then.

        Raises:
            InputError: if it is damaged, another model built it, or another process changes it all
                the time; nothing is changed.
        """
        for _ in range(_TRIES):
            told, listing = _read_table(folder / TABLE)
            if told["fingerprint"] != fingerprint:
                raise InputError(
                    f"the index in {folder} was built by another model (or another epoch of it), "
                    f"so its embeddings cannot be compared: {_AGAIN}, or give another folder with "
                    "--index"
                )
            try:
                vectors = _whole_vectors(folder, told, len(listing), mapped)
            except InputError:
                if written_generation(folder) == told["generation"]:
                    raise
            else:
                return cls(fingerprint, listing, vectors, told["generation"])
            # another process has replaced both files since the table was read
        raise InputError(f"another process keeps changing the index in {folder}: try again later")

    def write(self, folder: Path) -> Index:
        """Write it; what was there before holds until all of this is on the disk.

        Returns:
            The same, as it is now on the disk.

        Raises:
            InputError: if it cannot be written.
        """
        faiss = _faiss()
        generation = self.generation + 1
        file = folder / _VECTORS.format(generation)
        try:
            with whole_file(file) as stream:
                faiss.write_index(self.vectors, faiss.PyCallbackIOWriter(stream.write))
            _write_table(folder / TABLE, self, generation, file.stat().st_size)
            for other in folder.glob(_VECTORS.format("*")):
                if other != file:
                    other.unlink()
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"cannot write {file}: {error}; what was there before is untouched; see to space "
                "and permissions, or give another folder with --index"
            ) from error
        return Index(self.fingerprint, self.listing, self.vectors, generation)

    def without(self, kept: npt.NDArray[np.bool_], listing: Listing) -> Index:
        """Only some of the images, in their order; changes the embeddings in place.

        Args:
            kept: ``(N,)`` which.
            listing: what is now known of these.
        """
        if not kept.all():
            removed = _faiss().IDSelectorBatch(np.flatnonzero(~kept))
            self.vectors.remove_ids(removed)
        return Index(self.fingerprint, listing, self.vectors, self.generation)

    def nearest(
        self, queries: Vectors, count: int, allowed: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """The images that are nearest to each query.

        Args:
            queries: ``(Q, D)`` unit rows.
            count: most images for each.
            allowed: ``(N,)`` among which; None: all.

        Returns:
            Cosine similarities ``(Q, count)``, largest first, and rows ``(Q, count)``; -1 where
            there are fewer images.
        """
        wanted, count = count, min(count + _SPARE, self.vectors.ntotal)
        parameters = None
        if allowed is not None:
            faiss = _faiss()
            bits = np.packbits(allowed, bitorder="little")
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        _, rows = self.vectors.search(queries, count, params=parameters)
        return self._in_order(queries, rows, wanted)

    def _in_order(
        self, queries: Vectors, rows: npt.NDArray[np.int64], count: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """The best of some candidates; float32 cannot tell near duplicates apart."""
        found = self.vectors.reconstruct_batch(np.maximum(rows, 0).reshape(-1))
        found = found.reshape(*rows.shape, -1).astype(np.float64)
        similarities = np.einsum("qd,qkd->qk", queries.astype(np.float64), found)
        similarities[rows < 0] = -np.inf
        # of equal ones the first in the gallery
        order = np.lexsort((rows, -similarities))[:, :count]
        return np.take_along_axis(similarities, order, 1), np.take_along_axis(rows, order, 1)


def is_there(folder: Path) -> bool:
    """Whether an index has been written to a folder."""
    return (folder / TABLE).is_file()


def generation_of(folder: Path) -> int:
    """Of the newest embeddings in a folder, whether or not they can be read; 0: none."""
    numbers = [file.stem.rpartition("-")[2] for file in folder.glob(_VECTORS.format("*"))]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def written_generation(folder: Path) -> int | None:
    """Of the state that the table in a folder tells; None if no table can be read."""
    try:
        with np.load(folder / TABLE) as columns:
            return int(json.loads(str(columns["told"]))["generation"])
    except _DAMAGES:
        return None


def _write_table(file: Path, index: Index, generation: int, size: int) -> None:
    images = index.listing.images
    told = {
        "format": _FORMAT,
        "fingerprint": index.fingerprint,
        "generation": generation,
        "bytes": size,
        "cameras": images.camera_names,
    }
    # no file name holds a zero
    paths = "\0".join(images.paths).encode("utf-8", "surrogateescape")
    with whole_file(file) as stream:
        np.savez(
            stream,
            told=np.array(json.dumps(told)),
            paths=np.frombuffer(paths, dtype=np.uint8),
            cameras=images.cameras,
            stamps=index.listing.stamps,
        )


def _read_table(file: Path) -> tuple[dict[str, Any], Listing]:
    try:
        with np.load(file) as columns:
            told = json.loads(str(columns["told"]))
            content = columns["paths"].tobytes().decode("utf-8", "surrogateescape")
            paths = Strings(content.split("\0") if content else ())
            images = Samples(paths, columns["cameras"], told["cameras"])
            listing = Listing(images, columns["stamps"])
            complete = told["format"] == _FORMAT and {"fingerprint", "generation", "bytes"} <= {
                *told
            }
    except _DAMAGES as error:
        raise InputError(f"the index {file} cannot be read ({error}): {_AGAIN}") from error
    if not complete:
        raise InputError(f"the index {file} is of another version: {_AGAIN}")
    return told, listing


def _whole_vectors(folder: Path, told: Mapping[str, Any], count: int, mapped: bool) -> Any:
    """The embeddings that a table tells of; raises an InputError unless they are all there."""
    file = folder / _VECTORS.format(told["generation"])
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        size = None
    if size != told["bytes"]:
        there = "is not there" if size is None else f"has {size:,} bytes"
        raise InputError(f"{file} {there}, and should have {told['bytes']:,}: {_AGAIN}")
    vectors = _read_vectors(file, mapped)
    if vectors.ntotal != count:
        raise InputError(f"{file} holds {vectors.ntotal} embeddings of {count} images: {_AGAIN}")
    return vectors


def _read_vectors(file: Path, mapped: bool) -> Any:
    faiss = _faiss()
    # since faiss 1.11; before, all of it is read
    flags = getattr(faiss, "IO_FLAG_MMAP_IFC", 0) if mapped else 0
    try:
        return faiss.read_index(os.fspath(file), flags)
    except RuntimeError as error:
        reason = str(error).rpartition("Error: ")[2].splitlines()[0]
        raise InputError(f"{file} cannot be read ({reason}): {_AGAIN}") from error


def _faiss() -> Any:
    """Faiss, whose types tell less than it can do."""
    import faiss  # imported where used: it loads slowly

    return faiss
