import numpy as np
import pytest
from PIL import Image

from lightning_reid.report.montage import choose_clusters, draw_montage, looseness


def test_looseness_is_the_mean_squared_distance_to_the_centre():
    features = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 0], [1, 0], [1, 0]], dtype=np.float32)
    labels = np.array([0, 0, 0, 0, 1, 1, -1])
    loose, distance = looseness(features, labels)
    assert loose.tolist() == [0.5, 0]  # two images cannot be loose
    assert distance.tolist() == [0.5, 0.5, 0.5, 0.5, 0, 0, 0]


@pytest.fixture
def training_set():
    # cluster 0 is the largest, 1 is of all cameras, 2 is loose, 3 is tight
    labels = np.repeat([0, 1, 2, 3, -1], [12, 6, 4, 4, 3])
    cameras = np.array([0] * 6 + [1] * 6 + [2, 1, 0, 2, 1, 0] + [0] * 8 + [1] * 3)
    features = np.zeros((29, 2), dtype=np.float32)
    features[:, 0] = 1
    features[18:22] = [[1, 0], [1, 0], [1, 0], [-1, 0]]
    return labels, cameras, features


def test_the_largest_the_widest_and_the_loosest_are_chosen(training_set):
    labels, cameras, features = training_set
    chosen = choose_clusters(labels, cameras, np.arange(29), features, num_each=1)
    assert [c.reason for c in chosen] == ["largest", "most cameras", "suspicious: loose"]
    largest, widest, loosest = chosen
    assert (largest.size, largest.num_cameras, len(largest.members)) == (12, 2, 10)
    assert (widest.size, widest.num_cameras) == (6, 3)
    assert cameras[widest.members].tolist() == [0, 0, 1, 1, 2, 2]
    # the odd one is farthest from the centre
    assert labels[loosest.members].tolist() == [2] * 4
    assert loosest.members[-1] == 21


def test_no_cluster_is_shown_twice_and_tight_ones_are_not_suspicious(training_set):
    labels, cameras, features = training_set
    chosen = choose_clusters(labels, cameras, np.arange(29), features)
    shown = [int(labels[c.members[0]]) for c in chosen]
    assert sorted(shown) == [0, 1, 2, 3]
    without = choose_clusters(labels, cameras, np.arange(18), features[:18], num_each=1)
    assert [c.reason for c in without] == ["largest", "most cameras"]


def test_there_may_be_no_cluster():
    nothing = np.full(5, -1)
    assert choose_clusters(nothing, np.zeros(5, int), np.arange(5), np.ones((5, 2), "f4")) == []


def test_each_row_is_a_cluster(training_set, tmp_path):
    labels, cameras, features = training_set
    for i, label in enumerate(labels):
        Image.new("RGB", (32, 64), (40 * label + 60, 0, 200)).save(tmp_path / f"{i}.png")
    paths = [str(tmp_path / f"{i}.png") for i in range(len(labels))]
    chosen = choose_clusters(labels, cameras, np.arange(29), features, num_each=1)
    pixels = np.asarray(draw_montage(chosen, paths, cameras, ["c1", "c2", "c3"]))
    rows = np.array_split(pixels[:-4], 3)
    for row, label, count in zip(rows, (0, 1, 2), (10, 6, 4), strict=True):
        own = (row == (40 * label + 60, 0, 200)).all(2)
        assert own.sum() == count * 72 * 144
