"""What has to be done to an index that is to hold other images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os.path import isfile  # a Path for each of a million takes seconds

import numpy as np
import numpy.typing as npt

from lightning_reid.data.samples import UNKNOWN, Integers
from lightning_reid.errors import InputError
from lightning_reid.messages import printable
from lightning_reid.search.listing import Listing
from lightning_reid.search.vanished import unseen


@dataclass(frozen=True)
class Update:
    """Images of an index that stay, and those that have to be embedded.

    Args:
        kept: ``(N,)`` bool, which of the images in the index stay.
        listing: What is now known of these.
        fresh: Images to embed.
        removed: Number of images that go and do not come back.
        unseen: Images that stay although their files cannot be seen.
        changes: Whether anything has to be written.
    """

    kept: npt.NDArray[np.bool_]
    listing: Listing
    fresh: Listing
    removed: int
    unseen: Sequence[str]
    changes: bool

    @classmethod
    def of(
        cls, there: Listing, wanted: Listing, folders: Sequence[str], keep_others: bool
    ) -> Update:
        """Compare what is in an index with what shall be.

        Args:
            there: Images in the index.
            wanted: Images that shall be in it, as their files are now.
            folders: Folders whose images are among them, with all below.
            keep_others: Whether all others stay whose file is not gone.

        Raises:
            InputError: If an image would go only because its file cannot be seen.
        """
        rows = rows_of(wanted.images.paths, there.images.paths)
        in_index = rows >= 0
        _require_seen(wanted.images.paths.take(np.flatnonzero(in_index & wanted.missing)), folders)
        same = in_index.copy()
        same[in_index] = (there.stamps[rows[in_index]] == wanted.stamps[in_index]).all(1)
        # a list may tell another camera of an image than before
        current, own = wanted.take(np.flatnonzero(same)), rows[same]
        others = np.setdiff1d(np.arange(len(there)), rows[in_index])
        hidden: list[str] = []
        if keep_others:
            paths = there.images.paths.take(others)
            present = np.fromiter(map(isfile, paths), dtype=bool, count=len(others))
            absent = np.flatnonzero(~present)
            hidden = unseen(paths.take(absent))
            present[absent[rows_of(hidden, paths.take(absent))]] = True
            others = others[present]
            current, own = current + there.take(others), np.concatenate([own, others])
        elif folders:
            tops = tuple(f"{folder}{os.sep}" for folder in folders)
            inside = (path for path in there.images.paths.take(others) if path.startswith(tops))
            _require_seen(inside, folders)
        kept = np.zeros(len(there), dtype=bool)
        kept[own] = True
        listing, fresh = current.take(np.argsort(own)), wanted.take(np.flatnonzero(~same))
        replaced = int(np.count_nonzero(in_index & ~same))
        changes = not kept.all() or len(fresh) > 0 or not _same_cameras(listing, there)
        removed = int(np.count_nonzero(~kept)) - replaced
        return cls(kept, listing, fresh, removed, hidden, changes)


def rows_of(paths: Sequence[str], among: Sequence[str]) -> Integers:
    """Where each path is among others; -1 where it is not."""
    position = {path: row for row, path in enumerate(among)}
    rows = (position.get(path, UNKNOWN) for path in paths)
    return np.fromiter(rows, dtype=np.int64, count=len(paths))


def _require_seen(paths: Iterable[str], folders: Sequence[str]) -> None:
    """Raise an InputError if one of some images in the index cannot be seen."""
    hidden = unseen(paths, folders)
    if hidden:
        raise InputError(
            f"{len(hidden)} images of the index cannot be seen, such as {printable(hidden[0])}: "
            "their folder is not there or must not be read. Nothing was removed; see to the folder "
            "(is the disk mounted?), or build the index without them with --rebuild true (in "
            "Python rebuild=True)"
        )


def _same_cameras(one: Listing, other: Listing) -> bool:
    """Whether two listings of the same images tell the same cameras."""
    names = [*one.images.camera_names, *other.images.camera_names]
    return np.array_equal(one.images.camera_numbers(names), other.images.camera_numbers(names))
