"""Images that can be searched, embedded once and kept on disk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_reid.data.samples import UNKNOWN, Integers
from lightning_reid.errors import InputError, require
from lightning_reid.lightning import rank_zero_warn
from lightning_reid.local_paths import local_path
from lightning_reid.messages import printable
from lightning_reid.models.trained import TrainedModel
from lightning_reid.run_claim import hold
from lightning_reid.run_folder import run_of
from lightning_reid.search.embedder import Embedded, Embedder, Vectors
from lightning_reid.search.index import Index, generation_of, is_there
from lightning_reid.search.listing import (
    UNKNOWN_CAMERA,
    Listing,
    Source,
    folders_of,
    list_images,
)
from lightning_reid.search.query import Query, is_file
from lightning_reid.search.table import written_generation
from lightning_reid.search.update import Update, rows_of

OWN = "own"  # stands for the camera that the gallery knows a query to be from

# seconds between two savings of a long build, unless saving would take a twentieth of the time
_SAVED_EVERY = 60.0
_SHARE = 20


class Match(NamedTuple):
    """An image of the gallery that was found.

    Attributes:
        path: absolute.
        similarity: cosine, from -1 to 1.
        camera: empty where unknown.

    Example:
        >>> found = [Match("hall/1.jpg", 0.91, "hall"), Match("gate/2.jpg", 0.42, "gate")]
        >>> [match.path for match in found if match.similarity > 0.5]
        ['hall/1.jpg']
    """

    path: str
    similarity: float
    camera: str


class Change(NamedTuple):
    """What became of a gallery.

    Attributes:
        embedded: images that were new or had changed.
        removed: images that were taken out.
        unreadable: images that were left out, as they could not be read.

    Example:
        >>> change = Change(embedded=12, removed=1, unreadable=0)
        >>> change.embedded - change.removed  # images more than before
        11
    """

    embedded: int
    removed: int
    unreadable: int


class Gallery:
    """Images that can be searched; their embeddings are kept in a folder and reused.

    An image is embedded again only if its path, its size or the time of its last change differ from
    what they were. The search is exact.

    Args:
        embedder: of images of the gallery and of queries.
        folder: of the index; is made with the first image.
        rebuild: begin with nothing, whatever is there; it holds until the first new state is
            written.

    Raises:
        InputError: If the table of the index is damaged or was built by another model. Embeddings
            are verified when they are first used.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> from lightning_reid.models import EmbeddingNetwork
        >>> network = EmbeddingNetwork(torch.nn.Conv2d(3, 8, 5), weights=None).eval()
        >>> embedder = Embedder(TrainedModel(network, (64, 32), Path("mine"), {}), device="cpu")
        >>> with TemporaryDirectory() as folder:
        ...     for number in (1, 2):
        ...         Image.effect_noise((32, 64), 9).save(f"{folder}/{number}.png")
        ...     gallery = Gallery(embedder, f"{folder}/index")
        ...     print(gallery.add(folder))
        ...     match, other = gallery.search(f"{folder}/2.png")
        Change(embedded=2, removed=0, unreadable=0)
        >>> Path(match.path).name, round(match.similarity, 3)  # it finds itself
        ('2.png', 1.0)
    """

    def __init__(self, embedder: Embedder, folder: str | Path, rebuild: bool = False) -> None:
        self.embedder = embedder
        self.folder = local_path(folder).resolve()
        self._fingerprint = embedder.model.fingerprint
        self._rebuilds = rebuild  # until the first new state is written
        if is_there(self.folder) and not rebuild:
            self._read()
        else:
            self._begin()

    @classmethod
    def open(
        cls,
        checkpoint: str | Path,
        folder: str | Path | None = None,
        rebuild: bool = False,
        size: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> Gallery:
        """The gallery of a trained model, with the images that are already in it.

        Args:
            checkpoint: a file, or the folder of a run.
            folder: of the index; None: ``search/gallery`` in the run folder.
            rebuild: see the class.
            size: see :meth:`~lightning_reid.search.TrainedModel.load`.
            kwargs: see :class:`~lightning_reid.search.Embedder`.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            InputError: if model or index cannot be used; the message says why.
        """
        model = TrainedModel.load(checkpoint, size)
        folder = folder or run_of(model.source) / "search" / "gallery"
        return cls(Embedder(model, **kwargs), folder, rebuild)

    def __len__(self) -> int:
        return len(self._index.listing)

    def add(
        self,
        source: Source,
        pattern: str | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Change:
        """Add images to those that are there; of these, those go whose file is gone.

        An image stays, with a warning, if its folder cannot be seen, such as that of a disk that is
        not mounted. What has been embedded is kept if this is interrupted. If another process, or
        another gallery of this one, is changing the index, this waits for it, and adds to what it
        has written.

        Args:
            source: a folder, a list with cameras (CSV or Parquet), an image, or several of these.
            pattern: of the paths in a folder, such as ``{camera}/*.jpg``, see
                :class:`~lightning_reid.ManifestData`.
            columns: what a list calls the columns ``path`` and ``camera``, where it differs, such
                as ``{"path": "file"}``.

        Raises:
            UnreadableImageError: if an image cannot be read, see
                :class:`~lightning_reid.search.Embedder`.
            InputError: If there are no images, the folder of the index cannot be written, an image
                that was asked for is in the index and cannot be seen, or the index has changed
                since it was opened to be rebuilt, or where the lock is not seen.
        """
        wanted = list_images(source, pattern, columns)
        return self._take_in(wanted, folders_of(source), keep_others=True)

    def hold(
        self,
        source: Source,
        pattern: str | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Change:
        """Hold these images and no others.

        Arguments and errors are those of :meth:`add`. It is also an error if an image in a folder
        that is given would go only because it cannot be seen.
        """
        wanted = list_images(source, pattern, columns)
        return self._take_in(wanted, folders_of(source), keep_others=False)

    def search(self, query: Query, k: int = 10, exclude_camera: str | None = None) -> list[Match]:
        """The ``k`` images that are nearest to another, a file or in memory.

        Arguments and errors are those of :meth:`search_all`, which takes several.
        """
        return next(iter(self.search_all([query], k, exclude_camera).values()), [])

    def search_all(
        self, queries: Sequence[Query], k: int = 10, exclude_camera: str | None = None
    ) -> dict[str, list[Match]]:
        """The ``k`` images that are nearest to each query; fewer in a smaller gallery.

        A query that is itself in the gallery finds itself.

        Args:
            queries: image files; or images in memory, such as crops of a camera's picture, as PIL
                images, which are turned upright by their EXIF orientation, or ``(H, W, 3)`` uint8
                arrays in RGB, which are taken as they are.
            k: images for each.
            exclude_camera: name of a camera whose images are left out; ``"own"`` for that of each
                query, which has to be in the gallery, with a camera.

        Returns:
            For each query that could be read its matches, nearest first, under the file's name;
            for an image in memory under ``"image 0"``, where 0 is its place among the queries.

        Raises:
            UnreadableImageError: if a query cannot be read, see
                :class:`~lightning_reid.search.Embedder`.
            InputError: If the gallery is empty, a query is no image, its camera is unknown, or
                embeddings on the disk are damaged.
            MemoryError: If there is not enough memory.
        """
        require("k", k, 1)
        if isinstance(queries, (str, Path)):
            raise InputError(f"search_all takes several queries; search takes one: {queries}")
        if not len(self):
            raise InputError(f"the gallery in {self.folder} holds no images: add some first")
        are_files = [is_file(query) for query in queries]
        queries = [
            str(local_path(query)) if isinstance(query, (str, Path)) else query for query in queries
        ]
        names = [
            str(query) if of_file else f"image {place}"
            for place, (query, of_file) in enumerate(zip(queries, are_files, strict=True))
        ]
        excluded = self._excluded(names, are_files, exclude_camera)
        embedded = self._embedded(queries, names, np.array(are_files, dtype=bool))
        left_out = None if excluded is None else excluded[embedded.places]
        matches = self._nearest(embedded.vectors, k, left_out)
        asked = [names[i] for i in embedded.places.tolist()]
        found = dict(zip(asked, matches, strict=True))
        return {name: found[name] for name in names if name in found}

    def _embedded(
        self, queries: Sequence[Query], names: Sequence[str], are_files: npt.NDArray[np.bool_]
    ) -> Embedded:
        """The queries that can be read, files first."""
        files, pictures = np.flatnonzero(are_files), np.flatnonzero(~are_files)
        read = self.embedder.all([names[i] for i in files.tolist()])
        held: list[Any] = [queries[i] for i in pictures.tolist()]
        vectors = self.embedder.pictures(held, [names[i] for i in pictures.tolist()])
        return Embedded(
            np.concatenate([files[read.places], pictures]),
            np.concatenate([read.vectors, vectors]),
        )

    def _nearest(
        self, vectors: Vectors, k: int, excluded: Integers | None
    ) -> Iterator[list[Match]]:
        listing = self._index.listing
        found = self._index.nearest(vectors, min(k, len(self)), excluded)
        for similarities, rows in zip(*found, strict=True):
            pairs = zip(similarities.tolist(), rows.tolist(), strict=True)
            yield [
                Match(listing.images.paths[row], similarity, listing.camera(row))
                for similarity, row in pairs
                if row != UNKNOWN
            ]

    def _excluded(
        self, queries: Sequence[str], are_files: Sequence[bool], camera: str | None
    ) -> Integers | None:
        """For each query the number of the camera whose images are left out."""
        if camera is None:
            return None
        images = self._index.listing.images
        known = [name for name in images.camera_set if name != UNKNOWN_CAMERA]
        if not known:
            raise InputError(
                f"the cameras of the gallery in {self.folder} are not known: give a list with a "
                "column camera, or a pattern with {camera}"
            )
        if camera != OWN:
            if camera not in known:
                raise InputError(
                    f"no image of the gallery is from the camera {camera!r}; its cameras are "
                    f"{', '.join(known)}"
                )
            return np.full(len(queries), images.camera_names.index(camera))
        absolute = [str(Path(query).absolute()) for query in queries]
        sought = [path if file else "" for path, file in zip(absolute, are_files, strict=True)]
        rows = rows_of(sought, images.paths)
        nameless = [row < 0 or images[row].camera == UNKNOWN_CAMERA for row in rows.tolist()]
        if any(nameless):
            raise InputError(
                "the gallery does not tell the camera of the query "
                f"{queries[nameless.index(True)]}: name it instead of {OWN!r}"
            )
        return images.cameras[rows]

    def _take_in(self, wanted: Listing, folders: Sequence[str], keep_others: bool) -> Change:
        """Bring the index up to date; see :meth:`Update.of` for the arguments."""
        update = Update.of(self._index.listing, wanted, folders, keep_others)
        if not update.changes and is_there(self.folder):
            return self._change(update)
        self._require_writable()
        waiting = f"Waiting for another process that changes the index in {self.folder}"
        with hold(self.folder, waiting):
            if self._catch_up(keep_others):
                update = Update.of(self._index.listing, wanted, folders, keep_others)
            if update.changes or not is_there(self.folder):
                self._embed(update)
        return self._change(update)

    def _change(self, update: Update) -> Change:
        if update.unseen:
            rank_zero_warn(
                f"kept {len(update.unseen)} images of the index that cannot be seen, such as "
                f"{printable(update.unseen[0])}: is their disk mounted?"
            )
        embedded = len(self) - len(update.listing)
        return Change(embedded, update.removed, len(update.fresh) - embedded)

    def _read(self) -> None:
        """Take what is on the disk."""
        self._index = Index.read(self.folder, self._fingerprint, self.embedder.dimensions)
        self._written: int | None = self._index.generation

    def _begin(self) -> None:
        """Take nothing of what is on the disk."""
        self._written = written_generation(self.folder)
        generation = generation_of(self.folder)
        self._index = Index.empty(self._fingerprint, self.embedder.dimensions, generation)

    def _catch_up(self, keep_others: bool) -> bool:
        """Take what another process has written meanwhile, if any; return whether it has."""
        if self._is_newest():
            return False
        if not self._rebuilds:
            self._read()
        elif not keep_others:
            self._begin()
        else:
            self._require_newest()
        return True

    def _is_newest(self) -> bool:
        """Whether the disk holds nothing newer; what is gone cannot be lost."""
        return written_generation(self.folder) in (None, self._written)

    def _require_newest(self) -> None:
        """Nothing that another process has written may be lost."""
        if not self._is_newest():
            raise InputError(f"another process has changed the index in {self.folder}: begin again")

    def _embed(self, update: Update) -> None:
        """Embed images; now and then, and if anything fails, what has been done is saved."""
        kept, listing = update.kept, update.listing
        done: list[Embedded] = []

        def save() -> None:
            nonlocal kept, listing
            self._require_newest()
            places = [np.empty(0, dtype=np.int64), *(batch.places for batch in done)]
            listing = listing + update.fresh.take(np.concatenate(places))
            vectors = [batch.vectors for batch in done]
            self._index = self._index.write(self.folder, listing, kept, vectors)
            self._written, self._rebuilds = self._index.generation, False
            kept = np.ones(len(listing), dtype=bool)
            done.clear()

        saved, took = time.monotonic(), 0.0
        try:
            for batch in self.embedder.batches(update.fresh.images.paths):
                done.append(batch)
                if time.monotonic() - saved > max(_SAVED_EVERY, _SHARE * took):
                    start = time.monotonic()
                    save()
                    saved = time.monotonic()
                    took = saved - start
        except BaseException:
            if done:  # nothing new must not replace what is there
                save()
            raise
        save()

    def _require_writable(self) -> None:
        """Before anything is embedded."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise InputError(
                f"cannot write to {self.folder}: {error.strerror}; give another folder with --index"
            ) from error
