"""Instance-batch norm and the ResNets that use it."""

import pytest
import torch
import torchvision
from torch import nn

from lightning_reid.models import build_backbone
from lightning_reid.models.ibn import InstanceBatchNorm, build_ibn_resnet


def test_halves_are_normalised_on_their_own():
    layer = InstanceBatchNorm(6)
    maps = 5 * torch.rand(4, 6, 8, 4) + torch.arange(4.0).view(4, 1, 1, 1)
    output = layer(maps)
    per_image = output.mean((-2, -1))
    torch.testing.assert_close(per_image[:, :3], torch.zeros(4, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(output[:, 3:], nn.BatchNorm2d(3)(maps[:, 3:]))
    assert per_image[:, 3:].abs().min() > 1e-3


def test_an_odd_number_of_channels():
    assert InstanceBatchNorm(5)(torch.rand(2, 5, 4, 4)).shape == (2, 5, 4, 4)


@pytest.mark.parametrize("plain", ["resnet18", "resnet50"])
def test_first_norms_of_layers_1_to_3_are_replaced(plain):
    network = build_ibn_resnet(f"{plain}_ibn_a")
    replaced = {n for n, m in network.named_modules() if isinstance(m, InstanceBatchNorm)}
    expected = {
        name
        for name, _ in torchvision.models.get_model(plain).named_modules()
        if name.endswith(".bn1") and not name.startswith("layer4")
    }
    assert replaced == expected


def test_names_of_tensors_are_the_published_ones():
    names = build_backbone("resnet50_ibn_a", None).trunk.state_dict()
    assert {"layer1.0.bn1.IN.weight", "layer1.0.bn1.BN.running_mean"} <= set(names)
    assert names["layer1.0.bn1.IN.weight"].shape == (32,)
