import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from lightning_reid.clustering import nearest_neighbors
from lightning_reid.clustering.infomap import graph_scores, infomap


def clustered(num_people=30, per_person=12, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    people = rng.permutation(np.repeat(np.arange(num_people), per_person))
    features = rng.standard_normal((num_people, 48))[people]
    features += noise * rng.standard_normal(features.shape)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32), people


def one_link_at_a_time(neighbors, min_similarity, min_size, file):
    package = pytest.importorskip("infomap")
    network = package.Network()
    linked = set()
    for image, (squared, indices) in enumerate(zip(*neighbors, strict=True)):
        for distance, index in zip(squared, indices, strict=True):
            cosine = 1 - float(distance) / 2
            if index != image and cosine >= min_similarity:
                network.add_link(image, int(index), cosine)
                linked |= {image, int(index)}
    # not .modules(), which crashes once faiss is in the process
    package.run(network, two_level=True, directed=True, seed=1).write_clu(str(file))
    lines = [line.split() for line in file.read_text().splitlines() if line[0] != "#"]
    modules = {int(node): int(module) for node, module, *_ in lines}
    members = {}
    for image in range(len(neighbors[0])):
        key = ("module", modules[image]) if image in linked else ("alone", image)
        members.setdefault(key, []).append(image)
    labels = np.full(len(neighbors[0]), -1)
    large = [group for group in members.values() if len(group) >= min_size]
    for label, group in enumerate(sorted(large)):
        labels[group] = label
    return labels


@pytest.mark.parametrize("min_similarity", [0.3, 0.5, 0.75])
@pytest.mark.parametrize("min_size", [1, 5, 9])
def test_equals_one_link_at_a_time(min_similarity, min_size, tmp_path):
    features, _ = clustered(noise=0.9)
    neighbors = nearest_neighbors(features, 15)
    expected = one_link_at_a_time(neighbors, min_similarity, min_size, tmp_path / "clu")
    labels = infomap(neighbors, min_similarity, min_size)
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.int64


def test_finds_separate_people_and_numbers_them_by_first_member():
    pytest.importorskip("infomap")
    features, people = clustered(noise=0.3)
    labels = infomap(nearest_neighbors(features, 10))
    assert adjusted_rand_score(people, labels) == 1
    _, first = np.unique(labels, return_index=True)
    assert (np.diff(first) > 0).all()
    assert labels.max() == 29


def test_small_clusters_and_lone_images_become_outliers():
    pytest.importorskip("infomap")
    sizes = [4, 7, 1, 5, 2]
    rows = np.repeat(np.eye(5, dtype=np.float32), sizes, axis=0)
    neighbors = nearest_neighbors(rows, 15)
    assert infomap(neighbors).tolist() == [-1] * 4 + [0] * 7 + [-1] + [1] * 5 + [-1] * 2
    everyone = infomap(neighbors, min_size=1)
    np.testing.assert_array_equal(everyone, np.repeat(np.arange(5), sizes))


def test_weights_and_directions_matter(tmp_path):
    pytest.importorskip("infomap")
    rng = np.random.default_rng(0)
    own = np.arange(60)[:, None]
    steps = np.array([rng.choice([1, 2, 3, 4, 5, 20], 3, replace=False) for _ in own])
    indices = np.hstack([own, (own + steps) % 60])  # a ring, in one direction only
    squared = np.hstack([own * 0, np.sort(rng.random((60, 3)), axis=1)]).astype(np.float32)
    labels = infomap((squared, indices), min_size=1)
    expected = one_link_at_a_time((squared, indices), 0.5, 1, tmp_path / "clu")
    np.testing.assert_array_equal(labels, expected)
    backwards = np.hstack([own, (own - steps) % 60])
    assert (infomap((squared, backwards), min_size=1) != labels).any()
    assert (infomap((squared.round(), indices), min_size=1) != labels).any()


def test_the_smallest_similarity_still_is_a_link():
    neighbors = (np.array([[0, 1], [0, 1]], np.float32), np.array([[0, 1], [1, 0]]))
    assert graph_scores(neighbors, 0.5).tolist() == pytest.approx([1 / 0.75] * 2)
    assert graph_scores(neighbors, 0.501).tolist() == [0, 0]


def test_same_seed_same_labels_from_arrays_and_tensors(capfd):
    pytest.importorskip("infomap")
    features, _ = clustered(noise=1.2)
    neighbors = nearest_neighbors(features, 15)
    before = [part.copy() for part in neighbors]
    labels = infomap(neighbors, 0.3, seed=7)
    np.testing.assert_array_equal(infomap(neighbors, 0.3, seed=7), labels)
    tensors = nearest_neighbors(torch.from_numpy(features), 15)
    np.testing.assert_array_equal(infomap(tensors, 0.3, seed=7), labels)
    assert all((now == then).all() for now, then in zip(neighbors, before, strict=True))
    assert capfd.readouterr() == ("", "")


def test_scores_restated_in_loops():
    features, _ = clustered(num_people=8, noise=0.9)
    squared, indices = nearest_neighbors(features, 15)
    distances = squared / 2
    mean = distances.mean()
    expected = np.zeros(len(features))
    for image in range(len(features)):
        for distance, index in zip(distances[image], indices[image], strict=True):
            if index != image and distance <= 1 - 0.6:
                expected[image] += 1 / (distance + mean)
    scores = graph_scores((squared, indices), 0.6)
    assert scores.dtype == np.float32
    assert 0 < np.count_nonzero(scores) < len(scores)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    tensors = nearest_neighbors(torch.from_numpy(features), 15)
    np.testing.assert_array_equal(graph_scores(tensors, 0.6), scores)


def test_scores_of_identical_rows_are_finite_and_equal():
    neighbors = nearest_neighbors(np.tile(np.eye(4, dtype=np.float32)[:1], (9, 1)), 5)
    scores = graph_scores(neighbors)
    assert np.isfinite(scores).all()
    assert (scores == scores[0]).all()
    assert scores[0] > 0


def test_images_without_links_need_no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "infomap", None)
    neighbors = nearest_neighbors(np.eye(3, dtype=np.float32), 3)
    assert infomap(neighbors).tolist() == [-1, -1, -1]
    assert infomap(neighbors, min_size=1).tolist() == [0, 1, 2]
    assert infomap(nearest_neighbors(np.ones((1, 1)), 15), min_size=1).tolist() == [0]
    assert graph_scores(neighbors).tolist() == [0, 0, 0]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "infomap", None)
    features, _ = clustered(num_people=3)
    with pytest.raises(ImportError, match=r'pip install "lightning-reid\[infomap\]"'):
        infomap(nearest_neighbors(features, 5))


def test_bad_input():
    squared, indices = nearest_neighbors(np.eye(4, dtype=np.float32), 2)
    for function in (infomap, graph_scores):
        with pytest.raises(ValueError, match=r"one shape \(N, k\)"):
            function((squared[:, :1], indices))
        with pytest.raises(ValueError, match=r"one shape \(N, k\)"):
            function((squared[0], indices[0]))
        with pytest.raises(ValueError, match="from 0 to 3"):
            function((squared, indices + 1))
        for min_similarity in (0, 1.1, float("nan")):
            with pytest.raises(ValueError, match="min_similarity"):
                function((squared, indices), min_similarity)
    with pytest.raises(ValueError, match="min_size"):
        infomap((squared, indices), min_size=0)


def test_infomap_works_where_faiss_was_used_before():
    features = torch.nn.functional.normalize(torch.randn(60, 8), dim=1)
    nearest_neighbors(features, 5, backend="hnsw")
    labels = infomap(nearest_neighbors(features, 5), min_similarity=0.1)
    assert len(labels) == 60
