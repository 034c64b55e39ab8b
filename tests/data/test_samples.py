"""Images as columns."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_reid.data import Sample, Samples, Strings

STRINGS = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=20)
SAMPLES = st.lists(
    st.builds(
        Sample,
        st.text(st.characters(codec="utf-8"), max_size=8),
        st.sampled_from(["hall", "gate 2", "höfe"]),
        st.none() | st.integers(0, 5),
        st.none() | st.sampled_from(["t1", "t2", "t3"]),
    ),
    max_size=12,
)


@given(STRINGS, STRINGS)
def test_strings_are_what_a_list_of_them_is(ours, others):
    packed = Strings(ours)
    assert list(packed) == ours
    assert packed == ours
    assert packed == Strings(ours)
    assert list(packed + Strings(others)) == ours + others
    assert list(packed[::-2]) == ours[::-2]
    assert list(pickle.loads(pickle.dumps(packed))) == ours
    if ours:
        assert packed[-1] == ours[-1]
        assert list(packed.take(np.array([0, -1, 0]))) == [ours[0], ours[-1], ours[0]]


@given(STRINGS.filter(len), st.lists(st.integers(0, 99), max_size=30))
def test_strings_taken_block_by_block_are_those_of_a_list(values, places):
    rows = [place % len(values) for place in places]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightning_reid.data.strings._MOVED", 7)
        taken = Strings(values).take(np.array(rows, dtype=np.int64))
    assert list(taken) == [values[i] for i in rows]
    assert list(taken + Strings(values)) == [*taken, *values]


def test_file_names_that_are_no_utf8_are_kept():
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    assert Strings([name])[0] == name


def test_a_string_that_is_not_there():
    with pytest.raises(IndexError):
        Strings(["a"])[1]


@given(SAMPLES, SAMPLES)
def test_samples_are_what_a_list_of_them_is(ours, others):
    columns = Samples.of(ours)
    assert list(columns) == ours
    assert list(columns + Samples.of(others)) == ours + others
    assert list(columns[1::2]) == ours[1::2]
    assert columns == ours
    assert set(columns.camera_set) == {sample.camera for sample in ours}
    names = ["höfe", "hall", "gate 2"]
    assert columns.camera_numbers(names).tolist() == [names.index(s.camera) for s in ours]
    if ours:
        assert columns[-1] == ours[-1]


def test_columns_of_different_length():
    with pytest.raises(ValueError, match="for 2 images"):
        Samples(Strings(["a", "b"]), np.zeros(1, dtype=np.int64), ["c1"])


def test_further_columns_travel_along():
    cameras = np.zeros(3, dtype=np.int64)
    made = Samples(Strings("abc"), cameras, ["c1"], further={"time": Strings(["1", "2", "3"])})
    assert list(made[::-1].further["time"]) == ["3", "2", "1"]
    assert list((made + made).further["time"]) == ["1", "2", "3"] * 2
    assert not (made + Samples.of([])).further


def test_paths_and_numbers_are_taken_as_their_text():
    given = [Sample(Path("gate") / "1.jpg", 3), Sample("hall/2.jpg", "3"), Sample("x.jpg", None)]
    taken = Samples.of(given)
    assert list(taken.paths) == ["gate/1.jpg", "hall/2.jpg", "x.jpg"]
    assert taken.camera_names == ["3"]
    assert taken.cameras.tolist() == [0, 0, -1]
