"""Permuting images permutes labels and nothing else; the numbers of cameras are names."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_reid import clustering, labels
from lightning_reid.clustering import (
    AgglomerativeClusterer,
    CameraDensityClusterer,
    DensityClusterer,
)


@st.composite
def images(draw, smallest=2):
    """Unit features around a few people, in a few cameras, none alike: no distance ties."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    count, people = draw(st.integers(smallest, 40)), draw(st.integers(1, 6))
    features = rng.normal(size=(people, 8))[rng.integers(people, size=count)]
    features += draw(st.sampled_from([0.05, 0.4])) * rng.normal(size=features.shape)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32), rng.integers(draw(st.integers(1, 4)), size=count), rng


def same_partition(first, second):
    """Whether two labellings group alike, outliers among outliers."""
    np.testing.assert_array_equal(first < 0, second < 0)
    pairs = {(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True) if a >= 0}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@settings(max_examples=30, deadline=None)
@given(given_images=images())
def test_proxies_follow_their_images(given_images):
    _, cameras, rng = given_images
    clusters = rng.integers(-1, 5, size=len(cameras))
    order = rng.permutation(len(cameras))
    split = labels.split_by_camera(clusters, cameras)
    np.testing.assert_array_equal(
        labels.split_by_camera(clusters[order], cameras[order]), split[order]
    )
    same_partition(labels.split_by_camera(clusters, rng.permutation(4)[cameras]), split)


@settings(max_examples=30, deadline=None)
@given(given_images=images())
def test_camera_normalisation_follows_its_images(given_images):
    features, cameras, rng = given_images
    order = rng.permutation(len(cameras))
    normalized = clustering.camera_normalize(features, cameras)
    again = clustering.camera_normalize(features[order], rng.permutation(4)[cameras[order]])
    np.testing.assert_allclose(again, normalized[order], atol=1e-4)


@pytest.mark.parametrize(
    "clusterer",
    [
        DensityClusterer(k1=8, k2=3, min_samples=2),
        CameraDensityClusterer(min_samples=2),
        AgglomerativeClusterer(k1=8, k2=3),
    ],
    ids=lambda clusterer: type(clusterer).__name__,
)
@settings(max_examples=15, deadline=None)
@given(given_images=images(smallest=12))
def test_the_numbers_of_cameras_do_not_matter_to_clusters(clusterer, given_images):
    features, cameras, rng = given_images
    made, _ = clusterer(features, cameras)
    renamed, _ = clusterer(features, rng.permutation(4)[cameras])
    same_partition(np.asarray(made), np.asarray(renamed))


@settings(max_examples=30, deadline=None)
@given(given_images=images(smallest=6), mutual=st.booleans(), confidence=st.booleans())
def test_soft_labels_follow_their_persons(given_images, mutual, confidence):
    features, cameras, rng = given_images
    options = {"k": 2, "mutual": mutual, "confidence": confidence}
    soft = labels.cross_camera_soft_labels(features, cameras, **options).toarray()
    order = rng.permutation(len(cameras))
    renamed = np.unique(rng.permutation(4)[cameras], return_inverse=True)[1]
    again = labels.cross_camera_soft_labels(features[order], renamed[order], **options).toarray()
    np.testing.assert_allclose(again, soft[np.ix_(order, order)], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(given_images=images(), best=st.booleans())
def test_refinement_takes_images_out_and_moves_none(given_images, best):
    _, cameras, rng = given_images
    count = len(cameras)
    made, local = rng.integers(-1, 4, size=count), rng.integers(0, 3, size=count)
    scores = rng.random(count).astype(np.float32)
    pivot = "best" if best else "last"
    refined = labels.refine_labels(made, local, cameras, scores, pivot)
    assert refined.dtype == np.int64
    kept = refined >= 0
    assert (made[kept] >= 0).all()
    same_partition(refined[kept], made[kept])
    renamed = rng.permutation(4)[cameras]
    np.testing.assert_array_equal(
        labels.refine_labels(made, local, renamed, scores, pivot), refined
    )


@settings(max_examples=20, deadline=None)
@given(given_images=images(smallest=12))
def test_reliable_labels_and_soft_ones_are_distributions(given_images):
    features, cameras, _ = given_images
    made = labels.reliable_soft_labels(features, cameras, 2, threshold=-1.0)
    assert made.soft.shape == (len(cameras), 2)
    torch.testing.assert_close(made.soft.sum(1), torch.ones(len(cameras)))
    chosen = made.reliable >= 0
    assert torch.equal(made.soft[chosen].argmax(1), made.reliable[chosen])


@settings(max_examples=25, deadline=None)
@given(given_images=images(smallest=1), k=st.integers(1, 50))
def test_neighbours_follow_their_images(given_images, k):
    features, _, rng = given_images
    k = min(k, len(features))
    squared, indices = clustering.nearest_neighbors(features, k)
    assert squared.shape == indices.shape == (len(features), k)
    order = rng.permutation(len(features))
    again, _ = clustering.nearest_neighbors(features[order], k)
    np.testing.assert_allclose(np.asarray(again), np.asarray(squared)[order], atol=1e-5)
