"""Images, identities and sizes, by split and by camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightning_reid.data.extremes import Booleans
from lightning_reid.datamodules.published import Counts, count
from lightning_reid.inspection.dataset import SPLITS, Inspected, Listing


@dataclass(frozen=True)
class SplitCounts:
    """A split in numbers; sizes are height and width in pixels, None where nothing is readable."""

    split: str
    images: int
    cameras: int
    identities: int
    tracklets: int
    unreadable: int
    smallest: tuple[int, int] | None
    median: tuple[int, int] | None
    largest: tuple[int, int] | None


@dataclass(frozen=True)
class CameraCounts:
    """A camera in numbers."""

    camera: str
    train: int
    query: int
    gallery: int
    train_identities: int
    test_identities: int


def by_split(data: Inspected) -> list[SplitCounts]:
    """One row for every split that has images."""
    splits = ((name, data.listing.split == number) for number, name in enumerate(SPLITS))
    return [_of_split(data, name, rows) for name, rows in splits if rows.any()]


def by_camera(data: Inspected) -> list[CameraCounts]:
    """One row for every camera."""
    listing = data.listing
    splits = [_count(listing, listing.split == number) for number in range(len(SPLITS))]
    sides = [_count(listing, listing.side == number) for number in range(2)]
    rows = []
    for camera in listing.camera_names:
        images = [counts.cameras.get(camera) or (0, 0) for counts in splits]
        identities = [counts.cameras.get(camera) or (0, 0) for counts in sides]
        rows.append(CameraCounts(camera, *(n for n, _ in images), *(n for _, n in identities)))
    return rows


def _of_split(data: Inspected, name: str, rows: Booleans) -> SplitCounts:
    counts, seen = _count(data.listing, rows), rows & data.measured.readable
    return SplitCounts(
        name,
        images=int(rows.sum()),
        cameras=len(counts.cameras),
        identities=counts.identities or 0,
        tracklets=counts.tracklets or 0,
        unreadable=int((rows & ~seen).sum()),
        smallest=_size(data, seen, 0.0),
        median=_size(data, seen, 0.5),
        largest=_size(data, seen, 1.0),
    )


def _count(listing: Listing, rows: Booleans) -> Counts:
    return count(listing.samples.take(np.flatnonzero(rows)))


def _size(data: Inspected, rows: Booleans, quantile: float) -> tuple[int, int] | None:
    """A quantile of the heights, and of the widths."""
    if not rows.any():
        return None
    height, width = (
        int(np.quantile(side[rows], quantile))
        for side in (data.measured.height, data.measured.width)
    )
    return height, width
