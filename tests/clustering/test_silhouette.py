import math

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array
from sklearn.metrics import silhouette_samples

from lightning_reid.clustering import silhouette


def random_case(seed, size=80):
    rng = np.random.default_rng(seed)
    stored = np.triu(rng.random((size, size)) < 0.2, 1)
    stored |= stored.T
    dense = np.ones((size, size))
    values = rng.random((size, size)).round(1)
    dense[stored] = np.minimum(values, values.T)[stored]
    np.fill_diagonal(dense, 0)
    row, column = np.nonzero(stored)
    graph = csr_array(coo_array((dense[row, column], (row, column)), shape=dense.shape))
    return dense, graph, rng.integers(-1, 12, size=size) * 3


@pytest.mark.parametrize("with_diagonal", [False, True])
def test_equals_scikit_learn(with_diagonal):
    for seed in range(20):
        dense, graph, labels = random_case(seed)
        labels[np.flatnonzero(labels == 6)[1:]] = -1  # a cluster of one
        if with_diagonal:
            row, column = np.nonzero((dense < 1) | np.eye(len(dense), dtype=bool))
            graph = csr_array(coo_array((dense[row, column], (row, column)), shape=dense.shape))
        kept = labels >= 0
        expected = silhouette_samples(
            dense[kept][:, kept], labels[kept], metric="precomputed"
        ).mean()
        assert silhouette(graph, labels) == pytest.approx(expected, abs=1e-9)


def test_the_ends_of_the_scale():
    row, column = np.array([(0, 1), (1, 0), (2, 3), (3, 2)]).T
    graph = csr_array(coo_array((np.zeros(4), (row, column)), shape=(4, 4)))
    assert silhouette(graph, np.array([0, 0, 1, 1])) == 1
    assert silhouette(graph, np.array([0, 1, 0, 1])) == pytest.approx(-0.5)
    assert silhouette(graph, np.array([0, 1, 2, 3])) == 0


def test_fewer_than_two_clusters():
    _, graph, _ = random_case(0)
    assert math.isnan(silhouette(graph, np.zeros(80, int)))
    assert math.isnan(silhouette(graph, np.full(80, -1)))


def test_bad_input():
    _, graph, labels = random_case(0)
    with pytest.raises(ValueError, match="do not fit"):
        silhouette(graph, labels[1:])
