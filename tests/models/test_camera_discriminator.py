"""The camera classifier and the reversal of its gradient."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lightning_reid.models.camera_discriminator import CameraDiscriminator, reverse_gradient


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(12, 8, requires_grad=True), torch.arange(12) % 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0, 3.0])
def test_reversal_is_the_identity_with_the_opposite_gradient(dtype, strength):
    values = torch.randn(4, 3, 2, dtype=dtype, requires_grad=True)
    gradient = torch.randn_like(values)
    handed_on = reverse_gradient(values, strength)
    handed_on.backward(gradient)
    assert (handed_on == values).all()
    assert (values.grad == -strength * gradient).all()


def plain_layers(embedding_dim, num_cameras, hidden, dropout):
    return nn.Sequential(
        *(nn.Linear(embedding_dim, hidden), nn.BatchNorm1d(hidden), nn.ReLU()),
        nn.Dropout(dropout),
        *(nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU()),
        nn.Linear(hidden, num_cameras),
    )


@pytest.mark.parametrize("reversal", [1.0, 0.5])
def test_layers_learn_what_embeddings_forget(batch, reversal):
    embeddings, cameras = batch
    head = CameraDiscriminator(8, 3)
    plain = plain_layers(8, 3, hidden=100, dropout=0.5)
    for mine, theirs in zip(plain.parameters(), head.parameters(), strict=True):
        mine.data.copy_(theirs)
    results = []
    for classify in (plain, lambda e: head(e, reversal)):
        torch.manual_seed(1)  # the same values are dropped
        loss = cross_entropy(classify(embeddings), cameras)
        embeddings.grad = None
        loss.backward()
        results.append((loss, embeddings.grad))
    (loss, gradient), (reversed_loss, reversed_gradient) = results
    assert reversed_loss == loss
    assert (reversed_gradient == -reversal * gradient).all()
    assert gradient.abs().max() > 0
    for mine, theirs in zip(plain.parameters(), head.parameters(), strict=True):
        assert (mine.grad == theirs.grad).all()


def test_logits_of_every_camera(batch):
    embeddings, _ = batch
    assert CameraDiscriminator(8, 5, hidden=7, dropout=0.0)(embeddings).shape == (12, 5)


def test_a_single_image_only_outside_training():
    head = CameraDiscriminator(8, 3)
    with pytest.raises(ValueError, match="more than 1 value"):
        head(torch.randn(1, 8))
    assert head.eval()(torch.randn(1, 8)).shape == (1, 3)


def test_the_head_learns_separable_cameras(batch):
    _, cameras = batch
    embeddings = torch.randn(3, 8)[cameras] + 0.1 * torch.randn(12, 8)
    head = CameraDiscriminator(8, 3)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        cross_entropy(head(embeddings), cameras).backward()
        optimizer.step()
    assert (head.eval()(embeddings).argmax(1) == cameras).all()
