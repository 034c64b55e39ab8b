"""A test set drawn from images of known people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Literal

import numpy as np
import numpy.typing as npt

from lightning_reid.data.manifest import GALLERY, QUERY, TRAIN
from lightning_reid.data.samples import UNKNOWN, Integers, Samples
from lightning_reid.errors import InputError

HeldOut = Literal["identity", "image"]
Lots = npt.NDArray[np.uint64]


def hold_out(
    samples: Samples,
    identity_names: Sequence[str],
    what: HeldOut,
    share: float,
    seed: int,
    folder: str = "",
) -> Integers:
    """The split of every image, if a share of the people or of the images is kept for testing.

    Images of unknown people stay in training. Of a person who is held out one image in each camera
    becomes a query and the others go to the gallery; if that leaves none for the gallery, one
    image alone is a query. What is drawn follows from the seed and the names of people and images:
    not from the order of the rows, and little from other rows.

    Args:
        samples: N images.
        identity_names: names of the people, by their number in ``samples``.
        what: ``"identity"``: all images of some people; ``"image"``: images, whoever is on them.
        share: of the known people or of their images; rounded, but neither none nor all.
        seed: of the draw.
        folder: beginning of paths that is no part of an image's name.

    Returns:
        ``(N,)`` positions in ``lightning_reid.data.manifest.SPLITS``.

    Raises:
        InputError: if fewer than two people, or images of people, are known.
    """
    held = np.flatnonzero(samples.identities != UNKNOWN)
    known = len(identity_names) if what == "identity" else len(held)
    if known < 2:
        raise InputError(
            f"test={what!r} cannot hold out one of {known}: at least two identities, or images "
            "with an identity, have to be there"
        )
    if what == "identity":
        people = _lowest(_lots(identity_names, seed), share)
        held = held[np.isin(samples.identities[held], people)]
    lots = _lots((samples.paths[row].removeprefix(folder) for row in held.tolist()), seed)
    if what == "image":
        drawn = _lowest(lots, share)
        held, lots = held[drawn], lots[drawn]

    people = samples.identities[held]
    is_query = _is_lowest(lots, people, samples.cameras[held])
    no_gallery = ~np.isin(people, people[~is_query])
    is_query &= ~no_gallery | _is_lowest(lots, people)
    splits = np.full(len(samples), TRAIN)
    splits[held] = np.where(is_query, QUERY, GALLERY)
    return splits


def _lots(names: Iterable[str], seed: int) -> Lots:
    """A number for each name that looks random and follows from name and seed alone."""
    key = str(seed).encode()
    digests = [
        blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8, key=key).digest()
        for name in names
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8")


def _lowest(lots: Lots, share: float) -> Integers:
    """Positions of the share with the lowest lots."""
    count = min(max(round(share * len(lots)), 1), len(lots) - 1)
    return lots.argsort(kind="stable")[:count]


def _is_lowest(lots: Lots, *groups: Integers) -> npt.NDArray[np.bool_]:
    """Whether each lot is the lowest of all that are equal in every group."""
    order = np.lexsort((lots, *groups))
    starts = np.any([np.diff(group[order], prepend=-1) != 0 for group in groups], axis=0)
    lowest = np.zeros(len(lots), dtype=np.bool_)
    lowest[order[starts]] = True
    return lowest
