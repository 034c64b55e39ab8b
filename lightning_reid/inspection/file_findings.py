"""Findings of image files, whatever the images show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from lightning_reid.inspection.dataset import TRAIN, Inspected
from lightning_reid.inspection.finding import Finding, Severity, counted

_NAMED = 5  # files under a finding


def findings_of_files(data: Inspected) -> Iterator[Finding]:
    """Yield findings of unreadable, damaged, turned and oddly named files."""
    yield from _of_unreadable(data)
    yield from _of_damaged(data)
    yield from _of_turned(data)
    yield from _of_misnamed(data)
    yield from _of_names(data)


def _of_unreadable(data: Inspected) -> Iterator[Finding]:
    listing, readable = data.listing, data.measured.readable
    skips = listing.datamodule.on_error == "skip"
    for what, rows in (("training", listing.split == TRAIN), ("test", listing.split != TRAIN)):
        broken = rows & ~readable
        if not broken.any():
            continue
        found = f"{broken.sum():,} of {counted(rows.sum(), f'{what} image', f'{what} images')} "
        every = broken.sum() == rows.sum()
        if every:
            meaning = f"There is nothing left for {what}: check the root and copy the files again."
        elif skips:
            meaning = "The run leaves them out, as on_error=skip asks for."
        else:
            meaning = (
                "The run stops at the first of them: copy them again, remove them, or leave them "
                "out with --data.on_error skip."
            )
        severity: Severity = "error" if every or not skips else "warning"
        yield Finding(severity, found + "cannot be read.", meaning, listing.some_names(broken))


def _of_damaged(data: Inspected) -> Iterator[Finding]:
    damage, listing = data.measured.damage, data.listing
    if damage:
        yield Finding(
            "warning",
            f"{counted(len(damage), 'image is', 'images are')} damaged, but can be read.",
            "Decoders fill in what is missing: a part of the image is grey or shifted. Copy these "
            "files again, or remove them.",
            tuple(f"{listing.name(i)}: {damage[i]}" for i in sorted(damage)[:_NAMED]),
            "damaged",
            tuple(sorted(damage)),
        )


def _of_turned(data: Inspected) -> Iterator[Finding]:
    turned, listing = data.measured.turned, data.listing
    if turned.any():
        yield Finding(
            "note",
            f"{turned.sum():,} of {counted(len(turned), 'image', 'images')} are stored turned or "
            "mirrored, and upright by their EXIF orientation.",
            "They are read upright, and all sizes here are those of upright images. If people lie "
            "in the picture of them, a program turned the pixels and left the orientation.",
            listing.some_names(turned),
            "turned",
            tuple(np.flatnonzero(turned).tolist()),
        )


def _of_misnamed(data: Inspected) -> Iterator[Finding]:
    misnamed, listing = data.measured.misnamed, data.listing
    if misnamed:
        formats = ", ".join(f"{n:,} {name}" for name, n in Counter(misnamed.values()).most_common())
        yield Finding(
            "note",
            f"{counted(len(misnamed), 'image is', 'images are')} of another format than the ending "
            f"of the name says: {formats}.",
            "They are read by their content. Programs that go by the ending refuse them.",
            tuple(f"{listing.name(i)}: {misnamed[i]}" for i in sorted(misnamed)[:_NAMED]),
        )


def _of_names(data: Inspected) -> Iterator[Finding]:
    listing = data.listing
    odd = np.fromiter(map(_is_odd, listing.samples.paths), bool, len(listing.samples))
    if odd.any():
        yield Finding(
            "note",
            f"{counted(odd.sum(), 'image has', 'images have')} a path that is not UTF-8 or holds "
            "control characters, such as line breaks.",
            "They are read. In messages these characters are escaped, and not every program reads "
            "a table that holds such paths: rename the files if you exchange tables.",
            listing.some_names(odd),
        )


def _is_odd(path: str) -> bool:
    # most names are of letters that can be printed: only of others their characters are looked at
    return not path.isprintable() and any(
        character < " " or "\x7f" <= character < "\xa0" or "\udc80" <= character <= "\udcff"
        for character in path
    )
