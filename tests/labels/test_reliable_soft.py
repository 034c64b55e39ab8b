import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from lightning_reid.clustering import Clusterer, Clustering, DensityClusterer, kmeans
from lightning_reid.errors import InputError
from lightning_reid.labels.reliable_soft import reliable_soft_labels


def drawn(num_images=90, num_cameras=3, dimensions=8, seed=0):
    """Unit rows around some people, in cameras of different size."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((12, dimensions))[rng.integers(12, size=num_images)]
    features += 0.4 * rng.standard_normal(features.shape)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    cameras = np.minimum(rng.geometric(0.4, num_images) - 1, num_cameras - 1)
    return features.astype(np.float32), cameras


def unit(vector):
    return vector / np.linalg.norm(vector)


def centers_of(features, labels, center):
    centers = []
    for cluster in range(labels.max() + 1):
        mean = unit(features[labels == cluster].mean(axis=0))
        nearest = np.flatnonzero(features @ mean > (features @ mean).max() - 1e-6)[0]
        centers.append(mean if center == "mean" else features[nearest])
    return np.stack(centers)


def one_image_at_a_time(
    features, cameras, num_clusters, per_camera, threshold, temperature, center, select
):
    selected = []
    for camera in np.unique(cameras):
        members = np.flatnonzero(cameras == camera)
        count = max(1, min(num_clusters, len(members) // 3)) if per_camera is None else per_camera
        labels, _ = kmeans(features[members], min(count, len(members)))
        centers = centers_of(features[members], labels, center)
        for image, label in zip(members, labels, strict=True):
            compared = centers if select == "any" else centers[[label]]
            if max(features[image] @ other for other in compared) > threshold:
                selected.append(image)
    selected = np.sort(selected)
    labels, _ = kmeans(features[selected], min(num_clusters, len(selected)))
    centers = centers_of(features[selected], labels, center)
    reliable = np.full(len(features), -1)
    reliable[selected] = labels
    soft = np.zeros((len(features), num_clusters))
    for image, label in enumerate(reliable):
        if label >= 0:
            soft[image, label] = 1
        else:
            exponentials = np.exp([features[image] @ c / temperature for c in centers])
            soft[image, : len(centers)] = exponentials / exponentials.sum()
    padded = np.zeros((num_clusters, features.shape[1]))
    padded[: len(centers)] = centers
    return reliable, soft, padded


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("center", ["mean", "medoid"])
@pytest.mark.parametrize("select", ["any", "own"])
@pytest.mark.parametrize(
    ("per_camera", "num_clusters", "threshold"), [(None, 12, 0.93), (5, 7, 0.8), (1, 3, 0.5)]
)
def test_restated_in_loops(seed, center, select, per_camera, num_clusters, threshold):
    features, cameras = drawn(seed=seed)
    given = {"threshold": threshold, "temperature": 0.05, "center": center, "select": select}
    found = reliable_soft_labels(features, cameras, num_clusters, per_camera, **given)
    expected = one_image_at_a_time(features, cameras, num_clusters, per_camera, **given)
    np.testing.assert_array_equal(found.reliable, expected[0])
    np.testing.assert_allclose(found.soft, expected[1], atol=1e-5)
    np.testing.assert_allclose(found.centers, expected[2], atol=1e-6)
    assert found.reliable.dtype == torch.int64
    assert found.soft.dtype == found.centers.dtype == torch.float32
    assert 0 < (found.reliable >= 0).sum() < len(features)


def test_selected_and_others_make_up_the_set(monkeypatch):
    features, cameras = drawn(num_images=300, seed=4)
    found = reliable_soft_labels(features, cameras, 20, threshold=0.93)
    torch.testing.assert_close(found.soft.sum(dim=1), torch.ones(300))
    selected = found.reliable >= 0
    assert (found.soft[selected].max(dim=1).values == 1).all()
    assert (found.soft[selected].argmax(dim=1) == found.reliable[selected]).all()
    assert sorted(set(found.reliable.tolist())) == list(range(-1, 20))
    monkeypatch.setattr("lightning_reid.labels.reliable_soft._BLOCK", 7)
    in_blocks = reliable_soft_labels(features, cameras, 20, threshold=0.93)
    for part, whole in zip(in_blocks, found, strict=True):
        torch.testing.assert_close(part, whole)


def test_either_entropy_has_the_same_gradient():
    features, cameras = drawn()
    soft = reliable_soft_labels(features, cameras, 6).soft
    logits = torch.randn(len(soft), 6, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    (by_entropy,) = torch.autograd.grad(cross_entropy(logits, soft), logits)
    divergence = kl_div(logits.log_softmax(dim=1), soft, reduction="batchmean")
    (by_divergence,) = torch.autograd.grad(divergence, logits)
    torch.testing.assert_close(by_entropy, by_divergence)


def test_threshold_below_everything_is_plain_kmeans():
    features, cameras = drawn()
    found = reliable_soft_labels(torch.from_numpy(features), cameras, 9, threshold=-1, seed=3)
    labels, centers = kmeans(features, 9, seed=3)
    np.testing.assert_array_equal(found.reliable, labels)
    expected = centers / np.linalg.norm(centers, axis=1, keepdims=True)
    np.testing.assert_allclose(found.centers, expected, atol=1e-6)
    np.testing.assert_array_equal(found.soft, np.eye(9)[labels])


@pytest.mark.parametrize("select", ["any", "own"])
def test_nothing_selected_is_explained(select):
    features, cameras = drawn()
    with pytest.raises(InputError, match=r"threshold is 1.*similarity 1\.000.*lower threshold"):
        reliable_soft_labels(features, cameras, 9, len(features), 1, select=select)
    with pytest.raises(InputError, match=r"threshold is 0\.99.*similarity 0\.9[0-8]"):
        reliable_soft_labels(features, cameras, 9, 1, 0.99, select=select)


def test_columns_of_clusters_that_do_not_exist_are_zero():
    features, cameras = drawn(num_images=20)
    found = reliable_soft_labels(features, cameras, 50, threshold=0.9)
    existing = int(found.reliable.max()) + 1
    assert 0 < existing == (found.reliable >= 0).sum() < 20
    assert found.soft.shape == (20, 50)
    assert not found.soft[:, existing:].any()
    assert not found.centers[existing:].any()
    torch.testing.assert_close(found.soft.sum(dim=1), torch.ones(20))


def test_clusters_for_each_camera():
    features, cameras = drawn(num_images=60)
    cameras = cameras * 2  # some numbers do not occur
    counts = [3, 9, 5, 9, 10_000]
    found = reliable_soft_labels(features, cameras, 8, counts, 0.8)
    own = [reliable_soft_labels(features, cameras, 8, count, 0.8) for count in (3, 5, 10_000)]
    for camera, same_count in zip((0, 2, 4), own, strict=True):
        selected = found.reliable[cameras == camera] >= 0
        assert (selected == (same_count.reliable[cameras == camera] >= 0)).all()
    assert (found.reliable[cameras == 4] >= 0).all()  # each its own centre


def test_one_camera_with_one_image():
    for center in ("mean", "medoid"):
        found = reliable_soft_labels(np.ones((1, 4)), [5], 3, center=center)
        assert found.reliable.tolist() == [0]
        assert found.soft.tolist() == [[1, 0, 0]]
        assert found.centers.tolist() == [[0.5] * 4, [0] * 4, [0] * 4]


class Given(Clusterer):
    """Clusters by the number that the features hold, -1 for outliers."""

    def cluster(self, features, cameras, neighbors):
        torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))
        assert len(cameras) == len(features)
        return Clustering(features.argmax(dim=1) * 10 - 10, {})  # gaps, and -10


def test_clusterer_replaces_kmeans():
    sizes = [2, 1, 3, 5, 4]  # the first are outliers
    rows = np.repeat(np.eye(5), sizes, axis=0) * 3
    rows[14] = [0, 0, 0, 0.2, 1]  # the last person's last image differs a little
    cameras = np.arange(15) % 2
    found = reliable_soft_labels(rows, cameras, 3, clusterer=Given())
    assert found.reliable.tolist() == [-1] * 3 + [0] * 3 + [1] * 5 + [2] * 4
    alone = found.soft[:3, :3]
    torch.testing.assert_close(alone[0], torch.ones(3) / 3)
    torch.testing.assert_close(found.centers[:2], torch.eye(5)[2:4])
    mean = unit(np.array([0, 0, 0, 0, 3.0]) + unit(rows[14]))
    torch.testing.assert_close(found.centers[2], torch.from_numpy(mean).float())
    medoid = reliable_soft_labels(rows, cameras, 9, clusterer=Given(), center="medoid")
    assert medoid.reliable.tolist() == [-1] * 2 + [0] + [1] * 3 + [2] * 5 + [3] * 4
    torch.testing.assert_close(medoid.centers[3], torch.eye(5)[4])


def test_clusterer_without_clusters():
    everyone_out = np.eye(5)[[0, 0, 0]]
    for select in ("any", "own"):
        with pytest.raises(InputError, match="Given finds no cluster in any camera"):
            reliable_soft_labels(everyone_out, [0, 0, 1], 3, select=select, clusterer=Given())

    class OnlyInCameras(Given):
        coarser = "do this"

        def cluster(self, features, cameras, neighbors):
            return Clustering(-(cameras != cameras[0]).any().long().expand(len(cameras)), {})

    with pytest.raises(InputError, match="in the 3 selected images: do this"):
        reliable_soft_labels(everyone_out, [0, 0, 1], 3, clusterer=OnlyInCameras())


def test_density_clusterer():
    features, cameras = drawn(num_images=200, dimensions=32, seed=1)
    clusterer = DensityClusterer(k1=10, k2=3, eps=0.6, min_samples=3)
    found = reliable_soft_labels(features, cameras, 30, threshold=0.7, clusterer=clusterer)
    torch.testing.assert_close(found.soft.sum(dim=1), torch.ones(200))
    assert 1 < int(found.reliable.max()) + 1 <= 30


@pytest.mark.parametrize(
    "given", [np.int64(2), np.int32(2), [2, 2], np.array([2, 2]), torch.tensor([2, 2])]
)
def test_clusters_per_camera_of_any_kind(given):
    features, cameras = drawn(num_images=20, num_cameras=2)
    made = reliable_soft_labels(features, cameras, 3, clusters_per_camera=given, threshold=0)
    expected = reliable_soft_labels(features, cameras, 3, clusters_per_camera=2, threshold=0)
    assert torch.equal(made.reliable, expected.reliable)


def test_bad_input():
    features, cameras = drawn(num_images=10, num_cameras=2)
    for settings, message in [
        ({"num_clusters": 0}, "num_clusters must be at least 1"),
        ({"clusters_per_camera": 0}, "clusters_per_camera must be at least 1"),
        ({"clusters_per_camera": [3, 0]}, "clusters_per_camera must be at least 1"),
        ({"clusters_per_camera": [3]}, "there is a camera 1, counted from 0"),
        ({"temperature": 0}, "temperature must be above 0, not 0"),
        ({"temperature": float("nan")}, "temperature must be above 0, not nan"),
        ({"center": "median"}, "center must be one of mean, medoid, not 'median'"),
        ({"select": "all"}, "select must be one of any, own, not 'all'"),
    ]:
        with pytest.raises(InputError, match=message):
            reliable_soft_labels(features, cameras, **{"num_clusters": 3, **settings})
    with pytest.raises(ValueError, match="10 integers"):
        reliable_soft_labels(features, cameras[:9], 3)
    with pytest.raises(ValueError, match="NaN"):
        reliable_soft_labels(features * np.nan, cameras, 3)
