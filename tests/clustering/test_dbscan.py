import numpy as np
import pytest
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components as scipy_components
from sklearn.cluster import DBSCAN

from lightning_reid.clustering import dbscan, jaccard_distance
from lightning_reid.clustering.dbscan_tensors import connected_components


def random_graph(seed, size=120, density=0.04):
    """Symmetric, distances on round steps, with explicit zeros, no diagonal."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((size, size)) < density, 1)
    dense = np.ones((size, size))
    dense[upper] = rng.integers(0, 20, size=upper.sum()) / 20
    dense = np.minimum(dense, dense.T)
    np.fill_diagonal(dense, 0)
    row, column = np.nonzero(upper | upper.T)
    return dense, csr_array(coo_array((dense[row, column], (row, column)), shape=dense.shape))


def as_tensor(graph):
    pairs = coo_array(graph)
    indices = torch.from_numpy(np.stack([pairs.row, pairs.col]).astype(np.int64))
    values = torch.from_numpy(pairs.data)
    return torch.sparse_coo_tensor(indices, values, graph.shape, check_invariants=True)


FORMS = pytest.mark.parametrize("form", [csr_array, as_tensor])


@FORMS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_of_scikit_learn(dtype, form):
    for seed in range(40):
        dense, graph = random_graph(seed, density=0.02 + 0.002 * seed)
        for eps in (0.1, 0.3, 0.6, 0.9):
            for min_samples in (1, 2, 4, 6):
                expected = DBSCAN(eps=eps + 1e-6, min_samples=min_samples, metric="precomputed")
                labels = dbscan(form(graph.astype(dtype)), eps, min_samples)
                np.testing.assert_array_equal(labels, expected.fit(dense).labels_)
                assert labels.dtype in (np.int64, torch.int64)


def test_components_of_long_paths_and_many():
    rng = np.random.default_rng(0)
    for size, kept in ((20000, 1), (20000, 0.9), (3000, 0.3), (1, 1)):
        nodes = rng.permutation(size)
        kept = rng.random(size - 1) < kept
        edges = np.stack([nodes[1:][kept], nodes[:-1][kept]])
        rows, columns = torch.from_numpy(np.concatenate([edges, edges[::-1]], axis=1))
        found = connected_components(rows, columns, size)
        ones = np.ones(len(edges[0]))
        _, expected = scipy_components(coo_array((ones, tuple(edges)), shape=(size, size)))
        first = np.unique(expected, return_index=True)[1]
        np.testing.assert_array_equal(found, first[expected])


@FORMS
def test_a_stored_diagonal_changes_nothing(form):
    dense, graph = random_graph(3)
    row, column = np.nonzero((dense < 1) | np.eye(len(dense), dtype=bool))
    full = csr_array(coo_array((dense[row, column], (row, column)), shape=dense.shape))
    np.testing.assert_array_equal(dbscan(form(graph), 0.5, 3), dbscan(form(full), 0.5, 3))


@FORMS
def test_numbered_by_first_core_and_border_joins_the_first(form):
    # 0 is on the border of the clusters {1, 2, 3} and {4, 5, 6}
    pairs = [(0, 1), (0, 4), (1, 2), (2, 3), (1, 3), (4, 5), (5, 6), (4, 6)]
    row, column = np.array(pairs + [(b, a) for a, b in pairs]).T
    graph = form(coo_array((np.full(len(row), 0.2), (row, column)), shape=(8, 8)))
    assert dbscan(graph, 0.2, 4).tolist() == [0, 0, 0, 0, 1, 1, 1, -1]
    assert dbscan(graph, 0.1, 2).tolist() == [-1] * 8
    assert dbscan(graph, 0.1, 1).tolist() == [*range(8)]


@FORMS
def test_round_thresholds_have_a_tolerance(form):
    value = np.float32(0.1) + np.float32(0.2)  # a little above 0.3
    graph = form(csr_array(np.array([[0, value], [value, 0]])))
    assert dbscan(graph, 0.3, 2).tolist() == [0, 0]
    assert dbscan(graph, 0.299, 2).tolist() == [-1, -1]


@pytest.mark.parametrize("layout", ["scipy", "torch"])
def test_refuses_an_eps_beyond_the_graph(layout):
    features = np.eye(6, dtype=np.float32)
    graph = jaccard_distance(features, 3, 1, max_distance=0.6, layout=layout)
    dbscan(graph, 0.1 * 6, 2)  # 0.6 but for rounding
    with pytest.raises(ValueError, match="cut off"):
        dbscan(graph, 0.61, 2)
    with pytest.raises(ValueError, match="below 1"):
        dbscan(jaccard_distance(features, 3, 1, max_distance=1, layout=layout), 1, 2)


def test_a_plain_graph_does_not_know_where_it_was_cut_off():
    graph = jaccard_distance(np.eye(6, dtype=np.float32), 3, 1, max_distance=0.6)
    dbscan(csr_array(graph), 0.61, 2)


@FORMS
def test_bad_input(form):
    _, graph = random_graph(0)
    for unfit in (graph.toarray(), torch.from_numpy(graph.toarray()), None):
        with pytest.raises(TypeError, match="sparse"):
            dbscan(unfit, 0.5, 4)
    with pytest.raises(ValueError, match="square"):
        dbscan(form(graph[:5]), 0.5, 4)
    with pytest.raises(ValueError, match="eps"):
        dbscan(form(graph), float("nan"), 4)
    with pytest.raises(ValueError, match="min_samples"):
        dbscan(form(graph), 0.5, 0)
