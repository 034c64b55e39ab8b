"""What the images of a data set mean for somebody who wants to train on them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lightning_reid.data.extremes import Booleans
from lightning_reid.inspection.dataset import SPLITS, TRAIN, Inspected, Listing
from lightning_reid.inspection.duplicates import Likeness, originals
from lightning_reid.inspection.finding import Finding, counted, percent, worst

_SERIOUS = 0.01  # share of the test from which its numbers are no longer to be believed
_STRETCHED = 1.6  # change of height over width from which people look wrong
_ODD = 2  # times as high or as wide as the rest: boxes of standing people vary by 1.5
_ENLARGED = 4  # times in height and in width
_REDUCED = 4
_MULTIPLE = 16  # networks halve an image so often
_PAIRS = 3  # of images under a finding

_CONTRADICTIONS = {
    "camera": (
        "images of different cameras",
        (
            "no image is from two cameras, so one of them is filed wrongly, and what the methods "
            "take for a change of camera is none."
        ),
    ),
    "train identity": (
        "training images of different identities",
        (
            "no image is of two people, so one of them is labelled wrongly, or the numbers are "
            "tracks. Methods without labels do not mind."
        ),
    ),
    "test identity": (
        "test images of different identities",
        (
            "no image is of two people, so one of them is labelled wrongly, and right answers "
            "count as mistakes."
        ),
    ),
}


def findings_of_images(data: Inspected) -> Iterator[Finding]:
    """Yield findings of images of one color, misshapen, tiny, copied or nearly the same."""
    yield from _of_plain(data)
    yield from _of_shape(data)
    yield from _of_tiny(data)
    yield from _of_large(data)
    yield from _of_copies(data)
    yield from _of_near(data)


def _of_plain(data: Inspected) -> Iterator[Finding]:
    plain = data.measured.plain
    if plain.any():
        yield Finding(
            "warning",
            f"{counted(plain.sum(), 'image is', 'images are')} of one colour.",
            "They show nobody: broken downloads or empty crops, best removed. They were left out "
            "of the search for duplicates.",
            data.listing.some_names(plain),
        )


def _of_shape(data: Inspected) -> Iterator[Finding]:
    seen, listing = np.flatnonzero(data.measured.readable), data.listing
    height, width = data.measured.height[seen], data.measured.width[seen]
    wanted_height, wanted_width = listing.datamodule.size
    aspects, wanted = height / width, wanted_height / wanted_width
    change = _factor(aspects, wanted)
    if not (change > _STRETCHED).any():
        return
    aspect = float(np.median(aspects))
    shape = f"height over width is typically {aspect:.2g}, and {wanted:.2g} after resizing"
    if (change > _STRETCHED).mean() > 0.5:
        better = _size_like(wanted_height * wanted_width, aspect)
        yield Finding(
            "warning",
            f"The images do not have the shape they are resized to: {shape}.",
            f"What they show is squeezed. Give --data.size '[{better[0]},{better[1]}]', which "
            "costs the same, or the shape that your pretrained network has learnt.",
        )
        odd = worst(_factor(aspects, aspect), _ODD)
        found = f"have another shape than the rest, by more than a factor of {_ODD}"
    else:
        odd = worst(change, _STRETCHED)
        found = f"change their shape by more than a factor of {_STRETCHED}: {shape}"
    if len(odd):
        yield Finding(
            "note",
            f"{len(odd):,} of {counted(len(seen), 'image', 'images')} {found}.",
            "These look squeezed to the network: cut-off people, or crops of something else.",
            listing.some_names(seen[odd]),
            "shapes",
            tuple(seen[odd].tolist()),
        )


def _of_tiny(data: Inspected) -> Iterator[Finding]:
    seen, listing = np.flatnonzero(data.measured.readable), data.listing
    height, width = data.measured.height[seen], data.measured.width[seen]
    wanted_height, wanted_width = listing.datamodule.size
    enlarged = np.minimum(wanted_height / height, wanted_width / width)
    tiny = worst(enlarged, _ENLARGED)
    if len(tiny):
        yield Finding(
            "warning" if len(tiny) > 0.1 * len(seen) else "note",
            f"{len(tiny):,} of {counted(len(seen), 'image', 'images')} are enlarged more than "
            f"{_ENLARGED} times in height and width, the smallest from "
            f"{height[tiny].min()} x {width[tiny].min()}.",
            "There is little to tell people apart by: leave the smallest out, or lower --data.size "
            "if most are that small.",
            listing.some_names(seen[tiny]),
            "tiny",
            tuple(seen[tiny].tolist()),
        )


def _of_large(data: Inspected) -> Iterator[Finding]:
    seen = data.measured.readable
    if not seen.any():
        return  # a median of nothing
    height = float(np.median(data.measured.height[seen]))
    width = float(np.median(data.measured.width[seen]))
    wanted_height, wanted_width = data.listing.datamodule.size
    if height > _REDUCED * wanted_height and width > _REDUCED * wanted_width:
        yield Finding(
            "note",
            f"The images are typically {height:.0f} x {width:.0f}, and resized to "
            f"{wanted_height} x {wanted_width}.",
            "If they are whole pictures of a camera, people have to be cut out first. If they are "
            "crops, most time goes into decoding: scale the files down once, or use "
            "--data.cache ram.",
        )


def _of_copies(data: Inspected) -> Iterator[Finding]:
    copies, listing = data.copies, data.listing
    test = listing.split != TRAIN
    leaked = copies.differing["side"] & test
    if leaked.any():
        share = leaked.sum() / test.sum()
        yield Finding(
            "error" if share >= _SERIOUS else "warning",
            f"{leaked.sum():,} of {counted(test.sum(), 'test image', 'test images')} "
            f"({percent(share)}) are training images too, pixel by pixel.",
            "The network is tested on what it was trained on"
            + (": the test is worthless. " if share >= _SERIOUS else ". ")
            + "Remove them from one of the two.",
            _pairs(listing, copies, leaked, "side"),
        )
    yield from _of_contradictions(data, copies, "have the same pixels")
    for number, name in enumerate(SPLITS):
        rows = listing.split == number
        first = originals(copies.hashes, rows & copies.compared)
        spare = first != np.arange(len(first))
        if spare.any():
            what = f"{name} image"
            yield Finding(
                "note",
                f"{counted(spare.sum(), f'{what} is a copy', f'{what}s are copies')} of another "
                f"{what}, pixel by pixel ({percent(spare.sum() / rows.sum())}).",
                "They add weight to some images and nothing new; check.csv lists them.",
                tuple(
                    f"{listing.name(copy)} = {listing.name(first[copy])}"
                    for copy in np.flatnonzero(spare)[:_PAIRS]
                ),
            )


def _of_contradictions(data: Inspected, alike: Likeness, how: str) -> Iterator[Finding]:
    """Images that are alike but are said to be from two cameras, or of two people."""
    listing = data.listing
    exact = alike.distance == 0
    for column, (what, meaning) in _CONTRADICTIONS.items():
        rows = alike.differing[column]
        if not exact:
            rows = rows & ~data.copies.differing[column]
        if rows.any():
            doubt = "That cannot be" if exact else "Look at some; where it is the same picture"
            yield Finding(
                "warning" if exact else "note",
                f"{rows.sum():,} {what} {how}.",
                f"{doubt}: {meaning}",
                _pairs(listing, alike, rows, column),
            )


def _of_near(data: Inspected) -> Iterator[Finding]:
    near, listing = data.near, data.listing
    if not near.distance:
        return
    how = f"look nearly the same (difference hashes at most {near.distance} of 64 bits apart)"
    test = listing.split != TRAIN
    leaked = near.differing["side"] & test & ~data.copies.differing["side"]
    if leaked.any():
        share = leaked.sum() / test.sum()
        yield Finding(
            "warning" if share >= _SERIOUS else "note",
            f"{leaked.sum():,} of {counted(test.sum(), 'test image', 'test images')} "
            f"({percent(share)}) and a training image {how}.",
            "If they are frames of one video or new encodings of one picture, the test is too "
            "easy: split by recording instead. Have a look at some of them.",
            _pairs(listing, near, leaked, "side"),
        )
    yield from _of_contradictions(data, near, how)
    found = near.found[~test]
    if found.any():
        yield Finding(
            "note",
            f"{percent(found.mean())} of the training images have a near duplicate.",
            "Consecutive frames of a track do, and that is fine; if it is most of them, a few "
            "images of each track would train as well in less time.",
        )


def _pairs(listing: Listing, alike: Likeness, rows: Booleans, column: str) -> tuple[str, ...]:
    """A few images, each with one that is like it."""
    pairs: dict[frozenset[int], str] = {}
    for index in np.flatnonzero(rows)[: 2 * _PAIRS].tolist():
        other = alike.partner(index, column)
        pairs.setdefault(
            frozenset({index, other}), f"{listing.name(index)} = {listing.name(other)}"
        )
    return tuple(pairs.values())[:_PAIRS]


def _factor(values: npt.NDArray[np.float64], typical: float) -> npt.NDArray[np.float64]:
    """Return how many times a number is as large or as small as another one, 1 or more."""
    factors: npt.NDArray[np.float64] = np.maximum(values / typical, typical / values)
    return factors


def _size_like(pixels: int, aspect: float) -> tuple[int, int]:
    """A height and width of so many pixels in this shape."""
    height, width = math.sqrt(pixels * aspect), math.sqrt(pixels / aspect)
    return _rounded(height), _rounded(width)


def _rounded(length: float) -> int:
    return max(1, round(length / _MULTIPLE)) * _MULTIPLE
