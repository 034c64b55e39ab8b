"""From images to unit-length embeddings."""

import pytest
import torch
from torch import nn

from lightning_reid.errors import InputError
from lightning_reid.models import EmbeddingNetwork, GeneralizedMeanPool
from lightning_reid.models.pooling import build_pool


@pytest.fixture
def network():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU())
    return EmbeddingNetwork(backbone, None)


def test_embeddings_have_unit_length(network):
    embeddings = network(torch.rand(5, 3, 16, 8))
    assert embeddings.shape == (5, network.embedding_dim) == (5, 8)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(5))


def test_neck_keeps_its_bias_at_zero(network):
    assert not network.neck.bias.requires_grad
    assert network.neck.bias.abs().max() == 0
    assert network.neck.weight.requires_grad
    assert network.neck.weight.eq(1).all()


def test_features_are_pooled_and_not_normalised(network):
    images = torch.rand(2, 3, 16, 8)
    torch.testing.assert_close(network.features(images), network.backbone(images).mean((2, 3)))


@pytest.mark.parametrize("pooling", ["avg", "gem"])
@pytest.mark.parametrize("training", [True, False])
def test_float32_under_autocast(pooling, training):
    network = EmbeddingNetwork("resnet18", None, pooling).train(training)
    with torch.autocast("cpu", torch.bfloat16):
        images = torch.rand(2, 3, 64, 32)
        assert network.backbone(images).dtype == torch.bfloat16
        assert network.features(images).dtype == torch.float32
        embeddings = network(images)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))


def test_convolutions_are_laid_out_channels_last():
    network = EmbeddingNetwork("resnet18", None)
    layout = torch.channels_last
    assert network.backbone.trunk.layer1[0].conv1.weight.is_contiguous(memory_format=layout)
    assert network.backbone.trunk(torch.rand(2, 3, 64, 32)).is_contiguous(memory_format=layout)


def test_a_backbone_that_pools_itself():
    backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = EmbeddingNetwork(backbone, None)
    images = torch.rand(4, 3, 8, 4)
    torch.testing.assert_close(network.features(images), images.mean((2, 3)))


def test_dropout_only_acts_in_training():
    network = EmbeddingNetwork(nn.Conv2d(3, 64, 1), None, dropout=0.5)
    images = torch.rand(4, 3, 8, 4)
    assert (network(images) == 0).any()
    assert not (network.eval()(images) == 0).any()


def test_generalized_mean_is_the_formula():
    maps = torch.rand(2, 5, 4, 3)
    expected = (maps**3).mean((2, 3)) ** (1 / 3)
    torch.testing.assert_close(GeneralizedMeanPool()(maps), expected)


def test_generalized_mean_with_exponent_1_is_the_average():
    maps = torch.rand(2, 5, 4, 3)
    torch.testing.assert_close(GeneralizedMeanPool(p=1.0)(maps), build_pool("avg")(maps))


def test_generalized_mean_learns_its_exponent_even_on_an_empty_map():
    pool = GeneralizedMeanPool()
    maps = torch.zeros(2, 5, 4, 3, requires_grad=True)
    pool(maps).sum().backward()
    assert pool.p.grad.isfinite().all()
    assert maps.grad.isfinite().all()


def test_unknown_pooling():
    with pytest.raises(InputError, match="pooling must be one of avg, gem, not 'max'"):
        EmbeddingNetwork("resnet18", None, pooling="max")


@torch.no_grad()
def test_embeddings_of_a_picture_in_two_batches_differ_by_rounding_alone():
    torch.manual_seed(0)
    network, images = EmbeddingNetwork("resnet50", None).eval(), torch.randn(4, 3, 64, 32)
    alone = torch.cat([network(image[None]) for image in images])
    # camera_normalize takes 1e-5 for nothing
    assert (network(images) - alone).norm(dim=1).max() < 2e-6
