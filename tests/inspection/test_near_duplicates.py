"""The search for equal and close hashes, against comparing all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_reid.errors import InputError
from lightning_reid.inspection.duplicates import (
    LARGEST_DISTANCE,
    find_alike,
    near_pairs,
    originals,
)

HASH = st.integers(0, 2**64 - 1)


@st.composite
def close_hashes(draw):
    """Hashes around a few centres, with up to ten bits changed."""
    centres = draw(st.lists(HASH, min_size=1, max_size=4))
    made = []
    for _ in range(draw(st.integers(0, 40))):
        bits = draw(st.lists(st.integers(0, 63), max_size=10))
        made.append(draw(st.sampled_from(centres)) ^ sum({1 << bit for bit in bits}))
    return np.array(made, dtype=np.uint64)


def bits_apart(some, hashes):
    differing = (some[:, None] ^ hashes[None, :])[..., None].view(np.uint8)
    return np.unpackbits(differing, axis=-1).sum(-1)


@settings(deadline=None)
@given(close_hashes(), st.integers(0, LARGEST_DISTANCE))
def test_near_pairs_are_those_of_comparing_all(hashes, distance):
    distinct = np.unique(hashes)
    found = {
        frozenset(pair)
        for first, second in near_pairs(distinct, distance)
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    }
    pairs = np.argwhere(np.triu(bits_apart(distinct, distinct) <= distance, 1)).tolist()
    assert found == {frozenset(pair) for pair in pairs}


@settings(deadline=None)
@given(close_hashes(), st.integers(0, 5), st.data())
def test_what_alike_images_differ_in_is_that_of_comparing_all(hashes, distance, data):
    count = len(hashes)
    column = st.lists(st.integers(-1, 2), min_size=count, max_size=count)
    values = np.array(data.draw(column), dtype=np.int64)
    compared = np.array(data.draw(column), dtype=np.int64) >= 0
    alike = find_alike(hashes, compared, {"camera": values}, distance)
    near = (bits_apart(hashes, hashes) <= distance) & compared[:, None] & compared[None, :]
    np.fill_diagonal(near, False)
    known = values >= 0
    other = (values[:, None] != values[None, :]) & known[:, None] & known[None, :]
    np.testing.assert_array_equal(alike.found, near.any(1))
    np.testing.assert_array_equal(alike.differing["camera"], (near & other).any(1))
    for image in np.flatnonzero(alike.differing["camera"]).tolist():
        assert (near & other)[image, alike.partner(image, "camera")]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30))
def test_the_original_is_the_first_of_the_compared(images):
    hashes = np.array([number for number, _ in images], dtype=np.uint64)
    compared = [chosen for _, chosen in images]
    wanted = [
        images.index((number, True)) if chosen else i for i, (number, chosen) in enumerate(images)
    ]
    assert originals(hashes, np.array(compared, dtype=bool)).tolist() == wanted


def crowded(count, flips=4):
    """Hashes of pictures of one scene: all within a few bits of each other."""
    bits = np.random.default_rng(0).integers(0, 64, (flips, count)).astype(np.uint64)
    return np.unique(np.bitwise_xor.reduce(np.uint64(1) << bits))


def test_crowded_hashes_are_not_all_compared_with_each_other():
    hashes = crowded(20_000)
    steps = [len(first) for first, _ in near_pairs(hashes, 3)]
    assert len(steps) <= 20 * 64  # each compares every hash with one other at most
    assert sum(steps) < 0.05 * len(hashes) ** 2 / 2


def test_hardly_any_crowded_image_is_missed():
    hashes = crowded(3_000)
    side = np.arange(len(hashes)) % 2
    alike = find_alike(hashes, np.ones(len(hashes), dtype=bool), {"side": side}, 3)
    near = bits_apart(hashes[:300], hashes) <= 3
    near[np.arange(300), np.arange(300)] = False
    across = near & (side[:300, None] != side)
    for wanted, found in ((near, alike.found), (across, alike.differing["side"])):
        assert not (found[:300] & ~wanted.any(1)).any()
        assert (found[:300] & wanted.any(1)).sum() >= 0.99 * wanted.any(1).sum()


def test_a_distance_out_of_range_is_refused():
    with pytest.raises(InputError, match="near must be from 0 to 8, not 9"):
        list(near_pairs(np.zeros(0, dtype=np.uint64), 9))
