"""Embeddings and what they are of, on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lightning_reid.data.samples import Integers
from lightning_reid.errors import InputError
from lightning_reid.search.embedder import Vectors
from lightning_reid.search.embeddings import BUILD_AGAIN, StoredEmbeddings, write_embeddings
from lightning_reid.search.listing import Listing
from lightning_reid.search.nearest import nearest_rows
from lightning_reid.search.table import TABLE, Table, written_generation
from lightning_reid.whole_files import whole_file

_FILE = "embeddings-{}.npy"
_FILES = re.compile(r"embeddings-(\d{1,18})\.(?:npy|faiss)")  # the latter of other versions
_TRIES = 10  # to read what another process is changing


@dataclass(frozen=True)
class Index:
    """Unit vectors that are compared exactly; row i is that of image i.

    On disk it is two files: the embeddings, and a table of images that names them and holds their
    checksums. A new state is written beside the old one, and replaces it at once when the table
    does: whenever the process dies, one of the two is there and whole.

    Args:
        fingerprint: of the model that embedded the images.
        dimensions: length of the vectors.
        listing: the images.
        embeddings: of the images, on disk; None: there are none.
        generation: how often it has been written.
    """

    fingerprint: str
    dimensions: int
    listing: Listing
    embeddings: StoredEmbeddings | None = None
    generation: int = 0

    @classmethod
    def empty(cls, fingerprint: str, dimensions: int, generation: int = 0) -> Index:
        """An index without images."""
        return cls(fingerprint, dimensions, Listing.empty(), generation=generation)

    @classmethod
    def read(cls, folder: Path, fingerprint: str, dimensions: int) -> Index:
        """Read what :meth:`write` wrote; the embeddings are read and verified when they are used.

        Args:
            folder: where it is.
            fingerprint: of the model that is to be compared with it.
            dimensions: length of the embeddings of this model.

        Raises:
            InputError: if it is damaged, another model built it, or another process changes it all
                the time; nothing is changed.
        """
        for _ in range(_TRIES):
            table = Table.read(folder)
            if table.fingerprint != fingerprint:
                raise InputError(
                    f"the index in {folder} was built by another model (or another epoch of it), "
                    f"so its embeddings cannot be compared: {BUILD_AGAIN}, or give another folder "
                    "with --index"
                )
            file = folder / _FILE.format(table.generation)
            try:
                embeddings = StoredEmbeddings(file, len(table.listing), dimensions, table.checksums)
            except InputError:
                if written_generation(folder) == table.generation:
                    raise
            else:
                return cls(fingerprint, dimensions, table.listing, embeddings, table.generation)
            # another process has replaced both files since the table was read
        raise InputError(f"another process keeps changing the index in {folder}: try again later")

    def write(
        self,
        folder: Path,
        listing: Listing,
        kept: npt.NDArray[np.bool_],
        added: Iterable[Vectors] = (),
    ) -> Index:
        """Write the index with other images; what was there before holds until it is on the disk.

        Args:
            folder: where to.
            listing: the images that it holds then.
            kept: ``(N,)`` which of the present images these begin with, in their order.
            added: embeddings of the others, some at a time.

        Returns:
            The index as it is now on the disk.

        Raises:
            InputError: if it cannot be written, or what is kept is damaged.
        """
        generation = self.generation + 1
        file = folder / _FILE.format(generation)
        with whole_file(file) as stream:
            parts = chain(self._kept(kept), added)
            checksums = write_embeddings(stream, parts, len(listing), self.dimensions)
        Table(self.fingerprint, generation, listing, checksums).write(folder)
        for other in _embeddings_in(folder):
            if other != file:
                with suppress(OSError):  # it is in nobody's way
                    other.unlink()
        embeddings = StoredEmbeddings(file, len(listing), self.dimensions, checksums)
        return Index(self.fingerprint, self.dimensions, listing, embeddings, generation)

    def _kept(self, kept: npt.NDArray[np.bool_]) -> Iterator[Vectors]:
        """Embeddings of some of the images, in their order, some at a time."""
        first = 0
        for block in self._blocks():
            yield block[kept[first : first + len(block)]]
            first += len(block)

    def _blocks(self) -> Iterator[Vectors]:
        return iter(()) if self.embeddings is None else self.embeddings.blocks()

    def nearest(
        self, queries: Vectors, count: int, excluded: Integers | None = None
    ) -> tuple[npt.NDArray[np.float64], Integers]:
        """The images that are nearest to each query.

        Args:
            queries: ``(Q, D)`` unit rows.
            count: most images for each.
            excluded: ``(Q,)`` number of the camera whose images are left out for each query, -1 for
                none; None: for all queries none.

        Returns:
            Cosine similarities ``(Q, count)``, largest first, and rows ``(Q, count)``; -inf and -1
            where there are fewer images. Of equal similarities the first in the gallery comes
            first.

        Raises:
            InputError: if the embeddings on the disk are damaged.
        """
        cameras = self.listing.images.cameras
        return nearest_rows(self._blocks(), queries, count, cameras, excluded)


def is_there(folder: Path) -> bool:
    """Whether an index has been written to a folder."""
    return (folder / TABLE).is_file()


def generation_of(folder: Path) -> int:
    """Of the newest embeddings in a folder, whether or not they can be read; 0: none."""
    names = (_FILES.fullmatch(file.name) for file in _embeddings_in(folder))
    return max((int(name[1]) for name in names if name), default=0)


def _embeddings_in(folder: Path) -> list[Path]:
    return [file for file in folder.glob("embeddings-*") if _FILES.fullmatch(file.name)]
