import numpy as np
import pytest
import torch

from lightning_reid.errors import InputError
from lightning_reid.labels.local_labels import read_local_labels
from lightning_reid.labels.refinement import (
    refine_labels,
    refinement_pivots,
    self_paced_probability,
)


def drawn(num_images=200, num_clusters=15, num_cameras=4, seed=0):
    """Global labels, local labels, cameras and scores."""
    rng = np.random.default_rng(seed)
    return (
        rng.integers(-1, num_clusters, num_images),
        rng.integers(-1, 3, num_images),
        rng.integers(num_cameras, size=num_images),
        rng.integers(9, size=num_images).astype(np.float32),  # with ties
    )


def pivots_in_loops(labels, scores, pivot):
    pivots = [-1] * (max(labels) + 1)
    for image, (label, score) in enumerate(zip(labels, scores, strict=True)):
        if label == -1:
            continue
        if pivot == "last":
            better = score > sum(scores) / len(scores)
        else:
            better = pivots[label] == -1 or score > scores[pivots[label]]
        if better:
            pivots[label] = image
    return pivots


def refined_in_loops(labels, local, cameras, scores, pivot):
    pivots = pivots_in_loops(labels, scores, pivot)
    refined = list(labels)
    for image, label in enumerate(labels):
        if label == -1 or pivots[label] == -1 or local[pivots[label]] == -1:
            continue
        if cameras[image] == cameras[pivots[label]] and local[image] != local[pivots[label]]:
            refined[image] = -1
    return refined


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("pivot", ["last", "best"])
@pytest.mark.parametrize("size", [(200, 15, 4), (40, 30, 2), (7, 1, 1)])
def test_restated_in_loops(seed, pivot, size):
    labels, local, cameras, scores = drawn(*size, seed=seed)
    pivots = refinement_pivots(labels, scores, pivot)
    np.testing.assert_array_equal(pivots, pivots_in_loops(labels, scores, pivot))
    refined = refine_labels(labels, local, cameras, scores, pivot)
    expected = refined_in_loops(labels, local, cameras, scores, pivot)
    np.testing.assert_array_equal(refined, expected)
    assert refined.dtype == pivots.dtype == np.int64
    tensors = [torch.from_numpy(part) for part in (labels, local, cameras, scores)]
    np.testing.assert_array_equal(refine_labels(*tensors, pivot), refined)


def test_small_example():
    labels = [0, 0, 0, 0, 1, 1, 2, -1]
    local = [5, 5, 6, 5, 0, 1, -1, 5]
    cameras = [0, 1, 0, 0, 0, 0, 0, 0]
    scores = [9, 9, 0, 9, 0, 0, 9, 9]
    assert refinement_pivots(labels, scores).tolist() == [3, -1, 6]
    assert refinement_pivots(labels, scores, "best").tolist() == [0, 4, 6]
    assert refine_labels(labels, local, cameras, scores).tolist() == [0, 0, -1, 0, 1, 1, 2, -1]
    refined = refine_labels(labels, local, cameras, scores, "best")
    assert refined.tolist() == [0, 0, -1, 0, 1, -1, 2, -1]


def test_equal_numbers_in_two_cameras_mean_nothing():
    refined = refine_labels([0, 0, 0], [1, 2, 1], [0, 1, 1], [0, 0, 9])
    assert refined.tolist() == [0, -1, 0]


def test_no_local_label():
    everyone = ([0, 0, 0], [-1, 1, 1], [0, 0, 0])
    assert refine_labels(*everyone, [0, 0, 9]).tolist() == [-1, 0, 0]
    assert refine_labels(*everyone, [9, 0, 0]).tolist() == [0, 0, 0]  # the pivot itself has none


def test_equal_scores_are_not_above_their_mean():
    scores = np.full(1001, 0.1, np.float32)
    assert refinement_pivots(np.zeros(1001, int), scores).tolist() == [-1]


def test_drop_probability():
    given = drawn(num_images=4000)
    always, never = refine_labels(*given), refine_labels(*given, drop_probability=0)
    np.testing.assert_array_equal(never, given[0])
    half = refine_labels(*given, drop_probability=0.5, seed=1)
    np.testing.assert_array_equal(half, refine_labels(*given, drop_probability=0.5, seed=1))
    assert (half != refine_labels(*given, drop_probability=0.5, seed=2)).any()
    contradicted = always != given[0]
    assert 0.4 < (half != given[0])[contradicted].mean() < 0.6
    assert (half == given[0])[~contradicted].all()


def test_outliers_only_and_nothing():
    for none in ([-1, -1], []):
        zeros = [0] * len(none)
        assert refinement_pivots(none, zeros).tolist() == []
        for pivot in ("last", "best"):
            assert refine_labels(none, zeros, zeros, zeros, pivot).tolist() == none


@pytest.mark.parametrize("pivot", ["last", "best"])
@pytest.mark.parametrize("made", ["random", "by identity"])
@pytest.mark.parametrize("name", ["market1501", "dukemtmcreid"])
def test_published_local_labels(shared, name, made, pivot):
    local = read_local_labels(shared / "data" / "calr_local_labels" / f"{name}.npz")
    rng = np.random.default_rng(0)
    count = len(local.names)
    if made == "random":
        labels = rng.integers(-1, 700, count)
    else:
        people = [int(image.split("_")[0]) for image in local.names]
        labels = np.unique(people, return_inverse=True)[1].reshape(-1)
    scores = rng.random(count)
    refined = refine_labels(labels, local.labels, local.cameras, scores, pivot)
    pivots = refinement_pivots(labels, scores, pivot)
    pivot_of = np.append(pivots, -1)[labels]
    own_camera = (pivot_of >= 0) & (local.cameras == local.cameras[pivot_of])
    kept = own_camera & (refined >= 0)
    assert (local.labels[kept] == local.labels[pivot_of[kept]]).all()
    np.testing.assert_array_equal(refined[~own_camera], labels[~own_camera])
    assert set(refined[refined >= 0]) == set(labels[labels >= 0])
    assert (refined != labels).any()


def test_self_paced_probability():
    assert self_paced_probability(30, 50) == 1
    values = [self_paced_probability(epoch, 50, "cosine") for epoch in (0, 25, 50)]
    assert values == pytest.approx([1, 0.5 * (1 + np.cos(np.pi / 6)), 0.75])
    with pytest.raises(InputError, match="epoch must be from 0 to 5, not -1"):
        self_paced_probability(-1, 5)
    with pytest.raises(InputError, match="epoch must be from 0 to 5, not 6"):
        self_paced_probability(6, 5, "cosine")
    with pytest.raises(InputError, match="num_epochs must be at least 1, not 0"):
        self_paced_probability(0, 0)
    with pytest.raises(InputError, match="schedule must be one of constant, cosine, not 'linear'"):
        self_paced_probability(0, 5, "linear")


def test_bad_input():
    labels, local, cameras, scores = drawn(num_images=9)
    with pytest.raises(InputError, match="pivot must be one of last, best, not 'first'"):
        refine_labels(labels, local, cameras, scores, "first")
    for drop_probability in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="drop_probability must be from 0 to 1, not"):
            refine_labels(labels, local, cameras, scores, drop_probability=drop_probability)
    with pytest.raises(ValueError, match="9 global labels, 8 local labels and 9 cameras"):
        refine_labels(labels, local[:8], cameras, scores)
    with pytest.raises(ValueError, match="9 finite numbers"):
        refine_labels(labels, local, cameras, scores[:8])
    with pytest.raises(ValueError, match="9 finite numbers"):
        refine_labels(labels, local, cameras, scores * np.nan)
    with pytest.raises(ValueError, match="local_labels must be whole numbers"):
        refine_labels(labels, local + 0.5, cameras, scores)
    with pytest.raises(ValueError, match="global_labels must be at least -1, not -2"):
        refine_labels(labels * 0 - 2, local, cameras, scores)
