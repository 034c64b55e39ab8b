"""Every family of backbones: shapes, strides, gradients."""

import logging
import sys

import pytest
import torch
import torchvision
from forked_commands import run_python
from torch import nn

from lightning_reid.errors import InputError, MissingPackageError
from lightning_reid.models import EmbeddingNetwork, build_backbone
from lightning_reid.models.backbones import Backbone
from lightning_reid.models.torchvision_trunks import build_torchvision_trunk

# One network per family of torchvision, with its number of channels.
MAPS = {
    "alexnet": 256,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "efficientnet_v2_s": 1280,
    "googlenet": 1024,
    "inception_v3": 2048,
    "mnasnet0_5": 1280,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 576,
    "regnet_y_400mf": 440,
    "resnet18": 512,
    "resnet18_ibn_a": 512,
    "resnet50": 2048,
    "resnext50_32x4d": 2048,
    "shufflenet_v2_x0_5": 1024,
    "squeezenet1_1": 512,
    "swin_t": 768,
    "swin_v2_t": 768,
    "vgg11_bn": 512,
    "wide_resnet50_2": 2048,
}
KEEP_THEIR_STRIDE = {"inception_v3", "swin_t", "swin_v2_t"}
ROUND_DOWN = {"alexnet", "squeezenet1_1"}  # pools without padding: twice the size, and one more
IMAGE_SIZE = (128, 96)  # inception's smallest is 75


def map_of(backbone: nn.Module) -> torch.Size:
    backbone.eval()
    with torch.no_grad():
        return backbone(torch.zeros(1, 3, *IMAGE_SIZE)).shape


@pytest.mark.parametrize("name", MAPS)
def test_family(name):
    torch.manual_seed(0)
    network = EmbeddingNetwork(name, None)
    assert isinstance(network.backbone, Backbone)
    assert network.embedding_dim == network.backbone.num_features == MAPS[name]

    *_, height, width = map_of(build_backbone(name, None, last_stride=2))
    fine = map_of(network.backbone)
    if name in KEEP_THEIR_STRIDE:
        assert fine == (1, MAPS[name], height, width)
    else:
        extra = int(name in ROUND_DOWN)
        assert fine == (1, MAPS[name], 2 * height + extra, 2 * width + extra)

    assert_every_parameter_learns(network, torch.rand(2, 3, *IMAGE_SIZE))


@pytest.mark.parametrize(("name", "size"), [("vit_b_32", (128, 64)), ("maxvit_t", (224, 224))])
def test_family_with_constraints_on_the_size(name, size):
    assert_every_parameter_learns(EmbeddingNetwork(name, None), torch.rand(2, 3, *size))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("timm/resnet10t", (1, 512, 8, 4)),
        ("timm/convnext_atto", (1, 320, 8, 4)),
        ("timm/mobilenetv3_small_050", (1, 1024, 8, 4)),
        ("timm/tf_efficientnet_lite0", (1, 1280, 8, 4)),
        ("timm/vit_tiny_patch16_224", (1, 192)),
        ("timm/swin_tiny_patch4_window7_224", (1, 768)),
    ],
)
def test_timm(name, shape):
    pytest.importorskip("timm")
    network = EmbeddingNetwork(name, None)
    network.backbone.eval()
    assert network.backbone(torch.zeros(1, 3, 128, 64)).shape == shape
    assert_every_parameter_learns(network, torch.rand(2, 3, 128, 64))


def assert_every_parameter_learns(network: nn.Module, images: torch.Tensor) -> None:
    """What DistributedDataParallel asks for."""
    network.train()
    embeddings = network(images)
    (embeddings * torch.rand_like(embeddings)).sum().backward()
    idle = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


def test_last_stride_of_a_resnet_is_the_one_of_its_last_stage():
    trunk = build_backbone("resnet50", None).trunk
    strided = [
        name
        for name, module in trunk.named_modules()
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2)
    ]
    assert strided == [
        "conv1",
        "layer2.0.conv2",
        "layer2.0.downsample.0",
        "layer3.0.conv2",
        "layer3.0.downsample.0",
    ]
    assert trunk.layer4[0].conv2.padding == (1, 1)


def test_a_network_without_a_last_stride_says_so(caplog):
    caplog.set_level(logging.INFO)
    build_backbone("swin_t", None)
    assert "swin_t has no last stride" in caplog.text


def test_maps_equal_those_of_torchvision():
    torch.manual_seed(0)
    network = torchvision.models.resnet18().eval()
    backbone = build_backbone("resnet18", None, last_stride=2).eval()
    backbone.trunk.load_state_dict(network.state_dict(), strict=False)
    images = torch.rand(2, 3, 64, 64)
    logits = network.fc(backbone(images).mean((-2, -1)))
    torch.testing.assert_close(logits, network(images))


def test_inception_rescales_images_like_torchvision():
    images = torch.rand(1, 3, 96, 96)
    network = torchvision.models.googlenet(
        aux_logits=False, init_weights=True, transform_input=True
    )
    expected = network._transform_input(images)
    torch.testing.assert_close(build_torchvision_trunk("googlenet").first(images), expected)


@pytest.mark.parametrize(
    ("name", "close"),
    [("resnet5", "resnet50"), ("vit_b16", "vit_b_16"), ("resnet50_ibn", "resnet50_ibn_a")],
)
def test_an_unknown_name_is_answered_with_close_ones(name, close):
    with pytest.raises(ValueError, match=f"unknown backbone '{name}'.*'{close}'"):
        build_backbone(name, None)


def test_an_unknown_timm_name_is_answered_with_close_ones():
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=r"timm has no model 'resnet5'.*did you mean 'resnet"):
        build_backbone("timm/resnet5", None)


def test_timm_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingPackageError, match=r'pip install "lightning-reid\[timm\]"'):
        build_backbone("timm/resnet18", None)


def test_timm_is_not_imported_before_it_is_used():
    code = "import sys, lightning_reid.models.backbones; sys.exit('timm' in sys.modules)"
    assert run_python("-c", code).status == 0


def test_last_stride_other_than_1_or_2():
    with pytest.raises(InputError, match="last_stride must be 1 or 2, not 3"):
        build_backbone("resnet18", None, last_stride=3)


class Small(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Dropout())


def test_own_module_is_left_as_it_was():
    network = Small()
    network[1].eval()
    network(torch.rand(4, 3, 8, 8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    backbone = build_backbone(network, None)
    assert backbone.trunk is network
    assert backbone.num_features == 8
    assert [module.training for module in network] == [True, False, True]
    assert network[0].stride == (2, 2)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_own_module_declares_its_features():
    network = nn.Identity()
    network.num_features = 7
    assert build_backbone(network, None).num_features == 7


def test_own_module_that_is_no_backbone():
    with pytest.raises(InputError, match=r"Linear cannot be used as a backbone.*256x128"):
        build_backbone(nn.Linear(4, 4), None)
    with pytest.raises(ValueError, match=r"Flatten cannot be used.*instead of"):
        build_backbone(nn.Flatten(2), None)


def test_own_module_that_returns_no_tensor():
    class Pair(nn.Module):
        def forward(self, images):
            return images, images

    with pytest.raises(ValueError, match=r"Pair cannot be used.*returned a tuple"):
        build_backbone(Pair(), None)


def test_own_module_has_no_published_weights():
    with pytest.raises(ValueError, match="no published weights 'DEFAULT' for Small"):
        build_backbone(Small(), "DEFAULT")


@pytest.mark.parametrize("name", ["ResNet50", "RESNET50"])
def test_names_are_found_in_capitals(name):
    with pytest.raises(InputError, match="did you mean 'resnet50'"):
        build_backbone(name, None)


def test_a_name_of_timm_lacks_its_prefix():
    pytest.importorskip("timm")
    with pytest.raises(InputError, match="did you mean 'timm/vit_tiny_patch16_224'"):
        build_backbone("vit_tiny_patch16_224", None)


def test_a_class_is_named_otherwise_on_the_command_line():
    with pytest.raises(InputError, match=r"""--model.backbone '{"class_path": "my.Module"}'"""):
        build_backbone("my.Module", None)


@pytest.mark.parametrize("weights", [True, 1, ["a.pth"], {"model": torch.zeros(1)}])
def test_weights_of_another_type(weights):
    with pytest.raises(InputError, match=r"weights must be a file, .* got"):
        build_backbone("resnet18", weights)


@pytest.mark.parametrize("backbone", [None, nn.Linear, {"class_path": "torch.nn.Identity"}, 18])
def test_backbones_of_another_type(backbone):
    with pytest.raises(InputError, match=r"backbone must be a name .* got"):
        build_backbone(backbone, None)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("maxvit_t", (256, 128)),
        ("vit_b_32", (250, 128)),
        ("alexnet", (32, 16)),
        ("timm/test_vit", (250, 128)),
        ("timm/levit_128s", (256, 128)),
    ],
)
def test_sizes_that_a_backbone_cannot_take(name, size):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    network = EmbeddingNetwork(name, None)
    with pytest.raises(InputError, match=rf"{size[0]}x{size[1]} pixels"):
        network(torch.rand(2, 3, *size))


def test_other_errors_of_a_backbone_are_its_own():
    class Broken(nn.Identity):
        num_features = 3

        def forward(self, images):
            if self.training:
                raise RuntimeError("out of memory")
            return images

    network = EmbeddingNetwork(Broken(), None)
    with pytest.raises(RuntimeError, match="^out of memory$"):
        network(torch.rand(2, 3, 8, 8))


def test_pooling_needs_maps():
    with pytest.raises(InputError, match="pooling='gem' needs a backbone that returns feature"):
        EmbeddingNetwork("vit_b_32", None, pooling="gem")

    class Pooled(nn.Identity):
        num_features = 3

        def forward(self, images):
            return images.mean((2, 3))

    network = EmbeddingNetwork(Pooled(), None, pooling="gem")
    with pytest.raises(InputError, match="leave pooling out"):
        network(torch.rand(2, 3, 8, 8))
    assert EmbeddingNetwork(Pooled(), None)(torch.rand(2, 3, 8, 8)).shape == (2, 3)


def test_a_resnet_without_the_relu_of_its_stem():
    torch.manual_seed(0)
    with_relu = build_backbone("resnet18", weights=None).eval()
    without = build_backbone("resnet18", weights=None, stem_relu=False).eval()
    without.load_state_dict(with_relu.state_dict())
    images = torch.randn(2, 3, 64, 32)
    trunk = without.trunk
    maps = trunk.maxpool(trunk.bn1(trunk.conv1(images)))
    assert (maps < 0).any()
    expected = trunk.layer4(trunk.layer3(trunk.layer2(trunk.layer1(maps))))
    torch.testing.assert_close(without(images), expected)
    assert not torch.allclose(with_relu(images), expected)


@pytest.mark.parametrize("name", ["mobilenet_v2", "vit_b_16"])
def test_only_resnets_have_a_stem_with_a_relu(name):
    with pytest.raises(InputError, match=f"stem_relu=false is for ResNets .*{name}"):
        build_backbone(name, weights=None, stem_relu=False)
