import numpy as np
import pytest
import torch

from lightning_reid.clustering import camera_normalize


def plain(features, cameras):
    features = features.astype(np.float64)
    result = np.empty_like(features)
    for camera in np.unique(cameras):
        rows = features[cameras == camera]
        rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
        result[cameras == camera] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result


def test_equals_the_plain_formula():
    rng = np.random.default_rng(0)
    cameras = rng.choice([0, 2, 3, 17], size=200)
    features = rng.normal(size=(200, 16)).astype(np.float32) + cameras[:, None]
    found = camera_normalize(features, cameras)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain(features, cameras), atol=1e-5)


def test_input_is_unchanged_and_kind_is_kept():
    features = torch.randn(20, 8, dtype=torch.float64, requires_grad=True)
    before = features.detach().clone()
    cameras = torch.arange(20) % 3
    found = camera_normalize(features, cameras)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.float32
    torch.testing.assert_close(features.detach(), before)
    as_array = camera_normalize(before.float().numpy(), cameras.tolist())
    np.testing.assert_allclose(as_array, found.numpy(), atol=1e-6)


def test_a_lone_image_and_identical_images_keep_their_feature():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(1007, 8)).astype(np.float32)
    cameras = np.r_[np.zeros(6, int), 4, np.full(1000, 2)]
    features[7:] = features[7]
    features[5] = 0
    found = camera_normalize(features, cameras)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(found[6:], unit[6:], atol=1e-6)
    assert np.isfinite(found).all()


def test_a_dimension_that_is_constant_in_a_camera_is_zero():
    features = np.random.default_rng(2).normal(size=(500, 5)).astype(np.float32)
    features[:, 3] = 0.1
    found = camera_normalize(features, np.arange(500) % 2)
    assert (found[:, 3] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.isfinite(camera_normalize(np.zeros((4, 3)), [0, 0, 1, 1])).all()


@pytest.mark.parametrize(
    "cameras", [[0, 1], [0, 1, -1], [0.0, 1.0, 1.0], [[0, 1, 1]], [True, False, True]]
)
def test_bad_cameras(cameras):
    with pytest.raises(ValueError, match="cameras"):
        camera_normalize(np.ones((3, 2), np.float32), cameras)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.uint64, np.int16])
def test_cameras_of_any_whole_type(kind):
    rows, cameras = np.random.default_rng(3).normal(size=(30, 4)), np.arange(30) % 3
    expected = camera_normalize(rows, cameras)
    np.testing.assert_array_equal(camera_normalize(rows, cameras.astype(kind)), expected)


def test_a_row_that_is_the_mean_of_its_camera_keeps_its_feature():
    found = camera_normalize(np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]), [0, 0, 0])
    np.testing.assert_allclose(found, [[-1, 0], [0.5**0.5, 0.5**0.5], [1, 0]], atol=1e-6)


def test_copies_of_one_picture_keep_their_feature_whatever_rounding_made_of_them():
    rng = np.random.default_rng(4)
    features = np.repeat(rng.normal(size=(2, 64)), [5, 40], axis=0)
    features[:5] *= 1 + 1e-7 * rng.normal(size=(5, 64))
    features[5:] += rng.normal(size=(40, 64))
    found = camera_normalize(features, np.repeat([0, 1], [5, 40]))
    unit = features[:5] / np.linalg.norm(features[:5], axis=1, keepdims=True)
    np.testing.assert_allclose(found[:5], unit, atol=1e-6)
