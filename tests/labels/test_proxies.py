from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_reid import PseudoLabels
from lightning_reid.labels import group_means, group_owner, split_by_camera


@pytest.mark.parametrize("name", ["o2cap_a", "o2cap_b"])
def test_published_numbers(golden, name):
    g = golden(name)
    np.testing.assert_array_equal(split_by_camera(g["labels"], g["cams"]), g["proxies"])


def test_numbered_cluster_by_cluster_then_camera_by_camera():
    labels, cameras = [1, 0, 1, -1, 0, 1], [0, 2, 0, 1, 1, 5]
    assert split_by_camera(labels, cameras).tolist() == [2, 1, 2, -1, 0, 3]


def test_all_outliers_and_nothing():
    assert split_by_camera([-1, -1], [0, 1]).tolist() == [-1, -1]
    assert split_by_camera([], []).tolist() == []


def test_lengths_must_agree():
    with pytest.raises(
        ValueError, match=r"must be \(N,\), equally many, not of shapes \(2,\) and \(1,\)"
    ):
        split_by_camera([0, 1], [0])


def test_owner_and_means_of_groups():
    groups = torch.tensor([1, 0, -1, 1])
    assert group_owner(groups, torch.tensor([7, 5, 9, 7])).tolist() == [5, 7]
    means = group_means(torch.tensor([[1.0, 0], [0, 2], [9, 9], [0, 1]]), groups)
    torch.testing.assert_close(means, torch.tensor([[0, 1.0], [0.5**0.5, 0.5**0.5]]))


def test_labels_survive_a_checkpoint(tmp_path):
    labels = PseudoLabels.from_clusters(
        torch.tensor([0, 0, -1, 1]), torch.tensor([0, 1, 0, 1]), {"silhouette": 0.5}
    )
    torch.save(labels.state_dict(), tmp_path / "labels.pt")
    state = torch.load(tmp_path / "labels.pt", weights_only=True)
    back = PseudoLabels.from_state_dict(state)
    assert back.proxies.tolist() == [0, 1, -1, 2]
    assert back.proxy_cameras.tolist() == [0, 1, 1]
    assert (back.num_clusters, back.num_groups, back.statistics) == (2, 3, {"silhouette": 0.5})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hard": torch.zeros(3)}, "int64"),
        ({"hard": torch.zeros(3, dtype=torch.int64), "proxies": torch.zeros(2)}, "as many as"),
        ({"hard": torch.zeros(3, dtype=torch.int64), "soft": torch.zeros(2, 4)}, "soft labels are"),
        ({"hard": torch.arange(3), "class_weights": torch.ones(2)}, r"class_weights are \(3,\)"),
        ({"hard": torch.arange(3), "class_weights": torch.ones(3, 1)}, "class_weights are"),
        (
            {
                "hard": torch.arange(3),
                "proxies": torch.tensor([0, 3, 1]),
                "proxy_cameras": torch.zeros(3),
            },
            r"proxy_cameras are \(4,\)",
        ),
    ],
)
def test_shapes_are_checked(fields, message):
    with pytest.raises(ValueError, match=message):
        PseudoLabels(**fields)


def test_images_may_be_left_out_of_weighted_clusters():
    clusters, cameras = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 0, 1])
    labels = replace(PseudoLabels.from_clusters(clusters, cameras), class_weights=torch.ones(3))
    left = labels.without(torch.tensor([True, False, True, True]))
    assert left.hard.tolist() == [-1, 1, -1, -1]
    assert (left.num_clusters, len(left.class_weights), len(left.proxy_cameras)) == (2, 3, 4)
