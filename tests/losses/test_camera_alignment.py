import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, nll_loss

from lightning_reid.losses.camera_alignment import camera_alignment_loss, camera_entropy_weights


def weights_by_loops(labels, cameras):
    weights = []
    for k in range(max(labels, default=-1) + 1):
        of_cluster = [c for label, c in zip(labels, cameras, strict=True) if label == k]
        shares = [of_cluster.count(c) / len(of_cluster) for c in set(of_cluster)]
        weights.append(math.log(1 - sum(p * math.log(p) for p in shares)))
    return torch.tensor(weights, dtype=torch.float32)


def test_published_class_weights(golden):
    g = golden("calr_a")
    weights = camera_entropy_weights(g["labels"], g["cams"])
    torch.testing.assert_close(weights, torch.as_tensor(g["class_weights"]))


@pytest.mark.parametrize("double_softmax", [False, True])
def test_published_camera_loss(golden, double_softmax):
    g = {k: torch.as_tensor(v) for k, v in golden("calr_a").items()}
    loss = camera_alignment_loss(g["cam_logits"], g["cam_targets"], double_softmax)
    expected = g["cam_loss_shipped" if double_softmax else "cam_loss_plain"]
    torch.testing.assert_close(loss, expected.to(loss), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("num_images", "num_clusters", "num_cameras"), [(1, 1, 1), (9, 4, 5), (200, 12, 6)]
)
@pytest.mark.parametrize("seed", range(3))
def test_weights_are_the_written_formula(num_images, num_clusters, num_cameras, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(-1, num_clusters, num_images)
    cameras = random.integers(num_cameras, size=num_images)
    weights = camera_entropy_weights(labels, cameras)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, weights_by_loops(labels.tolist(), cameras.tolist()))
    same = camera_entropy_weights(torch.as_tensor(labels), torch.as_tensor(cameras))
    assert (same == weights).all()


def test_a_single_camera_or_no_image_weighs_nothing():
    labels, cameras = torch.tensor([0, 0, 2, 2, -1]), torch.tensor([1, 1, 0, 1, 0])
    expected = torch.tensor([0, 0, math.log(1 + math.log(2))])
    torch.testing.assert_close(camera_entropy_weights(labels, cameras), expected)


def test_outliers_only():
    assert camera_entropy_weights(np.array([-1, -1]), np.array([0, 1])).shape == (0,)


@pytest.mark.parametrize("num_cameras", [1, 2, 6])
def test_double_softmax_is_the_published_sequence(num_cameras):
    torch.manual_seed(0)
    logits = (4 * torch.randn(7, num_cameras, dtype=torch.float64)).requires_grad_()
    cameras = torch.randint(num_cameras, (7,))
    head = logits.log_softmax(1)  # the published head ends so
    expected = nll_loss(head.softmax(1).log_softmax(1), cameras)
    torch.testing.assert_close(camera_alignment_loss(logits, cameras), expected)
    for double in (False, True):
        assert torch.autograd.gradcheck(
            lambda z, d=double: camera_alignment_loss(z, cameras, d), logits
        )
    plain = camera_alignment_loss(logits, cameras, double_softmax=False)
    torch.testing.assert_close(plain, cross_entropy(logits, cameras))


def test_the_double_softmax_is_bounded_below():
    cameras = torch.arange(6)
    certain = 1e4 * torch.eye(6)
    bound = torch.tensor(math.log(1 + 5 / math.e))
    torch.testing.assert_close(camera_alignment_loss(certain, cameras), bound)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_cameras_of_any_whole_type_are_indices(dtype):
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    cameras = torch.tensor([2, 0, 1, 0])
    expected = camera_alignment_loss(logits, cameras)
    assert camera_alignment_loss(logits, cameras.to(dtype)) == expected
    labels = torch.tensor([0, 0, 1, 1])
    weights = camera_entropy_weights(labels.to(dtype), cameras.to(dtype))
    assert torch.equal(weights, camera_entropy_weights(labels, cameras))


def test_cameras_that_are_none_are_refused():
    with pytest.raises(ValueError, match="cameras must be 4 whole numbers"):
        camera_alignment_loss(torch.zeros(4, 3), torch.zeros(4))
    with pytest.raises(IndexError, match="-100"):  # which torch would ignore
        camera_alignment_loss(torch.zeros(2, 3), torch.tensor([0, -100]))
    with pytest.raises(ValueError, match="cameras must not be negative, as -1 is"):
        camera_entropy_weights(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, -1, 0]))
