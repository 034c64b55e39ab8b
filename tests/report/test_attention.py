import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lightning_reid.models import EmbeddingNetwork
from lightning_reid.report.attention import Attended, attention_maps, draw_attention, overlay


class Grid(nn.Module):
    """The mean colour of 4 x 2 cells, weighted by what has a gradient."""

    num_features = 3

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, images):
        return nn.functional.adaptive_avg_pool2d(images, (4, 2)) * self.weights


@pytest.fixture
def bright_spot():
    images = torch.full((2, 3, 32, 16), 0.1)
    images[0, :, 8:16, 8:] = 1  # the second row, the second column
    images[1, :, 24:, :8] = 1
    return images


@pytest.mark.parametrize("pooling", ["avg", "gem"])
def test_what_adds_most_is_brightest_and_all_shares_make_the_length(bright_spot, pooling):
    network = EmbeddingNetwork(Grid(), None, pooling=pooling, neck=False).eval()
    maps = attention_maps(network, bright_spot)
    assert maps.shape == (2, 4, 2)
    assert np.unravel_index(int(maps[0].argmax()), (4, 2)) == (1, 1)
    assert np.unravel_index(int(maps[1].argmax()), (4, 2)) == (3, 0)
    length = network.features(bright_spot).norm(dim=1)
    torch.testing.assert_close(maps.sum((1, 2)), length)


def test_it_works_in_inference_mode_with_a_neck_and_leaves_no_gradient(bright_spot):
    network = EmbeddingNetwork(Grid(), None).eval()
    with torch.inference_mode():
        maps = attention_maps(network, bright_spot)
    assert int(maps[0].argmax()) == 3
    assert all(parameter.grad is None for parameter in network.parameters())
    network(bright_spot).sum().backward()  # the network can still be trained


def test_a_backbone_without_a_map_has_none():
    network = EmbeddingNetwork("vit_b_16", None).eval()
    assert attention_maps(network, torch.zeros(1, 3, 32, 16)) is None


def test_the_overlay_is_bright_where_the_map_is():
    picture = Image.new("RGB", (50, 100), (128, 128, 128))
    attention = np.zeros((4, 2), dtype=np.float32)
    attention[0, 0] = 5
    lit = np.asarray(overlay(picture, attention).convert("L"), dtype=float)
    assert lit.shape == (144, 72)
    assert lit[:20, :20].mean() > lit[-20:, -20:].mean() + 50
    flat = np.asarray(overlay(picture, np.full((4, 2), 3, dtype=np.float32)))
    assert (flat == flat[0, 0]).all()


def test_each_image_stands_beside_its_map(tmp_path):
    file = tmp_path / "image.png"
    Image.new("RGB", (64, 128), (0, 0, 255)).save(file)
    attention = np.eye(4, 2, dtype=np.float32)
    rows = {
        "worst": [Attended(str(file), attention, "c1")] * 2,
        "typical": [Attended(str(file), attention), Attended(str(tmp_path / "no.png"), attention)],
    }
    pixels = np.asarray(draw_attention(rows))
    assert (pixels == (0, 0, 255)).all(2).sum() == 3 * 72 * 144
