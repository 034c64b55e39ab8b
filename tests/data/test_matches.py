"""Which queries a gallery can answer, against the rule image by image."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightning_reid.data import Sample, Samples
from lightning_reid.data.matches import has_match

IMAGES = st.lists(
    st.builds(
        Sample,
        st.just("a.jpg"),
        st.sampled_from(["hall", "gate", "yard"]),
        st.none() | st.integers(0, 4),
    ),
    max_size=9,
)


@given(IMAGES, IMAGES)
def test_matches_are_those_that_the_test_counts(query, gallery):
    wanted = [
        any(g.identity == q.identity is not None and g.camera != q.camera for g in gallery)
        for q in query
    ]
    found = has_match(Samples.of(query), Samples.of(gallery))
    assert found.dtype == np.bool_
    assert found.tolist() == wanted
