import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from lightning_reid.clustering import jaccard_distance
from lightning_reid.clustering.agglomerative import agglomerative


def random_graph(seed, size=60, density=0.5, with_diagonal=True):
    """Symmetric and without ties, but for a few explicit zeros; pairs not stored are at 1."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((size, size)) < density, 1)
    dense = np.ones((size, size))
    dense[upper] = rng.random(upper.sum())
    dense[0, 1] = dense[2, 3] = 0
    upper[0, 1] = upper[2, 3] = True
    dense = np.minimum(dense, dense.T)
    np.fill_diagonal(dense, 0)
    row, column = np.nonzero(upper | upper.T | (np.eye(size, dtype=bool) & with_diagonal))
    return dense, csr_array(coo_array((dense[row, column], (row, column)), shape=dense.shape))


def merge_one_by_one(dense, num_clusters):
    clusters = [[image] for image in range(len(dense))]
    while len(clusters) > num_clusters:
        _, one, other = min(
            (dense[np.ix_(clusters[i], clusters[j])].mean(), i, j)
            for j in range(len(clusters))
            for i in range(j)
        )
        clusters[one] += clusters.pop(other)
    labels = np.empty(len(dense), int)
    for label, members in enumerate(sorted(clusters, key=min)):
        labels[members] = label
    return labels


def test_equals_merging_one_by_one():
    for seed in range(4):
        dense, graph = random_graph(seed, size=24)
        for num_clusters in (1, 2, 5, 11, 23, 24):
            labels = agglomerative(graph, num_clusters)
            np.testing.assert_array_equal(labels, merge_one_by_one(dense, num_clusters))
            assert labels.dtype == np.int64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("with_diagonal", [False, True])
def test_partition_of_scikit_learn(dtype, with_diagonal):
    for seed in range(10):
        dense, graph = random_graph(seed, 150, 0.3, with_diagonal)
        dense = dense.astype(dtype)
        for num_clusters in (2, 17, 30, 90):
            expected = AgglomerativeClustering(
                num_clusters, metric="precomputed", linkage="average"
            ).fit_predict(dense)
            labels = agglomerative(graph.astype(dtype), num_clusters)
            assert adjusted_rand_score(expected, labels) == 1


def test_numbered_by_first_member():
    dense = np.array(
        [[0, 0.9, 0.1, 0.9], [0.9, 0, 0.9, 0.2], [0.1, 0.9, 0, 0.9], [0.9, 0.2, 0.9, 0]]
    )
    assert agglomerative(csr_array(dense), 2).tolist() == [0, 1, 0, 1]
    assert agglomerative(csr_array(dense), 3).tolist() == [0, 1, 0, 2]


def test_exactly_as_many_clusters_where_all_merges_tie():
    nothing_stored = csr_array((30, 30))
    for num_clusters in range(1, 31):
        labels = agglomerative(nothing_stored, num_clusters)
        assert np.unique(labels).tolist() == [*range(num_clusters)]


def test_any_sparse_format_and_an_untouched_input():
    _, graph = random_graph(0)
    before = graph.copy()
    expected = agglomerative(graph, 12)
    for kind in ("coo", "csc", "lil"):
        np.testing.assert_array_equal(agglomerative(graph.asformat(kind), 12), expected)
    assert (graph.data == before.data).all()


def test_jaccard_distances_of_separate_people():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(20), 5)
    features = np.eye(20)[people] + 0.02 * rng.standard_normal((100, 20))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    graph = jaccard_distance(features, 5, 2, max_distance=1)
    np.testing.assert_array_equal(agglomerative(graph, 20), people)


def test_a_single_image():
    assert agglomerative(csr_array((1, 1)), 1).tolist() == [0]


def test_bad_input():
    dense, graph = random_graph(0)
    with pytest.raises(TypeError, match="sparse"):
        agglomerative(dense, 5)
    with pytest.raises(ValueError, match="square"):
        agglomerative(graph[:5], 5)
    for num_clusters in (0, 61):
        with pytest.raises(ValueError, match="from 1 to the 60 images"):
            agglomerative(graph, num_clusters)


def test_refuses_a_graph_that_was_cut_off():
    features = np.eye(6, dtype=np.float32)
    with pytest.raises(ValueError, match="compute them with max_distance=1"):
        agglomerative(jaccard_distance(features, 3, 1, max_distance=0.6), 2)
    agglomerative(jaccard_distance(features, 3, 1, max_distance=1), 2)
