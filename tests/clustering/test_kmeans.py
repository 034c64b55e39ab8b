import faiss
import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from lightning_reid.clustering.faiss_indexes import on_device
from lightning_reid.clustering.kmeans import _settle, _without_empty, kmeans
from lightning_reid.errors import InputError


def clustered(num_clusters=150, per_cluster=17, dimensions=64, noise=0.6, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(num_clusters), per_cluster))
    rows = rng.standard_normal((num_clusters, dimensions))[truth]
    rows += noise * rng.standard_normal(rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), truth


def inertia(rows, labels):
    groups = [rows[labels == label].astype(float) for label in np.unique(labels)]
    return sum(((group - group.mean(axis=0)) ** 2).sum() for group in groups)


def require_valid(rows, labels, centers, num_clusters):
    assert labels.shape == (len(rows),)
    assert labels.dtype == np.int64
    assert centers.shape == (num_clusters, rows.shape[1])
    assert centers.dtype == np.float32
    assert np.unique(labels).tolist() == [*range(num_clusters)]
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(num_clusters)])
    np.testing.assert_allclose(centers, means, atol=1e-5 * abs(rows).max())


def test_every_row_is_with_its_nearest_centre():
    rows, _ = clustered(noise=1.2)
    labels, centers = kmeans(rows, 150, iterations=100)
    require_valid(rows, labels, centers, 150)
    distances = ((rows[:, None] - centers) ** 2).sum(axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1), labels)


@pytest.mark.parametrize("noise", [0.4, 0.8, 1.2])
def test_no_worse_than_scikit_learn(noise):
    rows, truth = clustered(noise=noise)
    labels, _ = kmeans(rows, 150)
    peer = KMeans(150, n_init=1, random_state=0).fit(rows)
    assert inertia(rows, labels) < 1.005 * peer.inertia_
    score = adjusted_rand_score(truth, labels)
    assert score > adjusted_rand_score(truth, peer.labels_) - 0.02
    assert score > {0.4: 0.98, 0.8: 0.95, 1.2: 0.8}[noise]


def test_a_better_start_than_random_rows():
    rows, _ = clustered(noise=0.8)
    labels, _ = kmeans(rows, 150)
    random = faiss.Kmeans(64, 150, niter=25, min_points_per_centroid=1)
    random.train(rows)
    assert inertia(rows, labels) < 0.95 * inertia(rows, random.assign(rows)[1])


def test_the_best_of_several_starts_holds():
    points = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)

    def spread(**options):
        labels, centers = kmeans(points, 20, **options)
        return float(((points - centers[labels]) ** 2).sum())

    once = [spread(seed=seed, restarts=1) for seed in range(5)]
    assert spread(seed=0, restarts=1) == once[0]
    best = [spread(seed=seed, restarts=10) for seed in range(5)]
    assert all(several <= one for several, one in zip(best, once, strict=True))
    assert sum(best) < sum(once)


def test_same_seed_same_result_of_the_kind_that_came_in():
    rows, _ = clustered(noise=1.2)
    before = rows.copy()
    labels, centers = kmeans(rows, 100, seed=5)
    again, same_centers = kmeans(torch.from_numpy(rows), 100, seed=5)
    assert isinstance(again, torch.Tensor)
    assert isinstance(same_centers, torch.Tensor)
    np.testing.assert_array_equal(again, labels)
    np.testing.assert_array_equal(same_centers, centers)
    np.testing.assert_array_equal(rows, before)
    assert (kmeans(rows, 100, seed=6)[0] != labels).any()


def test_does_not_touch_the_random_state():
    rows, _ = clustered(10)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    kmeans(rows, 10)
    assert (torch.rand(3) == expected).all()


def test_all_rows_are_used_and_nothing_is_printed(capfd):
    rows, _ = clustered(3, 2000, 4)  # faiss alone would draw 256 rows per cluster
    require_valid(rows, *kmeans(rows, 3, iterations=200), 3)
    labels, centers = kmeans(rows, 3, iterations=200)
    nearest = ((rows[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == labels).mean() > 0.999
    kmeans(rows[:90], 60)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("size", "num_clusters"), [(1, 1), (5, 3), (50, 50), (50, 49), (300, 1)])
@pytest.mark.parametrize("distinct", [1, 2, 7, 1000])
def test_no_cluster_is_empty_with_few_distinct_rows(size, num_clusters, distinct):
    rng = np.random.default_rng(size)
    rows = (rng.standard_normal((distinct, 6)) * 10).astype(np.float32)
    rows = rows[np.arange(size) % distinct]
    require_valid(rows, *kmeans(rows, num_clusters), num_clusters)


def test_as_many_clusters_as_distinct_rows():
    rows = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)
    labels, _ = kmeans(np.repeat(rows, 4, axis=0), 12)
    assert adjusted_rand_score(np.repeat(np.arange(12), 4), labels) == 1


def test_empty_clusters_take_the_farthest_rows():
    labels = np.array([0, 0, 0, 3, 3, 5])
    distances = np.array([0.3, 0.1, 0.2, 0.8, 0.9, 7], np.float32)  # 5 has one row only
    filled = _without_empty(distances, labels, 6)
    assert sorted(filled[[0, 2, 4]].tolist()) == [1, 2, 4]
    assert filled[[1, 3, 5]].tolist() == [0, 3, 5]
    assert labels.tolist() == [0, 0, 0, 3, 3, 5]
    assert _without_empty(distances, labels * 0, 2).tolist() == [0, 0, 0, 0, 0, 1]


def test_bad_input():
    rows, _ = clustered(4)
    for num_clusters in (0, len(rows) + 1):
        with pytest.raises(ValueError, match=f"from 1 to the {len(rows)} features"):
            kmeans(rows, num_clusters)
    with pytest.raises(ValueError, match="iterations"):
        kmeans(rows, 4, iterations=0)
    rows[3, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite values: 3"):
        kmeans(rows, 4)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_features_too_large_for_their_squares_are_refused(kind):
    rows, _ = clustered(4)
    expected, _ = kmeans(rows, 4)
    labels, centers = kmeans(rows.astype(kind) * 1e17, 4)
    assert adjusted_rand_score(labels, expected) == 1
    assert np.isfinite(centers).all()
    with pytest.raises(InputError, match=r"features up to .*e\+19 are too large"):
        kmeans(np.sign(rows).astype(kind) * 1e19, 4)  # faiss would end the process


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine that has two GPUs, as far as faiss and torch can tell; which of them is used."""
    used = []

    class Resources:
        def setTempMemory(self, size):  # noqa: N802 # the name of faiss
            assert size < 2**30

    def moved(resources, device, index):
        used.append(device)
        return index

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "StandardGpuResources", Resources)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", moved)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", lambda *_, **__: pytest.fail("all GPUs"))
    for name, number in [
        ("mem_get_info", (2**30, 2**34)),
        ("memory_reserved", 0),
        ("memory_allocated", 0),
    ]:
        monkeypatch.setattr(torch.cuda, name, lambda device, n=number: n)
    return used


def test_only_the_gpu_of_the_rows_is_used(two_gpus):
    rows, _ = clustered(10)
    kmeans(rows, 10)
    kmeans(torch.from_numpy(rows), 10)
    assert two_gpus == []
    first = rows[:10].copy()
    expected = _settle(rows, first, 5, torch.device("cpu"))
    for found, own in zip(_settle(rows, first, 5, torch.device("cuda", 1)), expected, strict=True):
        np.testing.assert_array_equal(found, own)
    assert two_gpus == [1]


def test_an_index_that_does_not_fit_its_gpu_is_refused(two_gpus):
    index = faiss.IndexFlatL2(4)
    on_device(index, torch.device("cuda", 0), 2**29)
    with pytest.raises(InputError, match="A faiss index needs about 1.3 GB .* free on cuda"):
        on_device(index, torch.device("cuda", 0), 2**30)
    assert two_gpus == [0]
    assert on_device(index, torch.device("cpu"), 2**60) is index
