"""Random halves of the people of a data set that has no published split."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256


def random_half(identities: Iterable[int], split: int) -> set[int]:
    """Half of the identities, rounded down: those to train on.

    Args:
        identities: whom to divide; their order does not matter.
        split: which of the divisions.
    """
    people = set(identities)
    # digests stay the same for ever, generators of random numbers only within a version
    order = sorted(people, key=lambda person: sha256(f"{split} {person}".encode()).digest())
    return set(order[: len(people) // 2])
