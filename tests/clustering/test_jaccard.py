"""The sparse Jaccard distance against golden numbers and a dense restatement."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from lightning_reid.clustering import dbscan, jaccard_distance, nearest_neighbors

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "lightning_reid"
GOLDEN = REPOSITORY.parent / "shared" / "golden"


def clustered_rows(size, seed, dimensions=24, noise=0.5):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(size // 12 + 1, dimensions))
    rows = centers[rng.integers(len(centers), size=size)]
    rows = rows + noise * rng.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def dense_jaccard(features, k1, k2, k1_counts_self=True):
    """Zhong et al. 2017, word for word and image by image."""
    distances = 2 - 2 * features.astype(np.float64) @ features.T.astype(np.float64)
    own_first = np.where(np.eye(len(features), dtype=bool), -np.inf, distances)
    ranks = own_first.argsort(axis=1, kind="stable")[:, : k1 if k1_counts_self else k1 + 1]

    def mutual(image, k):
        return {j for j in ranks[image, :k] if image in ranks[j, :k]}

    size, half = len(features), round(k1 / 2) + 1
    weights = np.zeros((size, size))
    for image in range(size):
        core = mutual(image, ranks.shape[1])
        expanded = set(core)
        for candidate in core:
            added = mutual(candidate, half)
            if 3 * len(added & core) > 2 * len(added):
                expanded |= added
        members = sorted(expanded)
        weights[image, members] = np.exp(-distances[image, members])
    weights /= weights.sum(axis=1, keepdims=True)
    weights = np.stack([weights[row[:k2]].mean(axis=0) for row in ranks])
    overlap = np.stack([np.minimum(row, weights).sum(axis=1) for row in weights])
    return np.maximum(1 - overlap / (2 - overlap), 0)


def dense(graph):
    """What is not stored is at distance 1."""
    full = np.ones(graph.shape, np.float32)
    pairs = graph.tocoo()
    full[pairs.row, pairs.col] = pairs.data
    return full


def assert_well_formed(graph, limit):
    assert isinstance(graph, csr_array)
    assert graph.dtype == np.float32
    assert graph.has_canonical_format
    pairs = graph.tocoo()
    stored = set(zip(pairs.row.tolist(), pairs.col.tolist(), strict=True))
    assert {(i, i) for i in range(graph.shape[0])} <= stored
    np.testing.assert_array_equal(dense(graph), dense(graph).T)
    assert (graph.diagonal() == 0).all()
    assert (graph.data >= 0).all()
    assert (graph.data <= np.float32(limit + 1e-6)).all()
    assert (graph.data < 1).all()


@pytest.mark.parametrize("name", ["a", "k15_k2_1", "k30"])
@pytest.mark.parametrize("backend", ["torch", "faiss"])
def test_golden(name, backend):
    path = GOLDEN / f"jaccard_{name}.npz"
    if not path.exists():
        pytest.skip(f"golden numbers are not there: {path}")
    golden = np.load(path)
    features, k1, k2 = golden["features"], int(golden["k1"]), int(golden["k2"])
    neighbors = nearest_neighbors(features, k1, backend)
    graph = jaccard_distance(features, k1, k2, max_distance=0.75, neighbors=neighbors)
    expected = np.ones(graph.shape)
    expected[golden["row"], golden["col"]] = golden["dist"]
    found = dense(graph)
    np.testing.assert_allclose(
        np.where(found < 0.7, found, 1), np.where(expected < 0.7, expected, 1), atol=1e-5
    )
    for eps in (0.4, 0.5, 0.6):
        np.testing.assert_array_equal(dbscan(graph, eps, 4), golden[f"dbscan_{eps}"])


@pytest.mark.parametrize("k1_counts_self", [True, False])
@pytest.mark.parametrize(
    ("k1", "k2"), [(20, 6), (15, 1), (30, 6), (7, 3), (3, 2), (2, 2), (1, 1), (4, 9)]
)
def test_equals_the_dense_algorithm(k1, k2, k1_counts_self):
    for seed in range(3):
        features = clustered_rows(150, seed)
        graph = jaccard_distance(features, k1, k2, 1, k1_counts_self)
        expected = dense_jaccard(features, k1, k2, k1_counts_self)
        assert_well_formed(graph, 1)
        np.testing.assert_allclose(dense(graph), expected, atol=1e-5)


@pytest.mark.parametrize("limit", [0, 0.3, 0.5, 0.6])
def test_stores_exactly_the_close_pairs(limit):
    features = clustered_rows(200, 5)
    graph = jaccard_distance(features, max_distance=limit)
    complete = dense(jaccard_distance(features, max_distance=1))
    assert_well_formed(graph, limit)
    assert graph.nnz == (complete <= np.float32(limit + 1e-6)).sum()
    assert graph.max_distance == limit


def test_more_rows_than_one_thread_takes():
    features = clustered_rows(900, 1)
    np.testing.assert_allclose(
        dense(jaccard_distance(features, 10, 4, 1)), dense_jaccard(features, 10, 4), atol=1e-5
    )


def test_rows_that_are_not_unit():
    features = clustered_rows(120, 2) * np.float32(1.7)
    graph = jaccard_distance(features, 10, 3, 1)
    np.testing.assert_allclose(dense(graph), dense_jaccard(features, 10, 3), atol=1e-5)
    huge = jaccard_distance(features * 100, 10, 3, 1)
    assert_well_formed(huge, 1)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_fewer_images_than_k1(size):
    features = clustered_rows(size, 0)
    graph = jaccard_distance(features, 20, 6, 1)
    assert_well_formed(graph, 1)
    np.testing.assert_allclose(dense(graph), dense_jaccard(features, 20, 6), atol=1e-5)


def test_duplicates_and_zero_rows():
    features = clustered_rows(80, 3)
    features[10:50] = features[10]
    features[60:65] = 0
    graph = jaccard_distance(features, 10, 3, 0.9)
    assert_well_formed(graph, 0.9)
    same = jaccard_distance(np.repeat(features[:1], 30, axis=0), 40)
    assert same.nnz == 900
    assert abs(same.data).max() < 1e-6


def test_neighbors_may_be_given_and_wider_and_torch():
    features = clustered_rows(150, 4)
    expected = jaccard_distance(features, 12)
    wide = nearest_neighbors(torch.from_numpy(features), 40)
    for given in (wide, tuple(part.numpy() for part in wide)):
        found = jaccard_distance(torch.from_numpy(features), 12, neighbors=given)
        np.testing.assert_array_equal(dense(found), dense(expected))


def test_order_of_images_does_not_matter():
    features = clustered_rows(300, 6)
    order = np.random.default_rng(0).permutation(300)
    graph, permuted = jaccard_distance(features), jaccard_distance(features[order])
    np.testing.assert_allclose(dense(permuted), dense(graph)[order][:, order], atol=2e-6)
    labels, moved = dbscan(graph, 0.5, 4)[order], dbscan(permuted, 0.5, 4)
    np.testing.assert_array_equal(labels < 0, moved < 0)
    pairs = set(zip(labels.tolist(), moved.tolist(), strict=True))
    assert len(pairs) == len(set(labels)) == len(set(moved))


def test_repeats_exactly():
    features = clustered_rows(700, 7)
    first, second = jaccard_distance(features), jaccard_distance(features)
    np.testing.assert_array_equal(first.data, second.data)
    np.testing.assert_array_equal(first.indices, second.indices)


def test_bad_input():
    features = clustered_rows(30, 0)
    for bad in ({"k1": 0}, {"k2": 0}, {"max_distance": -0.1}, {"max_distance": 1.5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            jaccard_distance(features, **bad)
    distances, indices = nearest_neighbors(features, 10)
    with pytest.raises(ValueError, match="neighbors must be of shape"):
        jaccard_distance(features, 20, neighbors=(distances, indices))
    with pytest.raises(ValueError, match="row numbers"):
        jaccard_distance(features, 10, neighbors=(distances, indices + 25))
    with pytest.raises(ValueError, match="rows hold NaN"):
        jaccard_distance(np.full((3, 2), np.nan), 2)


def test_importing_the_room_loads_nothing_heavy():
    code = f"""
import sys, types
package = types.ModuleType("lightning_reid")
package.__path__ = [{str(PACKAGE)!r}]
sys.modules["lightning_reid"] = package  # this room alone, without the rest of the package
import lightning_reid.clustering
print([name for name in ("numba", "scipy", "sklearn", "faiss") if name in sys.modules])
"""
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "[]"
