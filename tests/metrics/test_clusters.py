from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from lightning_reid.metrics import (
    bcubed_quality,
    cluster_quality,
    cross_camera_quality,
    quality_by_camera,
    rand_agreement,
    soft_label_accuracy,
)


def test_pairs_are_counted():
    generator = np.random.default_rng(0)
    labels, ids = generator.integers(-1, 5, 60), generator.integers(6, size=60)
    pairs = list(combinations(range(60), 2))
    put = [(a, b) for a, b in pairs if labels[a] == labels[b] >= 0]
    same = [(a, b) for a, b in pairs if ids[a] == ids[b]]
    right = len(set(put) & set(same))
    quality = cluster_quality(labels, ids)
    assert quality["pair_precision"] == pytest.approx(right / len(put))
    assert quality["pair_recall"] == pytest.approx(right / len(same))


def test_true_clusters_are_perfect():
    ids = np.arange(30) % 5
    assert cluster_quality(ids, ids) == pytest.approx(
        {"ari": 1, "nmi": 1, "pair_precision": 1, "pair_recall": 1}
    )


def test_outliers_are_left_out_of_the_agreement():
    assert rand_agreement([0, 0, 1, 1, -1], [5, 5, 3, 3, 3]) == 1
    assert np.isnan(rand_agreement([-1, -1], [0, 1]))


def test_all_outliers_have_no_numbers_but_recall():
    quality = cluster_quality([-1, -1], [3, 3])
    assert np.isnan(quality["pair_precision"])
    assert quality["pair_recall"] == 0


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("seed", range(4))
def test_soft_label_accuracy_against_its_definition(layout, seed):
    rng = np.random.default_rng(seed)
    labels, identities = rng.integers(-1, 5, 40), rng.integers(0, 4, 40)
    soft = rng.random((40, 5)) * (rng.random((40, 1)) < 0.8)
    right = []
    for i in range(40):
        if soft[i].any():
            shown = identities[labels == soft[i].argmax()]
            counts = np.bincount(shown, minlength=4)
            right.append(counts.argmax() == identities[i])  # the first of equals
    tensor = torch.from_numpy(soft)
    tensor = tensor.to_sparse() if layout == "sparse" else tensor
    assert soft_label_accuracy(tensor, labels, identities) == pytest.approx(np.mean(right))


def test_no_soft_label_no_accuracy():
    assert np.isnan(soft_label_accuracy(torch.zeros(2, 3), [0, 1], [0, 1]))


def test_outliers_alone_show_nobody():
    assert np.isnan(soft_label_accuracy(torch.rand(4, 2), [-1] * 4, [0, 1, 2, 3]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_soft_labels_of_any_precision_in_training(dtype):
    soft = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]], dtype=dtype).requires_grad_()
    for layout in (soft, soft.to_sparse()):
        assert soft_label_accuracy(layout, [0, 0, 1], [5, 5, 6]) == pytest.approx(2 / 3)


def test_weights_of_zero_are_no_soft_label():
    places = torch.tensor([[0, 1], [0, 0]])  # image 1 has its zero written down
    weights = torch.tensor([1.0, 0.0])
    soft = torch.sparse_coo_tensor(places, weights, (2, 2), check_invariants=True)
    assert soft_label_accuracy(soft, [0, 1], [5, 6]) == 1
    assert soft_label_accuracy(soft.to_dense(), [0, 1], [5, 6]) == 1


def test_no_images_have_nothing_to_count():
    assert all(np.isnan(value) for value in cluster_quality([], []).values())
    assert all(np.isnan(value) for value in bcubed_quality([], []).values())


def labelled(seed, size=60):
    """Labels with outliers, identities, cameras."""
    rng = np.random.default_rng(seed)
    return rng.integers(-1, 6, size), rng.integers(7, size=size), rng.integers(3, size=size)


def literal_bcubed(labels, identities, cameras=None):
    """Image by image; an outlier is alone in its cluster."""
    precisions, recalls = [], []
    for i in range(len(labels)):
        seen = [j for j in range(len(labels)) if cameras is None or cameras[j] != cameras[i]]
        cluster = [j for j in seen if j == i or labels[j] == labels[i] >= 0]
        person = [j for j in seen if identities[j] == identities[i]]
        both = len(set(cluster) & set(person))
        if labels[i] >= 0 and cluster:
            precisions.append(both / len(cluster))
        if person:
            recalls.append(both / len(person))
    return {"bcubed_precision": np.mean(precisions), "bcubed_recall": np.mean(recalls)}


@pytest.mark.parametrize("seed", range(5))
def test_bcubed_against_its_definition(seed):
    labels, identities, cameras = labelled(seed)
    assert bcubed_quality(labels, identities) == pytest.approx(literal_bcubed(labels, identities))
    assert bcubed_quality(labels, identities, cameras) == pytest.approx(
        literal_bcubed(labels, identities, cameras)
    )


@pytest.mark.parametrize("seed", range(5))
def test_pairs_across_cameras_are_counted(seed):
    labels, identities, cameras = labelled(seed)
    pairs = [(a, b) for a, b in combinations(range(60), 2) if cameras[a] != cameras[b]]
    put = {(a, b) for a, b in pairs if labels[a] == labels[b] >= 0}
    same = {(a, b) for a, b in pairs if identities[a] == identities[b]}
    quality = cross_camera_quality(labels, torch.from_numpy(identities), cameras)
    assert quality["pair_precision"] == pytest.approx(len(put & same) / len(put))
    assert quality["pair_recall"] == pytest.approx(len(put & same) / len(same))
    bcubed = literal_bcubed(labels, identities, cameras)
    assert {name: quality[name] for name in bcubed} == pytest.approx(bcubed)


def test_quality_by_camera_is_that_of_its_images():
    labels, identities, cameras = labelled(1)
    names = np.array([4, 9, 30])
    by_camera = quality_by_camera(labels, identities, names[cameras])
    assert list(by_camera) == [4, 9, 30]
    own = cameras == 1
    assert by_camera[9] == pytest.approx(
        cluster_quality(labels[own], identities[own]) | bcubed_quality(labels[own], identities[own])
    )
    assert by_camera[9]["nmi"] == pytest.approx(
        normalized_mutual_info_score(identities[own & (labels >= 0)], labels[own & (labels >= 0)])
    )


def test_agreement_is_scikit_learns():
    labels, identities, _ = labelled(2)
    inlier = labels >= 0
    quality = cluster_quality(labels, identities)
    assert quality["ari"] == pytest.approx(adjusted_rand_score(identities[inlier], labels[inlier]))
    assert quality["nmi"] == pytest.approx(
        normalized_mutual_info_score(identities[inlier], labels[inlier])
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_order_and_names_of_clusters_mean_nothing(seed):
    labels, identities, cameras = labelled(seed, 40)
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(40), rng.permutation(100)[:6]
    renamed = np.where(labels < 0, -5, names[labels])[order]
    for quality in (bcubed_quality, cross_camera_quality):
        before = quality(labels, identities, cameras)
        after = quality(renamed, 90 - identities[order], cameras[order])
        assert after == pytest.approx(before, nan_ok=True)


def test_one_camera_and_only_outliers_have_nothing_to_count():
    everything = cross_camera_quality([0, 0, 1], [3, 3, 3], [2, 2, 2])
    assert all(np.isnan(value) for value in everything.values())
    alone = bcubed_quality([-1, -1], [3, 3])
    assert np.isnan(alone["bcubed_precision"])
    assert alone["bcubed_recall"] == 0.5  # each finds itself
    assert all(np.isnan(value) for value in bcubed_quality([], []).values())
    assert quality_by_camera([], [], []) == {}
