"""People's own crops: a list of images, or folders whose names tell what is known."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lightning_reid.data import Samples
from lightning_reid.data.file_pattern import FolderTable
from lightning_reid.data.held_out import HeldOut, hold_out
from lightning_reid.data.manifest import (
    SPLITS,
    TRAIN,
    Manifest,
    collect,
    prefix_of,
    read_manifest,
    require_images,
)
from lightning_reid.data.samples import UNKNOWN, Integers
from lightning_reid.datamodules.base import ReIDDataModule, Split
from lightning_reid.errors import InputError, require, require_one_of
from lightning_reid.lightning import rank_zero_warn

_TRIED = 100  # images of which one has to be there, where single ones may be missing


class ManifestData(ReIDDataModule):
    """Your own crops, from a CSV or Parquet file or from folders whose names tell what is known.

    A manifest has a row for each image, and its first line names the columns::

        path,camera,tracklet
        gate/000123.jpg,gate,17
        hall/000007.jpg,hall,3

    ========  =========================================================================
    path      image file, relative to the folder of the manifest, or absolute; needed
    camera    name of the camera that took it; needed
    identity  who is on it, a name or a number; empty or -1: unknown
    tracklet  track that a tracker put it in, within its camera; empty or -1: in none
    split     ``train``, ``query`` or ``gallery``; without the column all are ``train``
    ========  =========================================================================

    With paths and cameras alone ``CAP``, ``O2CAP`` and ``CALR`` can be trained; with tracklets, or
    identities, also ``PCSL``; with identities of the query and gallery images ``test`` and
    ``predict`` work. All other columns, ``frame`` and ``time`` among them, are kept as text in
    ``train_samples.further`` and so on, and not used.

    The values are names, even if they are numbers: ``1`` and ``01`` are two cameras. White space
    around a name does not count, and ``3.0`` is ``3``, as data frames write whole numbers in a
    column with gaps. An empty cell is no name, nor is what programs write for one: ``NA``, ``N/A``,
    ``NaN``, ``nan``, ``None``, ``NULL`` and the like, in just these spellings; ``Nan`` is a name. A
    warning counts the identities that are read so. Identities
    are numbered from 0 in the order in which people count, over all splits: ``identity_names`` has
    the names. CSV is read as UTF-8, with commas, semicolons or tabs between the columns; columns
    without a name, and Parquet columns of lists or bytes, are left out. A million rows take seconds
    and some 200 bytes each.

    Folders need no file: ``pattern`` says what the parts of a path below ``root`` mean, such as
    ``{camera}/{tracklet}/*.jpg`` or ``{split}/{identity}_c{camera}_*.jpg``. A field in braces
    stands for a part of a name, as short as the rest allows; ``*`` for any part of a name, ``**``
    for any number of folders. Fields of other names become further columns. A pattern that ends
    with ``*`` or a field matches files that end as images do (``.jpg``, ``.PNG``, ``.webp``, ...).
    Files that do not match are counted in a warning; names that begin with a dot are passed over.

    Args:
        root: the manifest, ``.csv`` or another text file, or ``.parquet``; with ``pattern`` the
            folder of images.
        pattern: of the paths of images inside ``root``; None: ``root`` is a manifest.
        columns: what the manifest calls these columns, where it differs, such as
            ``{"path": "file", "camera": "cam_id"}``.
        test: makes a test set, where the manifest has none, of images whose identity is known; the
            others stay in training. ``"identity"`` holds out some people with all of their images,
            and so measures how well people are found who were never seen. ``"image"`` holds out
            some images, whoever is on them, and measures how well the people of the training set
            are found on other images of them; these often show the same moment, so the numbers are
            higher and tell nothing about new people. Of a person who is held out one image in each
            camera becomes a query and the others go to the gallery; of one with a single image in
            every camera only one image is a query. None: what the column ``split`` says.
        test_share: share of the people or images that ``test`` holds out.
        split_seed: of what ``test`` holds out, which follows from this seed and the names of
            people and images, not from their order.
        kwargs: see :class:`~lightning_reid.ReIDDataModule`.

    Raises:
        InputError: when the data is read (in ``setup``): if the manifest or a column is missing, a
            row has no path or camera, an image is listed twice in a split or in training and test,
            a test has no identities, the first image is not there, or no file matches the pattern.
            The message names the file and the line.
        MissingPackageError: for a Parquet file, if pyarrow is not installed.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("gate/17/1.jpg", "gate/17/2.jpg", "hall/3/1.jpg"):
        ...         Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
        ...         Path(folder, name).touch()
        ...     data = ManifestData(folder, pattern="{camera}/{tracklet}/*.jpg")
        ...     data.setup("fit")
        >>> data.camera_names, data.train_cameras.tolist(), data.train_samples.tracklets.tolist()
        (['gate', 'hall'], [0, 0, 1], [0, 0, 1])
    """

    def __init__(
        self,
        root: str | Path,
        pattern: str | None = None,
        columns: dict[str, str] | None = None,
        test: HeldOut | None = None,
        test_share: float = 0.3,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        if test is not None:
            require_one_of("test", test, ("identity", "image"))
        if not 0 < test_share < 1:
            raise InputError(f"test_share must be above 0 and below 1, not {test_share}")
        require("split_seed", split_seed, 0)
        if pattern is not None and columns:
            raise InputError("columns names those of a manifest; a pattern names its fields itself")
        self.pattern = pattern
        self.columns = columns
        self.test = test
        self.test_share = test_share
        self.split_seed = split_seed

    def samples(self, split: Split) -> Samples:
        """The images of one split, in the order of the rows or, in folders, of the names."""
        images = self._content[0][split]
        if not len(images):
            raise InputError(f"{self.root} has no {split} images" + self._why_none(split))
        if split != "train" and (images.identities == UNKNOWN).any():
            raise InputError(
                f"the {split} images in {self.root} have no identities to test against; add a "
                "column identity"
            )
        return images

    @property
    def has_test(self) -> bool:
        """Whether there are query images, and known who is on them."""
        query = self._content[0]["query"]
        return len(query) > 0 and bool((query.identities != UNKNOWN).all())

    @property
    def identity_names(self) -> list[str]:
        """Names of the identities, by their number."""
        return self._content[1]

    @cached_property
    def _content(self) -> tuple[dict[str, Samples], list[str]]:
        """The images of each split, and the names of identities."""
        manifest = self._manifest()
        splits = self._splits(manifest)
        self._require_identities(manifest, splits)
        images = manifest.samples
        own = [np.flatnonzero(splits == number) for number in range(len(SPLITS))]
        return {
            name: images if len(rows) == len(images) else images.take(rows)
            for name, rows in zip(SPLITS, own, strict=True)
        }, manifest.identity_names

    def _manifest(self) -> Manifest:
        if self.pattern is not None:
            return collect(FolderTable(self.root, self.pattern), self.root)
        if self.root.is_dir():
            raise InputError(
                f"{self.root} is a folder: give the manifest file in it, or a pattern of the paths "
                "of its images, such as '{camera}/*.jpg'"
            )
        manifest = read_manifest(self.root, self.columns, option="--data.columns")
        require_images(manifest.samples.paths, self.root, 1 if self.on_error == "stop" else _TRIED)
        if manifest.identity_names and manifest.no_identities:
            spelled = ", ".join(
                f"{text!r} ({count} times)"
                for text, count in sorted(manifest.no_identities.items())
            )
            rank_zero_warn(f"identities in {self.root} that are read as unknown: {spelled}")
        return manifest

    def _splits(self, manifest: Manifest) -> Integers:
        """``(N,)`` positions of the images' splits in ``SPLITS``."""
        given = manifest.splits
        if given is None:
            given = np.full(len(manifest.samples), TRAIN)
        if self.test is None:
            return given
        if (given != TRAIN).any():
            raise InputError(
                f"test={self.test!r} would hold out images, but {self.root} has query or gallery "
                "images of its own: leave out test, or the column split"
            )
        if not manifest.identity_names:
            raise InputError(
                f"test={self.test!r} needs identities, and {self.root} has none: add a column "
                "identity, or leave out test"
            )
        folder = prefix_of(self.root if self.pattern else self.root.parent)
        return hold_out(
            manifest.samples,
            manifest.identity_names,
            self.test,
            self.test_share,
            self.split_seed,
            folder,
        )

    def _require_identities(self, manifest: Manifest, splits: Integers) -> None:
        """Raise an InputError if it is known of some test images who is on them, not of all."""
        tested = splits != TRAIN
        unknown = manifest.samples.identities == UNKNOWN
        if (tested & unknown).any() and (tested & ~unknown).any():
            row = int((tested & unknown).argmax())
            raise InputError(
                f"{self.root}, {manifest.place(row)}: a {SPLITS[splits[row]]} image without an "
                "identity, which others have; name people whom no query shows, too"
            )
        if (tested & unknown).any():
            rank_zero_warn(
                f"{int(tested.sum())} query and gallery images in {self.root} have no identities: "
                "there is no test; add a column identity to test on them"
            )

    def _why_none(self, split: Split) -> str:
        images = self._content[0]
        if split == "gallery" and self.test is not None:
            return (
                f": each person whom test={self.test!r} holds out has a single image there, which "
                "is a query; it takes people with images in several cameras, so raise test_share "
                "if there are others, or leave out test"
            )
        if split == "train" or len(images["query"]) or len(images["gallery"]):
            return f": no row has the split {split!r}"
        return (
            ": all are for training; add a column split (train, query, gallery), or hold out "
            "people with test: identity"
        )
