"""The camera-aware Jaccard distance and its neighbours against dense restatements."""

import numpy as np
import pytest
import torch
from sklearn.cluster import DBSCAN

from lightning_reid.clustering import dbscan, jaccard_distance, jaccard_tensors
from lightning_reid.clustering.camera_jaccard import camera_jaccard_distance
from lightning_reid.clustering.camera_neighbors import camera_neighbors

BACKENDS = pytest.mark.parametrize("backend", ["compiled", "torch"])


def rows_with_cameras(size, seed, num_cameras=4, dimensions=24, noise=0.5):
    """People seen by several cameras, each of which shifts what it sees."""
    rng = np.random.default_rng(seed)
    people = rng.normal(size=(size // 12 + 1, dimensions))
    shifts = 0.5 * rng.normal(size=(num_cameras, dimensions))
    cameras = rng.integers(num_cameras, size=size)
    rows = people[rng.integers(len(people), size=size)] + shifts[cameras]
    rows = rows + noise * rng.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), cameras


def dense_neighbors(features, cameras, k_intra, k_inter):
    """Full sorts, itself first; lists are as long as there are images."""
    rows = features.astype(np.float64)
    distances = np.square(rows[:, None] - rows).sum(axis=2).astype(np.float32)
    np.fill_diagonal(distances, -1)
    intra, inter = [], []
    for image, row in enumerate(distances):
        order = row.argsort(kind="stable")
        same = cameras[order] == cameras[image]
        intra.append(order[same][:k_intra].tolist())
        inter.append(order[~same][:k_inter].tolist())
    return intra, inter


def dense_camera_jaccard(features, cameras, k1_intra, k1_inter, k2_intra, k2_inter):
    """Chen et al. 2024, word for word and image by image."""
    size = len(features)
    all_intra, all_inter = dense_neighbors(features, cameras, size, size)
    intra = [row[: k1_intra + 1] for row in all_intra]
    inter = [row[: k1_inter + 1] for row in all_inter]
    distances = 2 - 2 * features.astype(np.float64) @ features.T.astype(np.float64)
    weights = np.zeros_like(distances)
    for image in range(len(features)):
        near = [j for j in intra[image] if image in intra[j]]
        far = [j for j in inter[image] if image in inter[j]]
        members = near + far
        weights[image, members] = np.exp(-distances[image, members])
    weights /= weights.sum(axis=1, keepdims=True)
    averaged = [
        weights[near[:k2_intra] + far[:k2_inter]].mean(axis=0)
        for near, far in zip(all_intra, all_inter, strict=True)
    ]
    overlap = np.stack([np.minimum(row, averaged).sum(axis=1) for row in averaged])
    return np.maximum(1 - overlap / (2 - overlap), 0)


def padded(lists, width):
    return np.array([row + [-1] * (width - len(row)) for row in lists])


def dense(graph):
    """What is not stored is at distance 1."""
    full = np.ones(graph.shape, np.float32)
    pairs = graph.tocoo()
    full[pairs.row, pairs.col] = pairs.data
    return full


@BACKENDS
@pytest.mark.parametrize(
    "ks", [(5, 20, 2, 4), (5, 20, 3, 3), (1, 1, 1, 1), (9, 4, 20, 9), (2, 3, 7, 30)]
)
def test_equals_the_dense_algorithm(ks, backend):
    for seed in range(3):
        features, cameras = rows_with_cameras(160, seed)
        expected = dense_camera_jaccard(features, cameras, *ks)
        graph = camera_jaccard_distance(features, cameras, *ks, 1, backend=backend)
        np.testing.assert_allclose(dense(graph), expected, atol=1e-6)
        assert graph.has_canonical_format
        np.testing.assert_array_equal(dense(graph), dense(graph).T)
        for eps in (0.43, 0.57):
            assert abs(expected - eps).min() > 2e-6
            scan = DBSCAN(eps=eps, min_samples=4, metric="precomputed")
            np.testing.assert_array_equal(dbscan(graph, eps, 4), scan.fit(expected).labels_)


@BACKENDS
def test_cameras_with_few_images(backend):
    features, cameras = rows_with_cameras(60, 3, num_cameras=3)
    cameras[:4] = [7, 8, 8, 9]  # alone, two, alone
    expected = dense_camera_jaccard(features, cameras, 5, 50, 2, 4)
    graph = camera_jaccard_distance(features, cameras, 5, 50, max_distance=1, backend=backend)
    np.testing.assert_allclose(dense(graph), expected, atol=1e-6)


@BACKENDS
def test_one_camera(backend):
    features, _ = rows_with_cameras(60, 4)
    cameras = np.zeros(60, int)
    expected = dense_camera_jaccard(features, cameras, 5, 20, 2, 4)
    graph = camera_jaccard_distance(features, cameras, max_distance=1, backend=backend)
    np.testing.assert_allclose(dense(graph), expected, atol=1e-6)
    assert (camera_neighbors(features, cameras)[1] == -1).all()


@BACKENDS
@pytest.mark.parametrize("size", [1, 2, 3])
def test_hardly_any_images(size, backend):
    features, _ = rows_with_cameras(size, 5)
    for cameras in (np.arange(size), np.zeros(size, int)):
        expected = dense_camera_jaccard(features, cameras, 5, 20, 2, 4)
        graph = camera_jaccard_distance(features, cameras, max_distance=1, backend=backend)
        np.testing.assert_allclose(dense(graph), expected, atol=1e-6)


def test_both_forms_give_the_same_labels():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        size, num_cameras = int(rng.integers(1, 300)), int(rng.integers(1, 12))
        features, cameras = rows_with_cameras(size, seed, num_cameras, noise=rng.uniform(0.1, 1.5))
        features[rng.random(size) < 0.2] = features[0]
        ks = [int(k) for k in rng.integers(1, (12, 30, 6, 8))]
        widths = max(ks[0] + 1, ks[2]), max(ks[1] + 1, ks[3])
        lists = dense_neighbors(features, cameras, *widths)
        neighbors = padded(lists[0], widths[0]), padded(lists[1], widths[1])
        compiled, tensors = (
            camera_jaccard_distance(features, cameras, *ks, 1, neighbors, backend)
            for backend in ("compiled", "torch")
        )
        np.testing.assert_allclose(dense(compiled), dense(tensors), atol=1e-6)
        for eps in rng.uniform(0.1, 0.9, size=4):
            if abs(compiled.data - eps - 1e-6).min() > 1e-6:
                labels = dbscan(compiled, eps, 3)
                np.testing.assert_array_equal(labels, dbscan(tensors, eps, 3))


def test_chunks_do_not_matter(monkeypatch):
    features, cameras = rows_with_cameras(300, 6)
    whole = camera_jaccard_distance(features, cameras, backend="torch")
    monkeypatch.setattr(jaccard_tensors, "_CHUNK_ENTRIES", 700)
    chunked = camera_jaccard_distance(features, cameras, backend="torch")
    np.testing.assert_array_equal(chunked.indices, whole.indices)
    np.testing.assert_allclose(chunked.data, whole.data, rtol=0, atol=1e-7)


@BACKENDS
def test_neighbors_may_be_given_and_wider_and_torch(backend):
    features, cameras = rows_with_cameras(100, 7)
    expected = camera_jaccard_distance(features, cameras, backend=backend)
    wide = camera_neighbors(torch.from_numpy(features), torch.from_numpy(cameras), 40, 90)
    for given in (wide, tuple(part.numpy() for part in wide)):
        found = camera_jaccard_distance(features, cameras, neighbors=given, backend=backend)
        np.testing.assert_array_equal(dense(found), dense(expected))


def test_layout_of_tensors():
    features, cameras = rows_with_cameras(200, 8)
    graph = camera_jaccard_distance(features, cameras.tolist())
    tensor = camera_jaccard_distance(torch.from_numpy(features), cameras, layout="torch")
    np.testing.assert_array_equal(tensor.to_dense(), graph.toarray())
    np.testing.assert_array_equal(dbscan(tensor, 0.6, 4), dbscan(graph, 0.6, 4))


def test_sees_across_cameras():
    features, cameras = rows_with_cameras(400, 9, num_cameras=2, noise=0.3)
    across = cameras[:, None] != cameras

    def share_across(graph):
        close = dense(graph) < 0.6
        return (close & across).sum() / close.sum()

    aware = share_across(camera_jaccard_distance(features, cameras))
    assert aware > 1.2 * share_across(jaccard_distance(features, 12))


@pytest.mark.parametrize("widths", [(6, 21), (1, 1), (30, 100)])
def test_neighbors_equal_full_sorts(widths):
    features, cameras = rows_with_cameras(90, 10)
    cameras[:3] = [5, 6, 6]
    features[np.arange(1, 90, 7)] = features[1]
    expected = dense_neighbors(features, cameras, *widths)
    found = camera_neighbors(features, cameras, *widths)
    for lists, indices, width in zip(expected, found, widths, strict=True):
        assert indices.dtype == np.int64
        np.testing.assert_array_equal(indices, padded(lists, width))
    rows = torch.tensor([80, 3, 1])
    some = camera_neighbors(torch.from_numpy(features), cameras, *widths, rows)
    for all_rows, part in zip(found, some, strict=True):
        np.testing.assert_array_equal(part, all_rows[rows])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_cpu():
    features, cameras = rows_with_cameras(1000, 11)
    expected = camera_jaccard_distance(features, cameras)
    found = camera_jaccard_distance(torch.from_numpy(features).cuda(), cameras, layout="torch")
    assert found.is_cuda
    np.testing.assert_allclose(found.cpu().to_dense(), expected.toarray(), atol=1e-6)


def test_bad_input():
    features, cameras = rows_with_cameras(30, 0)
    for bad in ("k1_intra", "k1_inter", "k2_intra", "k2_inter", "max_distance", "layout"):
        with pytest.raises(ValueError, match=bad):
            camera_jaccard_distance(features, cameras, **{bad: -1})
    with pytest.raises(ValueError, match="backend"):
        camera_jaccard_distance(features, cameras, backend="magic")
    with pytest.raises(ValueError, match="k_intra"):
        camera_neighbors(features, cameras, 0, 4)
    for unfit in (cameras[1:], cameras / 2, cameras - 1):
        with pytest.raises(ValueError, match="cameras must"):
            camera_jaccard_distance(features, unfit)
    intra, inter = camera_neighbors(features, cameras)
    for neighbors, message in (
        ((intra[:, :5], inter), "neighbors must be of shape"),
        ((intra, inter[1:]), "neighbors must be of shape"),
        ((intra, inter + 25), "row numbers from -1"),
        ((intra, intra[:, :1].repeat(21, axis=1)), "own camera"),
        ((inter, inter), "own camera"),
    ):
        with pytest.raises(ValueError, match=message):
            camera_jaccard_distance(features, cameras, neighbors=neighbors)
