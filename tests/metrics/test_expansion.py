import numpy as np
import pytest
import torch
from literal_retrieval import random_problem

from lightning_reid.errors import InputError
from lightning_reid.metrics import expand_queries, retrieval_metrics


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize("k", [1, 4, 500])
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_mean_of_the_query_and_its_nearest(k, alpha):
    query, gallery, *_ = random_problem(0)
    expanded = expand_queries(query, gallery, k, alpha)
    gallery = unit(gallery)
    for own, found in zip(unit(query), expanded, strict=True):
        cosine = gallery @ own
        nearest = np.argsort(-cosine)[:k]
        weights = np.maximum(cosine[nearest], 0) ** alpha
        expected = unit(own + (weights[:, None] * gallery[nearest]).sum(axis=0))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_result_is_of_the_kind_that_came_in_and_inputs_stay():
    query, gallery, *_ = random_problem(1)
    before = query.copy()
    expanded = expand_queries(query, gallery)
    assert isinstance(expanded, np.ndarray)
    np.testing.assert_array_equal(query, before)
    tensor = expand_queries(torch.from_numpy(query).half(), gallery)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(tensor, expanded, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(expanded, axis=1), 1, rtol=1e-6)


def test_expansion_helps_where_people_stand_together():
    generator = np.random.default_rng(0)
    ids = generator.integers(25, size=300)
    rows = unit(generator.normal(size=(25, 24))[ids] + 1.5 * generator.normal(size=(300, 24)))
    cameras = generator.integers(4, size=300)
    sides = (ids[:50], ids[50:], cameras[:50], cameras[50:])
    plain = retrieval_metrics(rows[:50], rows[50:], *sides)["mAP"]
    expanded = expand_queries(rows[:50], rows[50:], k=5)
    assert retrieval_metrics(expanded, rows[50:], *sides)["mAP"] > plain + 0.02


@pytest.mark.parametrize(
    ("sides", "options"),
    [
        ((np.ones((2, 3)), np.ones((4, 3))), {"k": 0}),
        ((np.ones((2, 3)), np.ones((4, 3))), {"alpha": -1.0}),
        ((np.ones((2, 3)), np.ones((4, 2))), {}),
        ((np.ones((2, 3)), np.ones((0, 3))), {}),
        ((np.ones((0, 3)), np.ones((2, 3))), {}),
        ((np.ones((2, 3)), np.full((2, 3), np.nan)), {}),
    ],
)
def test_bad_input(sides, options):
    with pytest.raises(ValueError, match=r"must be|differ|empty|NaN"):
        expand_queries(*sides, **options)


def test_dimensions_are_named():
    with pytest.raises(InputError, match=r"differ: \(2, 3\), \(4, 2\)"):
        expand_queries(np.ones((2, 3)), np.ones((4, 2)))
