"""What the lists of a data set mean for somebody who wants to train on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lightning_reid.data.matches import has_match
from lightning_reid.data.samples import UNKNOWN
from lightning_reid.datamodules.published import differences
from lightning_reid.inspection.dataset import (
    GALLERY,
    QUERY,
    SPLITS,
    TRAIN,
    Listing,
    seen_once,
)
from lightning_reid.inspection.finding import Finding, counted

_RARE = 0.02  # a camera with a smaller share of the mean of all cameras is hardly seen
_LISTED = 10  # cameras and identities in a sentence


def findings_of_listing(listing: Listing) -> Iterator[Finding]:
    """What is refused, published, rare, shared or without a match; no image is needed for it."""
    yield from listing.refusals
    yield from _of_publication(listing)
    yield from _of_cameras(listing)
    yield from _of_identities(listing)
    yield from _of_queries(listing)


def _of_publication(listing: Listing) -> Iterator[Finding]:
    published = listing.datamodule.published
    if published is None:
        return
    compared = [
        (name, listing.samples.take(np.flatnonzero(listing.split == number)))
        for number, name in enumerate(SPLITS)
        if name in published.splits and (listing.split == number).any()
    ]
    told = [
        sentence
        for name, samples in compared
        for sentence in differences(name, samples, published.splits[name])
    ]
    if told:
        yield Finding(
            "note",
            f"This is not {published.name} as it was published.",
            "Fine for a set of your own in its layout; otherwise results do not compare with "
            "published ones: copy it again.",
            tuple(told),
        )
    elif compared:
        names = ", ".join(name for name, _ in compared)
        yield Finding(
            "note",
            f"{published.name} is as it was published ({names}).",
            "Results compare with published ones.",
        )


def _of_cameras(listing: Listing) -> Iterator[Finding]:
    data, train = listing.datamodule, listing.split == TRAIN
    if not train.any():
        return
    total, names = int(train.sum()), listing.camera_names
    counts = np.bincount(listing.cameras[train], minlength=len(names))
    if total < 2:
        yield Finding("error", "There is one training image.", "There is nothing to learn from it.")
    elif total < data.batch_size:
        yield Finding(
            "warning",
            f"There are {total:,} training images, fewer than the {data.batch_size} of a batch.",
            "Every batch shows the same images again: lower --data.batch_size, and expect little.",
        )
    if (counts > 0).sum() == 1:
        yield Finding(
            "warning",
            f"All {total:,} training images are from one camera, {names[counts.argmax()]}.",
            "Training runs, but nothing can be learnt about how people change between cameras. "
            "If there were several, see how the data set tells the camera of an image.",
        )
    rare = (counts > 0) & (counts < max(data.images_per_group, _RARE * counts[counts > 0].mean()))
    if rare.any():
        listed = ", ".join(f"{names[i]} ({counts[i]})" for i in np.flatnonzero(rare)[:_LISTED])
        yield Finding(
            "warning",
            f"{counted(rare.sum(), 'camera has', 'cameras have')} hardly any training images: "
            f"{listed}.",
            "They are hardly learnt, and their mean and spread, which camera normalisation uses, "
            "are guesses. Add images, or leave these cameras out.",
        )
    unseen = np.setdiff1d(listing.cameras[~train], listing.cameras[train])
    if len(unseen):
        yield Finding(
            "note",
            f"The test has cameras that no training image is from: "
            f"{', '.join(names[i] for i in unseen[:_LISTED])}.",
            "The test then measures cameras that the network has never seen, which is harder.",
        )


def _of_identities(listing: Listing) -> Iterator[Finding]:
    train = listing.split == TRAIN
    identities = listing.samples.identities
    number, once = seen_once(listing, train)
    if once:
        people = counted(number, "training identity is", "training identities are")
        yield Finding(
            "note",
            f"{once:,} of {people} seen by one camera only.",
            "The numbers are probably tracks within a camera, and not people: then diagnostics/... "
            "in the log means nothing, and Supervised would learn to tell a person's tracks apart."
            if once == number
            else "Fine for all methods: these people teach nothing about other cameras.",
        )
    known = identities != UNKNOWN
    shared = np.intersect1d(identities[known & train], identities[known & ~train])
    if len(shared):
        people = counted(len(shared), "identity is", "identities are")
        listed = ", ".join(map(str, shared[:_LISTED]))
        yield Finding(
            "warning",
            f"{people} both in training and in test: {listed}"
            f"{', ...' if len(shared) > _LISTED else ''}.",
            "If the numbers mean the same people in both, the test does not tell how well other "
            "people are found: leave these people out of one of them. Otherwise it means nothing.",
            listing.some_names(~train & np.isin(identities, shared)),
        )


def _of_queries(listing: Listing) -> Iterator[Finding]:
    query, test = listing.split == QUERY, listing.split != TRAIN
    if not (query.any() and (listing.split == GALLERY).any()):
        return
    unknown = test & (listing.samples.identities == UNKNOWN)
    if unknown.any():
        yield Finding(
            "error",
            f"{unknown.sum():,} of {counted(test.sum(), 'test image', 'test images')} have no "
            "identity.",
            "test refuses them, and so does fit, which tests before it trains: leave them out, or "
            "train with --evaluate false.",
            listing.some_names(unknown),
        )
        return
    samples = listing.samples
    own, gallery = (samples.take(np.flatnonzero(listing.split == k)) for k in (QUERY, GALLERY))
    lost = query.copy()
    lost[query] = ~has_match(own, gallery)
    if (lost == query).all():
        yield Finding(
            "error",
            f"None of the {counted(lost.sum(), 'query', 'queries')} has its identity in another "
            "camera of the gallery.",
            "There is nothing to test, and fit, which tests before it trains, stops: see how "
            "identities and cameras are told, or train with --evaluate false.",
            listing.some_names(lost),
        )
    elif lost.any():
        number, once = seen_once(listing, test)
        yield Finding(
            "warning",
            f"{lost.sum():,} of {counted(query.sum(), 'query', 'queries')} have no valid match: no "
            "image of the same identity in another camera of the gallery. "
            f"({once:,} of {counted(number, 'test identity is', 'test identities are')} seen by "
            "one camera only.)",
            "They count in no number of the test, as usual in the field; num_valid_queries tells "
            "how many do.",
            listing.some_names(lost),
        )
