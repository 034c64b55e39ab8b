"""Test sets drawn from known people."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_reid.data import Sample, Samples
from lightning_reid.data.held_out import hold_out
from lightning_reid.data.manifest import GALLERY, QUERY, TRAIN
from lightning_reid.errors import InputError

IMAGES = st.lists(
    st.tuples(st.sampled_from(["c1", "c2", "c3"]), st.none() | st.integers(0, 7)), max_size=60
)
SHARES = st.floats(0.01, 0.99)


def samples_of(images):
    return Samples.of([Sample(f"in/{i}.jpg", c, who) for i, (c, who) in enumerate(images)])


def names(count=8):
    return [f"p{i}" for i in range(count)]


def crowd(people=40, cameras=3, images=4):
    return [(f"c{c}", p) for p in range(people) for c in range(cameras) for _ in range(images)]


def split(images, what="identity", share=0.3, seed=0, count=40):
    return hold_out(samples_of(images), names(count), what, share, seed, "in/")


def test_a_share_of_the_people():
    images = crowd()
    people = np.array([p for _, p in images])
    splits = split(images)
    tested = {*people[splits != TRAIN].tolist()}
    assert len(tested) == 12
    assert not tested & {*people[splits == TRAIN].tolist()}
    queries = [images[i] for i in np.flatnonzero(splits == QUERY)]
    assert sorted(queries) == sorted((f"c{c}", p) for p in tested for c in range(3))
    assert (splits == GALLERY).sum() == 12 * 3 * 3


def test_a_share_of_the_images():
    images = crowd()
    splits = split(images, "image", share=0.25)
    assert (splits != TRAIN).sum() == len(images) / 4
    people = np.array([p for _, p in images])
    assert {*people[splits == TRAIN].tolist()} & {*people[splits == QUERY].tolist()}


def test_which_image_is_a_query_is_drawn():
    images = crowd()
    queries = np.flatnonzero(split(images) == QUERY)
    assert {*(queries % 4).tolist()} == {0, 1, 2, 3}


def test_a_single_image_in_every_camera():
    images = crowd(images=1)
    splits = split(images)
    assert (splits == QUERY).sum() == 12
    assert (splits == GALLERY).sum() == 24
    cameras = {images[i][0] for i in np.flatnonzero(splits == QUERY)}
    assert len(cameras) == 3


def test_the_seed_draws():
    images = crowd()
    for what in ("identity", "image"):
        assert (split(images, what) == split(images, what)).all()
        assert (split(images, what) != split(images, what, seed=1)).any()


def test_a_few_more_people_change_little():
    before = split(crowd(40))
    after = split(crowd(42), count=42)[: len(before)]
    moved = (before == TRAIN) != (after == TRAIN)
    assert moved.mean() <= 1.5 / 40


@pytest.mark.parametrize("what", ["identity", "image"])
@given(images=IMAGES, share=SHARES, seed=st.integers(0, 9), random=st.randoms())
def test_any_images(what, images, share, seed, random):
    samples = samples_of(images)
    known = samples.identities >= 0
    people = [f"p{i}" for i in range(8)]
    if what == "image" and known.sum() < 2:
        with pytest.raises(InputError, match="test='image' cannot hold out one of [01]"):
            hold_out(samples, people, what, share, seed)
        return
    splits = hold_out(samples, people, what, share, seed)
    tested = splits != TRAIN
    assert not (tested & ~known).any()
    if what == "identity":
        assert not {*samples.identities[tested]} & {*samples.identities[~tested]}
    else:
        assert tested.sum() == min(max(round(share * known.sum()), 1), known.sum() - 1)
    for person in {*samples.identities[tested]}:
        own = tested & (samples.identities == person)
        queries = own & (splits == QUERY)
        assert len({*samples.cameras[queries]}) == queries.sum() > 0
        singles = len({*samples.cameras[own]}) == own.sum()
        assert queries.sum() == (1 if singles else len({*samples.cameras[own]}))
    # neither the order nor the folder matters
    order = np.array(random.sample(range(len(samples)), len(samples)), dtype=np.int64)
    again = samples.take(order)
    assert (hold_out(again, people, what, share, seed) == splits[order]).all()
    inside = hold_out(samples, people, what, share, seed, "in/")
    moved = Samples.of([s._replace(path=f"there/{s.path[3:]}") for s in samples])
    assert (hold_out(moved, people, what, share, seed, "there/") == inside).all()


def test_one_person_is_not_enough():
    with pytest.raises(InputError, match="test='identity' cannot hold out one of 1"):
        hold_out(samples_of(crowd(people=1)), ["Ann"], "identity", 0.3, 0)
