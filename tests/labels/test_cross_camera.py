import numpy as np
import pytest
import torch

from lightning_reid.clustering import camera_jaccard_distance
from lightning_reid.errors import InputError
from lightning_reid.labels.cross_camera import cross_camera_soft_labels, soft_label_table

KERNELS = ["gaussian", "cosine", "jaccard"]


def drawn(sizes=(20, 7, 30), dimensions=16, seed=0):
    """Features of some people in each camera, of any length, in no order."""
    rng = np.random.default_rng(seed)
    people = rng.standard_normal((40, dimensions))
    cameras = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    features = np.empty((len(cameras), dimensions), np.float32)
    for camera, size in enumerate(sizes):
        features[cameras == camera] = people[rng.choice(40, size, replace=False)]
    features += 0.5 * rng.standard_normal(features.shape)
    return features.astype(np.float32) * rng.uniform(0.5, 2, (len(cameras), 1)), cameras


def affinities(features, cameras, kernel, bandwidth):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    count = len(unit)
    if kernel == "jaccard":
        graph = camera_jaccard_distance(unit.astype(np.float32), cameras, max_distance=1).tocoo()
        affinity = np.zeros((count, count))
        affinity[graph.row, graph.col] = 1 - graph.data
        return affinity
    pairs = [(p, q) for p in range(count) for q in range(count)]
    if kernel == "cosine":
        return np.array([max(unit[p] @ unit[q], 0) for p, q in pairs]).reshape(count, count)
    distance = np.array([np.linalg.norm(unit[p] - unit[q]) for p, q in pairs])
    apart = np.array([cameras[p] != cameras[q] for p, q in pairs])
    width = bandwidth * distance[apart].mean()
    return np.exp(-(distance**2) / (2 * width**2)).reshape(count, count)


def one_person_at_a_time(
    features, cameras, k=3, kernel="gaussian", bandwidth=1.0, confidence=True, mutual=False
):
    affinity = affinities(features.astype(np.float64), cameras, kernel, bandwidth)

    def nearest(person, camera):
        others = np.flatnonzero(cameras == camera)
        return others[np.argsort(-affinity[person, others], kind="stable")][:k]

    soft = np.zeros_like(affinity)
    for person, own in enumerate(cameras):
        for camera in set(cameras) - {own}:
            kept = nearest(person, camera)
            largest = affinity[person, kept[0]]
            if mutual:
                kept = [other for other in kept if person in nearest(other, own)]
            total = sum(affinity[person, other] for other in kept)
            for other in kept:
                if total > 0:
                    soft[person, other] = affinity[person, other] / total
                    soft[person, other] *= largest if confidence else 1
    return soft


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("confidence", [True, False])
@pytest.mark.parametrize("mutual", [True, False])
@pytest.mark.parametrize(("sizes", "k"), [((20, 7, 30), 3), ((2, 25), 5), ((9, 4, 9, 6), 1)])
def test_restated_in_loops(monkeypatch, seed, kernel, confidence, mutual, sizes, k):
    features, cameras = drawn(sizes, seed=seed)
    given = {"kernel": kernel, "bandwidth": 0.7, "confidence": confidence, "mutual": mutual}
    expected = one_person_at_a_time(features, cameras, k, **given)
    monkeypatch.setattr("lightning_reid.labels.cross_camera._BLOCK", 8)
    soft = cross_camera_soft_labels(features, cameras, k, **given)
    np.testing.assert_allclose(soft.toarray(), expected, atol=2e-5)
    assert soft.dtype == np.float32
    assert soft.nnz == np.count_nonzero(expected) > 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_mass_and_counts(kernel):
    features, cameras = drawn((30, 2, 25, 40))
    soft = cross_camera_soft_labels(features, cameras, 4, kernel, mutual=False).tocoo()
    dense = soft.toarray()
    assert (cameras[soft.row] != cameras[soft.col]).all()
    assert (soft.data > 0).all()
    for camera in range(4):
        part = dense[cameras != camera][:, cameras == camera]
        assert (np.count_nonzero(part, axis=1) <= 4).all()
        sums = part.sum(axis=1)
        nobody = (sums == 0) & (kernel != "gaussian")
        assert (np.isclose(sums, 1) | nobody).all()


def test_tensors_and_the_length_of_features_do_not_matter():
    features, cameras = drawn()
    soft = cross_camera_soft_labels(features, cameras)
    tensors = torch.from_numpy(features), torch.from_numpy(cameras * 5)
    assert (cross_camera_soft_labels(*tensors) != soft).nnz == 0
    longer = cross_camera_soft_labels(features * 3, cameras)
    np.testing.assert_allclose(longer.toarray(), soft.toarray(), atol=1e-6)


def test_identical_persons_share_equally():
    features = np.tile([[1.0, 0, 0, 0]], (5, 1))
    soft = cross_camera_soft_labels(features, [0, 0, 1, 1, 1], k=9)
    apart = np.kron([[0, 1], [1, 0]], np.ones((3, 3)))[np.ix_([0, 1, 3, 4, 5], [0, 1, 3, 4, 5])]
    np.testing.assert_allclose(soft.toarray(), apart / [[3], [3], [2], [2], [2]])


def test_narrow_gaussian_names_one_person():
    features, cameras = drawn()
    soft = cross_camera_soft_labels(features, cameras, bandwidth=0.01, mutual=False)
    sums = soft.sum(axis=1)
    np.testing.assert_allclose(sums, 2, atol=1e-5)
    assert (soft.data > 0).all()
    certain = cross_camera_soft_labels(features, cameras, bandwidth=0.01, confidence=True)
    assert (certain.data > 0).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_camera_or_one_person_has_no_labels(kernel):
    features, _ = drawn()
    for count in (1, 20):
        soft = cross_camera_soft_labels(features[:count], [3] * count, kernel=kernel)
        assert soft.shape == (count, count)
        assert soft.nnz == 0
        columns, weights = soft_label_table(soft)
        assert columns.tolist() == weights.tolist() == [[0]] * count


def test_table_restated_in_loops():
    features, cameras = drawn()
    soft = cross_camera_soft_labels(features, cameras, 4, "jaccard", mutual=True)
    columns, weights = soft_label_table(soft)
    assert columns.dtype == torch.int64
    assert weights.dtype == torch.float32
    lengths = np.diff(soft.indptr)
    assert columns.shape == weights.shape == (len(features), lengths.max())
    assert lengths.min() < lengths.max()
    dense = np.zeros(soft.shape, np.float32)
    for person, length in enumerate(lengths):
        assert not columns[person, length:].any()
        assert not weights[person, length:].any()
        for column, weight in zip(columns[person], weights[person], strict=True):
            dense[person, column] += weight
    np.testing.assert_array_equal(dense, soft.toarray())


def test_bad_input():
    features, cameras = drawn()
    for settings, message in [
        ({"k": 0}, "k must be at least 1"),
        ({"bandwidth": 0}, "bandwidth must be above 0"),
        ({"kernel": "linear"}, "gaussian, cosine, jaccard, not 'linear'"),
    ]:
        with pytest.raises(InputError, match=message):
            cross_camera_soft_labels(features, cameras, **settings)
    with pytest.raises(ValueError, match="57 integers"):
        cross_camera_soft_labels(features, cameras[1:])
    with pytest.raises(ValueError, match="NaN"):
        cross_camera_soft_labels(features * np.nan, cameras)
