"""Both forms of the sparse Jaccard distance against golden numbers and a dense restatement."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.cluster import DBSCAN

from lightning_reid.clustering import (
    dbscan,
    jaccard_distance,
    jaccard_tensors,
    nearest_neighbors,
    silhouette,
)
from lightning_reid.clustering.jaccard_forms import require_room
from lightning_reid.errors import InputError

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "lightning_reid"
GOLDEN = REPOSITORY.parent / "shared" / "golden"
BACKENDS = ["compiled", "torch"]


def clustered_rows(size, seed, dimensions=24, noise=0.5):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(size // 12 + 1, dimensions))
    rows = centers[rng.integers(len(centers), size=size)]
    rows = rows + noise * rng.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def dense_jaccard(features, k1, k2, k1_counts_self=True, ranks=None):
    """Zhong et al. 2017, word for word and image by image."""
    distances = 2 - 2 * features.astype(np.float64) @ features.T.astype(np.float64)
    if ranks is None:
        own_first = np.where(np.eye(len(features), dtype=bool), -np.inf, distances)
        ranks = own_first.argsort(axis=1, kind="stable")
    lists = ranks[:, : k1 if k1_counts_self else k1 + 1].tolist()
    # the code of CAP has no longer lists; the paper has
    nearest = lists if k1_counts_self else ranks.tolist()

    @cache
    def mutual(image, k):
        return {j for j in lists[image][:k] if image in lists[j][:k]}

    size, half = len(features), round(k1 / 2) + 1
    weights = np.zeros((size, size))
    for image in range(size):
        core = mutual(image, size)
        expanded = set(core)
        for candidate in core:
            added = mutual(candidate, half)
            if 3 * len(added & core) > 2 * len(added):
                expanded |= added
        members = sorted(expanded)
        weights[image, members] = np.exp(-distances[image, members])
    weights /= weights.sum(axis=1, keepdims=True)
    weights = np.stack([weights[row[:k2]].mean(axis=0) for row in nearest])
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
@pytest.mark.parametrize("search", ["torch", "faiss"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_golden(name, search, backend):
    path = GOLDEN / f"jaccard_{name}.npz"
    if not path.exists():
        pytest.skip(f"golden numbers are not there: {path}")
    golden = np.load(path)
    features, k1, k2 = golden["features"], int(golden["k1"]), int(golden["k2"])
    neighbors = nearest_neighbors(features, k1, search)
    graph = jaccard_distance(
        features, k1, k2, max_distance=0.75, neighbors=neighbors, backend=backend
    )
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
@pytest.mark.parametrize("backend", BACKENDS)
def test_equals_the_dense_algorithm(k1, k2, k1_counts_self, backend):
    for seed in range(3):
        features = clustered_rows(150, seed)
        graph = jaccard_distance(features, k1, k2, 1, k1_counts_self, backend=backend)
        expected = dense_jaccard(features, k1, k2, k1_counts_self)
        assert_well_formed(graph, 1)
        np.testing.assert_allclose(dense(graph), expected, atol=1e-6)


def drawn_case(seed):
    """Features of any size, with duplicates, and settings."""
    rng = np.random.default_rng(seed)
    size, dimensions = (round(np.exp(rng.uniform(0, np.log(n)))) for n in (400, 256))
    features = clustered_rows(size, seed, max(2, dimensions), rng.uniform(0.1, 2))
    copies = rng.random(size) < rng.choice([0, 0.3, 0.9])
    features[copies] = features[rng.integers(size, size=copies.sum())]
    return features, int(rng.integers(1, 41)), int(rng.integers(1, 11)), bool(rng.integers(2))


@pytest.mark.parametrize("seed", range(100))
def test_both_forms_give_the_labels_of_the_dense_algorithm(seed):
    features, k1, k2, k1_counts_self = drawn_case(seed)
    neighbors = nearest_neighbors(features, max(k1 + 1, k2))
    expected = dense_jaccard(features, k1, k2, k1_counts_self, neighbors[1])
    settings = {"max_distance": 1, "k1_counts_self": k1_counts_self, "neighbors": neighbors}
    graphs = [jaccard_distance(features, k1, k2, backend=name, **settings) for name in BACKENDS]
    for graph in graphs:
        assert_well_formed(graph, 1)
        np.testing.assert_allclose(dense(graph), expected, atol=1e-5)
    np.testing.assert_allclose(dense(graphs[0]), dense(graphs[1]), atol=1e-6)
    for eps in (0.3, 0.5, 0.7, *np.random.default_rng(seed).uniform(0.1, 0.9, size=4)):
        if abs(expected - eps - 1e-6).min() < 1e-6:
            continue  # rounding decides
        for min_samples in (1, 2, 4):
            scan = DBSCAN(eps=eps + 1e-6, min_samples=min_samples, metric="precomputed")
            labels = scan.fit(expected).labels_
            for graph in graphs:
                np.testing.assert_array_equal(dbscan(graph, eps, min_samples), labels)


def test_chunks_do_not_matter(monkeypatch):
    features = clustered_rows(300, 8)
    features[40:90] = features[40]
    whole = jaccard_distance(features, backend="torch")
    for entries in (1, 1000, 20000):
        monkeypatch.setattr(jaccard_tensors, "_CHUNK_ENTRIES", entries)
        chunked = jaccard_distance(features, backend="torch")
        np.testing.assert_array_equal(chunked.indices, whole.indices)
        np.testing.assert_allclose(chunked.data, whole.data, rtol=0, atol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_layout_of_tensors(backend):
    features = clustered_rows(300, 9)
    settings = {"max_distance": 0.7, "backend": backend}
    graph = jaccard_distance(features, **settings)
    tensor = jaccard_distance(torch.from_numpy(features), layout="torch", **settings)
    assert tensor.layout == torch.sparse_coo
    assert tensor.dtype == torch.float32
    assert tensor.is_coalesced()
    pairs = graph.tocoo()
    np.testing.assert_array_equal(tensor.indices(), [pairs.row, pairs.col])
    np.testing.assert_array_equal(tensor.values(), graph.data)
    labels = dbscan(tensor, 0.5, 4)
    np.testing.assert_array_equal(labels, dbscan(graph, 0.5, 4))
    assert silhouette(tensor, labels) == silhouette(graph, labels.numpy())
    with pytest.raises(ValueError, match="cut off"):
        dbscan(tensor, 0.75, 4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_cpu():
    features = torch.from_numpy(clustered_rows(2000, 9, 64))
    expected = jaccard_distance(features, layout="torch")
    found = jaccard_distance(features.cuda(), layout="torch")
    assert found.is_cuda
    torch.testing.assert_close(found.cpu().indices(), expected.indices())
    torch.testing.assert_close(found.cpu().values(), expected.values(), atol=1e-6, rtol=0)
    repeated = jaccard_distance(features.cuda(), layout="torch")
    assert torch.equal(repeated.values(), found.values())
    labels = dbscan(found, 0.5, 4)
    assert labels.is_cuda
    assert torch.equal(labels.cpu(), dbscan(expected, 0.5, 4))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("limit", [0, 0.3, 0.5, 0.6])
def test_stores_exactly_the_close_pairs(limit, backend):
    features = clustered_rows(200, 5)
    graph = jaccard_distance(features, max_distance=limit, backend=backend)
    complete = dense(jaccard_distance(features, max_distance=1, backend=backend))
    assert_well_formed(graph, limit)
    assert graph.nnz == (complete <= np.float32(limit + 1e-6)).sum()
    assert graph.max_distance == limit


def test_more_rows_than_one_thread_takes():
    features = clustered_rows(900, 1)
    np.testing.assert_allclose(
        dense(jaccard_distance(features, 10, 4, 1)), dense_jaccard(features, 10, 4), atol=1e-5
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_unit_rows_of_any_precision(dtype, backend):
    features = torch.from_numpy(clustered_rows(120, 2)).to(dtype)
    graph = jaccard_distance(features, 10, 3, 1, backend=backend)
    expected = jaccard_distance(features.float().numpy(), 10, 3, 1, backend=backend)
    np.testing.assert_array_equal(dense(graph), dense(expected))
    unit = jaccard_distance(clustered_rows(120, 2), 10, 3, 1, backend=backend)
    assert abs(dense(graph) - dense(unit)).mean() < 0.02


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_fewer_images_than_k1(size, backend):
    features = clustered_rows(size, 0)
    graph = jaccard_distance(features, 20, 6, 1, backend=backend)
    assert_well_formed(graph, 1)
    np.testing.assert_allclose(dense(graph), dense_jaccard(features, 20, 6), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_duplicates(backend):
    features = clustered_rows(80, 3)
    features[10:50] = features[10]
    graph = jaccard_distance(features, 10, 3, 0.9, backend=backend)
    assert_well_formed(graph, 0.9)
    same = jaccard_distance(np.repeat(features[:1], 30, axis=0), 40, backend=backend)
    assert same.nnz == 900
    assert abs(same.data).max() < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_neighbors_may_be_given_and_wider_and_torch(backend):
    features = clustered_rows(150, 4)
    expected = jaccard_distance(features, 12, backend=backend)
    wide = nearest_neighbors(torch.from_numpy(features), 40)
    for given in (wide, tuple(part.numpy() for part in wide)):
        found = jaccard_distance(torch.from_numpy(features), 12, neighbors=given, backend=backend)
        np.testing.assert_array_equal(dense(found), dense(expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_nobody_is_mutual(backend):
    features = clustered_rows(7, 4)
    neighbors = None, (np.arange(7)[:, None] + 1) % 7
    assert jaccard_distance(features, 1, 1, 1, neighbors=neighbors, backend=backend).nnz == 7


def test_order_of_images_does_not_matter():
    features = clustered_rows(300, 6)
    order = np.random.default_rng(0).permutation(300)
    graph, permuted = jaccard_distance(features), jaccard_distance(features[order])
    np.testing.assert_allclose(dense(permuted), dense(graph)[order][:, order], atol=2e-6)
    labels, moved = dbscan(graph, 0.5, 4)[order], dbscan(permuted, 0.5, 4)
    np.testing.assert_array_equal(labels < 0, moved < 0)
    pairs = set(zip(labels.tolist(), moved.tolist(), strict=True))
    assert len(pairs) == len(set(labels)) == len(set(moved))


@pytest.mark.parametrize("backend", BACKENDS)
def test_repeats_exactly(backend):
    features = clustered_rows(700, 7)
    first, second = (jaccard_distance(features, backend=backend) for _ in range(2))
    np.testing.assert_array_equal(first.data, second.data)
    np.testing.assert_array_equal(first.indices, second.indices)


def test_bad_input():
    features = clustered_rows(30, 0)
    for bad in ({"k1": 0}, {"k2": 0}, {"max_distance": -0.1}, {"max_distance": 1.5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            jaccard_distance(features, **bad)
    for bad in ({"backend": "magic"}, {"layout": "dense"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            jaccard_distance(features, **bad)
    distances, indices = nearest_neighbors(features, 10)
    with pytest.raises(ValueError, match="neighbors must be of shape"):
        jaccard_distance(features, 20, neighbors=(distances, indices))
    with pytest.raises(ValueError, match="in this order"):
        jaccard_distance(features, 10, neighbors=(indices, distances))
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_room_is_for_no_more_neighbours_than_images(backend):
    rows = clustered_rows(60, seed=0)
    asked = jaccard_distance(rows, k1=10**6, k2=10**6, backend=backend)
    there = jaccard_distance(rows, k1=len(rows), k2=len(rows), backend=backend)
    np.testing.assert_array_equal(asked.toarray(), there.toarray())
    with pytest.raises(InputError, match=r"1,000,000,000 images needs about .* smaller k1 or k2"):
        require_room(10**9, 30, 6, torch.device("cpu"))
