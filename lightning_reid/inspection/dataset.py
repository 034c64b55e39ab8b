"""All images of a data set, as the data module lists them and as they are on disk."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lightning_reid.data import Samples
from lightning_reid.data.extremes import Booleans, Extremes, Integers
from lightning_reid.data.samples import UNKNOWN
from lightning_reid.data.text_columns import natural_order
from lightning_reid.datamodules.base import ReIDDataModule, Split, read_split
from lightning_reid.errors import DownloadError, InputError, MissingPackageError
from lightning_reid.inspection.duplicates import Likeness, find_alike
from lightning_reid.inspection.finding import Finding
from lightning_reid.inspection.images import Measured

SPLITS: tuple[Split, ...] = ("train", "query", "gallery")
TRAIN, QUERY, GALLERY = range(3)

_NAMED = 5  # files that a finding lists


@dataclass(frozen=True)
class Listing:
    """What a data module lists: N images, those of training, then query, then gallery.

    Args:
        datamodule: set up for ``fit`` where ``trainable``.
        samples: all images.
        split: ``(N,)`` which of ``SPLITS`` an image is in.
        camera_names: of the cameras that took an image, in natural order.
        cameras: ``(N,)`` positions in ``camera_names``.
        trainable: whether ``fit`` accepts the data module.
        refusals: what could not be read, and what that means.
    """

    datamodule: ReIDDataModule
    samples: Samples
    split: Integers
    camera_names: list[str]
    cameras: Integers
    trainable: bool
    refusals: list[Finding]

    @classmethod
    def of(cls, datamodule: ReIDDataModule) -> Listing:
        """Ask a data module for its images; what it refuses becomes a finding."""
        refusals: list[Finding] = []
        splits = {split: Samples.of([]) for split in SPLITS}
        trainable = False
        with _noting(refusals, "fit stops here, and nothing else can be checked."):
            datamodule.prepare_data()
            for split, meaning in _wanted(datamodule, refusals).items():
                with _noting(refusals, meaning):
                    splits[split] = read_split(datamodule, split)
        if splits["train"]:
            with _noting(refusals, "fit refuses this data with these settings."):
                _set_up(datamodule, splits)
                trainable = True
        samples = splits["train"] + splits["query"] + splits["gallery"]
        names = sorted(samples.camera_set, key=natural_order)
        return cls(
            datamodule,
            samples,
            np.repeat(np.arange(len(SPLITS)), [len(splits[split]) for split in SPLITS]),
            names,
            samples.camera_numbers(names),
            trainable,
            refusals,
        )

    @cached_property
    def side(self) -> Integers:
        """``(N,)`` 0 for training, 1 for test."""
        return np.minimum(self.split, 1)

    def identities(self, rows: Booleans) -> Integers:
        """Identities of these images, ``(N,)``, -1 where unknown and for all others."""
        return np.where(rows, self.samples.identities, UNKNOWN)

    @cached_property
    def _folder(self) -> str:
        root = self.datamodule.root
        return f"{root.parent if root.is_file() else root}{os.sep}"

    def name(self, index: int) -> str:
        """The file of an image, from the root of the data on."""
        return self.samples.paths[int(index)].removeprefix(self._folder)

    def some_names(self, rows: Booleans | Integers) -> tuple[str, ...]:
        """Name the first few files of a mask of images, or of positions in their order."""
        chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return tuple(self.name(index) for index in chosen[:_NAMED])


@dataclass(frozen=True)
class Inspected:
    """A data set after its images were looked at.

    Args:
        listing: what the data module lists.
        measured: what the images are.
        copies: which have the same pixels.
        near: which look the same.
    """

    listing: Listing
    measured: Measured
    copies: Likeness
    near: Likeness

    @classmethod
    def of(cls, listing: Listing, measured: Measured, near: int) -> Inspected:
        """Compare the images: ``near`` is the largest number of bits in which hashes differ.

        Identities are compared within training and within test, whose numbers need not agree.
        Images of one colour are like each other by chance, and left out.
        """
        train = listing.split == TRAIN
        columns = {
            "side": listing.side,
            "camera": listing.cameras,
            "train identity": listing.identities(train),
            "test identity": listing.identities(~train),
        }
        compared = measured.readable & ~measured.plain
        return cls(
            listing,
            measured,
            find_alike(measured.digest, compared, columns),
            find_alike(measured.hash, compared, columns, near),
        )


def seen_once(listing: Listing, rows: Booleans) -> tuple[int, int]:
    """How many identities of a choice of images there are, and how many in one camera only."""
    known = rows & (listing.samples.identities != UNKNOWN)
    distinct, groups = np.unique(listing.samples.identities[known], return_inverse=True)
    cameras = Extremes.of(listing.cameras[known], groups, len(distinct))
    return len(distinct), int((cameras.lowest == cameras.highest).sum())


def _wanted(datamodule: ReIDDataModule, refusals: list[Finding]) -> dict[Split, str]:
    """The splits to read, with what it means if one cannot be read."""
    no_training = "fit cannot start: there is nothing to train on."
    no_test = (
        "test cannot run, and fit tests before it trains: add --evaluate false to the fit "
        "command to train without a test."
    )
    if datamodule.has_test:
        return {"train": no_training, "query": no_test, "gallery": no_test}
    refusals.append(
        Finding(
            "note",
            "There is no test set.",
            "fit trains all the same and reports statistics of the labels instead of mAP; test "
            "has nothing to work on, and predict embeds the training images.",
        )
    )
    return {"train": no_training}


def _set_up(datamodule: ReIDDataModule, splits: dict[Split, Samples]) -> None:
    """Let the data module do what it does before ``fit``, without reading its lists again."""
    datamodule.train_samples = splits["train"]
    datamodule.query_samples = splits["query"]
    datamodule.gallery_samples = splits["gallery"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # there are findings of the same
        datamodule.setup("fit")


@contextmanager
def _noting(refusals: list[Finding], meaning: str) -> Iterator[None]:
    """Turn errors that the user can correct, and warnings, into findings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except (InputError, DownloadError, MissingPackageError, OSError) as error:
            refusals.append(Finding("error", str(error), meaning))
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            found = Finding("warning", str(warning.message), "fit warns of it too, and goes on.")
            if found not in refusals:
                refusals.append(found)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
