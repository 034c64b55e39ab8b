"""Batch norm over groups of images."""

import copy

import pytest
import torch
from torch import nn

from lightning_reid.errors import InputError
from lightning_reid.models import EmbeddingNetwork, GroupBatchNorm, group_batch_norms


def pair(**kwargs):
    """Batch norm, and the same in groups of four images."""
    torch.manual_seed(0)
    usual = nn.BatchNorm2d(5, **kwargs).double()
    if usual.affine:
        nn.init.normal_(usual.weight)
        nn.init.normal_(usual.bias)
    return usual, group_batch_norms(copy.deepcopy(usual), 4)


@pytest.mark.parametrize("kwargs", [{}, {"affine": False}, {"track_running_stats": False}])
def test_one_group_is_plain_batch_norm(kwargs):
    usual, grouped = pair(**kwargs)
    for _ in range(3):
        images = torch.randn(4, 5, 3, 2, dtype=torch.float64)
        torch.testing.assert_close(grouped(images), usual(images))
    for name, value in usual.state_dict().items():
        torch.testing.assert_close(grouped.state_dict()[name], value)
    torch.testing.assert_close(grouped.eval()(images), usual.eval()(images))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_groups_are_normalised_one_by_one_and_the_running_mean_is_theirs(momentum):
    usual, grouped = pair(momentum=momentum)
    images = torch.randn(12, 5, 3, 2, dtype=torch.float64)
    copies = [copy.deepcopy(usual) for _ in range(3)]
    parts = [norm(part) for norm, part in zip(copies, images.split(4), strict=True)]
    torch.testing.assert_close(grouped(images), torch.cat(parts))
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(norm, name) for norm in copies]).mean(0)
        torch.testing.assert_close(getattr(grouped, name), mean)
    assert grouped.num_batches_tracked == 1


def test_gradients():
    _, grouped = pair()
    images = torch.randn(8, 5, 2, 2, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(grouped, images)


def test_a_vector_is_normalised_too():
    grouped = group_batch_norms(nn.BatchNorm1d(3), 4)
    rows = torch.randn(8, 3)
    expected = torch.cat([nn.BatchNorm1d(3)(part) for part in rows.split(4)])
    torch.testing.assert_close(grouped(rows), expected)


def test_parameters_stay_the_same_objects_and_frozen_ones_frozen():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    network[1][0].bias.requires_grad_(False)
    before = dict(network.named_parameters())
    group_batch_norms(network, 2)
    assert isinstance(network[1][0], GroupBatchNorm)
    after = dict(network.named_parameters())
    assert before.keys() == after.keys()
    assert all(after[name] is value for name, value in before.items())
    assert not network[1][0].bias.requires_grad


def test_the_network_forms_groups_in_backbone_and_neck():
    network = EmbeddingNetwork("resnet18", None, samples_per_bn_group=2)
    kinds = {type(m) for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert kinds == {GroupBatchNorm}
    plain = EmbeddingNetwork("resnet18", None)
    plain.load_state_dict(network.state_dict())
    images = torch.randn(4, 3, 32, 16)
    alone = [network(images[:2]), network(images[2:])]
    torch.testing.assert_close(network(images), torch.cat(alone), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(network(images), plain(images), atol=1e-3)
    torch.testing.assert_close(network.eval()(images).norm(dim=1), torch.ones(4))


def test_mixed_precision():
    _, grouped = pair()
    grouped.float()
    with torch.autocast("cpu", torch.bfloat16):
        normalized = grouped(torch.randn(8, 5, 2, 2, dtype=torch.bfloat16))
    assert normalized.dtype == torch.bfloat16
    assert grouped.running_mean.dtype == torch.float32


def test_groups_that_do_not_fit_the_batch():
    _, grouped = pair()
    with pytest.raises(InputError, match="samples_per_bn_group=4 does not divide the batch: 6"):
        grouped(torch.randn(6, 5, 2, 2, dtype=torch.float64))
    with pytest.raises(InputError, match="at least 2, not 1"):
        group_batch_norms(nn.BatchNorm2d(3), 1)
