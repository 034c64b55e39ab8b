"""Vision transformers take images of any size divisible by their patch."""

import pytest
import torch
import torchvision
from torch.nn.functional import interpolate

from lightning_reid.errors import InputError
from lightning_reid.models.vision_transformer import VisionTransformerTrunk, resize_positions


def small_transformer(image_size: int = 32) -> torchvision.models.VisionTransformer:
    torch.manual_seed(0)
    return torchvision.models.VisionTransformer(
        image_size=image_size, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
    )


def test_native_size_equals_torchvision():
    network = small_transformer().eval()
    trunk = VisionTransformerTrunk(network)
    network.heads = torch.nn.Identity()
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(trunk(images), network(images))


@pytest.mark.parametrize("size", [(256, 128), (128, 64), (64, 32), (24, 48), (32, 32)])
def test_rectangles(size):
    assert VisionTransformerTrunk(small_transformer())(torch.rand(2, 3, *size)).shape == (2, 16)


def test_a_size_not_divisible_by_the_patch():
    with pytest.raises(InputError, match=r"30x16 pixels.*patches of 8x8.*divisible by 8"):
        VisionTransformerTrunk(small_transformer())(torch.rand(1, 3, 30, 16))


def test_positions_at_the_native_grid_are_the_same_object():
    positions = torch.rand(1, 17, 6)
    assert resize_positions(positions, (4, 4), (4, 4)) is positions


def test_positions_are_interpolated_bicubically():
    positions = torch.rand(1, 17, 6)
    resized = resize_positions(positions, (8, 3), (4, 4))
    patches = positions[:, 1:].transpose(1, 2).reshape(1, 6, 4, 4)
    expected = interpolate(patches, (8, 3), mode="bicubic").flatten(2).transpose(1, 2)
    torch.testing.assert_close(resized[:, :1], positions[:, :1])
    torch.testing.assert_close(resized[:, 1:], expected)


def test_training_after_inference_mode_at_the_same_size():
    trunk = VisionTransformerTrunk(small_transformer())
    images = torch.rand(2, 3, 40, 24)  # a grid no other test uses
    with torch.inference_mode():
        trunk(images)
    trunk(images)[:, 0].sum().backward()
    assert trunk.encoder.pos_embedding.grad.abs().sum() > 0


def test_changed_positions_are_used_at_once():
    trunk = VisionTransformerTrunk(small_transformer()).eval()
    images = torch.rand(1, 3, 64, 32)
    before = trunk(images)
    with torch.no_grad():
        trunk.encoder.pos_embedding.mul_(3)
    assert not torch.allclose(trunk(images), before)
