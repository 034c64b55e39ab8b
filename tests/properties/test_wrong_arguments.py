"""What is given wrongly is refused, whatever function it is given to: nothing is silently wrong."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from lightning_reid import clustering, labels, losses, metrics

FEATURES = normalize(torch.randn(12, 6, generator=torch.Generator().manual_seed(0)), dim=1)
CAMERAS = torch.arange(12) % 3
LABELS = torch.arange(12) // 3
PROXIES = FEATURES[::3].clone()
PROXY_CAMERAS, PROXY_CLUSTERS = torch.tensor([0, 1, 2, 0]), torch.arange(4)
REFUSED = (ValueError, TypeError, IndexError, RuntimeError, AttributeError)


def with_value(value):
    spoilt = FEATURES.clone()
    spoilt[3, 2] = value
    return spoilt


WRONG_FEATURES = {
    "not a number": with_value(float("nan")),
    "infinite": with_value(float("inf")),
    "one row": FEATURES[0],
    "three axes": FEATURES[None],
    "none": FEATURES[:0],
    "text": np.array(["a"] * 12),
    "complex": FEATURES.to(torch.complex64),
}
OF_FEATURES = {
    "nearest_neighbors": lambda x: clustering.nearest_neighbors(x, 3),
    "jaccard_distance": lambda x: clustering.jaccard_distance(x, 5, 2),
    "camera_jaccard_distance": lambda x: clustering.camera_jaccard_distance(x, CAMERAS),
    "camera_neighbors": lambda x: clustering.camera_neighbors(x, CAMERAS, 2, 2),
    "kmeans": lambda x: clustering.kmeans(x, 2),
    "camera_normalize": lambda x: clustering.camera_normalize(x, CAMERAS),
    "DensityClusterer": lambda x: clustering.DensityClusterer()(x, CAMERAS),
    "reliable_soft_labels": lambda x: labels.reliable_soft_labels(x, CAMERAS, 3, threshold=0),
    "cross_camera_soft_labels": lambda x: labels.cross_camera_soft_labels(x, CAMERAS),
    "retrieval_metrics": lambda x: metrics.retrieval_metrics(
        x, FEATURES, LABELS, LABELS, CAMERAS, CAMERAS
    ),
}


@pytest.mark.parametrize("wrong", WRONG_FEATURES)
@pytest.mark.parametrize("name", OF_FEATURES)
def test_features(name, wrong):
    OF_FEATURES[name](FEATURES)
    with pytest.raises((ValueError, TypeError)):
        OF_FEATURES[name](WRONG_FEATURES[wrong])


WRONG_NUMBERS = {
    "halves": LABELS + 0.5,
    "too few": LABELS[:5],
    "one": LABELS[:1],  # which would broadcast
    "none": LABELS[:0],
    "a column": LABELS[:, None],
}
OF_NUMBERS = {
    "split_by_camera, labels": lambda x: labels.split_by_camera(x, CAMERAS),
    "split_by_camera, cameras": lambda x: labels.split_by_camera(LABELS, x),
    "refine_labels, global": lambda x: labels.refine_labels(x, LABELS, CAMERAS, np.ones(12)),
    "refine_labels, local": lambda x: labels.refine_labels(LABELS, x, CAMERAS, np.ones(12)),
    "refine_labels, cameras": lambda x: labels.refine_labels(LABELS, LABELS, x, np.ones(12)),
    "camera_normalize": lambda x: clustering.camera_normalize(FEATURES, x),
    "CameraDensityClusterer": lambda x: clustering.CameraDensityClusterer()(FEATURES, x),
    "cross_camera_soft_labels": lambda x: labels.cross_camera_soft_labels(FEATURES, x),
    "reliable_soft_labels": lambda x: labels.reliable_soft_labels(FEATURES, x, 3, threshold=0),
    "offline_proxy_loss, clusters": lambda x: losses.offline_proxy_loss(
        FEATURES, x, CAMERAS, PROXIES, PROXY_CLUSTERS
    ),
    "offline_proxy_loss, cameras": lambda x: losses.offline_proxy_loss(
        FEATURES, LABELS, x, PROXIES, PROXY_CLUSTERS
    ),
    "online_proxy_loss, proxies": lambda x: losses.online_proxy_loss(
        FEATURES, x, CAMERAS, PROXIES, PROXY_CAMERAS
    ),
    "online_proxy_loss, cameras": lambda x: losses.online_proxy_loss(
        FEATURES, LABELS, x, PROXIES, PROXY_CAMERAS
    ),
    "intra_camera_proxy_loss": lambda x: losses.intra_camera_proxy_loss(
        FEATURES, x, CAMERAS, PROXIES, PROXY_CAMERAS
    ),
    "cluster_contrastive_loss": lambda x: losses.cluster_contrastive_loss(FEATURES, x, PROXIES),
    "camera_entropy_weights, labels": lambda x: losses.camera_entropy_weights(x, CAMERAS),
    "camera_entropy_weights, cameras": lambda x: losses.camera_entropy_weights(LABELS, x),
    "camera_alignment_loss": lambda x: losses.camera_alignment_loss(FEATURES[:, :3], x),
    "update_memory": lambda x: losses.update_memory(PROXIES, FEATURES, x, 0.2),
    "sum_of_camera_means": lambda x: losses.sum_of_camera_means(FEATURES[:, 0], x),
}


@pytest.mark.parametrize("wrong", WRONG_NUMBERS)
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_whole_numbers(name, wrong):
    OF_NUMBERS[name](CAMERAS)
    with pytest.raises(REFUSED):
        OF_NUMBERS[name](WRONG_NUMBERS[wrong])


OF_ROWS = {
    "online_proxy_loss": OF_NUMBERS["online_proxy_loss, proxies"],
    "intra_camera_proxy_loss": OF_NUMBERS["intra_camera_proxy_loss"],
    "cluster_contrastive_loss": OF_NUMBERS["cluster_contrastive_loss"],
}


@pytest.mark.parametrize("row", [-1, 4])
@pytest.mark.parametrize("name", OF_ROWS)
def test_rows_that_the_memory_has_not(name, row):
    with pytest.raises(REFUSED):
        OF_ROWS[name](torch.where(LABELS == 3, row, LABELS))


def test_a_loss_of_a_cluster_without_proxies_is_no_number():
    loss = OF_NUMBERS["offline_proxy_loss, clusters"](torch.where(LABELS == 3, -1, LABELS))
    assert loss.isnan()  # what ends a run and names the images


def test_pseudo_labels_below_outliers():
    with pytest.raises(ValueError, match="not -2"):
        labels.PseudoLabels(LABELS - 2)
